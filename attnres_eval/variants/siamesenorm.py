"""SiameseNorm: a PostNorm stream x and a PreNorm stream y share the sublayers.

Both start as the embedding. In transformer block b = 1, 2, ..., with c = sqrt(2 b), each sublayer
reads the sum of both streams, normalised apart; x keeps its normalised value and takes z / c, y
takes z as it is; the head reads N(x) + N(y) (arXiv:2602.08064; confirmed in
Qwen-Applications/SiameseNorm:deit-model-siamesenorm.py). The sublayer's own norm, over the sum,
stays. So there are three norms a sublayer, and three before the head.

With `branch_scale: false` c is 1, as arXiv:2603.15031 writes the method in its table 5.

Norms are RMSNorm, as everywhere in this decoder; the released vision model has LayerNorm. The
released language model ("hybrid pre": x is not normalised on its own path around attention) is a
different network and is not offered.
"""

from attnres_eval.shape import ModelShape
from attnres_eval.variants.spec import Options, ResidualCost, VariantSpec


class SiameseNormOptions(Options):
    """Options of SiameseNorm."""

    branch_scale: bool = True
    """Whether the PostNorm stream takes outputs divided by sqrt(2 b) in transformer block b."""


def cost(shape: ModelShape, options: SiameseNormOptions) -> ResidualCost:
    """Two gains for each sublayer and for the output; only additions and norms.

    Traffic is 6 d a sublayer, of one pass that updates both streams and prepares the next reading:
    it reads the output, N(x) and y, and writes the new N(x), y and the sum that is read.
    """
    return ResidualCost(
        parameters=2 * (shape.n_sublayers + 1) * shape.d_model,
        forward_flops_per_token=0,
        traffic_elements_per_token=6.0 * shape.d_model * shape.n_sublayers,
    )


SPEC = VariantSpec(
    name="siamesenorm",
    title="SiameseNorm",
    family="single stream",
    formula="z = f_l(N(x) + N(y)); x <- N(x) + z / c_l; y <- y + z",
    reference="arXiv:2602.08064",
    options=SiameseNormOptions,
    module="attnres_eval.model.residuals.siamesenorm:SiameseNorm",
    cost=cost,
)
