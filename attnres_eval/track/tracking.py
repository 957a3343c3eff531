"""Has a study or a run followed while it is at work: what stands behind `--track`."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import attnres_eval
from attnres_eval.errors import UserError
from attnres_eval.study import RunConfig, Study
from attnres_eval.track.child import Order
from attnres_eval.track.tracker import tracker_names

Say = Callable[[str], None]
FINISH_SECONDS = 120.0
"""What the follower is given to send the rest when all is done."""


@dataclass(frozen=True)
class Tracking:
    """Whom to tell."""

    trackers: tuple[str, ...] = ()
    project: str | None = None
    """The study's name where None."""

    @staticmethod
    def parse(track: str | None, project: str | None) -> "Tracking":
        """The options `--track` and `--track-project`.

        Raises:
            UserError: a tracker is unknown or not installed, or there is a project for none.
        """
        if track is None:
            if project is not None:
                raise UserError("--track-project is an option of --track, which is not given")
            return Tracking()
        if project is not None and not project.strip():
            raise UserError("--track-project: give a name")
        return Tracking(tracker_names(track), project)


def whole_name(study: Study, part: str) -> str:
    """The name of the whole study, of which `study` is the part of that name, or all of it."""
    return study.name.removesuffix(f"-{part}" if part else "")


@contextlib.contextmanager
def tracked(
    tracking: Tracking, results: Path, plan: Study | RunConfig, project: str, say: Say
) -> Iterator[None]:
    """Has runs followed while the body lasts, by a process of its own that only reads them.

    The process is no child of the terminal: an interrupt ends the body, and lets what has been
    logged be sent. It ends by itself when this process does, however that happens.

    Args:
        tracking: whom to tell; nobody is fine.
        results: folder of the study, or of the run.
        plan: whose runs.
        project: what trackers call the whole, unless `tracking` says.
        say: told, a line each, where to look and what went wrong.
    """
    if not tracking.trackers:
        yield
        return
    group = plan.name if isinstance(plan, Study) else plan.study
    order = Order(
        results=str(results.absolute()),
        trackers=tracking.trackers,
        project=tracking.project or project,
        group=group,
        plan=plan,
    )
    try:
        process = _start(order)
    except OSError as error:
        say(f"warning: tracking cannot be started, training goes on: {error}")
        yield
        return
    reader = threading.Thread(target=_repeat, args=(process, say), daemon=True)
    reader.start()
    try:
        yield
    except BaseException as error:
        _end(process)
        if isinstance(error, Exception):
            _wait(process, reader, say)
        raise
    _end(process)
    _wait(process, reader, say)


def _start(order: Order) -> "subprocess.Popen[str]":
    package = str(Path(attnres_eval.__file__).parents[1])
    path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        [sys.executable, "-m", "attnres_eval.track.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        start_new_session=True,
    )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(order.model_dump_json() + "\n")
        process.stdin.flush()
    return process


def _repeat(process: "subprocess.Popen[str]", say: Say) -> None:
    """Passes on what the process says, until it ends."""
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            say(line.rstrip("\n"))
    process.wait()


def _end(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()


def _wait(process: "subprocess.Popen[str]", reader: threading.Thread, say: Say) -> None:
    reader.join(FINISH_SECONDS)
    if reader.is_alive():
        say("tracking still sends what was logged, and ends by itself")
    elif process.returncode:
        code = process.returncode
        say(f"warning: tracking broke off (exit code {code}); runs and results are whole")
