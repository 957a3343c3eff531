"""PreNorm: every sublayer's output is added to one stream, which nothing ever rescales.

The baseline. Each sublayer normalises what it reads (arXiv:2002.04745; arXiv:2603.15031
section 2.1), and one norm stands before the head.
"""

from attnres_eval.shape import ModelShape
from attnres_eval.variants.spec import NoOptions, ResidualCost, VariantSpec


class PreNormOptions(NoOptions):
    """PreNorm has no options."""

    @property
    def equals_prenorm_at_init(self) -> bool:
        return True


def cost(shape: ModelShape, options: PreNormOptions) -> ResidualCost:
    """A plain addition: read the stream and the output, write the stream."""
    return ResidualCost(0, 0, 3.0 * shape.d_model * shape.n_sublayers)


SPEC = VariantSpec(
    name="prenorm",
    title="PreNorm",
    family="single stream",
    formula="h[l+1] = h[l] + f_l(h[l])",
    reference="arXiv:2002.04745; arXiv:2603.15031 section 2.1",
    options=PreNormOptions,
    module="attnres_eval.model.residuals.prenorm:PreNorm",
    cost=cost,
)
