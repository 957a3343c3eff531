"""A killed evaluation goes on, and its records are those of an undisturbed one."""

import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

from attnres_eval.records import RunFolder, task_file
from attnres_eval.study import Task
from attnres_eval.sweep.jobs import evaluate_run, in_folder, tasks_left

TASKS = {
    name: Task(limit=40)
    for name in ("reasoning_mano_k2", "reasoning_s5", "reasoning_chain_k2", "reasoning_mano_k3")
}


def run_folder(ours: Path, folder: Path) -> RunFolder:
    shutil.copytree(ours, folder / "checkpoint")
    return RunFolder(folder)


def contents(run: RunFolder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.evaluation.glob("*.json")}


def test_a_killed_evaluation_continues(ours: Path, tmp_path: Path) -> None:
    whole = run_folder(ours, tmp_path / "whole")
    in_folder(whole.path, evaluate_run, (TASKS, 8, None))

    killed = run_folder(ours, tmp_path / "killed")
    process = multiprocessing.get_context("spawn").Process(
        target=in_folder, args=(killed.path, evaluate_run, (TASKS, 8, None))
    )
    process.start()
    deadline = time.monotonic() + 120
    first = task_file(killed.evaluation, "reasoning_mano_k2")
    while not first.is_file() and time.monotonic() < deadline:
        time.sleep(0.002)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    left = tasks_left(killed, TASKS)
    assert "reasoning_mano_k2" not in left
    assert left, "it was killed too late to say anything"

    in_folder(killed.path, evaluate_run, (left, 8, None))
    assert contents(killed) == contents(whole)
    assert not tasks_left(killed, TASKS)
