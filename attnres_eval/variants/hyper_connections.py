"""Hyper-Connections: n copies of the stream that are read, mixed and written by learned weights.

The state H is n streams of width d, all of them the embedding at first. For each sublayer
u = A_m^T H is read (A_m in R^n), and H' = A_r^T H + B f(u)^T (A_r in R^(n x n), B in R^n). The
output is the sum of the streams (arXiv:2409.19606).

Static weights start as a one-hot A_m at index l mod n (sublayers counted from 0), A_r = I, B = 1,
which is PreNorm up to a factor n that the final norm removes. The dynamic form, the default, adds
s_alpha tanh(LN(H) W_alpha) to [A_m, A_r] and s_beta tanh(LN(H) w_beta) to B, with LN over each
stream by itself, weights of zero and scales of 0.01 at the start.

Open choices:

- LN has no affine parameters: the paper's count of 394,048 parameters for OLMo-1B-DHCx4 leaves
  none for it (equation 25), and LIMe's port has none. Its epsilon is 1e-6.
- `tanh=False` drops the tanh; the paper's OLMo-1B with four streams was best so (its table 1).
- `dynamic=False` is the static form (SHC).

Deviations from the paper: no weight decay on the dynamic weights (the paper decays them, but not
the static ones), and no rescaling of the sublayers' output weights by sqrt(n) at the start, so
that all variants share one body and the start equals PreNorm.

Public implementations have returned the unmixed streams, so that A_r was never applied; ours is
tested for it. The first sublayer sees n equal streams, and its norm removes whatever factor A_m
gives them, so that its A_m has no gradient.
"""

from pydantic import Field

from attnres_eval.shape import ModelShape
from attnres_eval.variants.spec import Options, ResidualCost, VariantSpec
from attnres_eval.variants.streams import stream_flops, stream_traffic


class HyperConnectionsOptions(Options):
    """Options of Hyper-Connections."""

    dynamic: bool = True
    """Whether weights depend on the streams (DHC); otherwise they are fixed parameters (SHC)."""
    streams: int = Field(default=4, ge=1, examples=[3])
    """n, the expansion rate."""
    tanh: bool = True
    """Whether the dynamic part of the weights goes through a tanh."""

    def check(self, shape: ModelShape) -> None:
        if not (self.dynamic or self.tanh):
            raise ValueError(
                "tanh concerns the dynamic form alone: leave it out with dynamic=false"
            )

    @property
    def equals_prenorm_at_init(self) -> bool:
        return True


def cost(shape: ModelShape, options: HyperConnectionsOptions) -> ResidualCost:
    """Parameters: n (n + 2) a sublayer; the dynamic part adds d (n + 2) + 2.

    Traffic is that of the schedule in table 2 of arXiv:2512.24880: (8 n + 2) d + 2 (n^2 + 2 n) a
    sublayer, and (7 n + 2) d where the weights are fixed.
    """
    n, d = options.streams, shape.d_model
    weights = n * (n + 2)
    parameters, flops = weights, stream_flops(n, d)
    if options.dynamic:
        parameters += d * (n + 2) + 2
        flops += 2 * n * d * (n + 2)
    traffic = stream_traffic(n, d, weights if options.dynamic else 0)
    sublayers = shape.n_sublayers
    return ResidualCost(sublayers * parameters, sublayers * flops, float(sublayers * traffic))


SPEC = VariantSpec(
    name="hyper_connections",
    title="Hyper-Connections",
    family="several streams",
    formula="u = A_m^T H; H' = A_r^T H + B f(u)^T; output sum_i H_i",
    reference="arXiv:2409.19606",
    options=HyperConnectionsOptions,
    module="attnres_eval.model.residuals.hyper_connections:HyperConnections",
    cost=cost,
)
