"""Runs in Weights & Biases, wherever its own settings (WANDB_MODE, WANDB_DIR ...) say."""

from typing import Any

import wandb

from attnres_eval.track.tracker import Tracked, TrackedRun


class Wandb:
    """One project."""

    def __init__(self, project: str) -> None:
        self._project = project
        self._url: str | None = None

    def where(self) -> str:
        return self._url or f"project {self._project}; offline until wandb sync"

    def open(self, run: Tracked) -> TrackedRun:
        found = wandb.init(
            project=run.project,
            group=run.group,
            name=run.name,
            id=run.id,
            config=dict(run.settings),
            resume="allow",
            # Several runs are at work at once.
            reinit="create_new",
            # What this process prints and uses is not the run's.
            settings=wandb.Settings(console="off", x_disable_stats=True, silent=True),
        )
        self._url = found.project_url or None
        return _Run(found)


class _Run:
    def __init__(self, run: Any) -> None:
        self._run = run

    def log(self, step: int, values: dict[str, float]) -> None:
        self._run.log(values, step=step)

    def final(self, step: int, values: dict[str, float]) -> None:
        # A run that was opened again takes no more points at its last step.
        self._run.summary.update(values)

    def flush(self) -> None:
        """Its own process holds what it has been told."""

    def close(self, failure: str | None) -> None:
        if failure is not None:
            self._run.summary.update({"failure": failure})
        self._run.finish(exit_code=0 if failure is None else 1)
