"""One run by changing numbers of processes: the losses of an undisturbed one."""

from pathlib import Path
from typing import Any

import pytest
import stopping
import transformers
from torchrun import torchrun

import attnres_eval.model.hf  # noqa: F401  (registers the Auto classes)
from attnres_eval.data.prepare import PreparedData
from attnres_eval.files import write_json
from attnres_eval.records import Metrics, RunFolder, read_records
from attnres_eval.study import RunConfig
from attnres_eval.train.loop import train


class Killed(Exception):
    """Stands for the end of a process."""


def train_alone(config: RunConfig, folder: RunFolder, data: PreparedData, until: int) -> None:
    def stop(done: int) -> None:
        if done == until:
            raise Killed

    with pytest.raises(Killed):
        train(config, folder, data, stop)


def test_any_number_of_processes_goes_on_with_a_run(
    make_run: Any, data: PreparedData, cache: Path, tmp_path: Path
) -> None:
    config = make_run("block_attnres", log_every=1)
    whole, shared = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "shared")
    undisturbed = train(config, whole, data)

    write_json(shared.config, config.model_dump(mode="json"))
    environment = {"ATTNRES_EVAL_CACHE": str(cache)}
    train_alone(config, shared, data, until=10)
    torchrun(stopping.__file__, str(shared.path), "pipeline", "17", **environment)
    files = {file.name for file in (shared.resume / "00000014").iterdir()}
    assert len(files) == 3, "a file of each process, and state.json"
    train_alone(config, shared, data, until=24)
    torchrun("-m", "attnres_eval.train", str(shared.path), "--parallel", "fsdp", **environment)

    lines = [read_records(folder.metrics, Metrics) for folder in (whole, shared)]
    losses, others = ([line.loss for line in of_one] for of_one in lines)
    assert others == pytest.approx(losses, rel=1e-4)
    assert [line.step for line in lines[1]] == [*range(1, config.steps + 1)]
    summary = train(config, shared, data)
    assert summary.validation_nats_per_token == pytest.approx(
        undisturbed.validation_nats_per_token, rel=1e-4
    )
    assert summary.validation_bytes == undisturbed.validation_bytes
    assert (summary.machine.processes, summary.machine.parallel) == (2, "fsdp")
    assert not shared.resume.exists()
    one, other = (
        transformers.AutoModelForCausalLM.from_pretrained(folder.checkpoint).state_dict()
        for folder in (whole, shared)
    )
    for name, weight in one.items():
        assert (other[name] - weight).abs().max() < 2e-3 * weight.abs().max(), name
