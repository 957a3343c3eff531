"""Two controllers on one folder, and the lock of one that died."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fabricate import make_study

from attnres_eval.errors import UserError
from attnres_eval.lock import DEAD_AFTER, HOLDER, LOCK, holder_of, holding
from attnres_eval.report.build import build_report
from attnres_eval.study import Study
from attnres_eval.sweep.calibration import calibrate_folder
from attnres_eval.sweep.run import run_study

HOLD = """
import sys, time
from pathlib import Path
from attnres_eval.lock import holding
with holding(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(120)
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that works in `tmp_path / "out"`."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "out")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_second_controller_says_who_holds_the_folder(
    other: subprocess.Popen[str], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "attnres_eval", "reproduce", "--study", "smoke"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "out")], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert f"process {other.pid} on {os.uname().nodename} since 2" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out" / "study.json").exists()


def test_the_lock_of_a_killed_process_is_taken_over(
    other: subprocess.Popen[str], tmp_path: Path, tiny: Callable[..., Study], here: Any
) -> None:
    out = tmp_path / "out"
    with pytest.raises(UserError, match=f"process {other.pid} on"):
        run_study(tiny(), out, here, say=lambda line: None)
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert (holder := holder_of(out)) is not None
    assert holder.pid == other.pid
    assert not run_study(tiny(), out, here, say=lambda line: None).failures
    left = {path.name for path in out.rglob("*")} & {LOCK, HOLDER}
    assert not left


def test_who_waits_gets_the_folder_when_the_holder_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD.replace("120", "1"), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with holding(tmp_path, wait=60):
            assert (holder := holder_of(tmp_path)) is not None
            assert holder.pid == os.getpid()


def of_another_host(folder: Path, age: float) -> None:
    """A record as another machine leaves it, on a file system that passes no locks on."""
    record = {"pid": 1, "host": "elsewhere", "since": "2026-01-01 00:00:00+00:00"}
    (folder / HOLDER).write_text(json.dumps(record))
    then = time.time() - age
    os.utime(folder / HOLDER, (then, then))


def test_a_process_on_another_machine_counts_while_it_touches_its_record(tmp_path: Path) -> None:
    of_another_host(tmp_path, age=DEAD_AFTER / 2)
    with pytest.raises(UserError, match="process 1 on elsewhere since 2026"), holding(tmp_path):
        pytest.fail("the folder was given to two")
    assert (tmp_path / HOLDER).exists()
    of_another_host(tmp_path, age=DEAD_AFTER + 1)
    with holding(tmp_path):
        assert (holder := holder_of(tmp_path)) is not None
        assert holder.pid == os.getpid()


def test_a_holder_touches_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attnres_eval.lock.BEAT_SECONDS", 0.05)
    with holding(tmp_path):
        os.utime(tmp_path / HOLDER, (0, 0))
        deadline = time.monotonic() + 20
        while (tmp_path / HOLDER).stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (tmp_path / HOLDER).stat().st_mtime > 0


def test_a_damaged_record_of_the_holder_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / HOLDER).write_bytes(b"\xff{")
    with holding(tmp_path):
        pass


def test_a_report_beside_a_running_study_is_built_and_a_calibration_is_refused(
    fabricated: Callable[..., Path],
) -> None:
    results = fabricated(study=make_study(labels=("prenorm", "full_attnres"), n_sizes=1))
    with holding(results):
        assert build_report(results).is_file()
        with pytest.raises(UserError, match="is being worked on by process"):
            calibrate_folder(results, None)
