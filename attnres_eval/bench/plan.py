"""What one call of the bench is asked to measure."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from attnres_eval.bench.sizes import LARGE, MIDDLE, NARROW, WIDE

STUDIED = ("block_attnres", "full_attnres", "mhc", "hyper_connections", "muddformer")
SIZES = (NARROW, MIDDLE, WIDE, LARGE)
REPORTED_ONLY = (NARROW,)
"""Sizes without an aim."""
ROUNDS = 11
SECONDS = 90.0
"""Rounds of contenders are repeated for so long at least, unless fewer than the usual are asked."""
MOST_SECONDS = 300.0
"""Rounds beside peers, which take up to ten times our time, end after so long, unless another
number of them than the usual was asked for."""


@dataclass(frozen=True)
class Plan:
    """The choices of a call; every section takes from it what it needs."""

    say: Callable[[str], None]
    """Told in a line what is being measured."""
    variants: tuple[str, ...] = STUDIED
    sizes: tuple[str, ...] = SIZES
    rounds: int = ROUNDS
    precision: str | None = None
    """What a run of each width takes by itself, where absent."""
    results: Path | None = None
    """A study's results, for the figure of cost against loss."""

    @property
    def seconds(self) -> float:
        """Least seconds of the rounds of one group of contenders."""
        return SECONDS if self.rounds >= ROUNDS else 0.0

    @property
    def most(self) -> float:
        """Seconds after which rounds beside peers end."""
        return MOST_SECONDS if self.rounds == ROUNDS else math.inf
