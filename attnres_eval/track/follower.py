"""Forwards what the runs of a folder log, as they log it."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from attnres_eval.errors import UserError
from attnres_eval.files import sha256_of_json
from attnres_eval.lock import holding
from attnres_eval.records import Failure, Metrics, RunFolder, Summary, read_record, task_file
from attnres_eval.study import RunConfig
from attnres_eval.track.position import (
    Positions,
    RunPosition,
    read_positions,
    tracking_folder,
    write_positions,
)
from attnres_eval.track.tracker import Tracked, TrackedRun, Tracker
from attnres_eval.track.values import curve_values, final_values, score_values, settings
from attnres_eval.watch.tail import MetricsTail

Say = Callable[[str], None]
BROKEN_OFF = "broken off; it goes on from its last checkpoint"


@dataclass
class Followed:
    """A run to follow."""

    config: RunConfig
    folder: RunFolder
    tasks: Sequence[str] = ()
    """That it is to be scored on."""
    tail: MetricsTail = field(init=False)
    ours: bool = False
    """Whether the folder is known to be this run's, not one that is about to be replaced."""

    def __post_init__(self) -> None:
        self.tail = MetricsTail(self.folder.metrics)
        self.config_sha256 = sha256_of_json(self.config.model_dump(mode="json"))

    def begun(self) -> bool:
        """Whether there is anything of it."""
        if not self.ours and self.folder.config.is_file():
            with contextlib.suppress(UserError):
                self.ours = read_record(self.folder.config, RunConfig) == self.config
        return self.ours

    def scored(self) -> bool:
        """Whether all its tasks have records."""
        return all(task_file(self.folder.evaluation, task).is_file() for task in self.tasks)


class Follower:
    """Tells trackers what is new, each from where it was told last, by whichever process."""

    def __init__(
        self,
        results: Path,
        runs: Sequence[Followed],
        trackers: dict[str, Tracker],
        project: str,
        group: str,
        say: Say,
    ) -> None:
        """Nothing is read or written yet.

        Args:
            results: folder of the study, or of the one run.
            runs: which to follow.
            trackers: whom to tell, by name.
            project: what the trackers call the whole.
            group: what they call these runs.
            say: told, a line each, where to look and what went wrong.
        """
        self._results, self._runs = results, list(runs)
        self._trackers = dict(trackers)
        self._project, self._group, self._say = project, group, say
        self._positions: Positions | None = None
        self._lock = contextlib.ExitStack()
        self._open: dict[str, dict[str, TrackedRun]] = {name: {} for name in trackers}
        self._told: set[str] = set()

    def follow(self, *, last: bool = False) -> None:
        """Forwards what is new. Whatever a tracker raises ends that tracker, and nothing else.

        Args:
            last: nothing comes behind this; what is open is closed.

        Raises:
            UserError: another process tracks this folder, or positions cannot be written.
        """
        for run in self._runs:
            if not self._trackers or not run.begun():
                continue
            if self._positions is None:
                self._lock.enter_context(holding(tracking_folder(self._results), WAIT_SECONDS))
                self._positions = read_positions(self._results)
            self._follow_run(run, last)
        if last:
            for name in list(self._trackers):
                for tracked in self._open[name].values():
                    self._guarded(name, partial(tracked.close, BROKEN_OFF))
            self._save()
            self._lock.close()

    def _follow_run(self, run: Followed, last: bool) -> None:
        positions = [self._position(name, run) for name in self._trackers]
        if all(position.ended and position.scored for position in positions):
            return
        # Before the lines are read: whoever sees a summary has all of them.
        finished = run.folder.finished
        new = run.tail.read()
        for name in list(self._trackers):
            self._guarded(name, partial(self._tell, name, run, new, finished, last))
        if [self._position(name, run) for name in self._trackers] != positions:
            self._save()

    def _tell(
        self, name: str, run: Followed, new: Sequence[Metrics], finished: bool, last: bool
    ) -> None:
        position = self._position(name, run)
        lines = [line for line in new if position.step is None or line.step > position.step]
        if lines:
            tracked = self._opened(name, run)
            for line in lines:
                tracked.log(line.step, curve_values(line))
            tracked.flush()
            self._note(name, run, step=lines[-1].step, failure=None)
        if finished and not position.ended:
            summary = read_record(run.folder.summary, Summary)
            self._opened(name, run).final(run.config.steps, final_values(summary))
            self._close(name, run, None)
            self._note(name, run, ended=True, failure=None)
        elif not finished:
            failure = _failure(run.folder)
            if failure is not None and failure != position.failure:
                self._opened(name, run)
                self._close(name, run, failure)
                self._note(name, run, failure=failure)
        if finished and not position.scored and (last or run.scored()):
            scores = score_values(run.folder)
            if scores:
                self._opened(name, run).final(run.config.steps, scores)
                self._close(name, run, None)
            self._note(name, run, scored=run.scored())

    def _opened(self, name: str, run: Followed) -> TrackedRun:
        """The run, open in a tracker."""
        opened, config = self._open[name], run.config
        if config.run not in opened:
            assert self._positions is not None
            opened[config.run] = self._trackers[name].open(
                Tracked(
                    id=self._positions.run_id(config),
                    name=config.run,
                    project=self._project,
                    group=self._group,
                    settings=settings(config),
                    step=self._position(name, run).step,
                )
            )
            if self._position(name, run).step is None:
                self._note(name, run, step=0)
            if name not in self._told:
                self._told.add(name)
                self._say(f"tracked by {name}: {self._trackers[name].where()}")
        return opened[config.run]

    def _close(self, name: str, run: Followed, failure: str | None) -> None:
        self._open[name].pop(run.config.run).close(failure)

    def _position(self, name: str, run: Followed) -> RunPosition:
        assert self._positions is not None
        found = self._positions.trackers.get(name, {}).get(run.config.run)
        if found is None or found.config_sha256 != run.config_sha256:
            return RunPosition(config_sha256=run.config_sha256)
        return found

    def _note(self, name: str, run: Followed, **changes: Any) -> None:
        assert self._positions is not None
        position = self._position(name, run).model_copy(update=changes)
        self._positions.trackers.setdefault(name, {})[run.config.run] = position

    def _save(self) -> None:
        if self._positions is not None:
            write_positions(self._results, self._positions)

    def _guarded(self, name: str, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self._trackers.pop(name, None)
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            self._say(f"warning: tracking by {name} has ended, training goes on: {reason}")


WAIT_SECONDS = 150.0
"""For the follower of an earlier process to end, which may have much to send."""


def _failure(folder: RunFolder) -> str | None:
    try:
        return read_record(folder.failure, Failure).reason
    except UserError:
        return None
