"""Trains one run, from its configuration to its checkpoint. Reads top to bottom."""

import hashlib
import itertools
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from attnres_eval.data.batches import Batches, validation_windows
from attnres_eval.data.prepare import PreparedData
from attnres_eval.errors import UserError
from attnres_eval.estimate import training_seconds
from attnres_eval.files import append_line, sha256_of_file, sha256_of_json, write_bytes
from attnres_eval.records import (
    Metrics,
    RunFolder,
    Summary,
    read_record,
    write_record,
    write_sealed,
)
from attnres_eval.study import RunConfig
from attnres_eval.train.answers import AnswerWeights
from attnres_eval.train.checkpoint import save_checkpoint
from attnres_eval.train.device import (
    describe_machine,
    peak_memory,
    pick_device,
    refuse_what_cannot_fit,
    reset_peak_memory,
)
from attnres_eval.train.schedule import rate_factor
from attnres_eval.train.state import ResumeState, load_state, save_state
from attnres_eval.train.trainer import Trainer

VALIDATION_BATCH_TOKENS = 16_384

Progress = Callable[[int], None]
"""Called with the number of steps done."""


def train(
    config: RunConfig, folder: RunFolder, data: PreparedData, progress: Progress | None = None
) -> Summary:
    """Trains one run, or continues it, or returns the summary of a finished one.

    A run killed at any moment and started again ends with the same bytes of weights and the same
    metrics, clock readings aside, on the same machine and torch. On an accelerator that holds up
    to the order in which its kernels add.

    Args:
        config: everything that decides the result.
        folder: where its files go.
        data: tokenizer and token files.
        progress: told of every step.

    Raises:
        UserError: the loss is not finite, the run cannot fit into memory, its folder belongs to
            another run or cannot be written, its checkpoint is damaged or of another kind of
            device, or its data have changed.
    """
    config_sha256 = sha256_of_json(config.model_dump(mode="json"))
    _claim(folder, config)
    if folder.finished:
        shutil.rmtree(folder.resume, ignore_errors=True)
        return read_record(folder.summary, Summary)
    device = pick_device()
    refuse_what_cannot_fit(config, device)
    recipe, cost = config.recipe, config.cost()
    write_sealed(folder.cost, cost.as_dict())

    trainer = Trainer(config, device)
    model, optimiser = trainer.model, trainer.optimiser
    batches = Batches(
        data.train,
        config.data.corpora,
        context=recipe.context,
        batch_sequences=recipe.batch_sequences,
        steps=config.steps,
        seed=config.seed,
    )

    reset_peak_memory(device)
    state: ResumeState | None = None
    loaded = load_state(folder.resume)
    if loaded is not None:
        state, weights, moments = loaded
        if (state.config_sha256, state.data_sha256) != (config_sha256, data.manifest.data_sha256):
            raise UserError(f"{folder.resume} is of another configuration or data; delete it")
        if state.machine.device != device.type:
            raise UserError(
                f"{folder.resume} was written on {state.machine.device}, and this is"
                f" {device.type}: go on there, or delete it to train this run anew"
            )
        try:
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    parameter.copy_(weights[name])
            optimiser.load(moments)
        except (KeyError, RuntimeError, ValueError) as error:
            raise UserError(f"{folder.resume} is of another model ({error}); delete it") from None
        machine = state.machine
    else:
        machine = describe_machine(config, device, training_seconds(config))
    start, earlier_seconds = (state.step, state.seconds) if state else (0, 0.0)
    _cut_metrics(folder.metrics, state)

    trainer.compute_as(machine)
    weights_of = AnswerWeights(recipe.answer_weight, data.tokenizer)
    flops_per_step = cost.training_flops_per_token * recipe.batch_sequences * recipe.context
    clock = time.perf_counter()
    for step in range(start, config.steps):
        factor = rate_factor(step, config.steps, recipe)
        tokens = torch.from_numpy(batches.batch(step)).to(device)
        loss, grad_norm = trainer.gradients(tokens, weights_of(tokens))
        if not math.isfinite(loss) or not math.isfinite(grad_norm):
            raise UserError(
                f"run {config.run} diverged: at step {step + 1} of {config.steps} the loss is"
                f" {loss} and the gradient norm {grad_norm}; lower"
                f" recipe.learning_rate ({config.learning_rate:g} at this width)"
            )
        optimiser.step(factor)

        done = step + 1
        seconds = earlier_seconds + time.perf_counter() - clock
        if done % recipe.log_every == 0 or done == config.steps:
            metrics = Metrics(
                step=done,
                tokens=done * recipe.batch_sequences * recipe.context,
                flops=done * flops_per_step,
                loss=loss,
                learning_rate=config.learning_rate * factor,
                grad_norm=grad_norm,
                seconds=seconds,
                tokens_per_second=done * recipe.batch_sequences * recipe.context / seconds,
            )
            append_line(folder.metrics, metrics.model_dump_json())
        if done % recipe.checkpoint_every == 0 or done == config.steps:
            state = ResumeState(
                step=done,
                seconds=seconds,
                peak_memory_bytes=peak_memory(device),
                machine=machine,
                config_sha256=config_sha256,
                data_sha256=data.manifest.data_sha256,
                metrics_bytes=folder.metrics.stat().st_size,
                metrics_sha256=sha256_of_file(folder.metrics),
                checksums={},
            )
            data.check_unchanged()
            # Parameters, not the state dict: a tied head is one tensor under two names.
            weights = {name: value.detach() for name, value in model.named_parameters()}
            save_state(folder.resume, state, weights, optimiser.tensors())
        if progress is not None:
            progress(done)

    assert state is not None, "the last step always saves"
    nats, scored_bytes, scored_tokens = validate(trainer, data)
    save_checkpoint(folder.checkpoint, model, config, data.tokenizer)
    summary = Summary(
        validation_nats_per_token=nats / scored_tokens,
        validation_bits_per_byte=nats / math.log(2) / scored_bytes,
        validation_tokens=scored_tokens,
        validation_bytes=scored_bytes,
        tokens=config.tokens,
        flops=cost.training_flops_per_token * config.tokens,
        seconds=state.seconds,
        tokens_per_second=config.tokens / state.seconds,
        peak_memory_bytes=state.peak_memory_bytes,
        machine=machine,
        data_sha256=data.manifest.data_sha256,
        files_sha256={
            str(file.relative_to(folder.path)): sha256_of_file(file)
            for file in (folder.metrics, *sorted(folder.checkpoint.iterdir()))
        },
    )
    write_record(folder.summary, summary)
    shutil.rmtree(folder.resume)
    return summary


@torch.no_grad()
def validate(trainer: Trainer, data: PreparedData) -> tuple[float, int, int]:
    """Scores the held-out tokens in consecutive windows.

    Returns:
        Summed loss in nats, bytes of the scored tokens, and their number.
    """
    model, context = trainer.model.eval(), trainer.config.recipe.context
    nats, scored_bytes, scored_tokens = 0.0, 0, 0
    rows = max(1, VALIDATION_BATCH_TOKENS // context)
    every = validation_windows(data.validation, context)
    while group := list(itertools.islice(every, rows)):
        windows = np.stack(group)
        tokens = torch.from_numpy(windows).to(trainer.device)
        with trainer.computing():
            nats += model.loss(tokens).double().item() * tokens[:, 1:].numel()
        scored_bytes += int(data.byte_lengths[windows[:, 1:]].sum())
        scored_tokens += tokens[:, 1:].numel()
    model.train()
    return nats, scored_bytes, scored_tokens


def _claim(folder: RunFolder, config: RunConfig) -> None:
    """Writes the run's configuration, or checks that the folder already holds the same."""
    if folder.config.is_file():
        if read_run_config(folder.config) != config:
            raise UserError(f"{folder.path} holds another run; give a new folder or use --force")
    else:
        write_record(folder.config, config)


def read_run_config(path: Path) -> RunConfig:
    """Reads config.json of a run. Raises UserError where it is missing or damaged."""
    return read_record(path, RunConfig)


def _cut_metrics(path: Path, state: ResumeState | None) -> None:
    """Drops what was logged after the checkpoint, half-written lines included."""
    if state is None:
        write_bytes(path, b"")
        return
    kept = path.read_bytes()[: state.metrics_bytes] if path.is_file() else b""
    if hashlib.sha256(kept).hexdigest() != state.metrics_sha256:
        raise UserError(
            f"{path} has changed since the last checkpoint; delete {path.parent} to train this run"
            " anew"
        )
    write_bytes(path, kept)
