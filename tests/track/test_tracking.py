"""The follower's process: follows real runs, changes nothing of them, and outlives their study."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from fabricate import fabricate, make_study
from tiny_study import Here, tiny

from attnres_eval import cli
from attnres_eval.data.prepare import cache_folder
from attnres_eval.records import Metrics, RunFolder, read_records, run_folders
from attnres_eval.study import Study
from attnres_eval.sweep.executor import Job, Outcome
from attnres_eval.sweep.run import run_study
from attnres_eval.track.position import read_positions
from attnres_eval.track.tracking import Tracking, tracked

pytest.importorskip("tensorboard", reason="needs tensorboard: pip install 'attnres-eval[dev]'")
BOARD = Tracking(("tensorboard",))
CLOCKS = {"seconds", "tokens_per_second"}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of its own, but for the kernels: to compile them takes half a minute."""
    kernels = cache_folder() / "kernels"
    kernels.mkdir(parents=True, exist_ok=True)
    folder = tmp_path_factory.mktemp("cache")
    (folder / "kernels").symlink_to(kernels.resolve())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATTNRES_EVAL_CACHE", str(folder))
        yield


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    path = tmp_path_factory.mktemp("corpus") / "text.txt"
    path.write_text("\n\n".join(f"line {i} says {i * i % 97} to line {i + 1}" for i in range(2000)))
    return tiny(path)


def losses(results: Path, run: str) -> list[tuple[int, float]]:
    """What TensorBoard shows of a run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(results / "tensorboard" / run))
    found.Reload()
    return [(point.step, point.value) for point in found.Scalars("train/loss")]


def logged(folder: RunFolder) -> list[dict[str, Any]]:
    lines = read_records(folder.metrics, Metrics)
    return [line.model_dump(exclude=CLOCKS) for line in lines]


class Interrupted(Here):
    """Is interrupted after the first job."""

    def execute(self, jobs: Sequence[Job], tick: Any) -> Iterator[Outcome]:
        yield from super().execute(jobs[:1], tick)
        raise KeyboardInterrupt


def test_a_study_is_followed_and_has_the_same_bytes(study: Study, tmp_path: Path) -> None:
    with_it, without, said = tmp_path / "with", tmp_path / "without", []  # type: ignore[var-annotated]

    def run(executor: Here) -> None:
        with tracked(BOARD, with_it, study, "tiny", said.append):
            run_study(study, with_it, executor, say=said.append)

    with pytest.raises(KeyboardInterrupt):
        run(Interrupted())
    run(Here())
    run_study(study, without, Here(), say=said.append)
    for folder in run_folders(without):
        name = folder.path.name
        own = RunFolder(with_it / "runs" / name)
        weights = "checkpoint/model.safetensors"
        assert (own.path / weights).read_bytes() == (folder.path / weights).read_bytes()
        assert logged(own) == logged(folder)
        found = losses(with_it, name)
        assert [step for step, _ in found] == [line["step"] for line in logged(own)]
        assert [x for _, x in found] == pytest.approx([line["loss"] for line in logged(own)])
    assert f"tracked by tensorboard: tensorboard --logdir {with_it / 'tensorboard'}" in said
    assert not [line for line in said if "warning" in line]
    assert {path.name for path in with_it.iterdir()} - {
        path.name for path in without.iterdir()
    } == {
        "tracking",
        "tensorboard",
    }


def test_one_run_of_the_command(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(json.dumps(study.model_dump(mode="json")))
    command = f"train {path} --label prenorm --size d16 --out {tmp_path / 'run'}"
    options = "--track tensorboard --format json"
    monkeypatch.setattr(sys, "argv", ["attnres-eval", *command.split(), *options.split()])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out = capsys.readouterr()
    assert ended.value.code == 0, out.err
    assert "tracked by tensorboard" in out.err
    run = study.run("prenorm", "d16", 0)
    assert losses(tmp_path / "run", run.run)[-1][0] == run.steps


def test_a_process_that_dies_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attnres_eval.track.tracking.sys.executable", "/bin/false")
    said: list[str] = []
    study = make_study()
    with tracked(BOARD, tmp_path, study, "x", said.append):
        said.append("body")
    assert said[0] == "body"
    assert said[1:] == ["warning: tracking broke off (exit code 1); runs and results are whole"]
    monkeypatch.setattr("attnres_eval.track.tracking.sys.executable", str(tmp_path / "absent"))
    with tracked(BOARD, tmp_path, study, "x", said.append):
        said.append("body")
    assert said[2].startswith("warning: tracking cannot be started, training goes on")
    assert said[3] == "body"


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    study = make_study(n_sizes=1, seeds=(0,))
    results = fabricate(tmp_path, study=study)
    (results / "tracking").write_text("a file where the folder should be")
    said: list[str] = []
    with tracked(BOARD, results, study, "x", said.append):
        pass
    (line,) = said
    assert line.startswith("warning: tracking has ended, training goes on")


def test_it_ends_behind_a_study_that_is_killed(tmp_path: Path) -> None:
    study = make_study(n_sizes=1, seeds=(0,))
    results = fabricate(tmp_path / "results", study=study)
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from attnres_eval.sweep.folder import read_study\n"
        "from attnres_eval.track.tracking import Tracking, tracked\n"
        "results = Path(sys.argv[1])\n"
        "with tracked(Tracking(('tensorboard',)), results, read_study(results), 'x', print):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(results)])
    assert done.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 60
    runs = {run.run for run in study.runs()}

    def told() -> set[str]:
        positions = read_positions(results).trackers.get("tensorboard", {})
        return {name for name, position in positions.items() if position.scored}

    while told() != runs and time.monotonic() < deadline:
        time.sleep(0.2)
    assert told() == runs
    while (results / "tracking" / ".lock").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not (results / "tracking" / ".lock").exists()


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("train smoke --label prenorm --size d16 --out {} --track mlflow", "there are trackio"),
        ("reproduce --study smoke --out {} --track mlflow", "there are trackio"),
        ("reproduce --study smoke --out {} --track-project x", "option of --track"),
        ("reproduce --source paper --out {} --track tensorboard", "--source paper runs nothing"),
    ],
)
def test_wrong_options_end_before_anything_is_done(
    command: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["attnres-eval", *command.format(out).split()])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert says in capsys.readouterr().err
    assert not out.exists()
