"""Public implementations, each in a model of our shape under our optimiser and clipping."""
