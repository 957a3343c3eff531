"""Scores models through lm-eval, on data that need no hub, into records without text."""
