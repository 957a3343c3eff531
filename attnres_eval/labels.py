"""A label of a study: a variant with its options, and how its training differs from the recipe.

A label is a variant's name, or any name with the variant in the key `variant`. Beside the
variant's options it may have

- `learning_rate_scale`: its peak rates over the recipe's, one number or one by size: {d24: 2, d48:
  1}. A list stands for a label each: `mhc` with [0.5, 1, {d24: 2, d48: 1}] for `mhc_x0.5`, `mhc`
  and `mhc_own`.
- `flops_of`: another label, whose training FLOPs a run of this one is to cost at each size, by
  training on more or fewer tokens.
"""

import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from attnres_eval.errors import UserError
from attnres_eval.variants import VARIANTS, Options, parse_options

SCALED = re.compile(r"^(?P<base>.+)_x(?P<scale>\d+(?:\.\d+)?)$")
"""A label at another rate than the recipe's, and the label whose rate it scales."""

OWN = "_own"
"""Ends the name of a label with a rate of its own at each size."""

SCALES = (1e-3, 1e3)
"""The least and the greatest factor of a learning rate."""


@dataclass(frozen=True)
class Label:
    """What stands behind a label."""

    variant: str
    options: Options
    learning_rate_scale: float | tuple[tuple[str, float], ...] = 1.0
    """Peak rates over the recipe's: at all sizes, or by size."""
    flops_of: str | None = None

    def scale_at(self, size: str) -> float:
        """Peak rates over the recipe's at one size."""
        scale = self.learning_rate_scale
        return scale if isinstance(scale, float) else dict(scale)[size]


def scaled_label(base: str, scale: float) -> str:
    """The name of a label whose rate is `scale` times that of `base`."""
    return base if scale == 1 else f"{base}_x{scale:g}"


def own_base(label: str) -> str:
    """The label of whose training a label is another rate: itself where it is none."""
    return label.removesuffix(OWN) if label.endswith(OWN) else split_label(label)[0]


def split_label(label: str) -> tuple[str, float]:
    """The label whose rate a label scales, and by what: itself and 1 where it scales none."""
    match = SCALED.match(label)
    return (match["base"], float(match["scale"])) if match else (label, 1.0)


def named_after(label: str) -> str | None:
    """The variant whose name a label is, or begins with before an underscore; None without one.

    The longest, where there are several: `mhc_lite_wide` is named after `mhc_lite`.
    """
    names = [name for name in VARIANTS if f"{label}_".startswith(f"{name}_")]
    return max(names, key=len, default=None)


def expanded(variants: dict[str, Any]) -> dict[str, Any]:
    """Labels with lists of learning rates as a label each, in the lists' order.

    Raises:
        ValueError: a list is empty, names a rate twice, or gives a name that is taken.
    """
    found: dict[str, Any] = {}
    for label, values in variants.items():
        scales = values.get("learning_rate_scale") if isinstance(values, dict) else None
        if not isinstance(scales, list):
            _add(found, label, values)
            continue
        if not scales:
            raise ValueError(f"variants.{label}: learning_rate_scale lists no rate")
        for scale in scales:
            own = {"variant": label, **values, "learning_rate_scale": scale}
            if isinstance(scale, dict):
                _add(found, label + OWN, own)
                continue
            own["learning_rate_scale"] = checked_scale(label, scale)
            if scale == 1:
                del own["learning_rate_scale"]
            _add(found, scaled_label(label, float(scale)), own)
    return found


def _add(found: dict[str, Any], label: str, values: Any) -> None:
    if label in found:
        raise ValueError(f"variants: {label} stands there twice")
    found[label] = values


def checked_scale(label: str, scale: Any) -> float:
    """A factor of a learning rate.

    Raises:
        ValueError: it is none.
    """
    low, high = SCALES
    number = isinstance(scale, int | float) and not isinstance(scale, bool)
    if not number or not low <= scale <= high:
        raise ValueError(
            f"variants.{label}: learning_rate_scale {scale!r} is no number between {low:g} and"
            f" {high:g}"
        )
    return float(scale)


def _scale(label: str, scale: Any, sizes: Collection[str]) -> float | tuple[tuple[str, float], ...]:
    """The key `learning_rate_scale` of a label."""
    if not isinstance(scale, dict):
        if label.endswith(OWN):
            raise ValueError(
                f"variants.{label}: by its name it has a learning rate of its own at each size,"
                " which learning_rate_scale does not name by size; give it another name"
            )
        return checked_scale(label, scale)
    if set(scale) != set(sizes):
        raise ValueError(
            f"variants.{label}: learning_rate_scale names the sizes"
            f" {', '.join(map(str, scale))}; the study has {', '.join(sizes)}"
        )
    return tuple((size, checked_scale(label, scale[size])) for size in sizes)


def parse_label(
    label: str, values: dict[str, Any] | None, known: dict[str, Any], sizes: Collection[str]
) -> Label:
    """What stands behind a label.

    Args:
        label: its name.
        values: its keys in the study.
        known: all labels of the study.
        sizes: the names of its sizes.

    Raises:
        ValueError: the variant, an option or a key is wrong.
    """
    own = dict(values or {})
    variant = own.pop("variant", label)
    scale = _scale(label, own.pop("learning_rate_scale", 1.0), sizes)
    base, named = split_label(label)
    if base != label and not (
        isinstance(scale, float) and math.isclose(named, scale, rel_tol=1e-5)
    ):
        found = f"{scale:g} times" if isinstance(scale, float) else "another at each size"
        raise ValueError(
            f"variants.{label}: by its name its learning rate is {named:g} times the recipe's, by"
            f" learning_rate_scale {found}; give it another name"
        )
    flops_of = own.pop("flops_of", None)
    if flops_of is not None and (flops_of == label or flops_of not in known):
        raise ValueError(f"variants.{label}: flops_of {flops_of!r} is no other label of the study")
    if flops_of is not None and (known[flops_of] or {}).get("flops_of") is not None:
        raise ValueError(f"variants.{label}: {flops_of} takes its FLOPs from a label itself")
    try:
        return Label(variant, parse_options(variant, own), scale, flops_of)
    except UserError as error:
        raise ValueError(f"variants.{label}: {error}") from None
