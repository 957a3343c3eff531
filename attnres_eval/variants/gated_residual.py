"""Gated Residual: streams that are read through element-wise gates and written through scalars.

The state R is n streams of width d, all of them the embedding at first. The module replaces each
sublayer's own norm, and a last one, without a write, the final norm:

    Rn_i = RMSNorm(R_i) * (1 + w_i)
    G    = sigmoid(W_u SiLU(W_d vec(Rn) / n)) in R^(n x d)
    u    = (1/n) sum_i G_i * Rn_i
    s    = 2 sigmoid(W_w vec(Rn) / n) in R^n
    R_i' = R_i + s_i f(u)

Streams do not mix. w starts at 0, the three matrices at N(0, 0.02^2), without biases; not PreNorm
(transformers' qwen4_exp; arXiv:2608.30320 section 2.2, of which VARIANTS has a third-party
summary alone).

Open choice: `rank` is the height of W_d, d / 8 by default as in the released model (320 of 2560).

At r = d / 8 and n = 4 the module has d^2 + 20 d parameters a sublayer, 17% on top of a block of
12 d^2: compare it at equal FLOPs or parameters, too.

Under our convention an element-wise gate is no contraction, so that of the read and the write only
the three projections count.
"""

from pydantic import Field

from attnres_eval.shape import ModelShape
from attnres_eval.variants.spec import Options, ResidualCost, VariantSpec


class GatedResidualOptions(Options):
    """Options of the Gated Residual."""

    streams: int = Field(default=4, ge=1, examples=[3])
    """n, the number of streams."""
    rank: int | None = Field(default=None, ge=1, examples=[5])
    """Width of the gates' bottleneck; d_model // 8, and at least 1, where absent."""

    def bottleneck(self, shape: ModelShape) -> int:
        """The rank that the shape gives where the option is absent."""
        return self.rank if self.rank is not None else max(1, shape.d_model // 8)


def cost(shape: ModelShape, options: GatedResidualOptions) -> ResidualCost:
    """Parameters: 2 r n d + n d a read, of which there are L + 1, and n^2 d a write.

    Traffic in the manner of arXiv:2512.24880 table 2, each operation by itself, a norm or a gate
    fused with the product beside it: the down-projections read n d and write r + n; the gated mean
    reads n d + r and writes d; the scaled output reads d + n and writes n d; the addition reads
    2 n d and writes n d. Together (6 n + 2) d + 2 (r + n) a sublayer; the last read, in place of
    the final norm, is not counted.
    """
    n, d, rank = options.streams, shape.d_model, options.bottleneck(shape)
    sublayers = shape.n_sublayers
    gates, writes = 2 * rank * n * d, n * n * d
    traffic = (6 * n + 2) * d + 2 * (rank + n)
    return ResidualCost(
        parameters=(sublayers + 1) * (gates + n * d) + sublayers * writes,
        forward_flops_per_token=2 * ((sublayers + 1) * gates + sublayers * writes),
        traffic_elements_per_token=float(sublayers * traffic),
        norm_change=-(sublayers + 1),
    )


SPEC = VariantSpec(
    name="gated_residual",
    title="Gated Residual",
    family="several streams",
    formula="u = mean_i G_i * RMSNorm(R_i); R_i' = R_i + s_i f(u); G, s from R",
    reference="transformers qwen4_exp; arXiv:2608.30320 section 2.2",
    options=GatedResidualOptions,
    module="attnres_eval.model.residuals.gated_residual:GatedResidual",
    cost=cost,
)
