"""What the variants with attention over depth share: options, sources of each reader, price."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, model_validator

from attnres_eval.shape import ModelShape, block_bounds
from attnres_eval.variants.spec import Options, ResidualCost

DEFAULT_BLOCKS = 8
"""The paper's recommended number of blocks."""


class AttnResOptions(Options):
    """How a reader weighs its sources. The defaults are the paper's method."""

    query: Literal["learned", "input_dependent"] = "learned"
    """A vector for each reader, or W v of the latest source v, with W (d, d) zero at the start."""
    mixing: Literal["softmax", "sigmoid", "static", "static_linear"] = "softmax"
    """Softmax or unnormalised sigmoid of the scores; or, without scores, learned numbers for each
    pair of reader and source: through a softmax (zero at the start) or as they are (one over the
    number of sources)."""
    key_norm: bool = True
    """Whether keys are normalised, with a gain for each reader."""
    window: int | None = Field(default=None, ge=1, examples=[2])
    """Sources are the embedding and this many of the latest ones; all of them where absent."""
    heads: int = Field(default=1, ge=1, examples=[4])
    """Groups of channels with a mix of their own: a slice each of query, normalised key, value."""
    logit_scale: float = Field(default=1.0, gt=0, examples=[0.5])
    """Multiplies the scores: an inverse temperature."""

    @model_validator(mode="after")
    def _static_mixing_has_no_scores(self) -> "AttnResOptions":
        scoring = ("query", "key_norm", "heads", "logit_scale")
        fields = type(self).model_fields
        changed = [name for name in scoring if getattr(self, name) != fields[name].default]
        if not self.scored and changed:
            raise ValueError(
                f"mixing {self.mixing} computes no scores, so {' and '.join(changed)}"
                " would have no effect; leave it out"
            )
        return self

    @property
    def scored(self) -> bool:
        """Whether weights come from scores of queries and keys."""
        return self.mixing in ("softmax", "sigmoid")

    def check(self, shape: ModelShape) -> None:
        super().check(shape)
        if shape.d_model % self.heads:
            raise ValueError(f"heads {self.heads} does not divide d_model {shape.d_model}")

    @property
    def equals_prenorm_at_init(self) -> bool:
        # All weights of a reader are equal, so that it reads a multiple of PreNorm's sum, and the
        # sublayer's norm takes the factor out. A window drops some of the sum.
        return self.window is None


class BlockOptions(Options):
    """Into which blocks the sublayers fall."""

    num_blocks: int | None = Field(default=None, ge=1, examples=[3])
    """N: into how many blocks the sublayers fall; 8, or one a sublayer if there are fewer."""
    block_size: int | None = Field(default=None, ge=1, examples=[3])
    """S: sublayers in a block, instead of `num_blocks`."""

    @model_validator(mode="after")
    def _one_way_to_divide(self) -> "BlockOptions":
        if self.num_blocks is not None and self.block_size is not None:
            raise ValueError("num_blocks and block_size exclude each other; give one of them")
        return self

    def check(self, shape: ModelShape) -> None:
        super().check(shape)
        self.bounds(shape)

    def bounds(self, shape: ModelShape) -> list[tuple[int, int]]:
        """The blocks as half-open ranges of sublayers.

        Raises:
            ValueError: there are more blocks than sublayers, or a block is larger than the model.
        """
        end, size = shape.n_sublayers, self.block_size
        if size is None:
            return block_bounds(end, self.num_blocks or min(DEFAULT_BLOCKS, end))
        if size > end:
            raise ValueError(f"block_size {size} is more than the model's {end} sublayers")
        return [(first, min(first + size, end)) for first in range(0, end, size)]


def capped(counts: Sequence[int], window: int | None) -> list[int]:
    """Numbers of sources under a window: the embedding and at most `window` others."""
    return [count if window is None else min(count, window + 1) for count in counts]


def full_sources(n_sublayers: int) -> list[int]:
    """How many sources each sublayer and, last, the output aggregation of Full AttnRes mixes."""
    return list(range(1, n_sublayers + 2))


def block_sources(bounds: Sequence[tuple[int, int]]) -> list[int]:
    """How many sources each sublayer and, last, the output aggregation of Block AttnRes mixes.

    Args:
        bounds: half-open ranges of sublayers, one a block.
    """
    counts = []
    for block, (first, end) in enumerate(bounds, 1):
        counts += [block] + [block + 1] * (end - first - 1)
    return [*counts, len(bounds) + 1]


def attnres_cost(
    shape: ModelShape, sources: Sequence[int], options: AttnResOptions, traffic_per_sublayer: float
) -> ResidualCost:
    """Prices readers, those with a single source apart: they take it as it is.

    A mix of S sources costs 2 S d FLOPs and their scores 2 S d, whatever the number of heads; an
    input-dependent query costs 2 d^2.

    Args:
        shape: the decoder.
        sources: how many sources each sublayer and, last, the output aggregation reads.
        options: how they are weighed.
        traffic_per_sublayer: elements read and written, as a multiple of d_model.
    """
    width = shape.d_model
    readers = [count for count in sources if count > 1]
    flops = 2 * width * sum(readers)
    parameters = sum(readers)
    if options.scored:
        flops *= 2
        parameters = len(readers) * width
        if options.query == "input_dependent":
            flops += len(readers) * 2 * width**2
            parameters *= width
        if options.key_norm:
            parameters += len(readers) * width
    return ResidualCost(
        parameters=parameters,
        forward_flops_per_token=flops,
        traffic_elements_per_token=traffic_per_sublayer * width * shape.n_sublayers,
    )
