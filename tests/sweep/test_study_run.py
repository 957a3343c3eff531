import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_study import tiny

from attnres_eval.errors import UserError
from attnres_eval.records import InspectionRecord, read_record, write_record
from attnres_eval.study import Task
from attnres_eval.sweep.executor import Job, LocalExecutor
from attnres_eval.sweep.folder import claim, differences, run_folder
from attnres_eval.sweep.jobs import inspection_left
from attnres_eval.sweep.progress import last_metrics
from attnres_eval.sweep.run import run_study


def test_second_call_does_nothing_and_a_new_seed_trains_only_itself(
    corpus: Path, tmp_path: Path
) -> None:
    executor = LocalExecutor(2)
    first = run_study(tiny(corpus), tmp_path, executor, say=lambda line: None)
    assert sorted(first.trained) == ["full_attnres-d16-s0", "prenorm-d16-s0"]
    assert not first.failures
    second = run_study(tiny(corpus), tmp_path, executor, say=lambda line: None)
    assert (second.trained, second.scored) == ([], [])
    with pytest.raises(UserError, match=r"holds another study \(seeds: \[0\] -> \[0, 1\]\)"):
        run_study(tiny(corpus, seeds=[0, 1]), tmp_path, executor, say=lambda line: None)
    third = run_study(
        tiny(corpus, seeds=[0, 1]), tmp_path, executor, force=True, say=lambda line: None
    )
    assert sorted(third.trained) == ["full_attnres-d16-s1", "prenorm-d16-s1"]


def test_a_run_that_diverges_does_not_stop_the_others(corpus: Path, tmp_path: Path) -> None:
    study = tiny(corpus)
    claim(tmp_path, study, force=False)
    # One folder is taken by another configuration: that run fails, in one line.
    taken = tmp_path / "runs" / "prenorm-d16-s0"
    taken.mkdir(parents=True)
    other = tiny(corpus, seeds=[7]).runs()[0]
    (taken / "config.json").write_text(json.dumps(other.model_dump(mode="json")))
    result = run_study(study, tmp_path, LocalExecutor(1), say=lambda line: None)
    assert result.trained == ["full_attnres-d16-s0"]
    assert "holds another run" in result.failures["prenorm-d16-s0"]


def test_missing_and_empty_corpora_are_one_line(corpus: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text("")
    for name, message in (("nowhere.txt", "nowhere.txt"), (str(empty), "empty")):
        study = tiny(corpus, data={"corpora": {f"file:{name}": 1.0}, "vocab_size": 300})
        with pytest.raises(UserError, match=message):
            run_study(study, tmp_path / "out", LocalExecutor(1), say=lambda line: None)


def test_folder_of_other_things_is_refused(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match="not empty and holds no study"):
        claim(tmp_path, tiny(corpus), force=False)
    assert (tmp_path / "thesis.tex").exists()


def test_differences_name_the_keys() -> None:
    found = {"a": {"b": 1, "c": 2}, "d": 3}
    assert differences(found, {"a": {"b": 1, "c": 5}, "e": 3}) == [
        "a.c: 2 -> 5",
        "d removed",
        "e added",
    ]
    assert differences(found, found) == []


def square(number: int) -> int:
    if number == 3:
        raise UserError("three is too many")
    return number**2


def pid_then_sleep(path: Path) -> None:
    path.write_text(str(os.getpid()))
    time.sleep(60)


def test_executor_reports_values_and_failures() -> None:
    jobs = [Job(f"job {number}", square, (number,)) for number in range(5)]
    outcomes = {o.name: (o.value, o.failure) for o in LocalExecutor(2).execute(jobs, lambda: None)}
    assert outcomes.pop("job 3") == (None, "three is too many")
    assert outcomes == {f"job {n}": (n**2, None) for n in (0, 1, 2, 4)}


def kill_myself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def use_up_memory(kind: type[Exception], text: str) -> None:
    raise kind(text)


def test_a_killed_worker_and_one_without_memory_leave_the_others_alone() -> None:
    jobs = [
        Job("killed", kill_myself, ()),
        Job("square", square, (7,)),
        Job("python", use_up_memory, (MemoryError, "")),
        Job("torch", use_up_memory, (RuntimeError, "DefaultCPUAllocator: can't allocate memory")),
        Job("other square", square, (8,)),
    ]
    outcomes = {o.name: o for o in LocalExecutor(1).execute(jobs, lambda: None)}
    assert (outcomes["square"].value, outcomes["other square"].value) == (49, 64)
    assert "killed from outside (out of memory?)" in (outcomes["killed"].failure or "")
    assert outcomes["python"].failure == "python ran out of memory"
    assert outcomes["torch"].failure == "torch ran out of memory"


def test_another_runtime_error_is_a_bug_and_raised() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        list(LocalExecutor(1).execute([Job("bug", use_up_memory, (RuntimeError, "shapes"))], list))


def run_one(path: Path) -> None:
    list(LocalExecutor(1).execute([Job("orphan", pid_then_sleep, (path,))], lambda: None))


def test_workers_die_with_a_killed_controller(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    context = multiprocessing.get_context("spawn")
    controller = context.Process(target=run_one, args=(marker,))
    controller.start()
    while not marker.is_file() or not marker.read_text():
        time.sleep(0.05)
    worker = int(marker.read_text())
    controller.kill()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{worker}").exists()


def test_last_metrics_reads_the_tail_only(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert last_metrics(path) is None
    line = {
        "step": 1,
        "tokens": 1,
        "flops": 1.0,
        "loss": 1.0,
        "learning_rate": 1.0,
        "grad_norm": 1.0,
        "seconds": 1.0,
        "tokens_per_second": 1.0,
    }
    lines = [json.dumps(line | {"step": step}) for step in range(50_000)]
    path.write_text("\n".join(lines) + '\n{"step": 9', encoding="utf-8")
    start = time.perf_counter()
    found = last_metrics(path)
    assert found is not None
    assert found.step == 49_999
    assert time.perf_counter() - start < 0.1


def test_interrupt_ends_with_130_and_the_study_goes_on_later(corpus: Path, tmp_path: Path) -> None:
    recipe = {"context": 32, "batch_sequences": 2, "tokens_per_parameter": 20, "log_every": 1}
    study = tmp_path / "tiny.yaml"
    study.write_text(yaml.safe_dump(tiny(corpus, recipe=recipe).model_dump(mode="json")))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "attnres_eval", "reproduce", "--study", str(study)]
    process = subprocess.Popen(
        [*command, "--out", str(out)],
        stderr=subprocess.PIPE,
        start_new_session=True,
        # A shell that runs the tests in its background has them ignore interrupts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 120
    while not list(out.glob("runs/*/metrics.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    start = time.monotonic()
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert time.monotonic() - start < 5
    assert b"Traceback" not in stderr
    assert b"run the same command again" in stderr


def test_tasks_left_are_those_without_a_record(tmp_path: Path) -> None:
    from attnres_eval.records import RunFolder, TaskRecord, task_file, write_record
    from attnres_eval.sweep.jobs import tasks_left

    folder = RunFolder(tmp_path)
    tasks = {"arc_easy": Task(limit=5), "piqa": Task(limit=5), "hellaswag": Task(limit=6)}
    for name in ("arc_easy", "hellaswag"):
        record = TaskRecord(
            task=name,
            task_version="1.0",
            lm_eval="0",
            num_fewshot=0,
            limit=5,
            n_questions=0,
            model_sha256="0",
            backend="attnres",
            metrics={},
            chance=0.25,
            questions=[],
        )
        write_record(task_file(folder.evaluation, name), record)
    assert list(tasks_left(folder, tasks)) == ["piqa", "hellaswag"]
    folder.checkpoint.mkdir()
    (folder.checkpoint / "model.safetensors").write_bytes(b"other weights")
    assert list(tasks_left(folder, tasks)) == list(tasks)


def test_finished_runs_of_the_largest_size_are_inspected_once(corpus: Path, tmp_path: Path) -> None:
    sizes = {f"d{d}": {"d_model": d, "n_layers": 1, "n_heads": 1} for d in (16, 8)}
    study = tiny(corpus, sizes=sizes, evaluation={"inspection_tokens": 70, "calibration_rounds": 0})
    quiet: dict[str, Any] = {"say": lambda line: None}
    first = run_study(study, tmp_path, LocalExecutor(1), **quiet)
    assert not first.failures
    assert sorted(first.inspected) == ["full_attnres-d16-s0", "prenorm-d16-s0"]
    folder = run_folder(tmp_path, study.run("prenorm", "d16", 0))
    record = read_record(folder.inspection, InspectionRecord)
    assert (record.limit, record.tokens, len(record.output_rms)) == (70, 64, 3)
    assert not list(tmp_path.glob("runs/*d8*/inspection.json"))
    assert run_study(study, tmp_path, LocalExecutor(1), **quiet).inspected == []
    # A record of other weights or of another number of tokens is taken again.
    assert inspection_left(folder, 71)
    write_record(folder.inspection, record.model_copy(update={"model_sha256": "other"}))
    assert inspection_left(folder, 70)
    # Without weights the record speaks for itself; without either there is something left.
    shutil.rmtree(folder.checkpoint)
    assert not inspection_left(folder, 70)
    folder.inspection.write_text("{")
    assert inspection_left(folder, 70)
