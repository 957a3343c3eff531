"""Rescaled: the stream is the mean of the embedding and all outputs, not their sum.

A control without parameters, proposed by Ziming Liu: it is exactly Full AttnRes with its queries
frozen at zero, and so separates what a bounded stream does from what learned routing does.

In this decoder all readers of the stream normalise it, and a mean is a multiple of a sum. So, but
for the epsilon inside those norms, the model computes what PreNorm computes, at the start and
after any training: a difference between the two is the epsilon's, which grows as the mean of many
small sources shrinks, or noise.
"""

from attnres_eval.shape import ModelShape
from attnres_eval.variants.spec import NoOptions, ResidualCost, VariantSpec


class RescaledOptions(NoOptions):
    """The rescaled residual has no options."""

    @property
    def equals_prenorm_at_init(self) -> bool:
        return True


def cost(shape: ModelShape, options: RescaledOptions) -> ResidualCost:
    """A plain addition's traffic: stream and output are scaled on their way."""
    return ResidualCost(0, 0, 3.0 * shape.d_model * shape.n_sublayers)


SPEC = VariantSpec(
    name="rescaled",
    title="Rescaled",
    family="single stream",
    formula="h[l+1] = l/(l+1) h[l] + 1/(l+1) f_l(h[l]), l = 1..L",
    reference="Ziming Liu's control; arXiv:2603.15031 equations 1-4 with w_l = 0",
    options=RescaledOptions,
    module="attnres_eval.model.residuals.rescaled:Rescaled",
    cost=cost,
)
