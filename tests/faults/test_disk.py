"""A full disk: a line names the file, old files stay, and on it goes when there is room."""

import contextlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from fabricate import make_study

from attnres_eval.data.prepare import prepare
from attnres_eval.errors import UserError
from attnres_eval.files import write_text
from attnres_eval.records import Metrics, RunFolder, read_records
from attnres_eval.report.build import build_report
from attnres_eval.study import Study
from attnres_eval.sweep.folder import claim
from attnres_eval.sweep.run import run_study
from attnres_eval.train.loop import train

Limit = Callable[[int], contextlib.AbstractContextManager[None]]
CLOCKS = {"seconds", "tokens_per_second"}
SIZES = [200, 700, 1500, 9000, 30_000, 70_000]
"""From a limit that no file fits to one that only the largest breaks."""


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def losses(folder: RunFolder) -> list[dict[str, Any]]:
    return [line.model_dump(exclude=CLOCKS) for line in read_records(folder.metrics, Metrics)]


def test_a_file_that_cannot_be_written_is_named_and_the_old_one_stays(
    tmp_path: Path, full_disk: Limit
) -> None:
    path = tmp_path / "table.csv"
    write_text(path, "old")
    with full_disk(1000), pytest.raises(UserError, match=r"table.csv cannot be written \(File too"):
        write_text(path, "new" * 1000)
    assert contents(tmp_path) == {"table.csv": b"old"}
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"table.csv cannot be written \(File exists\)"):
        write_text(tmp_path / "file" / "table.csv", "new")


def test_a_run_stops_at_a_full_disk_wherever_it_is_and_goes_on(
    tiny: Callable[..., Study], tmp_path: Path, full_disk: Limit
) -> None:
    config = tiny().runs()[0]
    data = prepare(config.data)
    whole, stopped = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "stopped")
    train(config, whole, data)
    named = []

    def full_at_the_end(done: int, steps: int, stack: contextlib.ExitStack) -> None:
        if done == steps:
            stack.enter_context(full_disk(4000))

    for size in SIZES:
        with full_disk(size), pytest.raises(UserError, match="cannot be written") as error:
            train(config, stopped, data)
        assert "\n" not in str(error.value)
        assert "make room, then run the same command again" in str(error.value)
        assert not list(stopped.path.rglob(".*.tmp")), "half a file was left"
        named.append(Path(str(error.value).split(" cannot be written")[0]).name)
    with contextlib.ExitStack() as stack, pytest.raises(UserError) as error:
        train(config, stopped, data, lambda done: full_at_the_end(done, config.steps, stack))
    named.append(Path(str(error.value).split(" cannot be written")[0]).name)
    train(config, stopped, data)
    weights = "model.safetensors"
    assert (stopped.checkpoint / weights).read_bytes() == (whole.checkpoint / weights).read_bytes()
    assert losses(stopped) == losses(whole)
    # Record, metrics, a state to resume from, the model: each was what did not fit at some limit.
    assert set(named) == {"config.json", "metrics.jsonl", "00000010", "checkpoint"}


def test_tables_are_old_or_new_on_a_full_disk(
    fabricated: Callable[..., Path], full_disk: Limit
) -> None:
    results = fabricated(study=make_study(labels=("prenorm", "full_attnres"), n_sizes=1))
    build_report(results)
    before = contents(results)
    (results / "tables" / "losses.csv").write_text("old\n")
    with full_disk(100), pytest.raises(UserError, match=r"\w+\.csv cannot be written"):
        build_report(results)
    assert contents(results) == before | {"tables/losses.csv": b"old\n"}
    build_report(results)
    assert contents(results) == before


def test_a_folder_that_may_not_be_written_is_one_line(
    tiny: Callable[..., Study], here: Any, tmp_path: Path
) -> None:
    # The superuser may write anywhere, but not below a file.
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"out cannot be written \(Not a directory\)"):
        run_study(tiny(), tmp_path / "file" / "out", here, say=lambda line: None)
    claim(tmp_path / "study", tiny(), force=False)
    (tmp_path / "study" / "runs").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot be written \(Not a directory\)"):
        run_study(tiny(), tmp_path / "study", here, say=lambda line: None)


@pytest.mark.slow
def test_the_command_on_a_real_full_disk(tiny: Callable[..., Study], tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this process may not mount a file system")
    try:
        study = tmp_path / "tiny.yaml"
        study.write_text(yaml.safe_dump(tiny().model_dump(mode="json")))
        command = [sys.executable, "-m", "attnres_eval", "reproduce", "--study", str(study)]
        command += ["--out", str(disk / "out"), "--workers", "1"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        assert "cannot be written (" in done.stderr
        assert "No space left on device" in done.stderr
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert (disk / "out" / "report.html").is_file()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
