"""Loss curves of one line of text."""

import statistics
from collections.abc import Sequence

from attnres_eval.records import Metrics

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.-=+*%#"
"""Of terminals that have no others."""


def curves(
    drawn: Sequence[Sequence[Metrics]], steps: int, width: int, levels: str = BLOCKS
) -> list[str]:
    """Draws training losses side by side on one scale.

    A character stands for the mean loss of an equal share of all steps, so that a line grows with
    its run; it is a blank where nothing was logged.

    Args:
        drawn: what each run has logged.
        steps: of the whole run, which is the whole width.
        width: characters of each line.
        levels: characters from the lowest loss to the highest.

    Returns:
        A line of `width` characters for each run.
    """
    binned = [_means(curve, steps, width) for curve in drawn]
    known = [loss for bins in binned for loss in bins if loss is not None]
    if not known:
        return [" " * width for _ in drawn]
    low, high = min(known), max(known)
    top = len(levels) - 1

    def character(loss: float | None) -> str:
        if loss is None:
            return " "
        return levels[round(top * (loss - low) / (high - low)) if high > low else 0]

    return ["".join(character(loss) for loss in bins) for bins in binned]


def _means(curve: Sequence[Metrics], steps: int, width: int) -> list[float | None]:
    bins: list[list[float]] = [[] for _ in range(width)]
    for line in curve:
        bins[min(width - 1, max(0, line.step - 1) * width // steps)].append(line.loss)
    return [statistics.fmean(losses) if losses else None for losses in bins]
