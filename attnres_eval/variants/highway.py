"""Highway: a gate that reads the stream chooses between the stream and the sublayer's output.

g_l = sigmoid(W_l N0(h[l]) + b_l), N0 an RMSNorm without gain, carries 1 - g_l of the stream and
g_l of the output (arXiv:1505.00387; in a Transformer as in arXiv:2603.15031 section 2.1). The
original gate reads the stream raw; here it is normalised, so that its logits do not grow with the
stream.

Open choices. The gate is a vector, one value a channel with W_l of (d_model, d_model); `gate:
scalar` gives one value a token. The original starts the bias between -1 and -3, so that the stream
is carried: `bias`, -2 by default. W_l starts at zero, where small random values would do too.
"""

from typing import Literal

from pydantic import Field

from attnres_eval.shape import ModelShape
from attnres_eval.variants.spec import Options, ResidualCost, VariantSpec


class HighwayOptions(Options):
    """Options of Highway."""

    gate: Literal["vector", "scalar"] = "vector"
    """One gate a channel, or one a token."""
    bias: float = Field(-2.0, allow_inf_nan=False, examples=[-1.0])
    """Where the gate's bias starts; the lower, the more of the stream is carried."""

    def gate_width(self, d_model: int) -> int:
        """How many gates a token has."""
        return d_model if self.gate == "vector" else 1


def cost(shape: ModelShape, options: HighwayOptions) -> ResidualCost:
    """One projection a sublayer, then an element-wise mix.

    A vector gate moves 6 d: its matrix product reads the stream and writes the gate, the mix reads
    stream, output and gate and writes the stream. A scalar gate is computed by the mix, from the
    stream that it reads: 3 d.
    """
    d, width = shape.d_model, options.gate_width(shape.d_model)
    traffic = 6.0 if options.gate == "vector" else 3.0
    return ResidualCost(
        parameters=shape.n_sublayers * width * (d + 1),
        forward_flops_per_token=shape.n_sublayers * 2 * d * width,
        traffic_elements_per_token=traffic * d * shape.n_sublayers,
    )


SPEC = VariantSpec(
    name="highway",
    title="Highway",
    family="single stream",
    formula="h[l+1] = (1 - g_l) h[l] + g_l f_l(h[l]), g_l = sigmoid(W_l N0(h[l]) + b_l)",
    reference="arXiv:1505.00387; arXiv:2603.15031 section 2.1",
    options=HighwayOptions,
    module="attnres_eval.model.residuals.highway:Highway",
    cost=cost,
)
