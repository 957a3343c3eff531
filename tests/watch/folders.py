"""Results folders as a study at work leaves them."""

import os
import shutil
import socket
from pathlib import Path

from attnres_eval.files import write_json
from attnres_eval.lock import HOLDER
from attnres_eval.records import Failure, Metrics, RunFolder, write_record
from attnres_eval.study import RunConfig

BEGAN = 1_000_000_000.0
"""Seconds since the epoch at which holders began."""
SINCE = "2001-09-09 01:46:40+00:00"


def line(config: RunConfig, step: int, loss: float, seconds: float) -> Metrics:
    tokens = step * config.recipe.batch_sequences * config.recipe.context
    return Metrics(
        step=step,
        tokens=tokens,
        flops=config.training_flops * step / config.steps,
        loss=loss,
        learning_rate=0.01,
        grad_norm=1.0,
        seconds=seconds,
        tokens_per_second=tokens / seconds,
    )


def write_lines(folder: RunFolder, lines: list[Metrics], tail: str = "") -> None:
    folder.path.mkdir(parents=True, exist_ok=True)
    text = "".join(x.model_dump_json() + "\n" for x in lines)
    folder.metrics.write_text(text + tail)


def run_at(results: Path, config: RunConfig) -> RunFolder:
    return RunFolder(results / "runs" / config.run)


def begin(results: Path, config: RunConfig, lines: list[Metrics]) -> RunFolder:
    """A run that has logged and not ended; nobody holds it."""
    folder = run_at(results, config)
    shutil.rmtree(folder.path, ignore_errors=True)
    write_record(folder.config, config)
    write_lines(folder, lines)
    return folder


def hold(folder: Path, now: float, pid: int | None = None, host: str | None = None) -> None:
    """A holder who touched the folder at `now`."""
    path = folder / HOLDER
    holder = {"pid": pid or os.getpid(), "host": host or socket.gethostname(), "since": SINCE}
    write_json(path, holder)
    os.utime(path, (now, now))


def let_go(folder: Path) -> None:
    (folder / HOLDER).unlink(missing_ok=True)


def fail(folder: RunFolder, reason: str) -> None:
    write_record(folder.failure, Failure(reason=reason))


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
