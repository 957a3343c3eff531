"""DenseFormer: after each block, a learned average of this block's state and all earlier ones.

X_0 is the embedding, X_i the state after block i (cumulative states, one a block, not sublayer
outputs), and Y_i = sum over j <= i of a_ij X_j is what block i + 1 reads and adds to; Y_n enters
the final norm. Weights are plain scalars, neither bounded nor normalised, and start at a_ii = 1
and zero elsewhere, which is PreNorm (arXiv:2402.02622 section 3; code epfml/DenseFormer,
denseformer/denseformer.py).

With dilation k, block i averages the states j with (i - j) mod k = 0 only. With period p, only
blocks i with i mod p = 0 average; the others pass X_i on, the last one too where p does not
divide the number of blocks. "4x5" of the paper is dilation 4, period 5.

Table 5 of arXiv:2603.15031 writes DenseFormer over sublayer outputs; this is the original. That
form with a softmax is `full_attnres` with static mixing.
"""

from pydantic import Field

from attnres_eval.shape import ModelShape
from attnres_eval.variants.spec import Options, ResidualCost, VariantSpec


class DenseFormerOptions(Options):
    """Options of DenseFormer."""

    dilation: int = Field(default=1, ge=1, examples=[2])
    """k: an average takes every k-th state, counted back from its own."""
    period: int = Field(default=1, ge=1, examples=[3, {"dilation": 3, "period": 2}])
    """p: every p-th block averages."""

    def check(self, shape: ModelShape) -> None:
        if self.dilation > shape.n_layers:
            raise ValueError(
                f"dilation {self.dilation} is more than the {shape.n_layers} transformer blocks:"
                " averages would hold nothing but their own state"
            )
        if self.period > shape.n_layers:
            raise ValueError(
                f"period {self.period} is more than the {shape.n_layers} transformer blocks:"
                " there would be no average"
            )

    @property
    def equals_prenorm_at_init(self) -> bool:
        return True


def averages(n_layers: int, options: DenseFormerOptions) -> dict[int, list[int]]:
    """For each block i (from 1) that averages, the states j that it averages, own one last."""
    return {
        block: list(range(block % options.dilation, block + 1, options.dilation))
        for block in range(options.period, n_layers + 1, options.period)
    }


def cost(shape: ModelShape, options: DenseFormerOptions) -> ResidualCost:
    """Traffic 3 d a sublayer, and s d for each average of s states.

    An average follows the addition that makes its own state, which is then at hand: it reads
    s - 1 earlier states and writes one.
    """
    counts = [len(states) for states in averages(shape.n_layers, options).values()]
    return ResidualCost(
        parameters=sum(counts),
        # One state alone is scaled, which is no contraction.
        forward_flops_per_token=sum(2 * n * shape.d_model for n in counts if n > 1),
        traffic_elements_per_token=shape.d_model * (3.0 * shape.n_sublayers + sum(counts)),
    )


SPEC = VariantSpec(
    name="denseformer",
    title="DenseFormer",
    family="earlier outputs, fixed weights",
    formula="X[i] = Block_i(Y[i-1]), Y[i] = sum_{j<=i} a[i,j] X[j]",
    reference="arXiv:2402.02622 section 3",
    options=DenseFormerOptions,
    module="attnres_eval.model.residuals.denseformer:DenseFormer",
    cost=cost,
)
