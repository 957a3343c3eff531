"""Sends what runs log to trackio, Weights & Biases or TensorBoard. Torch-free but for the last.

A follower, in a process of its own, reads the files of the runs as they grow and forwards what is
new. Runs, workers, ranks and nodes know nothing of it, and nothing of it can hurt them.
"""
