"""mHC: Hyper-Connections whose mixing matrix is kept doubly stochastic by Sinkhorn's iteration.

The state H is n streams of width d, all of them the embedding at first. For each sublayer, with
z = RMSNorm(vec(H)) in R^(n d) and no gain,

    H_pre  = sigmoid(a_pre z Phi_pre + b_pre)         u  = H_pre H
    H_post = 2 sigmoid(a_post z Phi_post + b_post)    H' = H_res H + H_post^T f(u)
    H_res  = Sinkhorn(exp(a_res z Phi_res + b_res))

where Sinkhorn divides columns by their sums, then rows, 20 times (arXiv:2512.24880).

Open choices (the paper gives a_* = 0.01 and publishes no start for Phi and b):

- `init="near_identity"`, the default, is the start of mHC-lite's authors: Phi = 0, b_pre = b_post
  = 1 at index l mod n (sublayers counted from 0) and -1 elsewhere, b_res = 0 on the diagonal and
  -8 off it; not PreNorm, since sigmoid(1) is not 1. `init="uniform"` is hyper-connection-factory's:
  Phi ~ N(0, 0.02^2), b = 0, so that all streams are mixed evenly. Every stream is then written
  with weight 1 and read with 1/2: PreNorm but for the random projections, which alone make the
  streams differ.
- `read_out="head"`, the default, is DeepSeek-V4's: w = sigmoid(a z Phi_h + b_h), output
  sum_i w_i H_i, with a = 0.01. b_h = 0 in both starts, so that streams weigh equally, and Phi_h is
  as Phi (zero or random). `read_out="sum"` adds the streams.
- z has no learned gain, as in DeepSeek-V4; mHC-lite's authors give their baseline one.

The matrix is Sinkhorn's after finitely many steps: rows sum to one exactly, columns up to what
remains. Near the identity the iteration is slow, so that what remains is of the order of the
entries off the diagonal. Entries more than e^69 below the largest of their column are raised to
that, so that no row can vanish. Public implementations differ in the order of the two divisions,
in small constants added to denominators, and one normalises each stream by itself; the paper's
form stands here.

The first sublayer sees n equal streams, which neither H_res changes nor, up to a factor that the
sublayer's norm removes, H_pre: both have no gradient there.
"""

from typing import Literal

from pydantic import Field

from attnres_eval.shape import ModelShape
from attnres_eval.variants.spec import Options, ResidualCost, VariantSpec
from attnres_eval.variants.streams import stream_flops, stream_traffic


class MHCOptions(Options):
    """Options of mHC."""

    streams: int = Field(default=4, ge=1, examples=[3])
    """n, the number of streams."""
    sinkhorn_iterations: int = Field(default=20, ge=1, examples=[3])
    """How often columns, then rows of the mixing matrix are normalised."""
    init: Literal["near_identity", "uniform"] = "near_identity"
    """Whether streams start nearly unmixed, or evenly mixed with random projections."""
    read_out: Literal["head", "sum"] = "head"
    """Whether the output weighs the streams by learned gates, or adds them."""


def cost(shape: ModelShape, options: MHCOptions) -> ResidualCost:
    """Parameters: n d (n^2 + 2 n) + n^2 + 2 n + 3 a sublayer, and n^2 d + n + 1 of the head.

    Sinkhorn's divisions count as nothing. Traffic is published: (8 n + 2) d + 2 (n^2 + 2 n) a
    sublayer (arXiv:2512.24880 table 2); as there, the read-out is not counted.
    """
    n, d = options.streams, shape.d_model
    weights = n * (n + 2)
    parameters = shape.n_sublayers * (n * d * weights + weights + 3)
    flops = shape.n_sublayers * (2 * n * d * weights + stream_flops(n, d))
    if options.read_out == "head":
        parameters += n * n * d + n + 1
        flops += 2 * n * n * d + 2 * n * d
    traffic = shape.n_sublayers * stream_traffic(n, d, weights)
    return ResidualCost(parameters, flops, float(traffic))


SPEC = VariantSpec(
    name="mhc",
    title="mHC",
    family="several streams",
    formula="u = H_pre H; H' = H_res H + H_post^T f(u), H_res = Sinkhorn(exp(..)); all from H",
    reference="arXiv:2512.24880",
    options=MHCOptions,
    module="attnres_eval.model.residuals.mhc:MHC",
    cost=cost,
)
