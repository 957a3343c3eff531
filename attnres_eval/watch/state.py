"""What a results folder holds at one moment, as plain values."""

from dataclasses import dataclass, field
from enum import StrEnum

from attnres_eval.lock import Holder
from attnres_eval.records import Metrics
from attnres_eval.study import RunConfig


class Status(StrEnum):
    """Where a run is."""

    WAITING = "waiting"
    RUNNING = "running"
    STOPPED = "stopped"
    """Begun, and nobody works on it: it goes on from its last checkpoint."""
    FINISHED = "finished"
    """Trained, with a held-out loss."""
    SCORING = "scoring"
    """Trained, and being scored or inspected."""
    SCORED = "scored"
    """Trained and scored on all tasks that the study asks for."""
    FAILED = "failed"


TO_TRAIN = (Status.WAITING, Status.RUNNING, Status.STOPPED)
TRAINED = (Status.FINISHED, Status.SCORING, Status.SCORED)
AT_WORK = (Status.RUNNING, Status.SCORING)


@dataclass(frozen=True)
class RunState:
    """One run."""

    config: RunConfig
    status: Status
    flops: float
    """Training FLOPs of the whole run."""
    flops_per_second: float | None = None
    """Training speed so far."""
    flops_done: float = 0.0
    loss: float | None = None
    """Held-out, nats per token."""
    why: str = ""
    """Of a run that failed, in one line."""
    curve: list[Metrics] = field(default_factory=list)
    """What it has logged; only of a run that is at work, as is the next."""
    baseline: list[Metrics] = field(default_factory=list)
    """What the baseline's run of the same size and seed has logged."""


@dataclass(frozen=True)
class PartState:
    """One part of a study, or all of a study without parts."""

    name: str
    """Empty where the study has no parts."""
    begun: bool
    """Whether its study is known; without it nothing else is."""
    holder: Holder | None = None
    baseline: str = ""
    """Label."""
    runs: list[RunState] = field(default_factory=list)
    to_score: int = 0
    """Trained runs that have tasks left."""
    timing: bool = False
    """Whether training steps are being timed side by side."""

    def having(self, *statuses: Status) -> list[RunState]:
        """The runs of these statuses."""
        return [run for run in self.runs if run.status in statuses]

    @property
    def left(self) -> bool:
        """Whether there is anything to train or to score."""
        return not self.begun or bool(self.having(*TO_TRAIN)) or self.to_score > 0

    @property
    def busy(self) -> bool:
        """Whether anybody works in it."""
        return self.holder is not None or bool(self.having(*AT_WORK))


@dataclass(frozen=True)
class State:
    """A results folder at one moment."""

    name: str
    """Of the study."""
    now: float
    """Seconds since the epoch."""
    parts: list[PartState]
    workers: int
    """Most runs seen at work at once since the process that works there began."""

    @property
    def runs(self) -> list[RunState]:
        """Of all parts."""
        return [run for part in self.parts for run in part.runs]

    @property
    def ended(self) -> bool:
        """Whether nothing is left and nobody works."""
        return not any(part.left or part.busy for part in self.parts)

    @property
    def fraction(self) -> float:
        """FLOPs that were trained over those of all runs but what the failed ones lack; 0 to 1."""
        wanted = sum(
            run.flops_done if run.status == Status.FAILED else run.flops for run in self.runs
        )
        return sum(run.flops_done for run in self.runs) / wanted if wanted else 0.0

    def changes(self) -> object:
        """What is worth telling anew where it differs: statuses, and whole percents."""
        runs = [(part.name, r.config.run, r.status) for part in self.parts for r in part.runs]
        return runs, [(part.begun, part.timing) for part in self.parts], int(100 * self.fraction)
