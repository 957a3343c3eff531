"""Studies on a real Ray cluster of two nodes, one of which dies."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from tiny_study import Here, tiny

import attnres_eval
from attnres_eval import cli
from attnres_eval.analysis.collect import collect
from attnres_eval.errors import UserError
from attnres_eval.files import write_json
from attnres_eval.records import run_folders
from attnres_eval.report.build import study_tables
from attnres_eval.study import Study
from attnres_eval.study_file import load_study
from attnres_eval.sweep.executor import Job, LocalExecutor
from attnres_eval.sweep.ray_executor import RETRIES, RayExecutor, import_ray
from attnres_eval.sweep.run import run_study

pytestmark = pytest.mark.xdist_group("ray")

CLOCK = {
    *("seconds", "tokens_per_second", "relative_speed", "relative_step_time"),
    *("peak_memory_mib", "relative_peak_memory"),
}
"""Columns that are readings of clocks, or of memory."""
TIMED = {"step_times", "time_fits", "time_multipliers"}
"""Tables of nothing else."""
OBJECT_STORE = 80_000_000


@pytest.fixture(scope="module", autouse=True)
def token() -> Iterator[None]:
    """Nobody else may use the tests' cluster; Ray reads this when it is first imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        yield


@pytest.fixture(scope="module")
def cluster(tests_cache: Path, s3: dict[str, str], token: None) -> Iterator[Any]:
    """A head of one core that says it has a GPU, and a second node of two cores."""
    pytest.importorskip("ray")
    ray = import_ray()
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        # A node takes its surroundings when it starts.
        for name, value in {**s3, "ATTNRES_EVAL_CACHE": str(tests_cache)}.items():
            patch.setenv(name, value)
        head = {"num_cpus": 1, "num_gpus": 1, "object_store_memory": OBJECT_STORE}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        add_node(cluster)
        ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
        yield cluster
        cluster.shutdown()


def add_node(cluster: Any) -> None:
    cluster.add_node(num_cpus=2, object_store_memory=OBJECT_STORE)


def opened(cluster: Any, shared: Path | None = None, gpus: float = 0) -> RayExecutor:
    return RayExecutor(cluster.address, gpus, shared)


def checkpoints(results: Path) -> dict[str, int]:
    """Steps of the last checkpoint of every run at work that has one."""
    found = {}
    for path in results.glob("runs/*/resume/[0-9]*"):
        run = path.parts[-3]
        found[run] = max(found.get(run, 0), int(path.name))
    return found


class Death:
    """Kills a cluster's second node once the run that is there has a checkpoint.

    Args:
        cluster: of two nodes; has two again afterwards.
        look: steps of the last checkpoints, by run.
    """

    def __init__(self, cluster: Any, look: Callable[[], dict[str, int]]) -> None:
        self.cluster, self.look = cluster, look
        self.at_death: dict[str, int] = {}
        self.later: list[dict[str, int]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Death":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        if self.at_death:
            add_node(self.cluster)

    def _watch(self) -> None:
        (node,) = self.cluster.worker_nodes
        while not self._stop.wait(0.05):
            found = self.look()
            if self.at_death:
                self.later.append(found)
                continue
            self.at_death = {run: found[run] for run in at_work(node) if run in found}
            if self.at_death:
                self.cluster.remove_node(node, allow_graceful=False)

    def check(self, study: Study) -> None:
        """What was on the node went on, and not from the beginning."""
        assert self.at_death
        for victim, steps in self.at_death.items():
            assert steps < study.runs()[0].steps
            assert any(found.get(victim, 0) > steps for found in self.later)
            assert all(found[victim] >= steps for found in self.later if victim in found)


def assert_same_results(first: Path, second: Path) -> None:
    """The same bytes of weights, and the same tables but for clock readings."""
    weights = "checkpoint/model.safetensors"
    for folder in run_folders(first):
        other = second / "runs" / folder.path.name
        assert (folder.path / weights).read_bytes() == (other / weights).read_bytes()
    tables, others = (study_tables(collect(results)) for results in (first, second))
    assert not tables["losses"].empty
    for name, table in tables.items():
        if name in TIMED:
            continue
        columns = [column for column in table.columns if column not in CLOCK]
        pd.testing.assert_frame_equal(table[columns], others[name][columns])


SHORT: dict[str, Any] = {
    "sizes": {"d8": {"d_model": 8, "n_layers": 2, "n_heads": 1}},
    "recipe": {
        "context": 32,
        "batch_sequences": 2,
        "tokens_per_parameter": 20,
        "log_every": 10,
        "checkpoint_every": 50,
    },
}
"""Of a study with two runs of some seconds, that write a checkpoint 25 times."""


def test_a_study_survives_the_death_of_a_node(corpus: Path, cluster: Any, tmp_path: Path) -> None:
    study = tiny(corpus, **SHORT)
    results, undisturbed = tmp_path / "results", tmp_path / "undisturbed"
    quiet: dict[str, Any] = {"say": lambda line: None}
    with (
        Death(cluster, lambda: checkpoints(results)) as death,
        opened(cluster, results) as executor,
    ):
        result = run_study(study, results, executor, **quiet)
    assert result.failures == {}
    death.check(study)
    run_study(study, undisturbed, Here(), **quiet)
    assert_same_results(results, undisturbed)


@pytest.mark.slow
def test_a_study_behind_a_url_survives_the_death_of_a_node(
    corpus: Path, cluster: Any, bucket: Any, tmp_path: Path, tests_cache: Path
) -> None:
    """As users do it: by command, and from start to report."""
    url = f"s3://{bucket.bucket}/tiny"
    evaluation = {"inspection_tokens": 64, "calibration_rounds": 6}
    study = tiny(corpus, **SHORT, evaluation=evaluation)
    (tmp_path / "tiny.yaml").write_text(study.model_dump_json())
    command = reproduce(tmp_path / "tiny.yaml", url, cluster)

    def look() -> dict[str, int]:
        found: dict[str, int] = {}
        for path in bucket.find(f"{bucket.bucket}/tiny/runs"):
            if path.endswith("/state.json"):
                run, step = path.split("/")[-4], int(path.split("/")[-2])
                found[run] = max(found.get(run, 0), step)
        return found

    with Death(cluster, look) as death:
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    death.check(study)
    assert ended.stdout.endswith(f"report: {url}/report.html\n")
    assert "raylet" not in ended.stdout + ended.stderr
    results, undisturbed = tmp_path / "results", tmp_path / "undisturbed"
    bucket.get(f"{bucket.bucket}/tiny", str(results), recursive=True)
    run_study(study, undisturbed, LocalExecutor(1), say=lambda line: None)
    assert_same_results(results, undisturbed)
    assert not list(results.glob("runs/*/resume"))
    assert not list((tests_cache / "scratch").iterdir())
    # There is nothing left to do, on any machine.
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.stderr.splitlines()[1:] == []


def reproduce(study: Path, out: Path | str, cluster: Any) -> list[str]:
    program = [sys.executable, "-m", "attnres_eval", "reproduce", "--study", str(study)]
    ray = ["--executor", "ray", "--address", cluster.address, "--gpus-per-run", "0"]
    return [*program, "--out", str(out), *ray]


def at_work(node: Any) -> list[str]:
    """Names of the jobs on a node: Ray gives them to the processes that do them."""
    names = []
    for worker in psutil.Process(node.all_processes["raylet"][0].process.pid).children():
        with contextlib.suppress(psutil.Error):
            title = worker.cmdline()[0]
            if title.startswith("ray::") and title != "ray::IDLE":
                names.append(title.removeprefix("ray::"))
    return names


def assigned() -> dict[str, Any]:
    import ray
    import torch

    context = ray.get_runtime_context()
    return {
        "resources": context.get_assigned_resources(),
        "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "threads": torch.get_num_threads(),
        "home": os.getcwd(),  # noqa: PTH109
    }


def test_jobs_have_what_they_ask_for_and_fail_one_by_one(
    cluster: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    jobs = [
        Job("beside", assigned, ()),
        Job("alone", assigned, (), alone=True),
        Job("wrong", load_study, ("nowhere",)),
        Job("killed", os._exit, (9,)),
    ]
    ticks: list[int] = []
    with opened(cluster) as executor:
        outcomes = {o.name: o for o in executor.execute(jobs, lambda: ticks.append(1))}
    assert ticks
    home = os.getcwd()  # noqa: PTH109
    expected = {"resources": {"CPU": 1.0}, "gpus": "", "threads": 1, "home": home}
    assert outcomes["beside"].value == expected
    # All cores of the node that has most.
    assert outcomes["alone"].value == {**expected, "resources": {"CPU": 2.0}}
    assert "no study 'nowhere'" in str(outcomes["wrong"].failure)
    assert f"died {RETRIES + 1} times" in str(outcomes["killed"].failure)
    assert capfd.readouterr() == ("", ""), "Ray writes over the progress display"
    with opened(cluster, gpus=0.5) as executor:
        (outcome,) = executor.execute([jobs[0]], lambda: None)
    assert outcome.value["resources"] == {"CPU": 1.0, "GPU": 0.5}
    assert outcome.value["gpus"] == "0"


def divide() -> float:
    return 1 / 0


def test_a_bug_is_raised(cluster: Any) -> None:
    with opened(cluster) as executor, pytest.raises(ZeroDivisionError):
        list(executor.execute([Job("bug", divide, ())], lambda: None))


def test_a_node_that_cannot_take_part_says_why(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = socket.gethostname()
    job = Job("any", assigned, ())
    with opened(cluster, tmp_path / "nowhere") as executor:
        with pytest.raises(UserError, match=rf"node {here} does not see {tmp_path}/nowhere"):
            list(executor.execute([job], lambda: None))
        write_json(tmp_path / "nowhere/study.json", {})
        (outcome,) = executor.execute([job], lambda: None)
        assert outcome.failure is None
        found = attnres_eval.__version__
        monkeypatch.setattr(attnres_eval, "__version__", "0.0.7")
        with pytest.raises(
            UserError, match=rf"{here} has attnres-eval {found}; install .* 0\.0\.7"
        ):
            list(executor.execute([job], lambda: None))


def test_a_cluster_without_what_a_run_needs_is_refused(cluster: Any) -> None:
    from attnres_eval.sweep import ray_executor

    with pytest.raises(UserError, match="no node of the Ray cluster has a core and 2 GPUs"):
        opened(cluster, gpus=2).__enter__()
    assert not ray_executor.import_ray().is_initialized()


@pytest.mark.slow
def test_a_cluster_with_another_token_is_refused(
    corpus: Path, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.yaml").write_text(tiny(corpus).model_dump_json())
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    command = reproduce(tmp_path / "tiny.yaml", tmp_path / "out", cluster)
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    # Ray itself has written of each attempt.
    line = ended.stderr.splitlines()[-1]
    assert line.startswith("error: --address"), ended.stderr
    assert "RAY_AUTH_MODE=token" in line
    assert "Traceback" not in ended.stderr


def test_an_interrupt_ends_with_130_and_leaves_a_study_to_go_on_with(
    corpus: Path, cluster: Any, tmp_path: Path
) -> None:
    study = tiny(corpus, **SHORT, variants={"prenorm": None})
    (tmp_path / "tiny.yaml").write_text(study.model_dump_json())
    out = tmp_path / "out"
    process = subprocess.Popen(
        reproduce(tmp_path / "tiny.yaml", out, cluster),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell that runs the tests in its background has them ignore interrupts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 120
    while not checkpoints(out) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    start = time.monotonic()
    stdout, stderr = process.communicate(timeout=30)
    assert time.monotonic() - start < 10
    assert process.returncode == 130, stderr
    assert "run the same command again" in stderr
    # Nothing of Ray's own is to be seen.
    assert stdout == ""
    ours = ("Ray: 2 nodes", "1 of 1 runs", "reading", "training", "encoding", "interrupted:")
    lines = [line for line in stderr.splitlines() if "%" not in line and line.strip()]
    assert all(line.startswith(ours) for line in lines), stderr
    time.sleep(1)
    before = checkpoints(out)
    time.sleep(1)
    assert checkpoints(out) == before, "a run is still at work"
    assert before
    done = run_study(study, out, Here(), say=lambda line: None)
    assert done.failures == {}


def test_ray_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'attnres-eval\[ray\]'"):
        RayExecutor(None, None, None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--address", "auto"], "--address is an option of --executor ray"),
        (["--gpus-per-run", "1"], "--gpus-per-run is an option of --executor ray"),
        (["--executor", "ray", "--workers", "2"], "--workers is an option of --executor local"),
        (["--executor", "ray", "--gpus-per-run", "8"], "a run of a study trains on one GPU"),
        (["--executor", "ray", "--address", "there"], "give auto or HOST:PORT"),
        (["--executor", "ray", "--address", "ray://a:10001"], "give auto or HOST:PORT"),
        (["--executor", "ray", "--address", "127.0.0.1:9"], "no Ray cluster answers there"),
    ],
)
def test_options_that_make_no_sense(
    options: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "--executor" in options and options[-1] != "8":
        pytest.importorskip("ray")
    command = ["reproduce", "--study", "smoke", "--out", str(tmp_path / "out"), *options]
    monkeypatch.setattr(sys, "argv", ["attnres-eval", *command])
    with pytest.raises(SystemExit) as end:
        cli.main()
    err = capsys.readouterr().err
    assert (end.value.code, err.count("\n")) == (2, 1), err
    assert words in err
    with contextlib.suppress(FileNotFoundError):
        assert not list((tmp_path / "out").iterdir())
