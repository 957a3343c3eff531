"""MUDDFormer: after each block, input-dependent sums of all block states for q, k, v and residual.

Sources after block i (from 0) are the embedding and the states of blocks 0 to i, n = i + 2 in all
(cumulative states, one a block). For each token, weights of C ways over the sources are
dw = W2 GELU(W1 RMSNorm(x)) + a, x the latest source, neither bounded nor normalised. Four ways
give the next block's inputs of queries, keys and values, which have an input norm each, and the
stream that it adds to; after the last block one way gives what the final norm sees. The first
block is PreNorm's (arXiv:2502.12170; code Caiyun-AI/MUDDFormer,
pytorch/muddformer/modeling_muddformer.py).

The inner width is (K // 64 + 1) * 64 with K = C n, four times that after the last block, as in the
code. The GELU is the exact one and the norm has no gain, as there; weights are summed in fp32,
where the code keeps the model's type. W1 starts from N(0, 1 / d), W2 at zero and a with a one on
the latest source, which is PreNorm.

Left out are the paper's options that are no residual: MLP widths that grow with depth, which the
code has on by default, and PrePostDANorm, which it needed at 24 layers according to a replication.
"""

from typing import NamedTuple

from attnres_eval.shape import ModelShape
from attnres_eval.variants.spec import NoOptions, ResidualCost, VariantSpec


class MUDDFormerOptions(NoOptions):
    """MUDDFormer has no options."""

    @property
    def equals_prenorm_at_init(self) -> bool:
        return True


class Aggregation(NamedTuple):
    """The sizes of the sums after one block."""

    ways: int
    sources: int
    hidden: int


def aggregations(n_layers: int) -> list[Aggregation]:
    """The sums after each block."""
    sizes = []
    for layer in range(n_layers):
        ways, sources = (4 if layer < n_layers - 1 else 1), layer + 2
        smallest = ways * sources if layer < n_layers - 1 else 4 * sources
        sizes.append(Aggregation(ways, sources, (smallest // 64 + 1) * 64))
    return sizes


def cost(shape: ModelShape, options: MUDDFormerOptions) -> ResidualCost:
    """Traffic 3 d a sublayer, and (n + C + 1) d + 2 K + 2 C n for each aggregation.

    Once for its weights it reads the latest source; inner units K and weights C n are written and
    read again; one pass over the n sources then writes all C sums.
    """
    d = shape.d_model
    parameters, flops, traffic = 0, 0, 3.0 * d * shape.n_sublayers
    for ways, sources, hidden in aggregations(shape.n_layers):
        weights = ways * sources
        parameters += d * hidden + hidden * weights + weights
        flops += 2 * d * hidden + 2 * hidden * weights + 2 * weights * d
        traffic += (sources + ways + 1) * d + 2 * hidden + 2 * weights
    return ResidualCost(parameters, flops, traffic, norm_change=2 * (shape.n_layers - 1))


SPEC = VariantSpec(
    name="muddformer",
    title="MUDDFormer",
    family="earlier outputs, input-dependent weights",
    formula="s_c = sum_j dw[c,j] x[j], dw = W2 GELU(W1 RMSNorm(x[i])) + a, c in q, k, v, r",
    reference="arXiv:2502.12170",
    options=MUDDFormerOptions,
    module="attnres_eval.model.residuals.muddformer:MUDDFormer",
    cost=cost,
)
