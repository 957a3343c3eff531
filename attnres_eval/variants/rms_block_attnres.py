"""RMS Block AttnRes: block sums of normalised outputs, so that no output outweighs its block.

As `block_attnres`, but for what a finished block is: each sublayer's output is divided by its RMS
(per token, epsilon 1e-6, no gain) before it enters the block's sum. The running block's partial
sum and the embedding stay raw, and a finished sum is not normalised again (kimmichtank/
rms-block-attnres, README and docs/design.md; there is no paper). The last block is always
finished before the output aggregation, also where it is shorter or longer than the others; the
source implementation requires equal blocks of 4 sublayers. Readers mix as in the paper's method,
without its ablations; blocks are given as for `block_attnres`, of which there are 8 by default.

Not PreNorm at the start: finished blocks are not plain sums.
"""

from attnres_eval.shape import ModelShape
from attnres_eval.variants.attnres import (
    AttnResOptions,
    BlockOptions,
    attnres_cost,
    block_sources,
)
from attnres_eval.variants.spec import ResidualCost, VariantSpec


class RmsBlockAttnResOptions(BlockOptions):
    """Options of RMS Block AttnRes."""


def cost(shape: ModelShape, options: RmsBlockAttnResOptions) -> ResidualCost:
    """Block AttnRes' (N / S + 5) d a sublayer, and 2 d to read and write the second running sum."""
    bounds = options.bounds(shape)
    traffic = len(bounds) ** 2 / shape.n_sublayers + 7
    return attnres_cost(shape, block_sources(bounds), AttnResOptions(), traffic)


SPEC = VariantSpec(
    name="rms_block_attnres",
    title="RMS Block AttnRes",
    family="earlier outputs, input-dependent weights",
    formula="as block_attnres, finished blocks being sums of f_j / rms(f_j)",
    reference="kimmichtank/rms-block-attnres, docs/design.md",
    options=RmsBlockAttnResOptions,
    module="attnres_eval.model.residuals.attnres:RmsBlockAttnRes",
    cost=cost,
)
