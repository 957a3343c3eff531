"""What every residual variant says of itself, without torch: options, cost, source."""

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict

from attnres_eval.shape import ModelShape

Family = Literal[
    "single stream",
    "several streams",
    "earlier outputs, fixed weights",
    "earlier outputs, input-dependent weights",
]
FAMILIES: tuple[str, ...] = get_args(Family)


@dataclass(frozen=True)
class ResidualCost:
    """What a residual adds to the decoder, as exact counts.

    The conventions (what counts as a FLOP, what counts as traffic) are stated in
    `attnres_eval.cost`.
    """

    parameters: int
    """Elements of the residual's own parameters."""
    forward_flops_per_token: int
    traffic_elements_per_token: float
    """Vector elements read and written by the residual in a forward pass, over all sublayers."""
    norm_change: int = 0
    """Norms of width d_model that the decoder gains, or loses where negative."""


class Options(BaseModel):
    """Options of a variant. Unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    def check(self, shape: ModelShape) -> None:
        """Raises ValueError where the options do not fit the model's shape."""

    @property
    def equals_prenorm_at_init(self) -> bool:
        """Whether the starting model computes what PreNorm does, up to rounding."""
        return False


class NoOptions(Options):
    """For a variant without options."""


@dataclass(frozen=True)
class VariantSpec:
    """One residual variant."""

    name: str
    title: str
    family: Family
    formula: str
    reference: str
    options: type[Options]
    module: str
    """`package.module:Class` of the torch module."""
    cost: Callable[[ModelShape, Any], ResidualCost]
    """Takes the shape and an instance of `options`."""

    @property
    def description(self) -> str:
        """Definition, source and open choices: the docstring of the module that prices it."""
        return inspect.getdoc(sys.modules[self.cost.__module__]) or ""
