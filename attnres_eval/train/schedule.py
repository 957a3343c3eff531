"""The learning rate over a run, as a factor of its peak."""

import math

from attnres_eval.study import Recipe


def rate_factor(step: int, steps: int, recipe: Recipe) -> float:
    """Factor of the peak learning rate at one step.

    Linear warm-up over `warmup_fraction` of the steps; then a cosine down to `final_fraction`, or
    (`wsd`) a plateau and a linear decay over the last `decay_fraction`.

    Args:
        step: 0 to steps - 1.
        steps: steps of the whole run.
        recipe: the study's recipe.
    """
    warmup = max(1, round(recipe.warmup_fraction * steps))
    if step < warmup:
        return (step + 1) / warmup
    floor = recipe.final_fraction
    if recipe.schedule == "cosine":
        progress = (step - warmup) / max(1, steps - 1 - warmup)
        return floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2
    decay = max(1, round(recipe.decay_fraction * steps))
    return floor + (1 - floor) * min(1.0, (steps - 1 - step) / decay)
