"""Peak memory of a training step on one device, in closed form. Torch-free.

What a step needs at its worst moment:

- the loss's backward pass begins: everything that the forward pass kept is there, with the logits
  and their gradients; gradients of weights are still absent.
- with activation checkpointing, a block's backward pass: it was computed anew, and what crosses
  between blocks is there, or, at the end of the backward pass, the gradients of all weights.

Two ways to compute are priced. `kernels=True` is this project's compiled kernels on a processor,
which recompute norms and inner products and never hold all logits. `kernels=False` is plain torch,
as on CUDA without compilation: norms decomposed, SwiGLU's four inner vectors kept, logits,
log-probabilities and both their gradients held. Compiled code keeps less than that (on a processor
0.5 to 0.7 of it was measured), and CUDA's fused norm one vector less, so for them the figure is an
upper bound.

Under FSDP2 each transformer block is a group and the rest (embedding, head, residual, norms) one
more: weights, gradients and optimiser's states are divided by the number of devices, activations
are each device's own, and gathered in fp32 at a time are the rest, which stays, one block, and the
next one, which is fetched ahead.

Not counted: what an allocator holds back, communication buffers, the process itself.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from attnres_eval.cost import model_cost
from attnres_eval.kept import BF16, FP32, Kept, residual_kept
from attnres_eval.shape import ModelShape
from attnres_eval.variants import Options

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class StepMemory:
    """Bytes on one device."""

    weights: float
    """Parameters in fp32."""
    gradients: float
    optimiser: float
    """Moments: two of AdamW, one of Muon."""
    unsharded: float
    """Weights gathered from other devices, and a block's gradients before they are divided."""
    activations: float
    """What the forward pass keeps, with the one recomputed block under checkpointing."""
    logits: float
    """Logits, log-probabilities and their gradients at the worst moment."""
    total: float
    """Peak of the step; less than the sum, since not all are there at once."""

    def as_dict(self) -> dict[str, Any]:
        """The parts as JSON values."""
        return asdict(self)


def step_memory(
    shape: ModelShape,
    variant: str,
    options: Options,
    *,
    tokens: int,
    precision: Precision,
    kernels: bool,
    activation_checkpointing: bool,
    optimizer: Literal["adamw", "muon"] = "adamw",
    shards: int = 1,
    accumulating: bool = False,
) -> StepMemory:
    """Prices one training step.

    Args:
        shape: the decoder.
        variant: a name from `attnres_eval.variants.VARIANTS`.
        options: that variant's options.
        tokens: of one forward and backward pass on this device.
        precision: of products; `bf16` by autocast, parameters stay in fp32.
        kernels: whether the compiled kernels of processors compute.
        activation_checkpointing: whether each transformer block is computed anew for its backward
            pass.
        optimizer: of the body's matrices; all else has AdamW.
        shards: devices over which FSDP2 divides weights, gradients and moments.
        accumulating: whether a step has several such passes; all but the first find gradients.
    """
    element = FP32 if precision == "fp32" else BF16
    residual = residual_kept(shape, variant, options)
    own = residual.kernels if kernels else residual.plain
    parameters = model_cost(shape, variant, options).parameters
    body = _body_matrices(shape)
    weights = FP32 * parameters / shards
    moments = 2 * FP32 * parameters - (FP32 * body if optimizer == "muon" else 0)
    unsharded = 0.0
    if shards > 1:
        block, rest = body / shape.n_layers, parameters - body
        unsharded = FP32 * (2 * rest + 3 * block)

    block = _block(shape, kernels, element)
    layers, head = shape.n_layers, _head(shape, kernels, element)
    casts = 0.0
    if element < FP32 and not kernels:
        # Autocast's copies of the weights are kept for the backward pass of what used them.
        present = body / layers if activation_checkpointing else body
        casts = BF16 * (present + shape.vocab_size * shape.d_model)
    if activation_checkpointing:
        held = FP32 * shape.d_model * layers + residual.boundary.bytes(element)
        finish = own.finish.bytes(element)
        # The last block has the most sources to copy: twice the mean.
        kept = Kept(own.kept.wide, own.kept.narrow, 2 * own.kept.copies)
        recomputed = block + kept.bytes(element) / layers + own.gradients.bytes(element)
        recomputed += _working(shape, kernels, element)
        last_block = recomputed - kept.bytes(element) / layers
        # It is the first in the model, which has next to no sources.
        last_block += Kept(kept.wide, kept.narrow).bytes(element) / layers
    else:
        held = block * layers + own.kept.bytes(element)
        finish = recomputed = 0.0
        last_block = block + own.kept.bytes(element) / layers
    logits = tokens * head.logits + head.weights
    at_loss = tokens * (held + finish + head.kept) + casts
    head_gradient = FP32 * shape.vocab_size * shape.d_model / shards
    in_block = tokens * (held + recomputed) + casts + head_gradient
    gradients = FP32 * parameters / shards
    last_moment = gradients + tokens * last_block
    passing = max(at_loss + logits, in_block) + (gradients if accumulating else 0.0)
    peak = max(passing, last_moment)
    return StepMemory(
        weights=weights,
        gradients=gradients,
        optimiser=moments / shards,
        unsharded=unsharded,
        activations=max(at_loss, in_block),
        logits=logits,
        total=weights + moments / shards + unsharded + peak,
    )


@dataclass(frozen=True)
class _Head:
    kept: float
    """Bytes a token for the final norm."""
    logits: float
    """Bytes a token that the loss needs at its worst."""
    weights: float
    """Bytes whatever the number of tokens."""


def _widths(shape: ModelShape) -> tuple[int, int]:
    return shape.n_heads * shape.head_dim, shape.n_kv_heads * shape.head_dim


def _body_matrices(shape: ModelShape) -> int:
    query, key = _widths(shape)
    attention = shape.d_model * (2 * query + 2 * key)
    return shape.n_layers * (attention + 3 * shape.d_model * shape.d_ff)


def _block(shape: ModelShape, kernels: bool, element: int) -> float:
    """Bytes a token that one transformer block of PreNorm keeps.

    Kernels: both readings in fp32; queries, keys and values, the heads' outputs, gate and up, all
    in the precision of products; a logarithm a head. Plain torch: each norm has its input and its
    quotient in fp32 and its result; queries and keys once more, rotated; SwiGLU's gate, up,
    activated gate and product.
    """
    query, key = _widths(shape)
    projected, heads = query + 2 * key, FP32 * shape.n_heads
    if kernels:
        narrow = projected + query + 2 * shape.d_ff
        if shape.qk_norm:
            # The heads are normalised by plain torch, and laid side by side again.
            narrow += projected + query + key
            heads += FP32 * (query + key)
        return FP32 * 2 * shape.d_model + element * narrow + heads
    narrow = 2 * shape.d_model + (query + key) + projected + query + 4 * shape.d_ff
    wide = 4 * shape.d_model
    if shape.qk_norm:
        narrow += query + key
        wide += query + key
    return FP32 * wide + element * narrow + heads


def _working(shape: ModelShape, kernels: bool, element: int) -> float:
    """Bytes a token that the backward pass of a block needs beside what was kept."""
    return 2 * FP32 * shape.d_model if kernels else element * 2 * shape.d_ff


def _head(shape: ModelShape, kernels: bool, element: int) -> _Head:
    if kernels:
        # The kernel makes the gradients with the loss, a tile of logits at a time.
        return _Head(0.0, FP32 * shape.d_model, FP32 * shape.vocab_size * shape.d_model)
    norm = (2 * FP32 + element) * shape.d_model
    return _Head(norm, 3 * FP32 * shape.vocab_size, 0.0)
