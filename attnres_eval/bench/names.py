"""Names of what figures are drawn from. Torch-free."""

from attnres_eval.bench.ladders import Ladder

TIME, MEMORY = "milliseconds of a step", "MiB of a step"
LESS = "less prenorm's"
WORTH = "training step over prenorm's, for the figure of cost against loss"


def points_of(what: str, ladder: Ladder) -> str:
    """The quantity of a ladder's points."""
    return f"growth with {ladder.name}, {what}"
