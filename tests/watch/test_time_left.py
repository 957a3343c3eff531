"""Time left against schedules worked out by hand."""

from dataclasses import replace

import pytest
from fabricate import make_study

from attnres_eval.study import RunConfig
from attnres_eval.watch.state import PartState, RunState, State, Status
from attnres_eval.watch.time_left import time_left

STUDY = make_study(n_sizes=2, seeds=(0,))


def run(label: str, size: str, status: Status, flops: float, **keywords: float) -> RunState:
    config: RunConfig = STUDY.run(label, size, 0)
    return RunState(config, status, flops, **keywords)  # type: ignore[arg-type]


def state(runs: list[RunState], workers: int) -> State:
    return State("x", 0.0, [PartState("", begun=True, runs=runs)], workers)


ENDED = run("prenorm", "d32", Status.FINISHED, 100.0, flops_per_second=2.0, flops_done=100.0)
RUNNING = run("full_attnres", "d32", Status.RUNNING, 100.0, flops_per_second=1.0, flops_done=70.0)


def test_unknown_without_evidence() -> None:
    waiting = run("prenorm", "d32", Status.WAITING, 100.0)
    assert time_left(state([waiting], 0)).seconds is None
    started = run("prenorm", "d32", Status.RUNNING, 100.0)
    assert time_left(state([started], 1)).seconds is None
    # Speeds alone do not say that anybody trains.
    assert time_left(state([ENDED, waiting], 2)).basis == "nobody trains"


def test_nothing_left() -> None:
    assert time_left(state([ENDED], 0)).seconds == 0


def test_a_running_run_ends_at_its_own_speed() -> None:
    found = time_left(state([ENDED, RUNNING], 1))
    assert found.seconds == pytest.approx(30)
    assert "2 runs" in found.basis
    assert "1 at once" in found.basis


def test_runs_queue_for_the_workers_longest_first() -> None:
    short = run("prenorm", "d32", Status.WAITING, 20.0)  # at 2 a second: 10 s
    long = run("prenorm", "d32", Status.STOPPED, 200.0, flops_done=40.0)  # 80 s
    runs = [ENDED, RUNNING, short, long]
    assert time_left(state(runs, 1)).seconds == pytest.approx(30 + 10 + 80)
    # The idle worker takes the long one at once, the busy one the short one after its own.
    assert time_left(state(runs, 2)).seconds == pytest.approx(80)
    assert time_left(state([*runs, long], 2)).seconds == pytest.approx(30 + 80 + 10 - 10)


def test_a_label_has_its_own_speed_else_its_size_else_the_nearest() -> None:
    own = replace(ENDED, config=STUDY.run("full_attnres", "d32", 0), flops_per_second=4.0)
    busy = replace(RUNNING, flops_per_second=4.0, flops_done=100.0)
    seen = [ENDED, own, busy]
    one = run("full_attnres", "d32", Status.WAITING, 400.0)
    assert time_left(state([*seen, one], 1)).seconds == pytest.approx(100)
    of_size = run("block_attnres", "d32", Status.WAITING, 400.0)
    assert time_left(state([*seen, of_size], 1)).seconds == pytest.approx(100)
    elsewhere = run("prenorm", "d48", Status.WAITING, 400.0)
    assert time_left(state([*seen, elsewhere], 1)).seconds == pytest.approx(100)
