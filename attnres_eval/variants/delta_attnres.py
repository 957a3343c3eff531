"""Delta Attention Residuals: PreNorm's stream, and attention over depth added to what is read.

The stream grows as in PreNorm, h[l+1] = h[l] + f_l(u[l]), but a sublayer reads the stream plus a
mix of sources, u[l] = h[l] + sum_i alpha_i v_i, with the weights of `full_attnres`: softmax of
scores w_l . RMSNorm_l(v_i), queries zero at the start (arXiv:2605.18855; code
wdlctc/delta-attention-residuals-code, Attention-Residuals/modeling_qwen3_attnres.py).

- `sources: full` takes the embedding and every earlier sublayer's output; `block` takes the
  embedding and each finished block's change of the stream, h at its end minus h at its start. The
  running block's change is no source.
- Readers are the sublayers but the first, whose only source would be its own stream: it reads the
  stream alone. A reader whose only source is the embedding (first block) adds it as it is, and
  needs no query. The final norm sees the stream alone.
- `gate: zero` multiplies the added term by a learned scalar for each reader that starts at zero:
  the paper's safe conversion, PreNorm at the start. Without it the full form starts from PreNorm
  too, since the mix is then a multiple of the stream, but the block form does not.

Where paper and released code differ, the paper is followed: the code draws queries from
N(0, 0.02^2), the paper starts them at zero; the code's block source is the recursive difference
`partial - last_source`, which is not the block's change from the third source on; and it lists a
finished block only after the next block's attention has read, here that attention sees it; and
its blocks are whole transformer blocks, here sublayers are divided as in `block_attnres`. The
code's null source is left out: with zero queries it is not the identity that it is said to be.
The paper describes AttnRes' sources as cumulative states, which arXiv:2603.15031 does not.
"""

from typing import Literal

from pydantic import Field, model_validator

from attnres_eval.shape import ModelShape, block_bounds
from attnres_eval.variants.attnres import DEFAULT_BLOCKS, AttnResOptions, attnres_cost
from attnres_eval.variants.full_attnres import FULL_SCHEDULE_BLOCKS
from attnres_eval.variants.spec import Options, ResidualCost, VariantSpec


class DeltaAttnResOptions(Options):
    """Options of Delta Attention Residuals."""

    sources: Literal["full", "block"] = "full"
    """Every sublayer's output, or the change over each finished block."""
    num_blocks: int | None = Field(
        default=None, ge=1, examples=[{"sources": "block", "num_blocks": 3}]
    )
    """N of the block form; 8, or one a transformer block if there are fewer."""
    gate: Literal["none", "zero"] = "none"
    """Whether a scalar for each reader, zero at the start, multiplies what is added."""

    @model_validator(mode="after")
    def _blocks_of_the_block_form(self) -> "DeltaAttnResOptions":
        if self.sources == "full" and self.num_blocks is not None:
            raise ValueError("num_blocks belongs to sources: block; sources is full")
        return self

    def check(self, shape: ModelShape) -> None:
        self.bounds(shape)

    @property
    def equals_prenorm_at_init(self) -> bool:
        return self.gate == "zero" or self.sources == "full"

    def bounds(self, shape: ModelShape) -> list[tuple[int, int]]:
        """The blocks as half-open ranges of sublayers; in the full form one a sublayer.

        Raises:
            ValueError: there are more blocks than sublayers.
        """
        if self.sources == "full":
            return block_bounds(shape.n_sublayers, shape.n_sublayers)
        blocks = self.num_blocks or min(DEFAULT_BLOCKS, shape.n_layers)
        return block_bounds(shape.n_sublayers, blocks)

    def source_counts(self, shape: ModelShape) -> list[int]:
        """How many sources each sublayer reads beside the stream."""
        counts = [
            block for block, bounds in enumerate(self.bounds(shape), 1) for _ in range(*bounds)
        ]
        return [0, *counts[1:]]


def traffic(shape: ModelShape, options: DeltaAttnResOptions) -> float:
    """Elements a sublayer and token, as a multiple of d: the stream's 3 and those of the mixes.

    Full: (S + N) d as in Full AttnRes. Block: one pass over up to N sources serves the S sublayers
    of a block, N / S each; a mix is written and read back, 2; a block's change is formed once from
    two states, 3 / S.
    """
    if options.sources == "full":
        blocks = min(FULL_SCHEDULE_BLOCKS, shape.n_sublayers)
        return 3 + shape.n_sublayers / blocks + blocks
    blocks = len(options.bounds(shape))
    return 3 + (blocks + 3) * blocks / shape.n_sublayers + 2


def cost(shape: ModelShape, options: DeltaAttnResOptions) -> ResidualCost:
    """Readers of several sources mix them; a gate only scales a vector."""
    routed = attnres_cost(
        shape, options.source_counts(shape), AttnResOptions(), traffic(shape, options)
    )
    gates = shape.n_sublayers - 1 if options.gate == "zero" else 0
    return ResidualCost(
        parameters=routed.parameters + gates,
        forward_flops_per_token=routed.forward_flops_per_token,
        traffic_elements_per_token=routed.traffic_elements_per_token,
    )


SPEC = VariantSpec(
    name="delta_attnres",
    title="Delta AttnRes",
    family="earlier outputs, input-dependent weights",
    formula="h[l+1] = h[l] + f_l(h[l] + sum_i softmax_i(w_l . RMSNorm_l(v_i)) v_i)",
    reference="arXiv:2605.18855",
    options=DeltaAttnResOptions,
    module="attnres_eval.model.residuals.delta_attnres:DeltaAttnRes",
    cost=cost,
)
