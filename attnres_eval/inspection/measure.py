"""Measures one model on held-out text: magnitudes, gradients, skips and depth mixing."""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from attnres_eval.data.batches import validation_windows
from attnres_eval.data.tokens import Tokens
from attnres_eval.errors import UserError
from attnres_eval.evaluate.models import load_model
from attnres_eval.inspection.mixing import MixingMean
from attnres_eval.inspection.probe import probing
from attnres_eval.model.hf import AttnResForCausalLM
from attnres_eval.model.transformer import Transformer
from attnres_eval.records import InspectionRecord

BATCH_TOKENS = 2048
"""Of one forward pass; at least one window."""


def inspect_checkpoint(
    checkpoint: Path, text: Tokens, limit: int, data_sha256: str
) -> InspectionRecord:
    """Inspects a checkpoint of ours on the first tokens of a text.

    Args:
        checkpoint: the folder that `transformers` reads.
        text: token ids [tokens] of the checkpoint's tokenizer.
        limit: tokens to score, at most; whole windows are scored.
        data_sha256: what to call the text in the record.

    Raises:
        UserError: the checkpoint cannot be loaded or is not ours, or the text is too short.
    """
    loaded = load_model(checkpoint)
    if not isinstance(loaded.model, AttnResForCausalLM):
        raise UserError(f"{checkpoint}: is no checkpoint of attnres-eval, so it has no residual")
    model = loaded.model.model
    windows = [torch.from_numpy(window) for window in _windows(text, limit, model.shape.context)]
    return inspect_model(model, torch.stack(windows), limit, loaded.sha256, data_sha256)


def _windows(text: Tokens, limit: int, context: int) -> Iterator[np.ndarray]:
    """Windows of the model's context, or one shorter one where the text or the limit is."""
    context = max(1, min(context, limit, len(text) - 1))
    return itertools.islice(validation_windows(text, context), limit // context)


def inspect_model(
    model: Transformer, windows_NT: Tensor, limit: int, model_sha256: str, data_sha256: str
) -> InspectionRecord:
    """Measures a model; the same windows give the same record, on one machine.

    Args:
        model: in evaluation mode.
        windows_NT: N windows of token ids, each with its targets: (N, context + 1).
        limit: tokens that were asked for, for the record.
        model_sha256: of the weights, for the record.
        data_sha256: of the text, for the record.

    Raises:
        UserError: the loss, an output or a gradient is not finite.
    """
    residual, n_sublayers = model.residual, model.shape.n_sublayers
    device = model.embedding.weight.device
    mixing = MixingMean(n_sublayers)
    output_squares = torch.zeros(n_sublayers + 1, dtype=torch.float64)
    gradient_squares = torch.zeros_like(output_squares)
    nats, nats_skipped = 0.0, torch.zeros(n_sublayers, dtype=torch.float64)
    for batch_NT in windows_NT.split(max(1, BATCH_TOKENS // (windows_NT.shape[1] - 1))):
        tokens_BT = batch_NT.to(device)
        targets = tokens_BT[:, 1:].numel()
        with torch.enable_grad(), probing(model) as probe:
            # Summed, so that a token's gradient does not depend on how many are scored.
            loss = model.loss(tokens_BT) * targets
        sources = probe.trace.sources_BTD
        gradients = torch.autograd.grad(loss, sources, materialize_grads=True)
        nats += loss.item()
        output_squares += _squares(sources)
        gradient_squares += _squares(gradients)
        mixing.add(residual, probe.trace.detached())
        for sublayer in range(n_sublayers):
            with torch.no_grad(), probing(model, silenced=sublayer):
                nats_skipped[sublayer] += model.loss(tokens_BT).item() * targets
    if not (math.isfinite(nats) and (output_squares + gradient_squares).isfinite().all()):
        raise UserError("the model's loss, outputs or gradients on the text are not finite")
    scored = windows_NT[:, 1:].numel()
    changes = ((nats_skipped - nats) / scored).tolist()
    elements = scored * model.shape.d_model
    return InspectionRecord(
        model_sha256=model_sha256,
        data_sha256=data_sha256,
        limit=limit,
        tokens=scored,
        loss=nats / scored,
        mixing=mixing.matrix(),
        output_rms=(output_squares / elements).sqrt().tolist(),
        gradient_rms=(gradient_squares / elements).sqrt().tolist(),
        skip_loss_change=[change if math.isfinite(change) else None for change in changes],
    )


def _squares(tensors: tuple[Tensor, ...] | list[Tensor]) -> Tensor:
    """Sums of squares, fp64."""
    return torch.tensor([x.detach().double().square().sum().item() for x in tensors]).double()
