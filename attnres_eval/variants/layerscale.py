"""LayerScale: every sublayer's output is multiplied, channel by channel, by a learned vector.

CaiT (arXiv:2103.17239; form in arXiv:2603.15031 table 5). All channels start at one
small value, which the paper chooses by depth: 0.1 up to 18 transformer blocks, 1e-5 up to 24, 1e-6
beyond. The paper gives 24 as a point; depths between 18 and 24 take its value. `initial` sets
another value; at 1 the starting model is PreNorm's.
"""

from pydantic import Field

from attnres_eval.shape import ModelShape
from attnres_eval.variants.spec import Options, ResidualCost, VariantSpec


class LayerScaleOptions(Options):
    """Options of LayerScale."""

    initial: float | None = Field(None, gt=0, allow_inf_nan=False, examples=[0.01, 1.0])
    """Starting value of all channels; by the paper's rule of depth where absent."""

    @property
    def equals_prenorm_at_init(self) -> bool:
        return self.initial == 1

    def starting_value(self, n_layers: int) -> float:
        """The value that all channels start at, in a model of `n_layers` transformer blocks."""
        if self.initial is not None:
            return self.initial
        if n_layers <= 18:
            return 0.1
        return 1e-5 if n_layers <= 24 else 1e-6


def cost(shape: ModelShape, options: LayerScaleOptions) -> ResidualCost:
    """A plain addition's traffic: the output is scaled on its way."""
    size = shape.n_sublayers * shape.d_model
    return ResidualCost(
        parameters=size, forward_flops_per_token=0, traffic_elements_per_token=3.0 * size
    )


SPEC = VariantSpec(
    name="layerscale",
    title="LayerScale",
    family="single stream",
    formula="h[l+1] = h[l] + diag(lambda_l) f_l(h[l])",
    reference="arXiv:2103.17239",
    options=LayerScaleOptions,
    module="attnres_eval.model.residuals.scaled_branch:LayerScale",
    cost=cost,
)
