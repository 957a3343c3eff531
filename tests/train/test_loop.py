import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import attnres_eval.model.hf  # noqa: F401  (registers the Auto classes)
from attnres_eval.data.prepare import PreparedData
from attnres_eval.errors import UserError
from attnres_eval.files import sha256_of_file, write_json
from attnres_eval.records import SEAL, Metrics, RunFolder, read_records
from attnres_eval.study import RunConfig
from attnres_eval.train.loop import train

TENSORS = "shard-00001-model-00001-of-00001.safetensors"
CLOCKS = {"seconds", "tokens_per_second"}


def metrics_of(folder: RunFolder) -> list[dict[str, Any]]:
    """Every metric but clock readings."""
    return [line.model_dump(exclude=CLOCKS) for line in read_records(folder.metrics, Metrics)]


def assert_same_run(one: RunFolder, other: RunFolder) -> None:
    weights = [folder.checkpoint / "model.safetensors" for folder in (one, other)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert metrics_of(one) == metrics_of(other)
    summaries = [json.loads(folder.summary.read_text()) for folder in (one, other)]
    for summary in summaries:
        for clock in (*CLOCKS, "peak_memory_bytes", SEAL):
            del summary[clock]
        del summary["files_sha256"]["metrics.jsonl"]
    assert summaries[0] == summaries[1]


class Killed(Exception):
    """Stands for the end of a process."""


def train_with_deaths(
    config: RunConfig, folder: RunFolder, data: PreparedData, at: set[int]
) -> None:
    left = set(at)

    def die(done: int) -> None:
        if done in left:
            left.remove(done)
            raise Killed

    for _ in range(len(at) + 1):
        try:
            train(config, folder, data, die)
            return
        except Killed:
            continue


@pytest.mark.parametrize(
    ("variant", "recipe"),
    [
        ("prenorm", {}),
        ("full_attnres", {}),
        ("block_attnres", {}),
        ("prenorm", {"optimizer": "muon"}),
        ("prenorm", {"precision": "bf16"}),
        ("full_attnres", {"activation_checkpointing": True}),
    ],
)
def test_resumed_run_is_the_undisturbed_run(
    variant: str, recipe: dict[str, Any], make_run: Any, data: PreparedData, tmp_path: Path
) -> None:
    config = make_run(variant, **recipe)
    assert config.steps > 30
    whole, resumed = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "resumed")
    train(config, whole, data)
    train_with_deaths(config, resumed, data, at={3, 9, 22, config.steps})
    assert_same_run(whole, resumed)


def test_a_run_is_not_continued_on_another_kind_of_device(
    make_run: Any, data: PreparedData, tmp_path: Path
) -> None:
    config, folder = make_run(), RunFolder(tmp_path)

    def die(done: int) -> None:
        if done == 20:
            raise Killed

    with pytest.raises(Killed):
        train(config, folder, data, die)
    (state,) = folder.resume.glob("*/state.json")
    changed = json.loads(state.read_text().replace('"device": "cpu"', '"device": "cuda"'))
    write_json(state, {key: value for key, value in changed.items() if key != SEAL})
    with pytest.raises(UserError, match="was written on cuda, and this is cpu"):
        train(config, folder, data)


def test_training_learns_and_leaves_a_model_that_transformers_loads(
    make_run: Any, data: PreparedData, tmp_path: Path
) -> None:
    config, folder = make_run("block_attnres", tokens_per_parameter=1.0), RunFolder(tmp_path)
    summary = train(config, folder, data)
    losses = [line["loss"] for line in metrics_of(folder)]
    assert losses[0] > 5
    assert losses[-1] < 3.5
    assert not folder.resume.exists()
    model = transformers.AutoModelForCausalLM.from_pretrained(folder.checkpoint)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder.checkpoint)
    assert tokenizer.eos_token_id == model.config.eos_token_id

    # The held-out loss by other means: transformers' loss over the same windows.
    held_out = torch.from_numpy(data.validation.astype("int64"))
    windows = (len(held_out) - 1) // 32
    rows = torch.stack([held_out[i * 32 : i * 32 + 33] for i in range(windows)])
    assert summary.validation_tokens == windows * 32
    assert model(rows, labels=rows).loss.item() == pytest.approx(
        summary.validation_nats_per_token, rel=1e-4
    )
    scored = sum(
        0 if token == tokenizer.eos_token_id else len(tokenizer.convert_ids_to_tokens(token))
        for token in rows[:, 1:].flatten().tolist()
    )
    assert summary.validation_bytes == scored  # a byte-level token has a character a byte
    nats = summary.validation_nats_per_token * summary.validation_tokens
    assert summary.validation_bits_per_byte == pytest.approx(nats / math.log(2) / scored)


def test_variants_of_a_seed_see_the_same_first_batch(
    make_run: Any, data: PreparedData, tmp_path: Path
) -> None:
    first = []
    for variant in ("prenorm", "full_attnres"):
        folder = RunFolder(tmp_path / variant)
        train(make_run(variant, log_every=1), folder, data)
        first.append(metrics_of(folder)[0]["loss"])
    # Not the same model, but the same words and weights: closer than two seeds are.
    folder = RunFolder(tmp_path / "other")
    train(make_run(seed=1, log_every=1), folder, data)
    other = metrics_of(folder)[0]["loss"]
    assert abs(first[0] - first[1]) < abs(first[0] - other)


def test_metrics_count_tokens_and_flops(make_run: Any, data: PreparedData, tmp_path: Path) -> None:
    config, folder = make_run(), RunFolder(tmp_path)
    summary = train(config, folder, data)
    last = metrics_of(folder)[-1]
    assert (last["step"], last["tokens"]) == (config.steps, config.tokens)
    assert last["flops"] == pytest.approx(config.training_flops)
    assert summary.flops == config.training_flops
    assert last["learning_rate"] == pytest.approx(0.001)


def test_finished_run_is_not_trained_again(
    make_run: Any, data: PreparedData, tmp_path: Path
) -> None:
    config, folder = make_run(), RunFolder(tmp_path)
    summary = train(config, folder, data)
    assert train(config, folder, data, lambda done: pytest.fail("trained again")) == summary


def test_diverging_run_names_itself(make_run: Any, data: PreparedData, tmp_path: Path) -> None:
    config = make_run(learning_rate=1e30)
    with pytest.raises(UserError, match=r"run prenorm-d16-s0 diverged: at step \d+ of"):
        train(config, RunFolder(tmp_path), data)


def test_folder_of_another_run_is_refused(
    make_run: Any, data: PreparedData, tmp_path: Path
) -> None:
    train(make_run(), RunFolder(tmp_path), data)
    with pytest.raises(UserError, match="holds another run"):
        train(make_run(learning_rate=0.02), RunFolder(tmp_path), data)


@pytest.mark.parametrize("damage", ["truncate", "flip", "delete"])
@pytest.mark.parametrize("name", [TENSORS, "state.json"])
def test_damaged_resume_state_is_noticed(
    name: str, damage: str, make_run: Any, data: PreparedData, tmp_path: Path
) -> None:
    config, folder = make_run(), RunFolder(tmp_path)
    with pytest.raises(Killed):
        train(config, folder, data, lambda done: _raise_at(done, 10))
    file = next(folder.resume.glob(f"*/{name}"))
    content = bytearray(file.read_bytes())
    if damage == "delete":
        file.unlink()
    elif damage == "truncate":
        file.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 0xFF
        file.write_bytes(content)
    with pytest.raises(UserError, match=name):
        train(config, folder, data)
    assert not folder.finished


def test_a_checkpoint_of_other_tensors_is_refused(
    make_run: Any, data: PreparedData, tmp_path: Path
) -> None:
    config, folder = make_run(), RunFolder(tmp_path)
    with pytest.raises(Killed):
        train(config, folder, data, lambda done: _raise_at(done, 10))
    (checkpoint,) = folder.resume.iterdir()
    tensors = load_file(checkpoint / TENSORS)
    stray = checkpoint / TENSORS.replace("shard-00001", "shard-00002")
    save_file(tensors, stray)
    with pytest.raises(UserError, match=r"shard-00002.* is damaged"):
        train(config, folder, data)
    stray.unlink()

    state = json.loads((checkpoint / "state.json").read_text())
    del state[SEAL]
    tensors["model.embedding.weight"] = tensors["model.embedding.weight"][:1].contiguous()
    save_file(tensors, checkpoint / TENSORS)
    state["checksums"] = {TENSORS: sha256_of_file(checkpoint / TENSORS)}
    write_json(checkpoint / "state.json", state)
    with pytest.raises(UserError, match="other tensors than this run's"):
        train(config, folder, data)

    (tmp_path / TENSORS).write_bytes((checkpoint / TENSORS).read_bytes())
    state["checksums"][f"../../{TENSORS}"] = state["checksums"][TENSORS]
    write_json(checkpoint / "state.json", state)
    with pytest.raises(UserError, match="is damaged"):
        train(config, folder, data)


def _raise_at(done: int, step: int) -> None:
    if done == step:
        raise Killed


def test_machine_settings_are_kept_on_resume(
    make_run: Any, data: PreparedData, tmp_path: Path
) -> None:
    config, folder = make_run(), RunFolder(tmp_path)
    with pytest.raises(Killed):
        train(config, folder, data, lambda done: _raise_at(done, 10))
    state = next(folder.resume.glob("*/state.json"))
    recorded = json.loads(state.read_text())
    recorded["machine"]["precision"] = "bf16"
    del recorded[SEAL]
    write_json(state, recorded)
    assert train(config, folder, data).machine.precision == "bf16"


def test_run_killed_with_sigkill_ends_bit_identical(
    make_run: Any, data: PreparedData, cache: Path, tmp_path: Path
) -> None:
    config = make_run("block_attnres", tokens_per_parameter=6.0, checkpoint_every=40, log_every=5)
    whole, killed = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "killed")
    for folder in (whole, killed):
        write_json(folder.config, config.model_dump(mode="json"))
    environment = {**os.environ, "ATTNRES_EVAL_CACHE": str(cache), "OMP_NUM_THREADS": "1"}

    def start(folder: RunFolder) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "attnres_eval.train", str(folder.path)]
        return subprocess.Popen(command, env=environment)

    assert start(whole).wait(timeout=300) == 0
    chance, kills = random.Random(0), 0
    while not killed.finished:
        seen = killed.metrics.stat().st_mtime_ns if killed.metrics.is_file() else 0
        process = start(killed)
        while process.poll() is None:
            written = killed.metrics.stat().st_mtime_ns if killed.metrics.is_file() else 0
            if kills < 4 and written != seen:
                # Let it get some way past a checkpoint before the blow.
                time.sleep(chance.uniform(0.1, 0.5))
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.01)
        process.wait(timeout=300)
    assert kills >= 3
    assert_same_run(whole, killed)
    shutil.rmtree(tmp_path)


def test_weights_without_decay_are_norms_and_residual(make_run: Any) -> None:
    from attnres_eval.model.transformer import Transformer
    from attnres_eval.train.optimiser import Optimiser

    config = make_run("block_attnres")
    model = Transformer(config.shape, config.variant, config.parsed_options)
    optimiser = Optimiser(model, config.recipe, config.learning_rate)
    decayed, plain = optimiser.parts["adamw"].param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    undecayed = {names[id(parameter)] for parameter in plain["params"]}
    assert undecayed == {
        name for name in names.values() if "norm" in name or name.startswith("residual.")
    }
    assert len(decayed["params"]) + len(undecayed) == len(names)


def test_resume_state_is_safetensors_only(
    make_run: Any, data: PreparedData, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(Killed):
        train(make_run(), folder, data, lambda done: _raise_at(done, 15))
    (step,) = folder.resume.iterdir()
    assert step.name == "00000014"
    assert {file.name for file in step.iterdir()} == {TENSORS, "state.json"}
    assert load_file(step / TENSORS).keys() >= {
        "model.embedding.weight",
        "optimiser.embedding.weight.exp_avg",
    }
