"""Records in, tables out: fits, compute multipliers, paired differences. Torch-free."""
