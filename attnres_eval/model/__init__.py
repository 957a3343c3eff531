"""One decoder, the residuals that join its sublayers, and its transformers form."""
