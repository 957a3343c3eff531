"""Frac-Connections: Hyper-Connections over m fractions of the width instead of n copies of it.

The state is the stream itself, cut into m contiguous fractions, H in R^(m x d/m). For each
sublayer u is the concatenation of the m rows of Y^T H, and H'_j = (A^T H)_j + B_j f(u)_j: fraction
j of the output goes to fraction j alone. The output is the concatenation of the fractions.
Y = A = I and B = 1 at the start, which is PreNorm exactly (arXiv:2503.14125, equations 6-15 and
algorithms 1-3).

The dynamic form, the default, adds s_alpha tanh(norm(H) [W_gamma, W_alpha]) to [Y, A] and
s_beta tanh(norm(H) w_beta) to B, where the norm is over each fraction with one gain of width d/m
for all; weights start at zero, scales at 0.01. A fraction's weights depend on that fraction alone.

Open choices:

- The paper's equation 11 says "norm" and its algorithm 2 LayerNorm. We take RMSNorm with a gain:
  the paper counts 165,056 parameters for OLMo-1B-7B-DFCx4, which leaves d/m for the norm, as
  RMSNorm has, and not the 2 d/m of an affine LayerNorm.
- m = 4 is the paper's main setting; it also has m = 2.
- `dynamic=False` is the static form (SFC).

Deviation from the paper: no weight decay on the dynamic weights (the paper decays them). A
notation of the paper that we do not follow is the product B^T f(u) in its equation 8: algorithms
1 and 2 make the write element-wise over fractions.
"""

from pydantic import Field

from attnres_eval.shape import ModelShape
from attnres_eval.variants.spec import Options, ResidualCost, VariantSpec
from attnres_eval.variants.streams import stream_traffic


class FracConnectionsOptions(Options):
    """Options of Frac-Connections."""

    dynamic: bool = True
    """Whether weights depend on the stream (DFC); otherwise they are fixed parameters (SFC)."""
    fractions: int = Field(default=4, ge=1, examples=[2])
    """m, the number of fractions; it must divide d_model."""

    def check(self, shape: ModelShape) -> None:
        if shape.d_model % self.fractions:
            raise ValueError(
                f"d_model {shape.d_model} cannot be cut into {self.fractions} equal fractions"
            )

    @property
    def equals_prenorm_at_init(self) -> bool:
        return True


def cost(shape: ModelShape, options: FracConnectionsOptions) -> ResidualCost:
    """Parameters: m (2 m + 1) a sublayer; the dynamic part adds (d / m)(2 m + 2) + 2.

    Both products with m x m matrices cost 2 m d FLOPs; the write is element-wise. Traffic follows
    the schedule of arXiv:2512.24880 table 2: what it counts for one stream of width d, that is
    9 d, and d more and the coefficients twice where these are computed.
    """
    m, d = options.fractions, shape.d_model
    weights = m * (2 * m + 1)
    parameters, flops = weights, 4 * m * d
    if options.dynamic:
        parameters += d // m * (2 * m + 2) + 2
        flops += 2 * d * (2 * m + 1)
    traffic = stream_traffic(1, d, weights if options.dynamic else 0)
    sublayers = shape.n_sublayers
    return ResidualCost(sublayers * parameters, sublayers * flops, float(sublayers * traffic))


SPEC = VariantSpec(
    name="frac_connections",
    title="Frac-Connections",
    family="several streams",
    formula="H = reshape(h, (m, d/m)); u = cat(Y^T H); H' = A^T H + diag(B) reshape(f(u))",
    reference="arXiv:2503.14125",
    options=FracConnectionsOptions,
    module="attnres_eval.model.residuals.hyper_connections:FracConnections",
    cost=cost,
)
