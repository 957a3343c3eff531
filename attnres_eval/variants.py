"""The residual variants by name, without torch: options, cost formula, source.

A variant is one entry here plus one module under `attnres_eval.model.residuals`. Studies are
validated and priced from this table alone.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from attnres_eval.errors import UserError
from attnres_eval.shape import ModelShape, block_bounds


@dataclass(frozen=True)
class ResidualCost:
    """What a residual adds to the decoder, as exact counts.

    The conventions (what counts as a FLOP, what counts as traffic) are stated in
    `attnres_eval.cost`.
    """

    parameters: int
    forward_flops_per_token: int
    traffic_elements_per_token: float
    """Vector elements read and written by the residual in a forward pass, over all sublayers."""


class Options(BaseModel):
    """Options of a variant. Unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def check(self, shape: ModelShape) -> None:
        """Raises ValueError where the options do not fit the model's shape."""


class PreNormOptions(Options):
    """PreNorm has no options."""


class FullAttnResOptions(Options):
    """Full Attention Residuals have no options yet."""


class BlockAttnResOptions(Options):
    """Options of Block Attention Residuals."""

    num_blocks: int = Field(default=8, ge=1)
    """N: into how many blocks the sublayers are divided."""
    two_phase: bool = False
    """Score all finished blocks once per block, then merge the partial sum by online softmax."""

    def check(self, shape: ModelShape) -> None:
        block_bounds(shape.n_sublayers, self.num_blocks)


def _prenorm_cost(shape: ModelShape, options: Options) -> ResidualCost:
    return ResidualCost(0, 0, 3.0 * shape.d_model * shape.n_sublayers)


def full_sources(n_sublayers: int) -> list[int]:
    """How many sources each sublayer and, last, the output aggregation of Full AttnRes mixes."""
    return list(range(1, n_sublayers + 2))


def block_sources(n_sublayers: int, num_blocks: int) -> list[int]:
    """How many sources each sublayer and, last, the output aggregation of Block AttnRes mixes."""
    counts = []
    for block, (first, end) in enumerate(block_bounds(n_sublayers, num_blocks), 1):
        counts += [block] + [block + 1] * (end - first - 1)
    return [*counts, num_blocks + 1]


def _attnres_cost(shape: ModelShape, sources: list[int], traffic_per_layer: float) -> ResidualCost:
    # A single source needs no query; every other reader has a query and a key norm's gain.
    readers = [count for count in sources if count > 1]
    scores_and_sums = sum(4 * count * shape.d_model for count in readers)
    return ResidualCost(
        parameters=2 * shape.d_model * len(readers),
        forward_flops_per_token=scores_and_sums,
        traffic_elements_per_token=traffic_per_layer * shape.d_model * shape.n_sublayers,
    )


FULL_SCHEDULE_BLOCKS = 8
"""Blocks in the two-phase schedule by which the traffic of Full AttnRes is counted."""


def _full_attnres_cost(shape: ModelShape, options: Options) -> ResidualCost:
    blocks = min(FULL_SCHEDULE_BLOCKS, shape.n_sublayers)
    traffic = shape.n_sublayers / blocks + blocks
    return _attnres_cost(shape, full_sources(shape.n_sublayers), traffic)


def _block_attnres_cost(shape: ModelShape, options: Options) -> ResidualCost:
    assert isinstance(options, BlockAttnResOptions)
    sources = block_sources(shape.n_sublayers, options.num_blocks)
    traffic = options.num_blocks**2 / shape.n_sublayers + 5
    return _attnres_cost(shape, sources, traffic)


@dataclass(frozen=True)
class VariantSpec:
    """One residual variant."""

    name: str
    title: str
    formula: str
    reference: str
    options: type[Options]
    module: str
    """`package.module:Class` of the torch module."""
    cost: Callable[[ModelShape, Options], ResidualCost]
    equals_prenorm_at_init: bool


VARIANTS: dict[str, VariantSpec] = {}


def register(spec: VariantSpec) -> VariantSpec:
    """Adds a variant to the table. A name that is taken is refused with ValueError."""
    if spec.name in VARIANTS:
        raise ValueError(f"variant {spec.name} is already registered")
    VARIANTS[spec.name] = spec
    return spec


register(
    VariantSpec(
        name="prenorm",
        title="PreNorm",
        formula="h[l+1] = h[l] + f_l(h[l])",
        reference="arXiv:2002.04745; arXiv:2603.15031 section 2.1",
        options=PreNormOptions,
        module="attnres_eval.model.residuals.prenorm:PreNorm",
        cost=_prenorm_cost,
        equals_prenorm_at_init=True,
    )
)
register(
    VariantSpec(
        name="full_attnres",
        title="Full AttnRes",
        formula="h[l] = sum_i softmax_i(w_l . RMSNorm_l(v_i)) v_i, v_i = x0 and all f_j",
        reference="arXiv:2603.15031 section 3.1, equations 1-4",
        options=FullAttnResOptions,
        module="attnres_eval.model.residuals.attnres:FullAttnRes",
        cost=_full_attnres_cost,
        equals_prenorm_at_init=False,
    )
)
register(
    VariantSpec(
        name="block_attnres",
        title="Block AttnRes",
        formula="as full_attnres over x0, the sums of finished blocks and the running partial sum",
        reference="arXiv:2603.15031 section 3.2, figure 2",
        options=BlockAttnResOptions,
        module="attnres_eval.model.residuals.attnres:BlockAttnRes",
        cost=_block_attnres_cost,
        equals_prenorm_at_init=False,
    )
)


def get_variant(name: str) -> VariantSpec:
    """Looks a variant up by name.

    Raises:
        UserError: there is none of that name; the message suggests near misses.
    """
    if name in VARIANTS:
        return VARIANTS[name]
    near = difflib.get_close_matches(name, VARIANTS, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(VARIANTS)}"
    raise UserError(f"unknown variant {name!r}; {hint}")


def parse_options(name: str, values: dict[str, Any]) -> Options:
    """Validates a variant's options.

    Raises:
        UserError: the variant or an option is unknown, or a value is out of range.
    """
    spec = get_variant(name)
    try:
        return spec.options.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        known = ", ".join(spec.options.model_fields) or "none"
        raise UserError(
            f"variant {name}: option {key}: {first['msg']} (options of {name}: {known})"
        ) from None
