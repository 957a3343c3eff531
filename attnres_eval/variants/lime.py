"""LIMe (layer-integrated memory): a layer's keys and values are mixed from all layers' up to it.

With R key-value heads, head g of layer l > 0 attends to sum over layers j <= l and heads r of
w_l[g, (j, r)] (K, V)_{j, r}, where (K, V)_{j, r} are layer j's own, before any mixing and before
the rotary embedding. One weight serves a key and its value; weights are static, neither bounded
nor normalised. The stream is PreNorm's (arXiv:2502.09245; code corl-team/lime, src/lm/lime.py,
StaticRouter).

Weights start uniform in +-sqrt(3 / fan_in), fan_in = (l + 1) R, but for the layer's own heads,
whose block starts as the identity: earlier layers act from the first step on, so that this is not
PreNorm at the start. The paper's models have no QK norm; where ours has one, normalised keys are
mixed, since the mix comes last before the rotary embedding. The input-dependent router over
hidden states found in public code (DynamicLIMe) is another method and left out.
"""

from attnres_eval.shape import ModelShape
from attnres_eval.variants.spec import NoOptions, ResidualCost, VariantSpec


def cost(shape: ModelShape, options: NoOptions) -> ResidualCost:
    """Traffic 3 d a sublayer; a mix in layer l reads l + 1 keys and values and writes one each."""
    heads, width = shape.n_kv_heads, shape.n_kv_heads * shape.head_dim
    mixed = [layer + 1 for layer in range(1, shape.n_layers)]
    weights = sum(heads * layers * heads for layers in mixed)
    return ResidualCost(
        parameters=weights,
        # Each weight multiplies a key and a value of head_dim elements.
        forward_flops_per_token=2 * weights * 2 * shape.head_dim,
        traffic_elements_per_token=3.0 * shape.d_model * shape.n_sublayers
        + sum(2.0 * (layers + 1) * width for layers in mixed),
    )


SPEC = VariantSpec(
    name="lime",
    title="LIMe",
    family="earlier outputs, fixed weights",
    formula="h[l+1] = h[l] + f_l(h[l]), with [K,V]'[l,g] = sum_{j<=l} sum_r w[l,g,j,r] [K,V][j,r]",
    reference="arXiv:2502.09245",
    options=NoOptions,
    module="attnres_eval.model.residuals.lime:LIMe",
    cost=cost,
)
