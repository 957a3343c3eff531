"""How long training still takes, from the speeds of the runs seen so far."""

import heapq
import math
import statistics
from collections.abc import Hashable
from dataclasses import dataclass

from attnres_eval.watch.state import TO_TRAIN, RunState, State, Status


@dataclass(frozen=True)
class TimeLeft:
    """An estimate with what it rests on."""

    seconds: float | None
    """None where there is nothing to tell it from."""
    basis: str
    """In a few words."""


def time_left(state: State) -> TimeLeft:
    """Estimates when the last run that is left ends.

    Every run that is left is given the speed, in FLOPs a second, that its label had at its size;
    else that of its size; else that of the size whose FLOPs a token are nearest. Then they are laid
    on as many workers as were seen at work at once, as the executor does: longest first.
    """
    left = [run for run in state.runs if run.status in TO_TRAIN]
    if not left:
        return TimeLeft(0.0, "nothing is left to train")
    if not state.workers or not any(part.busy for part in state.parts):
        return TimeLeft(None, "nobody trains")
    speeds = _Speeds(state.runs)
    if not speeds.seen:
        return TimeLeft(None, "no run has logged its speed yet")
    seconds = {id(run): (run.flops - run.flops_done) / speeds.of(run) for run in left}
    running = sorted(seconds[id(run)] for run in left if run.status == Status.RUNNING)
    idle = max(0, state.workers - len(running))
    ends = [*[0.0] * idle, *running]
    heapq.heapify(ends)
    waiting = [run for run in left if run.status != Status.RUNNING]
    for run in sorted(waiting, key=lambda run: -run.flops):
        heapq.heapreplace(ends, ends[0] + seconds[id(run)])
    return TimeLeft(max(ends), f"{speeds}, {state.workers} at once")


class _Speeds:
    """FLOPs a second of a worker, as seen."""

    def __init__(self, runs: list[RunState]) -> None:
        self.seen = [run for run in runs if run.flops_per_second]
        grouped: dict[Hashable, list[float]] = {}
        for run in self.seen:
            for key in _keys(run):
                grouped.setdefault(key, []).append(run.flops_per_second or 0.0)
        self._medians = {key: statistics.median(speeds) for key, speeds in grouped.items()}
        self._sizes = {_per_token(run): self._medians[_keys(run)[1]] for run in self.seen}

    def of(self, run: RunState) -> float:
        """What a run is expected to train at."""
        if run.status == Status.RUNNING and run.flops_per_second:
            return run.flops_per_second
        for key in _keys(run):
            if key in self._medians:
                return self._medians[key]
        wanted = _per_token(run)
        return self._sizes[min(self._sizes, key=lambda seen: abs(math.log(seen / wanted)))]

    def __str__(self) -> str:
        median = statistics.median(run.flops_per_second or 0.0 for run in self.seen)
        runs = "1 run" if len(self.seen) == 1 else f"{len(self.seen)} runs"
        return f"{median / 1e9:.3g} GFLOP/s as {runs} so far"


def _keys(run: RunState) -> tuple[Hashable, Hashable]:
    """What runs of one speed share, narrow and wide."""
    shape = run.config.shape
    return (run.config.variant, str(run.config.options), shape), shape


def _per_token(run: RunState) -> float:
    return run.flops / run.config.tokens
