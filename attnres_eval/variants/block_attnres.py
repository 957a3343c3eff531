"""Block Attention Residuals: attention over sums of blocks of sublayers.

The L sublayers fall into blocks, attention and MLP counted apart. Sources are the embedding, once,
the sums of finished blocks, and the running block's partial sum, which the first sublayer of a
block does not have. Queries, key norms, values and the output aggregation are those of
`full_attnres` (arXiv:2603.15031 section 3.2). As many blocks as sublayers is Full AttnRes; one
block is a plain sum with the embedding kept as a source of its own. As there, the starting model
computes what PreNorm does.

Blocks are given by their number N (`num_blocks`; L // N sublayers each, the remainder goes to the
last block, as in the paper) or by their size S (`block_size`, the paper's sweep; the last block
may be shorter). The paper recommends about 8 blocks, which is the default; a model of fewer
sublayers then has one block a sublayer. Where the pseudo-code of the paper's figure 2 and the
equations disagree (the figure would count the embedding twice), the equations are followed.

The other options are those of `full_attnres`. The latest source is the partial sum or, for a
block's first sublayer, the last finished block; a `window` counts the partial sum as one.
"""

from pydantic import Field, model_validator

from attnres_eval.shape import ModelShape
from attnres_eval.variants.attnres import (
    AttnResOptions,
    BlockOptions,
    attnres_cost,
    block_sources,
    capped,
)
from attnres_eval.variants.spec import ResidualCost, VariantSpec


class BlockAttnResOptions(BlockOptions, AttnResOptions):
    """Options of Block Attention Residuals."""

    two_phase: bool = Field(default=False, examples=[{"two_phase": True, "num_blocks": 3}])
    """Score all finished blocks once per block, then merge the partial sum by online softmax."""

    @model_validator(mode="after")
    def _two_phases_need_known_queries(self) -> "BlockAttnResOptions":
        changed = [
            name
            for name in ("query", "mixing", "window", "heads")
            if getattr(self, name) != type(self).model_fields[name].default
        ]
        if self.two_phase and changed:
            raise ValueError(
                "two_phase is a schedule of the paper's softmax over all sources by one learned"
                f" query a reader; leave it out with {' and '.join(changed)}"
            )
        return self


def traffic(shape: ModelShape, options: BlockAttnResOptions) -> float:
    """Elements a sublayer and token, as a multiple of d.

    In two phases: one pass over up to N finished blocks (W + 1 under a window) serves the S
    sublayers of a block, N / S each; a reader's part of the mix is written and read back, 2; the
    partial sum grows like a plain residual, 3: (N / S + 5) d (arXiv:2603.15031 table 1), where S
    is L / N on average. A query that depends on the latest source rules the first phase out: then
    every reader reads its N sources itself, (N + 3) d.
    """
    blocks = len(options.bounds(shape))
    read = blocks if options.window is None else min(blocks, options.window + 1)
    if options.query == "input_dependent":
        return read + 3
    return read * blocks / shape.n_sublayers + 5


def cost(shape: ModelShape, options: BlockAttnResOptions) -> ResidualCost:
    """Every reader mixes its sources; see `traffic`."""
    counts = capped(block_sources(options.bounds(shape)), options.window)
    return attnres_cost(shape, counts, options, traffic(shape, options))


SPEC = VariantSpec(
    name="block_attnres",
    title="Block AttnRes",
    family="earlier outputs, input-dependent weights",
    formula="as full_attnres over x0, the sums of finished blocks and the running partial sum",
    reference="arXiv:2603.15031 section 3.2, figure 2",
    options=BlockAttnResOptions,
    module="attnres_eval.model.residuals.attnres:BlockAttnRes",
    cost=cost,
)
