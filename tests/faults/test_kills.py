"""Studies that are killed at any moment end as if nothing had happened, and train little twice."""

import io
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from faults import victim

from attnres_eval.analysis.collect import collect
from attnres_eval.study import Study
from attnres_eval.sweep.folder import run_folder
from attnres_eval.sweep.run import run_study

CHECKPOINT_EVERY = 10
CLOCKS = ["seconds", "tokens_per_second", "relative_speed", "peak_memory_mib", "peak_memory_bytes"]


def steps_twice(trace: Path) -> tuple[int, int]:
    """Steps that were trained more than once, and the most that one death cost.

    Fails where a process began further back than the last checkpoint can have been.
    """
    last: dict[str, tuple[int, int]] = {}
    twice = most = 0
    for line in trace.read_text().splitlines():
        pid, *words = line.split()
        if len(words) != 2:
            continue
        run, step = words[0], int(words[1])
        before = last.get(run)
        if before is not None:
            if before[0] == int(pid):
                assert step == before[1] + 1, line
            else:
                again = before[1] + 1 - step
                assert 0 <= again <= CHECKPOINT_EVERY, f"{line} after step {before[1]}"
                twice, most = twice + again, max(most, again)
        last[run] = int(pid), step
    return twice, most


def test_a_trace_that_begins_again_is_noticed(tmp_path: Path) -> None:
    lines = [*(f"1 run {step}" for step in range(25)), *(f"2 run {step}" for step in range(20, 49))]
    trace = tmp_path / "trace"
    trace.write_text("\n".join(lines))
    assert steps_twice(trace) == (5, 5)
    trace.write_text("\n".join([*lines[:25], "2 run 14"]))
    with pytest.raises(AssertionError, match="2 run 14 after step 24"):
        steps_twice(trace)
    trace.write_text("\n".join([*lines, "3 run 0"]))
    with pytest.raises(AssertionError, match="3 run 0 after step 48"):
        steps_twice(trace)


def weights(results: Path, study: Study) -> list[bytes]:
    folders = [run_folder(results, run) for run in study.runs()]
    return [(folder.checkpoint / "model.safetensors").read_bytes() for folder in folders]


def frames(results: Path) -> list[str]:
    found = collect(results)
    return [
        frame.drop(columns=CLOCKS, errors="ignore").to_csv() for frame in (found.runs, found.curves)
    ]


def test_a_study_killed_a_dozen_times_is_the_undisturbed_study(
    tiny: Callable[..., Study], here: Any, tmp_path: Path
) -> None:
    study = tiny(
        recipe={"tokens_per_parameter": 2.0},
        evaluation={"inspection_tokens": 64, "calibration_rounds": 0},
    )
    whole, killed, trace = tmp_path / "whole", tmp_path / "killed", tmp_path / "trace"
    run_study(study, whole, here, say=lambda line: None)
    # Forked from a process that has imported what it takes seconds to import.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["faults.victim"])
    chance, kills = random.Random(0), 0
    while True:
        around_a_write = kills % 2 == 0 and kills < 12
        dies_at = chance.randrange(1, 25) if around_a_write else None
        process = context.Process(
            target=victim.run_here, args=(study, killed, here, trace, dies_at)
        )
        process.start()
        if not around_a_write and kills < 12:
            process.join(chance.uniform(0.1, 0.8))
            process.kill()
        process.join(120)
        if process.exitcode != -signal.SIGKILL:
            break
        kills += 1
    assert process.exitcode == 0
    assert kills >= 8, "most were to come before the end"
    twice, _ = steps_twice(trace)
    assert twice <= kills * CHECKPOINT_EVERY
    assert weights(killed, study) == weights(whole, study)
    assert frames(killed) == frames(whole)
    left = [
        path for path in killed.rglob("*") if path.name.endswith(".tmp") or path.name == "resume"
    ]
    assert not left


TASKS = {
    name: {"limit": 12} for name in ("reasoning_mano_k2", "reasoning_s5", "reasoning_chain_k2")
}
KILLS = {"training": 35, "evaluation": 15}


def children(pid: int) -> list[int]:
    """The workers of a controller."""
    try:
        pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(p) for p in pids if b"spawn_main" in Path(f"/proc/{p}/cmdline").read_bytes()]
    except OSError:
        return []


def tables(results: Path) -> dict[str, str]:
    """Every table without its clock readings."""
    found = {}
    for file in sorted((results / "tables").glob("*.csv")):
        frame = pd.read_csv(io.StringIO(file.read_text()), dtype=str)
        found[file.name] = frame.drop(columns=CLOCKS, errors="ignore").to_csv()
    return found


@pytest.mark.slow
def test_fifty_kills_change_no_table(
    tiny: Callable[..., Study], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tiny(
        recipe={"tokens_per_parameter": 16.0},
        seeds=[0, 1],
        evaluation={"tasks": TASKS, "inspection_tokens": 64, "calibration_rounds": 0},
    )
    steps = sum(run.steps for run in study.runs())
    file, chance = tmp_path / "tiny.yaml", random.Random(0)
    file.write_text(yaml.safe_dump(study.model_dump(mode="json")))
    whole, killed = tmp_path / "whole", tmp_path / "killed"

    def start(out: Path, dies: str = "") -> subprocess.Popen[bytes]:
        command = [sys.executable, victim.__file__, "reproduce", "--study", str(file)]
        environment = {**os.environ, "VICTIM_TRACE": str(out.parent / f"{out.name}.trace")}
        return subprocess.Popen(
            [*command, "--out", str(out), "--workers", "2"],
            env=environment | ({"VICTIM_DIES": dies} if dies else {}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def phase() -> str:
        finished = all(run_folder(killed, run).finished for run in study.runs())
        return "evaluation" if finished else "training"

    undisturbed = start(whole)
    _, stderr = undisturbed.communicate(timeout=900)
    assert undisturbed.returncode == 0, stderr
    trace = tmp_path / "killed.trace"
    trace.touch()

    def wait_for_work(controller: subprocess.Popen[bytes]) -> None:
        """Until a step is trained or, later, a worker is there; then for a moment of chance."""
        began = trace.stat().st_size
        while controller.poll() is None:
            trains = trace.stat().st_size > began
            if trains or (phase() == "evaluation" and children(controller.pid)):
                break
            time.sleep(0.05)
        time.sleep(chance.uniform(0, 2 if phase() == "training" else 15))

    left, by_whom = dict(KILLS), {"controller": 0, "worker": 0, "around a write": 0}
    deadline, code = time.monotonic() + 3600, None
    while code != 0:
        assert time.monotonic() < deadline
        dies = ""
        if left[phase()] and chance.random() < 0.4:
            most = 4 if phase() == "evaluation" else 60
            dies = chance.choice(
                ["controller:2", "controller:3", f"worker:{chance.randint(1, most)}"]
            )
        said = trace.read_text().count("dies")
        controller = start(killed, dies)
        while controller.poll() is None and left[phase()]:
            wait_for_work(controller)
            if controller.poll() is not None or not left[phase()]:
                break
            workers = children(controller.pid)
            whom = "worker" if workers and chance.random() < 0.7 else "controller"
            os.kill(chance.choice(workers) if whom == "worker" else controller.pid, signal.SIGKILL)
            by_whom[whom] += 1
            left[phase()] = max(0, left[phase()] - 1)
        _, stderr = controller.communicate(timeout=900)
        code = controller.returncode
        assert b"Traceback" not in stderr, stderr.decode()
        died = trace.read_text().count("dies") - said
        by_whom["around a write"] += died
        left[phase()] = max(0, left[phase()] - died)

    kills = sum(by_whom.values())
    assert kills >= 50, by_whom
    twice, most = steps_twice(trace)
    assert twice <= kills * CHECKPOINT_EVERY
    assert weights(killed, study) == weights(whole, study)
    assert tables(killed) == tables(whole)
    assert len(tables(whole)) > 10
    with capsys.disabled():
        print(
            f"\n{kills} kills ({', '.join(f'{n} {who}' for who, n in by_whom.items())}):"
            f" {twice} of {steps} steps trained twice, {most} at most after one;"
            f" {len(tables(whole))} tables identical"
        )
