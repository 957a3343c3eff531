"""Runs in trackio: a database on this machine, or what TRACKIO_SPACE_ID names."""

import contextvars

import trackio

from attnres_eval.track.tracker import Tracked, TrackedRun


class Trackio:
    """One project."""

    def __init__(self, project: str) -> None:
        self._project = project

    def where(self) -> str:
        return f"trackio show --project {self._project}"

    def open(self, run: Tracked) -> TrackedRun:
        # It knows runs by their names, so that those of two folders need two; and it closes the
        # run that was opened before, unless it finds itself in another context.
        found = contextvars.Context().run(
            trackio.init,
            project=run.project,
            name=f"{run.name}-{run.id[:6]}",
            group=run.group,
            config=dict(run.settings),
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        return _Run(found)


class _Run:
    def __init__(self, run: trackio.Run) -> None:
        self._run = run

    def log(self, step: int, values: dict[str, float]) -> None:
        self._run.log(values, step=step)

    def final(self, step: int, values: dict[str, float]) -> None:
        self._run.log(values, step=step)

    def flush(self) -> None:
        """Its own thread writes within a second."""

    def close(self, failure: str | None) -> None:
        if failure is not None:
            self._run.alert(title="no result", text=failure)
        self._run.finish()
