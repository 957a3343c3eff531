"""Batch scripts: their directives, their quoting, and what they start when they run."""

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from attnres_eval.errors import UserError
from attnres_eval.hardware import parse_hardware
from attnres_eval.study import RunConfig, Study
from attnres_eval.study_file import load_study
from attnres_eval.sweep.plan_hardware import Fleet, fleet
from attnres_eval.sweep.slurm import (
    LEAST_SECONDS,
    MARGIN,
    chosen_run,
    run_script,
    slurm_time,
    study_script,
)

ODD = 'it\'s a $HOME `place` "here"'

STUB = """#!/bin/bash
line=$(basename "$0"); for word; do line+=$'\\t'$word; done
printf '%s\\n' "$line" >> "$CALLS"  # in one piece, whoever else writes
{body}
"""
BODIES = {
    "scontrol": "printf 'node1\\nnode2\\n'",
    "srun": """while [[ $1 == --* ]]; do shift; done
exec "$@" """,
    "ray": 'if [[ $1 == status ]]; then [ -e "$CALLS.head" ]; exit; fi\n'
    'for word; do [[ $word == --head ]] && touch "$CALLS.head"; done\nexec sleep 30',
    "attnres-eval": "sleep 0.3",
    "torchrun": "",
}


@pytest.fixture(scope="module")
def paper() -> Study:
    return load_study("paper-scale")


def used(study: Study, hardware: str, devices: int) -> Fleet:
    return fleet(study, parse_hardware(hardware), devices_a_run=devices)


def directives(script: str) -> dict[str, str]:
    assert script.startswith("#!/bin/bash\n#SBATCH ")
    lines = [line for line in script.splitlines() if line.startswith("#SBATCH --")]
    return dict(line.removeprefix("#SBATCH --").split("=", 1) for line in lines)


def execute(
    script: str, folder: Path, without: tuple[str, ...] = ()
) -> tuple[int, str, list[list[str]]]:
    """Runs a script with stubs for what it starts.

    Returns:
        The exit code, what it said on stderr, and the stubs' calls, sorted.
    """
    stubs, calls = folder / "bin", folder / "calls"
    stubs.mkdir()
    for name, body in BODIES.items():
        path = stubs / name
        path.write_text(STUB.format(body="exit 1" if name in without else body))
        path.chmod(0o755)
    file = folder / "job.sh"
    file.write_text(script)
    subprocess.run(["bash", "-n", file], check=True)
    done = subprocess.run(
        ["bash", file],
        env={
            **os.environ,
            "PATH": f"{stubs}:{os.environ['PATH']}",
            "CALLS": str(calls),
            "SLURM_JOB_ID": "77",
            "SLURM_JOB_NODELIST": "node[1-2]",
            "RAY_WAIT_SECONDS": "0.02",
        },
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    made = [line.split("\t") for line in calls.read_text().splitlines()]
    return done.returncode, done.stderr, sorted(made)


def test_time_is_rounded_up() -> None:
    assert slurm_time(1) == "0-00:01:00"
    assert slurm_time(3600) == "0-01:00:00"
    assert slurm_time(2 * 86400 + 3 * 3600 + 61) == "2-03:02:00"


def test_a_study_by_ray(paper: Study, tmp_path: Path) -> None:
    script = study_script(paper, "paper-scale", used(paper, "h100x16", 1), f"{tmp_path}/{ODD}")
    asked = directives(script)
    assert (asked["nodes"], asked["gpus-per-node"], asked["ntasks-per-node"]) == ("2", "8", "1")
    assert asked["job-name"] == "paper-scale"
    code, said, calls = execute(script, tmp_path)
    assert code == 0, said
    assert [
        *("attnres-eval", "reproduce", "--study", "paper-scale", "--executor", "ray"),
        *("--address", "auto", "--gpus-per-run", "1", "--out", f"{tmp_path}/{ODD}"),
    ] in calls
    assert ["ray", "start", "--block", "--num-gpus=8", "--head", "--port=6379"] in calls
    assert ["ray", "start", "--block", "--num-gpus=8", "--address", "node1:6379"] in calls
    starts = [call for call in calls if call[0] == "srun"]
    assert [call[1:4] for call in starts] == [
        ["--nodes=1", "--ntasks=1", "--exclude=node1"],
        ["--nodes=1", "--ntasks=1", "--nodelist=node1"],
    ]


def test_the_job_ends_with_what_it_started(paper: Study, tmp_path: Path) -> None:
    """The stub of Ray would sleep for half a minute; the study's end ends it."""
    script = study_script(paper, "paper-scale", used(paper, "h100x8", 1), "out")
    started = time.monotonic()
    execute(script, tmp_path)
    assert time.monotonic() - started < 15


@pytest.mark.parametrize("broken", ["ray", "attnres-eval"])
def test_a_study_that_fails(paper: Study, broken: str, tmp_path: Path) -> None:
    script = study_script(paper, "paper-scale", used(paper, "h100x8", 1), "out")
    code, said, calls = execute(script, tmp_path, without=(broken,))
    assert code == 1
    if broken == "ray":
        assert "ray's head did not start on node1" in said
        assert not [call for call in calls if call[0] == "attnres-eval"]


def test_time_of_a_study(paper: Study) -> None:
    one = used(paper, "h100x64", 1)
    asked = directives(study_script(paper, "paper-scale", one, "out"))["time"]
    longest = max(one.run_seconds(run.training_flops) for run in paper.runs())
    days, clock = asked.split("-")
    hours, minutes, _ = map(int, clock.split(":"))
    seconds = int(days) * 86400 + hours * 3600 + minutes * 60
    assert seconds >= MARGIN * longest + LEAST_SECONDS


def test_no_more_nodes_than_runs_keep_busy(paper: Study) -> None:
    for hardware, nodes in (("h100x8", "1"), ("h100x16", "2"), ("h100x64", "3")):
        script = study_script(paper, "paper-scale", used(paper, hardware, 1), "out")
        assert directives(script)["nodes"] == nodes  # of 8 devices, for 20 runs


def test_a_study_file_is_named_in_full(paper: Study, tmp_path: Path) -> None:
    odd = tmp_path / "my studies'"
    odd.mkdir()
    path = odd / "mine.yaml"
    path.write_text("x")
    script = study_script(paper, str(path), used(paper, "h100x8", 1), "s3://bucket/name")
    code, said, calls = execute(script, tmp_path)
    assert code == 0, said
    (call,) = [call for call in calls if call[0] == "attnres-eval"]
    assert call[3] == str(path)
    assert call[-1] == "s3://bucket/name"


def test_one_run_by_torchrun(paper: Study, tmp_path: Path) -> None:
    run = chosen_run(paper, "block_attnres-a194m-s0")
    folder = f"{tmp_path}/{ODD}"
    script = run_script(run, used(paper, "h100x64", 16), folder)
    asked = directives(script)
    assert (asked["nodes"], asked["gpus-per-node"]) == ("2", "8")
    assert asked["job-name"] == run.run
    code, said, calls = execute(script, tmp_path)
    assert code == 0, said
    assert [
        *("torchrun", "--nnodes=2", "--nproc-per-node=8", "--rdzv-id=77", "--rdzv-backend=c10d"),
        *("--rdzv-endpoint=node1:29500", "-m", "attnres_eval.train", folder, "--parallel", "fsdp"),
    ] in calls
    written = json.loads((Path(folder) / "config.json").read_text())
    assert RunConfig.model_validate(written) == run


def test_a_run_that_began_keeps_its_config(paper: Study, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    run = chosen_run(paper, "prenorm-a194m-s0")
    code, _, _ = execute(run_script(run, used(paper, "h100x4", 4), f"{tmp_path}/run/"), tmp_path)
    assert code == 0
    assert (tmp_path / "run" / "config.json").read_text() == "{}"


def crammed(run: RunConfig, **changes: Any) -> RunConfig:
    return run.model_copy(update={"recipe": run.recipe.model_copy(update=changes)})


def test_what_no_script_can_do(paper: Study) -> None:
    with pytest.raises(UserError, match="gives each run one GPU"):
        study_script(paper, "paper-scale", used(paper, "h100x8", 8), "out")
    with pytest.raises(UserError, match=r"no run 'prenorm'.*prenorm-a194m-s0"):
        chosen_run(paper, "prenorm")
    one = Fleet(parse_hardware("a100"), 0.4, 1)
    run = crammed(paper.run("full_attnres", "a528m", 0), micro_batch_sequences=24)
    with pytest.raises(
        UserError, match=r"needs [\d,]+ GB a device .*activation_checkpointing: true"
    ):
        run_script(run, one, "out")
    checkpointed = crammed(run, activation_checkpointing=True)
    with pytest.raises(UserError, match="more --gpus-per-run or a smaller recipe"):
        run_script(checkpointed, one, "out")
    roomier = run_script(crammed(checkpointed, micro_batch_sequences=6), one, "out")
    assert '"activation_checkpointing": true' in roomier
