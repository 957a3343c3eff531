"""The follower's process: it ends some time after its standard input does."""

import contextlib
import os
import sys
import threading
from pathlib import Path
from typing import Any

from attnres_eval.records import Record, RunFolder
from attnres_eval.study import RunConfig, Study
from attnres_eval.track.follower import Followed, Follower
from attnres_eval.track.tracker import make_tracker

INTERVAL_SECONDS = 3.0
NICENESS = 10
"""Runs go first."""


class Order(Record):
    """What the follower is to do; one line of JSON on its standard input."""

    results: str
    trackers: tuple[str, ...]
    project: str
    group: str
    plan: Study | RunConfig
    """All runs of a study, or one run that has the folder for itself."""


def followed(order: Order) -> list[Followed]:
    """The runs to follow."""
    results, plan = Path(order.results), order.plan
    if isinstance(plan, RunConfig):
        return [Followed(plan, RunFolder(results))]
    scored = plan.evaluated_sizes()
    return [
        Followed(
            run,
            RunFolder(results / "runs" / run.run),
            list(plan.evaluation.tasks) if run.size in scored else [],
        )
        for run in plan.runs()
    ]


def main() -> None:
    """Follows until standard input ends, then once more. Says its lines on standard output."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    _mute()
    os.nice(NICENESS)

    def say(line: str) -> None:
        # The study may have died; what it logged is sent nevertheless.
        with contextlib.suppress(OSError):
            print(line, file=out, flush=True)

    try:
        _follow(Order.model_validate_json(sys.stdin.readline()), say)
    except Exception as error:
        say(f"warning: tracking has ended, training goes on: {' '.join(str(error).split())[:300]}")


def _follow(order: Order, say: Any) -> None:
    results = Path(order.results)
    trackers = {}
    for name in order.trackers:
        try:
            trackers[name] = make_tracker(name, order.project, results)
        except Exception as error:
            say(f"warning: {name} cannot be used, training goes on: {' '.join(str(error).split())}")
    follower = Follower(results, followed(order), trackers, order.project, order.group, say)
    ended = threading.Event()
    threading.Thread(target=_wait_for_end, args=(ended,), daemon=True).start()
    while not ended.wait(INTERVAL_SECONDS):
        follower.follow()
    follower.follow(last=True)


def _wait_for_end(ended: threading.Event) -> None:
    """The other end closes, or dies."""
    sys.stdin.read()
    ended.set()


def _mute() -> None:
    """What libraries print is not for the study's terminal."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


if __name__ == "__main__":
    main()
