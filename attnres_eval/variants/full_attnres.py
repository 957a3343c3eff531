"""Full Attention Residuals: each sublayer attends over the embedding and all earlier outputs.

Sources v_i are the embedding and the raw outputs of earlier sublayers, never cumulative states.
Reader l mixes them with weights softmax_i(w_l . RMSNorm_l(v_i)), one set a token. Every reader but
the first sublayer, which has one source, has a query w_l and a key norm with its own gain; so has
the aggregation before the final norm. Queries start at zero: mixing starts as a plain mean, which
the paper calls mandatory. There is no 1 / sqrt(d) scale and no recency bias (arXiv:2603.15031
section 3.1, equations 1-4, and section 5).

The mean is PreNorm's sum over the number of sources, and every reader is followed by a norm, so
that the starting model computes what PreNorm does.

Options are the ablations of the paper's table 4. What it leaves open, and what is taken here:

- `query: input_dependent` projects "from the current hidden state". Here that is the latest source
  v_{l-1}, raw; W starts at zero, which keeps the uniform start.
- `mixing: sigmoid` is not normalised, so that weights start at 1/2 each.
- `mixing: static` keeps the softmax, over learned logits; `static_linear` is without.
- `window: W` counts the latest W outputs beside the embedding, for the output aggregation too.
- `heads: H` normalises keys over the full width before they are sliced.
- `logit_scale` is no ablation of the paper; reports on several heads differ in their temperature.
"""

from attnres_eval.shape import ModelShape
from attnres_eval.variants.attnres import AttnResOptions, attnres_cost, capped, full_sources
from attnres_eval.variants.spec import ResidualCost, VariantSpec

FULL_SCHEDULE_BLOCKS = 8
"""Blocks in the two-phase schedule by which the traffic of Full AttnRes is counted."""


class FullAttnResOptions(AttnResOptions):
    """Options of Full Attention Residuals."""


def traffic(shape: ModelShape, options: FullAttnResOptions) -> float:
    """Elements a sublayer and token, as a multiple of d.

    In two phases, with N = 8 blocks of S = L / N sublayers: one pass over up to L sources serves
    the S readers of a block, N d each, and each reads up to S sources of its own block: (S + N) d
    (arXiv:2603.15031 table 1). A query that depends on the latest source rules the first phase
    out: then every reader reads up to L sources, or the W + 1 of its window. A window smaller than
    the schedule's S + N is read in that way too.
    """
    n_sublayers = shape.n_sublayers
    alone = n_sublayers if options.window is None else min(n_sublayers, options.window + 1)
    if options.query == "input_dependent":
        return alone
    blocks = min(FULL_SCHEDULE_BLOCKS, n_sublayers)
    phased = n_sublayers / blocks + blocks
    return phased if options.window is None else min(phased, alone)


def cost(shape: ModelShape, options: FullAttnResOptions) -> ResidualCost:
    """Every reader mixes its sources; see `traffic`."""
    counts = capped(full_sources(shape.n_sublayers), options.window)
    return attnres_cost(shape, counts, options, traffic(shape, options))


SPEC = VariantSpec(
    name="full_attnres",
    title="Full AttnRes",
    family="earlier outputs, input-dependent weights",
    formula="h[l] = sum_i softmax_i(w_l . RMSNorm_l(v_i)) v_i, v_i = x0 and all f_j",
    reference="arXiv:2603.15031 section 3.1, equations 1-4",
    options=FullAttnResOptions,
    module="attnres_eval.model.residuals.attnres:FullAttnRes",
    cost=cost,
)
