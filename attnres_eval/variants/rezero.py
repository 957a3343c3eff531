"""ReZero: every sublayer's output is multiplied by a learned scalar that starts at zero.

The starting network is the identity map (arXiv:2003.04887; form in arXiv:2603.15031 table 5). The
original has no norm anywhere: here the sublayers have none, and the one before the head stays, as
in all variants. With `pre_norm` sublayers normalise what they read. Without, they read the
embedding at its own scale, an RMS of d_model^(-1/2) in this decoder, which nothing lifts to one.

There is one scalar a sublayer; in the authors' code (majumderb/rezero) the sublayers of a
transformer block share one.
"""

from attnres_eval.shape import ModelShape
from attnres_eval.variants.spec import Options, ResidualCost, VariantSpec


class ReZeroOptions(Options):
    """Options of ReZero."""

    pre_norm: bool = False
    """Whether sublayers normalise what they read; the original does not."""


def cost(shape: ModelShape, options: ReZeroOptions) -> ResidualCost:
    """A plain addition's traffic: the output is scaled on its way."""
    return ResidualCost(
        parameters=shape.n_sublayers,
        forward_flops_per_token=0,
        traffic_elements_per_token=3.0 * shape.d_model * shape.n_sublayers,
        norm_change=0 if options.pre_norm else -shape.n_sublayers,
    )


SPEC = VariantSpec(
    name="rezero",
    title="ReZero",
    family="single stream",
    formula="h[l+1] = h[l] + a_l F_l(h[l]), a_l = 0 at the start",
    reference="arXiv:2003.04887",
    options=ReZeroOptions,
    module="attnres_eval.model.residuals.scaled_branch:ReZero",
    cost=cost,
)
