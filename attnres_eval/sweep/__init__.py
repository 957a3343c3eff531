"""Which runs of a study are left, who executes them, and what they will cost."""
