"""Parameters, FLOPs, traffic and memory of a run in closed form, without torch.

The convention, stated once and used everywhere:

- A FLOP is a multiplication or an addition inside a contraction: a product of an (m, k) with a
  (k, n) matrix costs 2 m k n. Norms, activations, softmax, rotary embeddings, element-wise
  products and the embedding look-up count as nothing; the head counts, tied or not.
- Attention is causal: a token at position t reads t + 1 keys, (T + 1) / 2 on average over a
  context of T, so scores and values cost 2 n_heads head_dim (T + 1) per token and layer.
- The residual's own contractions count: a dot product of width d_model costs 2 d_model, and a
  combination of k vectors (streams, earlier outputs) with a learned or computed weight each costs
  2 k d_model for each result. A plain addition counts as nothing, and so does a constant factor, a
  single learned scale and a gate on the way of a vector, since none is a contraction.
- A training step costs three times the forward pass; with activation checkpointing four times,
  the recomputed forward pass included.
- Residual traffic is the number of elements that the residual reads and writes per token in the
  forward pass in its best published schedule (arXiv:2603.15031 table 1): the standard residual
  moves 3 d per sublayer; Full AttnRes in two phases (S + N) d; Block AttnRes (N / S + 5) d.
"""

from dataclasses import asdict, dataclass
from typing import Any

from attnres_eval.shape import ModelShape
from attnres_eval.variants import Options, get_variant

PFLOPS_DAY = 8.64e19
"""FLOPs in one PFLOP/s-day."""


@dataclass(frozen=True)
class Cost:
    """The cost of one model. All counts are exact under the convention above."""

    parameters: int
    """Elements of all trained tensors."""
    matrix_parameters: int
    """Weights of matrix products: body and head, without the embedding look-up."""
    residual_parameters: int
    forward_flops_per_token: float
    """At the training context, averaged over positions."""
    training_flops_per_token: float
    attention_flops_per_token: float
    """Share of the forward FLOPs spent on attention scores and values."""
    residual_flops_per_token: float
    """Share of the forward FLOPs spent on the residual."""
    residual_traffic_elements_per_token: float

    def as_dict(self) -> dict[str, Any]:
        """The cost as JSON values."""
        return asdict(self)


def matrix_parameters(shape: ModelShape) -> int:
    """N of C = 6 N D: weights of all matrix products of one token's pass, the head included."""
    query = shape.n_heads * shape.head_dim
    key = shape.n_kv_heads * shape.head_dim
    attention = shape.d_model * (2 * query + 2 * key)
    mlp = 3 * shape.d_model * shape.d_ff
    return shape.n_layers * (attention + mlp) + shape.vocab_size * shape.d_model


def attention_flops(shape: ModelShape, keys: float) -> float:
    """Forward FLOPs of attention scores and values for one token that reads `keys` keys."""
    return 4.0 * shape.n_layers * shape.n_heads * shape.head_dim * keys


def model_cost(
    shape: ModelShape,
    variant: str,
    options: Options,
    *,
    activation_checkpointing: bool = False,
) -> Cost:
    """Prices a model with one residual variant.

    Args:
        shape: the decoder.
        variant: a name from `attnres_eval.variants.VARIANTS`.
        options: that variant's options.
        activation_checkpointing: whether training recomputes the forward pass.
    """
    residual = get_variant(variant).cost(shape, options)
    matrices = matrix_parameters(shape)
    norms = shape.d_model * (shape.n_sublayers + 1 + residual.norm_change)
    if shape.qk_norm:
        norms += 2 * shape.head_dim * shape.n_layers
    embedding = 0 if shape.tied_head else shape.vocab_size * shape.d_model
    attention = attention_flops(shape, (shape.context + 1) / 2)
    forward = 2.0 * matrices + attention + residual.forward_flops_per_token
    return Cost(
        parameters=matrices + embedding + norms + residual.parameters,
        matrix_parameters=matrices,
        residual_parameters=residual.parameters,
        forward_flops_per_token=forward,
        training_flops_per_token=(4 if activation_checkpointing else 3) * forward,
        attention_flops_per_token=attention,
        residual_flops_per_token=float(residual.forward_flops_per_token),
        residual_traffic_elements_per_token=residual.traffic_elements_per_token,
    )


def inference_flops_per_token(
    shape: ModelShape, variant: str, options: Options, keys: int
) -> float:
    """FLOPs to decode one token that reads `keys` cached keys, itself included."""
    residual = get_variant(variant).cost(shape, options)
    return (
        2.0 * matrix_parameters(shape)
        + attention_flops(shape, keys)
        + residual.forward_flops_per_token
    )
