"""The residual variants by name, without torch.

A variant is one line of `TABLE`, one module here (options, cost, source) and one module under
`attnres_eval.model.residuals`. Studies are validated and priced from here alone.
"""

import difflib
from importlib import import_module
from typing import Any

from pydantic import ValidationError

from attnres_eval.errors import UserError
from attnres_eval.variants.spec import FAMILIES, NoOptions, Options, ResidualCost, VariantSpec

__all__ = [
    "FAMILIES",
    "VARIANTS",
    "NoOptions",
    "Options",
    "ResidualCost",
    "VariantSpec",
    "get_variant",
    "parse_options",
    "register",
]

TABLE = (
    "prenorm",
    "full_attnres",
    "block_attnres",
    "postnorm",
    "deepnorm",
    "rezero",
    "layerscale",
    "rescaled",
    "highway",
    "siamesenorm",
    "x0_lambdas",
    "hyper_connections",
    "mhc",
    "mhc_lite",
    "gated_residual",
    "frac_connections",
    "value_residual",
    "denseformer",
    "lime",
    "laurel",
    "muddformer",
    "delta_attnres",
    "rms_block_attnres",
)
"""Modules of this package, in the order of tables and figures."""

VARIANTS: dict[str, VariantSpec] = {}


def register(spec: VariantSpec) -> VariantSpec:
    """Adds a variant to the table. A name that is taken is refused with ValueError."""
    if spec.name in VARIANTS:
        raise ValueError(f"variant {spec.name} is already registered")
    VARIANTS[spec.name] = spec
    return spec


for _name in TABLE:
    register(import_module(f"{__name__}.{_name}").SPEC)


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
        # A rule about several options has no place of its own.
        key = ".".join(str(part) for part in first["loc"])
        where = f"option {key}: " if key else ""
        message = first["msg"].removeprefix("Value error, ")
        known = ", ".join(spec.options.model_fields) or "none"
        raise UserError(f"variant {name}: {where}{message} (options of {name}: {known})") from None
