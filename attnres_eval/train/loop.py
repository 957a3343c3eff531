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
    shared,
)
from attnres_eval.train.pipeline import PipelineTrainer
from attnres_eval.train.ranks import ALONE, Ranks
from attnres_eval.train.schedule import rate_factor
from attnres_eval.train.state import (
    ResumeState,
    load_tensors,
    newest_state,
    save_state,
    whole_model,
)
from attnres_eval.train.trainer import Trainer

VALIDATION_BATCH_TOKENS = 16_384

Progress = Callable[[int], None]
"""Called with the number of steps done."""


def train(
    config: RunConfig,
    folder: RunFolder,
    data: PreparedData,
    progress: Progress | None = None,
    ranks: Ranks = ALONE,
) -> Summary:
    """Trains one run, or continues it, or returns the summary of a finished one.

    A run killed at any moment and started again ends with the same bytes of weights and the same
    metrics, clock readings aside, on the same machine and torch. On an accelerator, or when another
    number of processes goes on with it, that holds up to the order in which numbers are added.

    Args:
        config: everything that decides the result.
        folder: where its files go; all ranks see it.
        data: tokenizer and token files.
        progress: told of every step.
        ranks: the processes that share the run; all call this, and the first one writes.

    Raises:
        UserError: the loss is not finite, the run cannot fit into memory, its folder belongs to
            another run or cannot be written, its checkpoint is damaged or of another kind of
            device, its data have changed, or the batch does not divide among the ranks.
    """
    config_sha256 = sha256_of_json(config.model_dump(mode="json"))
    finished = folder.finished
    if ranks.first or folder.config.is_file():
        _claim(folder, config)
    ranks.wait()
    if finished:
        if ranks.first:
            shutil.rmtree(folder.resume, ignore_errors=True)
        return read_record(folder.summary, Summary)
    device = pick_device()
    refuse_what_cannot_fit(config, device, 1 if ranks.parallel == "ddp" else ranks.size)
    recipe, cost = config.recipe, config.cost()
    if ranks.first:
        write_sealed(folder.cost, cost.as_dict())

    trainer = (PipelineTrainer if ranks.parallel == "pipeline" else Trainer)(config, device, ranks)
    optimiser = trainer.optimiser
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
    found = newest_state(folder.resume)
    if found is not None:
        checkpoint, state = found
        if (state.config_sha256, state.data_sha256) != (config_sha256, data.manifest.data_sha256):
            raise UserError(f"{folder.resume} is of another configuration or data; delete it")
        if state.machine.device != device.type:
            raise UserError(
                f"{folder.resume} was written on {state.machine.device}, and this is"
                f" {device.type}: go on there, or delete it to train this run anew"
            )
        optimiser.make_tensors()
        load_tensors(checkpoint, state, trainer.tensors(), ranks)
        machine = state.machine
    else:
        machine = describe_machine(config, device, training_seconds(config))
    machine = shared(machine, ranks)
    start, earlier_seconds = (state.step, state.seconds) if state else (0, 0.0)
    if ranks.first:
        _cut_metrics(folder.metrics, state)

    trainer.compute_as(machine)
    weights_of = AnswerWeights(recipe.answer_weight, data.tokenizer)
    flops_per_step = cost.training_flops_per_token * recipe.batch_sequences * recipe.context
    clock = time.perf_counter()
    for step in range(start, config.steps):
        factor = rate_factor(step, config.steps, recipe)
        tokens = torch.from_numpy(batches.batch(step))
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
        if ranks.first and (done % recipe.log_every == 0 or done == config.steps):
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
            # The first rank alone logs, and its state is the one that is written.
            logged, sha256 = _logged(folder.metrics) if ranks.first else (0, "")
            state = ResumeState(
                step=done,
                seconds=seconds,
                peak_memory_bytes=ranks.most(peak_memory(device), device),
                machine=machine,
                config_sha256=config_sha256,
                data_sha256=data.manifest.data_sha256,
                metrics_bytes=logged,
                metrics_sha256=sha256,
                checksums={},
            )
            data.check_unchanged()
            save_state(folder.resume, state, trainer.tensors(), ranks)
        if progress is not None:
            progress(done)

    assert state is not None, "the last step always saves"
    nats, scored_bytes, scored_tokens = validate(trainer, data)
    hashes: dict[str, str] = {}
    if ranks.first:
        model = trainer.model if ranks.parallel is None else whole_model(folder.resume, config)
        save_checkpoint(folder.checkpoint, model, config, data.tokenizer)
        hashes = {
            str(file.relative_to(folder.path)): sha256_of_file(file)
            for file in (folder.metrics, *sorted(folder.checkpoint.iterdir()))
        }
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
        files_sha256=hashes,
    )
    if ranks.first:
        write_record(folder.summary, summary)
        shutil.rmtree(folder.resume)
    ranks.wait()
    return summary


@torch.no_grad()
def validate(trainer: Trainer, data: PreparedData) -> tuple[float, int, int]:
    """Scores the held-out tokens in consecutive windows, the ranks side by side.

    Returns:
        Summed loss in nats, bytes of the scored tokens, and their number.
    """
    context, ranks = trainer.config.recipe.context, trainer.ranks
    rows = max(1, VALIDATION_BATCH_TOKENS // context)
    every = validation_windows(data.validation, context)
    batches = list(iter(lambda: list(itertools.islice(every, rows)), []))
    nats, scored_bytes, scored_tokens = 0.0, 0, 0
    trainer.model.eval()
    for first in range(0, len(batches), ranks.copies):
        # A rank without a batch of its own computes the last one with the others, uncounted:
        # sharded parameters are gathered by all ranks at once.
        own = first + ranks.rank % ranks.copies
        windows = np.stack(batches[min(own, len(batches) - 1)])
        of_batch = trainer.nats(torch.from_numpy(windows))
        if own < len(batches):
            nats += of_batch
            scored_bytes += int(data.byte_lengths[windows[:, 1:]].sum())
            scored_tokens += windows[:, 1:].size
    trainer.model.train()
    sums = torch.tensor(
        [nats, scored_bytes, scored_tokens], dtype=torch.float64, device=trainer.device
    )
    nats, scored_bytes, scored_tokens = (ranks.total(sums) / (ranks.size // ranks.copies)).tolist()
    return nats, round(scored_bytes), round(scored_tokens)


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


def _logged(path: Path) -> tuple[int, str]:
    """Length and hash of what has been logged."""
    return path.stat().st_size, sha256_of_file(path)


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
