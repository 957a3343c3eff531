"""A live view of a running study, read from the files that its runs write."""

import os
from pathlib import Path
from types import TracebackType

from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from attnres_eval.records import Metrics
from attnres_eval.study import RunConfig
from attnres_eval.sweep.folder import run_folder

TAIL_BYTES = 1024


def last_metrics(path: Path) -> Metrics | None:
    """The last whole line of metrics.jsonl, however long the file is; None where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            lines = file.read().split(b"\n")
    except OSError:
        return None
    for line in reversed(lines):
        try:
            return Metrics.model_validate_json(line)
        except ValidationError:
            continue
    return None


class StudyProgress:
    """One bar for the study, in FLOPs, with the runs that are at work beside it."""

    def __init__(self, results: Path, runs: list[RunConfig]) -> None:
        self._results = results
        self._runs = {run.run: run for run in runs}
        self._done: dict[str, float] = dict.fromkeys(self._runs, 0.0)
        self._ended: set[str] = set()
        self._bar = Progress(
            TextColumn("{task.completed:.0%}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.description}"),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task("", total=1.0)

    def __enter__(self) -> "StudyProgress":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def ended(self, run: str) -> None:
        """A run has ended, well or not."""
        self._ended.add(run)
        self.update()

    def update(self) -> None:
        """Reads how far the runs are and redraws."""
        at_work = []
        for name, run in self._runs.items():
            if name in self._ended:
                self._done[name] = run.training_flops
                continue
            metrics = last_metrics(run_folder(self._results, run).metrics)
            if metrics is not None and metrics.step < run.steps:
                self._done[name] = metrics.flops
                at_work.append(f"{name} {metrics.step}/{run.steps} loss {metrics.loss:.3f}")
        share = sum(self._done.values()) / sum(run.training_flops for run in self._runs.values())
        self._bar.update(self._task, completed=share, description="; ".join(at_work))
