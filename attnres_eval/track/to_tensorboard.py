"""Runs as TensorBoard's event files, a folder each."""

from pathlib import Path

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from attnres_eval.track.tracker import Tracked, TrackedRun

HELD_OUT = "validation/nats_per_token"
"""The value by which its table of settings compares runs."""


class TensorBoard:
    """A folder of event files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def where(self) -> str:
        return f"tensorboard --logdir {self._folder}"

    def open(self, run: Tracked) -> TrackedRun:
        return _Run(self._folder / run.name, run)


class _Run:
    def __init__(self, folder: Path, run: Tracked) -> None:
        # What an earlier file has behind the last step that counts is not shown.
        purge = None if run.step is None else run.step + 1
        self._writer = SummaryWriter(str(folder), purge_step=purge)
        if run.step is None:
            for summary in hparams(run.settings, {HELD_OUT: 0.0}):
                self._writer._get_file_writer().add_summary(summary)

    def log(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def final(self, step: int, values: dict[str, float]) -> None:
        self.log(step, values)

    def flush(self) -> None:
        self._writer.flush()

    def close(self, failure: str | None) -> None:
        if failure is not None:
            self._writer.add_text("failure", failure)
        self._writer.close()
