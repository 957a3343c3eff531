"""x0-lambdas: each transformer block first rescales the stream and adds the embedding again.

Before block i the stream becomes r_i x + e_i x0, with learned scalars r_i and e_i and the
normalised embedding x0; the block itself is PreNorm's (karpathy/nanochat:nanochat/gpt.py, from
modded-nanogpt). The r_i learn at a hundredth of the learning rate, as there, since they compound
with depth; nanochat's rate for the e_i, which is its own, is this decoder's rate here.

Open choices. `init: original` (January 2026) starts at r = 1 and e = 0; `init: decaying`, the
later one, at r_i = 1.15 - 0.10 i / (n_layers - 1) and e_i = 0.20 - 0.15 i / (n_layers - 1).
nanochat also starts the stream from the normalised embedding. Here the stream starts from the raw
one, as in all variants, and only what is added is normalised, so that the original start is
PreNorm's. nanochat's later subtraction of a middle state, and modded-nanogpt's scalars for each
sublayer, are left out.
"""

from typing import Literal

from attnres_eval.shape import ModelShape
from attnres_eval.variants.spec import Options, ResidualCost, VariantSpec


class X0LambdasOptions(Options):
    """Options of x0-lambdas."""

    init: Literal["original", "decaying"] = "original"
    """Where the scalars start: at PreNorm, or decaying with depth."""

    @property
    def equals_prenorm_at_init(self) -> bool:
        return self.init == "original"


def cost(shape: ModelShape, options: X0LambdasOptions) -> ResidualCost:
    """Two scalars a transformer block, which mix two vectors: 4 d FLOPs.

    Traffic is the plain residual's 3 d a sublayer, and d a block: its mix joins the addition
    before it, which then reads the normalised embedding too.
    """
    d = shape.d_model
    return ResidualCost(
        parameters=2 * shape.n_layers,
        forward_flops_per_token=4 * d * shape.n_layers,
        traffic_elements_per_token=3.0 * d * shape.n_sublayers + d * shape.n_layers,
    )


SPEC = VariantSpec(
    name="x0_lambdas",
    title="x0-lambdas",
    family="single stream",
    formula="x <- r_i x + e_i N0(x0) before block i, then PreNorm",
    reference="karpathy/nanochat:nanochat/gpt.py",
    options=X0LambdasOptions,
    module="attnres_eval.model.residuals.x0_lambdas:X0Lambdas",
    cost=cost,
)
