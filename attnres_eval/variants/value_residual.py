"""Value residual (ResFormer): attention's values are mixed with the first layer's.

V_l' = a V_0 + b V_l in every layer but the first, on the values as projected, before the heads
attend; V_0 is the first layer's, unmixed. The stream is PreNorm's (arXiv:2410.17897; code
Zcchill/Value-Residual-Learning, src/modeling/modeling_llama_resformer.py).

The default is the fixed mix of that code, a = b = 0.5; `weights: learned` makes them two free
scalars a layer that start at 0.5. Left out is the paper's SVFormer, where all layers share V_0:
it removes value projections, so that it is another architecture and not another residual.
"""

from typing import Literal

from attnres_eval.shape import ModelShape
from attnres_eval.variants.spec import Options, ResidualCost, VariantSpec


class ValueResidualOptions(Options):
    """Options of the value residual."""

    weights: Literal["fixed", "learned"] = "fixed"
    """Whether a and b stay 0.5, or start there and are trained, two a layer from the second on."""


def cost(shape: ModelShape, options: ValueResidualOptions) -> ResidualCost:
    """Traffic 3 d a sublayer; each mix reads two of the values' width and writes one."""
    mixes = shape.n_layers - 1
    width = shape.n_kv_heads * shape.head_dim
    return ResidualCost(
        parameters=2 * mixes if options.weights == "learned" else 0,
        forward_flops_per_token=4 * mixes * width,
        traffic_elements_per_token=3.0 * shape.d_model * shape.n_sublayers + 3.0 * mixes * width,
    )


SPEC = VariantSpec(
    name="value_residual",
    title="Value residual",
    family="earlier outputs, fixed weights",
    formula="h[l+1] = h[l] + f_l(h[l]), with values V'[l] = a V[0] + b V[l] for l > 0",
    reference="arXiv:2410.17897",
    options=ValueResidualOptions,
    module="attnres_eval.model.residuals.value_residual:ValueResidual",
    cost=cost,
)
