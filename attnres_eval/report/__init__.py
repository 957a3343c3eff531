"""Finished frames in; figures, sentences and pages out. Torch-free."""
