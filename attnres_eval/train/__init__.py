"""Training one run: loop, optimiser, schedule, checkpoints."""
