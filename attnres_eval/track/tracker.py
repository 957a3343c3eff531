"""What a tracker is: a place that curves, final values and settings of runs go to."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from attnres_eval.errors import UserError

Setting = str | int | float | bool

MODULES = {"trackio": "trackio", "wandb": "wandb", "tensorboard": "tensorboard"}
"""The module that each name of `--track` needs; an extra of the same name installs it."""


@dataclass(frozen=True)
class Tracked:
    """A run as a tracker sees it."""

    id: str
    """The same whenever the run goes on in the same results folder, and no other run's."""
    name: str
    project: str
    group: str
    """The study, or the part of it."""
    settings: dict[str, Setting]
    """The run's configuration, flat: `recipe.learning_rate`."""
    step: int | None
    """The last one that it has been told of; None where it knows nothing of the run."""


class TrackedRun(Protocol):
    """A run that is open in a tracker."""

    def log(self, step: int, values: dict[str, float]) -> None:
        """Adds a point to each curve; steps only rise."""

    def final(self, step: int, values: dict[str, float]) -> None:
        """Notes values of the run as a whole, as of its last step."""

    def flush(self) -> None:
        """Sees that what was told outlives this process."""

    def close(self, failure: str | None) -> None:
        """Ends it for now, well or not; it may be opened again."""


class Tracker(Protocol):
    """Where runs go."""

    def open(self, run: Tracked) -> TrackedRun:
        """Begins a run, or goes on with one that it knows."""

    def where(self) -> str:
        """How to look at it, in a few words."""


def tracker_names(text: str) -> tuple[str, ...]:
    """The trackers of `--track`, divided by commas.

    Raises:
        UserError: there is no such tracker, or what it needs is not installed.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in MODULES:
            raise UserError(f"--track {name or text!r}: there are {', '.join(MODULES)}")
        if importlib.util.find_spec(MODULES[name]) is None:
            raise UserError(
                f"--track {name}: {name} is not installed; pip install 'attnres-eval[{name}]'"
            )
    return names


def make_tracker(name: str, project: str, folder: Path) -> Tracker:
    """Opens the tracker of a name, which is installed.

    Args:
        name: of `MODULES`.
        project: what the tracker calls the whole.
        folder: of the results.
    """
    # Each takes a second or more to import.
    if name == "trackio":
        from attnres_eval.track.to_trackio import Trackio

        return Trackio(project)
    if name == "wandb":
        from attnres_eval.track.to_wandb import Wandb

        return Wandb(project)
    from attnres_eval.track.to_tensorboard import TensorBoard

    return TensorBoard(folder / "tensorboard")
