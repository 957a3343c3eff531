"""mHC-lite: mHC with a mixing matrix that is doubly stochastic by construction.

As mHC, but H_res = sum_k c_k P_k over all n! permutation matrices, with
c = softmax(a_res z W_res + b_res) and W_res in R^(n d x n!): exact, without iterations. z is
RMSNorm(vec(H)) with a gain of width n d, the read and write gates are sigmoids as in mHC, and the
output is the sum of the streams (arXiv:2601.05732).

Start: W = 0, scales 0.01, b_pre = b_post = 1 at index l mod n (sublayers counted from 0) and -1
elsewhere, b_res = 0 for the identity and -8 for the other permutations. Not PreNorm, since
sigmoid(1) is not 1.

Open choices, in which a public fork of the authors' code differs: its mixing sums over the first
index (the transposed matrix; the same family, since the inverse of a permutation is one), its
start index is drawn at random where none is given, and it normalises each stream before the sum.
Here H_res multiplies from the left as in mHC, the index is l mod n, and the final norm follows the
sum.

The first sublayer sees n equal streams, which neither H_res changes nor, up to a factor that the
sublayer's norm removes, H_pre; the last H_res leaves the sum of streams as it is. These have no
gradient.
"""

from math import factorial

from pydantic import Field

from attnres_eval.shape import ModelShape
from attnres_eval.variants.spec import Options, ResidualCost, VariantSpec
from attnres_eval.variants.streams import stream_flops, stream_traffic


class MHCLiteOptions(Options):
    """Options of mHC-lite."""

    streams: int = Field(default=4, ge=1, le=6, examples=[3])
    """n, the number of streams; there are n! permutations, 720 at most."""


def cost(shape: ModelShape, options: MHCLiteOptions) -> ResidualCost:
    """Parameters: n d (n! + 2 n) + n! + 2 n + 3 + n d a sublayer.

    Combining n! permutation matrices costs 2 n! n^2 FLOPs. Traffic is mHC's: the n! weights stay
    on the chip, and n^2 + 2 n coefficients are written and read.
    """
    n, d = options.streams, shape.d_model
    logits = factorial(n) + 2 * n
    parameters = n * d * logits + logits + 3 + n * d
    flops = 2 * n * d * logits + 2 * factorial(n) * n * n + stream_flops(n, d)
    traffic = stream_traffic(n, d, n * (n + 2))
    sublayers = shape.n_sublayers
    return ResidualCost(sublayers * parameters, sublayers * flops, float(sublayers * traffic))


SPEC = VariantSpec(
    name="mhc_lite",
    title="mHC-lite",
    family="several streams",
    formula="u = H_pre H; H' = H_res H + H_post^T f(u), H_res = sum_k c_k P_k, c = softmax(..)",
    reference="arXiv:2601.05732",
    options=MHCLiteOptions,
    module="attnres_eval.model.residuals.mhc:MHCLite",
    cost=cost,
)
