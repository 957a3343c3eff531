"""DeepNorm: PostNorm with a heavier stream and smaller starting weights, for depth.

With n_layers transformer blocks, alpha = (2 n_layers)^(1/4) multiplies the stream before each
addition, and the starting weights of the MLP, of attention's values and of its output are
multiplied by beta = (8 n_layers)^(-1/4); queries and keys are not (arXiv:2203.00555, the
constants of a decoder alone; microsoft/torchscale:torchscale/architecture/decoder.py).

Beta takes the place of this decoder's division of what writes to the residual by
sqrt(n_sublayers). It multiplies this decoder's starting weights, of variance 1 / fan_in, where
the paper has Xavier's; on the square matrices the two are the same. The paper's MLP has two
matrices and SwiGLU has three: the activated one and the last are multiplied, as in torchscale's
gated MLP, so that its output shrinks by beta squared like the paper's.

The paper's norm is LayerNorm. The default is RMSNorm, so that the norm is not a second difference
from the other variants; `norm: layernorm` gives the paper's, without its bias, as no part of this
decoder has one. The first attention reads the embedding as it is.
"""

from typing import Literal

from attnres_eval.shape import ModelShape
from attnres_eval.variants import postnorm
from attnres_eval.variants.spec import Options, ResidualCost, VariantSpec


class DeepNormOptions(Options):
    """Options of DeepNorm."""

    norm: Literal["rmsnorm", "layernorm"] = "rmsnorm"
    """The norm after each addition; LayerNorm also subtracts the mean over channels."""


def cost(shape: ModelShape, options: DeepNormOptions) -> ResidualCost:
    """PostNorm's: scaling the stream is neither a contraction nor a further pass."""
    return postnorm.cost(shape, options)


SPEC = VariantSpec(
    name="deepnorm",
    title="DeepNorm",
    family="single stream",
    formula="h[l+1] = N_l(alpha h[l] + F_l(h[l])), alpha = (2 n_layers)^(1/4)",
    reference="arXiv:2203.00555",
    options=DeepNormOptions,
    module="attnres_eval.model.residuals.postnorm:DeepNorm",
    cost=cost,
)
