"""PostNorm: the norm stands after the addition, on the stream itself.

The original Transformer (arXiv:1706.03762; compared with PreNorm in arXiv:2002.04745). A sublayer
has no norm of its own: it reads the stream, which the norm of the sublayer before left at unit
RMS, and the last of these norms is the one before the head. So there is one norm a sublayer, and
one fewer than PreNorm has.

The first attention reads the embedding as it is. Norms are RMSNorm, as everywhere in this
decoder; the original has LayerNorm. Known to diverge or stall at PreNorm's learning rate: it needs
warm-up and a lower one.
"""

from attnres_eval.shape import ModelShape
from attnres_eval.variants.spec import NoOptions, Options, ResidualCost, VariantSpec


def cost(shape: ModelShape, options: Options) -> ResidualCost:
    """The norm is fused into the addition: read the stream and the output, write the stream."""
    return ResidualCost(
        parameters=shape.n_sublayers * shape.d_model,
        forward_flops_per_token=0,
        traffic_elements_per_token=3.0 * shape.d_model * shape.n_sublayers,
        norm_change=-(shape.n_sublayers + 1),
    )


SPEC = VariantSpec(
    name="postnorm",
    title="PostNorm",
    family="single stream",
    formula="h[l+1] = N_l(h[l] + F_l(h[l])), F_l without a norm",
    reference="arXiv:1706.03762 section 3.1; arXiv:2002.04745",
    options=NoOptions,
    module="attnres_eval.model.residuals.postnorm:PostNorm",
    cost=cost,
)
