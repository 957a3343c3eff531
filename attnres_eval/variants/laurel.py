"""LAuReL: the residual connection itself gets a few learned parameters.

Three forms (arXiv:2411.07501), each with its own parameters in every sublayer:

- `lr` (default): h + f_l(h) + A_l B_l h, with B_l from d to r and A_l back;
- `rw`: a_l f_l(h) + b_l h;
- `rw+lr`: a_l f_l(h) + b_l (h + A_l B_l h).

A starts at zero, so that all forms start as PreNorm; B starts "column orthogonal", with
1 / sqrt(r d) where i mod r = j and zero elsewhere. The low-rank term reads the raw stream.

The paper wants (a, b) bounded and fixes no map: the default is 2 softmax(w) over the pair, which
keeps a + b = 2; `bounding: sigmoid` takes 2 sigmoid(w) for each. Both start at a = b = 1. The form
over several previous activations (PA) is left out. Gemma 3n's block of that name differs: it is
low-rank with a norm after it, reads the normalised stream, and stands once a transformer block.
"""

from typing import Literal

from pydantic import Field

from attnres_eval.shape import ModelShape
from attnres_eval.variants.spec import Options, ResidualCost, VariantSpec


class LAuReLOptions(Options):
    """Options of LAuReL."""

    form: Literal["lr", "rw", "rw+lr"] = "lr"
    """Low-rank term, weights on both summands, or both."""
    rank: int = Field(default=16, ge=1, examples=[3])
    """r of the low-rank forms."""
    bounding: Literal["softmax", "sigmoid"] = Field(
        default="softmax", examples=[{"form": "rw", "bounding": "sigmoid"}]
    )
    """How the weights of the rw forms are bounded."""

    def check(self, shape: ModelShape) -> None:
        if "lr" in self.form and self.rank > shape.d_model:
            raise ValueError(f"rank {self.rank} is more than d_model {shape.d_model}")

    @property
    def equals_prenorm_at_init(self) -> bool:
        return True


def cost(shape: ModelShape, options: LAuReLOptions) -> ResidualCost:
    """Traffic 3 d a sublayer, as weights come at no access; the low-rank term moves d + 2 r more.

    It reads the stream, writes its r inner elements and reads them again in the addition.
    """
    parameters, flops, traffic = 0, 0, 3.0 * shape.d_model
    if "rw" in options.form:
        parameters += 2
        flops += 4 * shape.d_model
    if "lr" in options.form:
        parameters += 2 * shape.d_model * options.rank
        flops += 4 * shape.d_model * options.rank
        traffic += shape.d_model + 2 * options.rank
    sublayers = shape.n_sublayers
    return ResidualCost(sublayers * parameters, sublayers * flops, sublayers * traffic)


SPEC = VariantSpec(
    name="laurel",
    title="LAuReL",
    family="earlier outputs, fixed weights",
    formula="h[l+1] = a_l f_l(h[l]) + b_l (h[l] + A_l B_l h[l]), a = b = 1 in form lr",
    reference="arXiv:2411.07501",
    options=LAuReLOptions,
    module="attnres_eval.model.residuals.laurel:LAuReL",
    cost=cost,
)
