"""What happens beside a study: data that change, a hub that hangs, clocks that jump, interrupts."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pytest
import yaml
from fabricate import fabricate, make_study

from attnres_eval.analysis.collect import collect
from attnres_eval.analysis.paired import mcnemar_table, paired_table
from attnres_eval.analysis.questions import answers
from attnres_eval.data import hub
from attnres_eval.data.corpora import open_corpus
from attnres_eval.data.prepare import prepare
from attnres_eval.errors import UserError
from attnres_eval.files import sha256_of_file
from attnres_eval.records import Metrics, RunFolder, read_records
from attnres_eval.report.build import build_report
from attnres_eval.study import Study
from attnres_eval.sweep.executor import Job, Outcome
from attnres_eval.sweep.run import run_study
from attnres_eval.train.loop import train


def quiet(line: str) -> None:
    pass


def test_a_token_file_that_changes_stops_the_run_before_its_next_checkpoint(
    tiny: Callable[..., Study], tmp_path: Path
) -> None:
    config = tiny().runs()[0]
    cache, folder = tmp_path / "cache", RunFolder(tmp_path / "run")
    data = prepare(config.data, cache)
    tokens = data.folder / data.manifest.corpora[0].file

    def change(done: int) -> None:
        if done == 15:
            with tokens.open("r+b") as file:
                file.write(b"\1\0" * 50)

    with pytest.raises(UserError, match=r"train-00.bin was changed while it was read"):
        train(config, folder, data, change)
    assert [path.name for path in folder.resume.iterdir()] == ["00000010"]
    # The same command prepares the data anew and ends as an undisturbed run does.
    again = prepare(config.data, cache)
    assert sha256_of_file(tokens) == data.manifest.files[tokens.name].sha256
    summary = train(config, folder, again)
    undisturbed = train(config, RunFolder(tmp_path / "whole"), again)
    assert summary.validation_nats_per_token == undisturbed.validation_nats_per_token


def test_a_corpus_that_changes_under_a_study_trains_no_run_on_other_text(
    tiny: Callable[..., Study], corpus: Path, here: Any, tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_bytes(corpus.read_bytes())
    data = {"corpora": {f"file:{text}": 1.0}, "vocab_size": 300, "validation_tokens": 512}
    study = tiny(data=data)

    class Changing:
        """Adds to the corpus when the first run has ended."""

        def execute(self, jobs: list[Job], tick: Callable[[], None]) -> Iterator[Outcome]:
            for outcome in here.execute(jobs, tick):
                text.write_bytes(corpus.read_bytes() + b"\n\nmore text" * 100)
                yield outcome

    out = tmp_path / "out"
    result = run_study(study, out, Changing(), say=quiet)
    assert len(result.trained) == 1
    (failure,) = result.failures.values()
    assert "have changed since the study began" in failure
    with pytest.raises(UserError, match="was trained on other data than the corpora give now"):
        run_study(study, out, here, say=quiet)
    text.write_bytes(corpus.read_bytes())
    assert not run_study(study, out, here, say=quiet).failures


def test_a_clock_that_jumps_leaves_times_as_they_are(
    tiny: Callable[..., Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, folder = tiny().runs()[0], RunFolder(tmp_path / "run")
    real = time.time
    offset = 0.0
    monkeypatch.setattr(time, "time", lambda: real() + offset)

    def jump(done: int) -> None:
        nonlocal offset
        offset = -1e9 if done % 2 else 1e9
        if done == 25:
            raise InterruptedError

    data = prepare(config.data)
    start = time.perf_counter()
    with pytest.raises(InterruptedError):
        train(config, folder, data, jump)
    summary = train(config, folder, data)
    taken = time.perf_counter() - start
    seconds = [line.seconds for line in read_records(folder.metrics, Metrics)]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0
    assert summary.seconds < taken
    assert summary.tokens_per_second == pytest.approx(config.tokens / summary.seconds)


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes every connection and never answers."""
    server = socket.create_server(("127.0.0.1", 0))
    taken = []

    def accept() -> None:
        while True:
            try:
                taken.append(server.accept()[0])
            except OSError:
                return

    threading.Thread(target=accept, daemon=True).start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}"
    server.close()
    for connection in taken:
        connection.close()


def test_a_hub_that_never_answers_is_given_up(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from attnres_eval.evaluate import hub as models_hub

    monkeypatch.setattr(hub, "TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(models_hub, "TIMEOUT_SECONDS", 0.5)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    api = huggingface_hub.HfApi
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: api(endpoint=silent))
    corpus = open_corpus("hf:owner/web", hub_characters=10, reasoning_characters=1)
    start = time.monotonic()
    with pytest.raises(UserError, match=r"corpus hf:owner/web: cannot be streamed from the hub"):
        corpus.read()
    assert time.monotonic() - start < 10
    monkeypatch.setattr(models_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(models_hub.constants, "ENDPOINT", silent)
    models_hub.hub_is_reachable.cache_clear()
    try:
        start = time.monotonic()
        assert not models_hub.hub_is_reachable()
        assert time.monotonic() - start < 10
    finally:
        models_hub.hub_is_reachable.cache_clear()


def test_a_stream_that_stalls_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()

    def stream(*arguments: Any, **options: Any) -> Iterator[dict[str, str]]:
        yield {"text": "a first page"}
        never.wait(60)

    monkeypatch.setattr(hub, "STALL_SECONDS", 0.3)
    monkeypatch.setattr(datasets, "load_dataset", stream)
    info = type("Info", (), {"sha": "f00d"})
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *a, **o: info)
    corpus = open_corpus("hf:owner/web", hub_characters=10**6, reasoning_characters=1)
    start = time.monotonic()
    with pytest.raises(UserError, match="it has sent nothing for 0 seconds"):
        corpus.read()
    assert time.monotonic() - start < 10
    never.set()


def test_a_run_without_memory_is_a_hole_with_its_reason(
    tiny: Callable[..., Study], here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tiny(seeds=[0, 1])
    gradients = "attnres_eval.train.trainer.Trainer.gradients"
    from attnres_eval.train.trainer import Trainer

    original = Trainer.gradients

    def starved(self: Trainer, *arguments: Any) -> Any:
        if self.config.run == "full_attnres-d16-s1":
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 8 bytes")
        return original(self, *arguments)

    monkeypatch.setattr(gradients, starved)
    result = run_study(study, tmp_path, here, say=quiet)
    assert result.failures == {"full_attnres-d16-s1": "full_attnres-d16-s1 ran out of memory"}
    assert len(result.trained) == 3
    record = tmp_path / "runs" / "full_attnres-d16-s1" / "failure.json"
    assert json.loads(record.read_text())["reason"] == "full_attnres-d16-s1 ran out of memory"
    page = build_report(tmp_path).read_text()
    assert "planned run has no result" in page
    assert "full_attnres-d16-s1 ran out of memory" in page
    losses = (tmp_path / "tables" / "losses.csv").read_text().splitlines()
    (row,) = (line.split(",") for line in losses if line.startswith("full_attnres-d16-s1,"))
    assert row[losses[0].split(",").index("nats_per_token")] == ""
    monkeypatch.setattr(gradients, original)
    assert run_study(study, tmp_path, here, say=quiet).trained == ["full_attnres-d16-s1"]
    assert not record.exists()


def interrupted(process: subprocess.Popen[str]) -> float:
    """Seconds from an interrupt of the process and its children to the end of the process."""
    os.killpg(process.pid, signal.SIGINT)
    start = time.monotonic()
    process.wait(60)
    return time.monotonic() - start


def start(command: list[str], **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        text=True,
        start_new_session=True,
        # A shell that runs the tests in its background has them ignore interrupts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        **options,
    )


def test_native_code_does_not_hold_an_interrupt_back() -> None:
    busy = """
import numpy
from attnres_eval.interrupt import ending_on_interrupt
with ending_on_interrupt():
    big = numpy.ones((6000, 6000))
    while True:
        try:
            print("busy", flush=True)
            while True:
                big @ big
        except KeyboardInterrupt:
            pass  # As a library that swallows it.
"""
    with start([sys.executable, "-c", busy], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as p:
        assert p.stdout is not None
        assert p.stdout.readline() == "busy\n"
        seconds = interrupted(p)
        _, stderr = p.communicate()
    assert p.returncode == 130
    assert stderr == "interrupted: run the same command again to go on\n"
    assert seconds < 10  # A loaded machine; `make faults` measures an idle one's.


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["preparing", "training", "scoring"])
def test_an_interrupt_ends_a_study_within_two_seconds(
    phase: str,
    tiny: Callable[..., Study],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ATTNRES_EVAL_CACHE", str(tmp_path / "cache"))
    text = tmp_path / "text.txt"
    words = (f"{i * i % 9973} {i * 7919 % 10007} word{i % 4999}" for i in range(600_000))
    text.write_text("\n\n".join(words) if phase == "preparing" else "\n\n".join(list(words)[:4000]))
    study = tiny(
        recipe={"tokens_per_parameter": 200.0 if phase == "training" else 0.3},
        data={
            "corpora": {f"file:{text}": 1.0},
            "vocab_size": 4096 if phase == "preparing" else 300,
            "validation_tokens": 512,
        },
        evaluation={
            "tasks": {"reasoning_mano_k2": {"limit": 2000}},
            "inspection_tokens": 0,
            "calibration_rounds": 0,
        },
    )
    file, out = tmp_path / "tiny.yaml", tmp_path / "out"
    file.write_text(yaml.safe_dump(study.model_dump(mode="json")))
    command = [sys.executable, "-m", "attnres_eval", "reproduce", "--study", str(file)]
    process = start([*command, "--out", str(out)], stderr=subprocess.PIPE, stdout=subprocess.PIPE)

    def reached() -> bool:
        if phase == "preparing":
            return bool(list((tmp_path / "cache" / "data").glob(".*")))
        if phase == "training":
            return bool(list(out.glob("runs/*/resume/0*")))
        return len(list(out.glob("runs/*/summary.json"))) == 2

    deadline = time.monotonic() + 300
    while not reached() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    time.sleep(3 if phase == "preparing" else 1)
    assert process.poll() is None, "it ended before the interrupt"
    seconds = interrupted(process)
    _, stderr = process.communicate()
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert "run the same command again" in stderr
    with capsys.disabled():
        print(f"\ninterrupted while {phase}: out after {seconds:.2f} s")
    assert seconds < 2
    if phase == "training":
        return  # Hundreds of thousands of steps are left.
    done = subprocess.run([*command, "--out", str(out)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_variants_that_no_seed_was_scored_for_in_common_are_not_paired(tmp_path: Path) -> None:
    """As a study leaves them of which the wrong two runs failed."""
    study = make_study(("prenorm", "full_attnres"), n_sizes=1, seeds=(0, 1), limit=8)
    missing = ["prenorm-d32-s1", "full_attnres-d32-s0"]
    results = collect(fabricate(tmp_path / "out", study=study, missing=missing))
    assert paired_table(results, answers(results)).empty
    assert mcnemar_table(results, answers(results)).empty
