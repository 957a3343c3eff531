"""What a look into a folder finds: every status, whoever holds what, whatever is half there."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fabricate import fabricate, make_study
from folders import BEGAN, begin, fail, files, hold, let_go, line, run_at, write_lines

from attnres_eval.errors import UserError
from attnres_eval.lock import DEAD_AFTER
from attnres_eval.records import write_record
from attnres_eval.sweep.parts import claim_parts
from attnres_eval.watch.look import Watched
from attnres_eval.watch.state import PartState, Status

NOW = BEGAN + 500.0
STUDY = make_study(n_sizes=2, seeds=(0,))
RUN = STUDY.run("full_attnres", "d32", 0)
LINES = [line(RUN, step, 5 - step / 100, step * 2.0) for step in (20, 40, 60)]


@pytest.fixture
def results(fabricated: Callable[..., Path]) -> Path:
    return fabricated(study=STUDY)


def part_of(results: Path, now: float = NOW) -> PartState:
    (part,) = Watched(results).look(now).parts
    return part


def status_of(part: PartState, run: str = RUN.run) -> Status:
    return {found.config.run: found.status for found in part.runs}[run]


def test_a_study_that_is_done(results: Path) -> None:
    state = Watched(results).look(NOW)
    assert state.ended
    assert state.fraction == 1
    by_size = {run.config.size: run.status for run in state.runs}
    # The largest size alone is scored.
    assert by_size == {"d32": Status.FINISHED, "d48": Status.SCORED}


def test_a_held_run_is_running(results: Path) -> None:
    folder = begin(results, RUN, LINES)
    hold(folder.path, NOW - 3)
    part = part_of(results)
    run = next(run for run in part.runs if run.config == RUN)
    assert run.status == Status.RUNNING
    assert run.curve == LINES
    assert run.flops_done == LINES[-1].flops
    assert run.flops_per_second == LINES[-1].flops / 120
    # The baseline's run of this size and seed lies beside it.
    assert [x.step for x in run.baseline]
    assert len(run.baseline) == len(
        run_at(results, STUDY.run("prenorm", "d32", 0)).metrics.read_text().splitlines()
    )
    assert part.left
    assert part.busy


def test_a_killed_run_is_not_running(results: Path) -> None:
    folder = begin(results, RUN, LINES)
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    # Its record is fresh; but the process of this machine that it names is no more.
    hold(folder.path, NOW - 3, pid=process.pid)
    assert status_of(part_of(results)) == Status.STOPPED


def test_a_holder_on_another_machine_lives_by_its_touch(results: Path) -> None:
    folder = begin(results, RUN, LINES)
    hold(folder.path, NOW - DEAD_AFTER + 5, pid=1, host="elsewhere")
    assert status_of(part_of(results)) == Status.RUNNING
    hold(folder.path, NOW - DEAD_AFTER - 5, pid=1, host="elsewhere")
    assert status_of(part_of(results)) == Status.STOPPED


def test_a_copy_of_results_elsewhere_has_no_holders_of_runs(results: Path) -> None:
    folder = begin(results, RUN, LINES)
    assert status_of(part_of(results)) == Status.STOPPED
    # The study's holder began before the metrics were written.
    hold(results, NOW)
    assert status_of(part_of(results)) == Status.RUNNING
    os.utime(folder.metrics, (BEGAN - 100, BEGAN - 100))
    assert status_of(part_of(results)) == Status.STOPPED


def test_a_failure_has_its_reason(results: Path) -> None:
    folder = begin(results, RUN, LINES)
    fail(folder, "diverged at step 61\nand more")
    part = part_of(results)
    (run,) = part.having(Status.FAILED)
    assert (run.config, run.why) == (RUN, "diverged at step 61")
    state = Watched(results).look(NOW)
    # What it will never train is not missing.
    assert state.fraction == 1
    assert state.ended
    hold(folder.path, NOW)
    assert status_of(part_of(results)) == Status.RUNNING


def test_a_damaged_summary_is_a_failure(results: Path) -> None:
    path = run_at(results, RUN).summary
    path.write_text(path.read_text().replace('"tokens"', '"token"'))
    (run,) = part_of(results).having(Status.FAILED)
    assert "summary.json" in run.why


def test_waiting_and_without_a_folder(results: Path) -> None:
    shutil.rmtree(run_at(results, RUN).path)
    assert status_of(part_of(results)) == Status.WAITING
    run_at(results, RUN).path.mkdir()
    assert status_of(part_of(results)) == Status.WAITING


def test_scoring_and_what_is_left_to_score(results: Path) -> None:
    run = STUDY.run("prenorm", "d48", 0)
    folder = run_at(results, run)
    shutil.rmtree(folder.evaluation)
    part = part_of(results)
    assert status_of(part, run.run) == Status.FINISHED
    assert part.to_score == 1
    assert not Watched(results).look(NOW).ended
    hold(folder.path, NOW)
    assert status_of(part_of(results), run.run) == Status.SCORING


def test_timing(fabricated: Callable[..., Path]) -> None:
    results = fabricated(study=STUDY)
    assert not part_of(results).timing
    hold(results, NOW)
    assert part_of(results).timing
    let_go(results)
    timed = fabricate(results, study=STUDY, step_times={})
    hold(timed, NOW)
    assert not part_of(timed).timing


def test_runs_appear_and_vanish_between_two_looks(results: Path) -> None:
    watched = Watched(results)
    kept = run_at(results, RUN).path.rename(results / "elsewhere")
    assert status_of(watched.look(NOW).parts[0]) == Status.WAITING
    kept.rename(run_at(results, RUN).path)
    assert status_of(watched.look(NOW).parts[0]) == Status.FINISHED
    shutil.rmtree(results / "runs")
    assert watched.look(NOW).fraction == 0
    shutil.rmtree(results)
    assert {run.status for run in watched.look(NOW).runs} == {Status.WAITING}


def test_a_study_that_is_replaced_is_read_anew(results: Path) -> None:
    watched = Watched(results)
    assert len(watched.look(NOW).runs) == 6
    write_record(results / "study.json", make_study(n_sizes=1, seeds=(0,)))
    assert len(watched.look(NOW).runs) == 3
    (results / "study.json").write_text("{")
    assert len(watched.look(NOW).runs) == 3


def test_parts(tmp_path: Path) -> None:
    claim_parts(tmp_path, "whole", ["one", "two"])
    fabricate(tmp_path / "one", study=STUDY)
    watched = Watched(tmp_path)
    state = watched.look(NOW)
    assert state.name == "whole"
    assert [(part.name, part.begun, part.left) for part in state.parts] == [
        ("one", True, False),
        ("two", False, True),
    ]
    assert not state.ended
    fabricate(tmp_path / "two", study=STUDY)
    assert watched.look(NOW).ended


def test_one_run(results: Path) -> None:
    folder = begin(results, RUN, LINES)
    hold(folder.path, NOW)
    state = Watched(folder.path).look(NOW)
    assert [run.status for run in state.runs] == [Status.RUNNING]
    assert state.name == RUN.run


def test_workers_are_those_seen_at_once(results: Path) -> None:
    other = STUDY.run("block_attnres", "d32", 0)
    hold(results, NOW)
    hold(begin(results, RUN, LINES).path, NOW)
    hold(begin(results, other, LINES).path, NOW)
    watched = Watched(results)
    assert watched.look(NOW).workers == 2
    let_go(run_at(results, other).path)
    run_at(results, other).metrics.unlink()
    assert watched.look(NOW).workers == 2
    # Another process may have fewer workers.
    hold(results, NOW, host="elsewhere", pid=1)
    assert watched.look(NOW).workers == 1


def test_looking_writes_nothing(results: Path) -> None:
    hold(begin(results, RUN, LINES).path, NOW)
    write_lines(run_at(results, RUN), LINES, '{"step"')
    before = files(results)
    Watched(results).look(NOW)
    assert files(results) == before


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: None, "there is no results folder"),
        (lambda folder: folder.mkdir(), "has no study.json"),
        (lambda folder: (folder.mkdir(), (folder / "study.json").write_text("{")), "not valid"),
        (lambda folder: (folder.mkdir(), (folder / "parts.json").write_text("{}")), "no Parts"),
    ],
)
def test_what_is_no_results_folder(
    tmp_path: Path, make: Callable[[Path], object], says: str
) -> None:
    make(tmp_path / "x")
    with pytest.raises(UserError, match=says):
        Watched(tmp_path / "x")
