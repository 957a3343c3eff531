"""The variants as a reader meets them: a table with prices, and their documentation.

`python -m attnres_eval.catalogue` prints docs/variants.md (`make docs` writes it). Torch-free.
"""

import re
import textwrap
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from attnres_eval.cost import model_cost
from attnres_eval.errors import UserError
from attnres_eval.shape import ModelShape, default_d_ff
from attnres_eval.variants import FAMILIES, VARIANTS, VariantSpec, get_variant

BASELINE = "prenorm"
BYTES_PER_ELEMENT = 2
"""Of bf16, in which streams are kept where speed matters."""
PRICES = (
    "parameters_added",
    "flops_over_prenorm",
    "residual_bytes",
    "residual_bytes_over_prenorm",
)


BRIEF = (
    "parameters: added to PreNorm's; flops: forward, over PreNorm's; bytes: moved by the residual a"
    " token and sublayer, over PreNorm's; init: whether it starts equal to PreNorm"
)
"""What the short headings of a brief table mean."""


def decoder(
    d_model: int = 512,
    n_layers: int = 16,
    n_heads: int = 8,
    vocab_size: int = 32_000,
    context: int = 2048,
) -> ModelShape:
    """A decoder of the bundled kind: SwiGLU of 8/3 d_model, a tied head.

    Raises:
        UserError: the heads do not divide the width into even parts.
    """
    if d_model % n_heads or d_model // n_heads % 2:
        raise UserError(
            f"{n_heads} heads do not divide d_model {d_model} into even parts;"
            " give other values of --heads or --d-model"
        )
    return ModelShape(
        d_model=d_model,
        n_layers=n_layers,
        n_heads=n_heads,
        n_kv_heads=n_heads,
        head_dim=d_model // n_heads,
        d_ff=default_d_ff(d_model),
        vocab_size=vocab_size,
        context=context,
    )


def chosen_variants(name: str | None = None, family: str | None = None) -> list[VariantSpec]:
    """The variants grouped by family, or one of them, or those of the families named in part.

    Raises:
        UserError: no variant or no family of that name.
    """
    if name is not None:
        return [get_variant(name)]
    families = [known for known in FAMILIES if (family or "").lower() in known]
    if not families:
        raise UserError(f"no family {family!r}; there are {'; '.join(FAMILIES)}")
    return [spec for known in families for spec in VARIANTS.values() if spec.family == known]


def catalogue_rows(
    shape: ModelShape, specs: list[VariantSpec], *, brief: bool = False
) -> list[dict[str, Any]]:
    """One row a variant with its defaults: source, formula and price at a size.

    Parameters are the difference to PreNorm; FLOPs (forward, a token) and bytes that the residual
    moves (a token and sublayer, at two bytes an element) are multiples of PreNorm's. A variant
    whose defaults do not fit the size has no price, and a note.

    Args:
        shape: the decoder.
        specs: the variants.
        brief: for a terminal, under the short headings that `BRIEF` explains; title, family,
            options and absolute bytes are left out, and notes where there are none.
    """
    rows = [
        {
            "variant": spec.name,
            "title": spec.title,
            "family": spec.family,
            "formula": spec.formula,
            "reference": spec.reference,
            "options": ", ".join(spec.options.model_fields),
            **_price(spec, shape),
        }
        for spec in specs
    ]
    if not brief:
        return rows
    columns = {
        "variant": "variant",
        "formula": "formula",
        "reference": "reference",
        "parameters": "parameters_added",
        "flops": "flops_over_prenorm",
        "bytes": "residual_bytes_over_prenorm",
        "init": "prenorm_at_init",
    }
    if any(row["note"] for row in rows):
        columns["note"] = "note"
    return [{short: row[column] for short, column in columns.items()} for row in rows]


def _price(spec: VariantSpec, shape: ModelShape) -> dict[str, Any]:
    options, base_options = spec.options(), get_variant(BASELINE).options()
    start = {"prenorm_at_init": options.equals_prenorm_at_init}
    try:
        options.check(shape)
    except ValueError as error:
        return {**dict.fromkeys(PRICES), **start, "note": str(error)}
    cost = model_cost(shape, spec.name, options)
    base = model_cost(shape, BASELINE, base_options)
    traffic = cost.residual_traffic_elements_per_token
    prices = (
        cost.parameters - base.parameters,
        cost.forward_flops_per_token / base.forward_flops_per_token,
        traffic * BYTES_PER_ELEMENT / shape.n_sublayers,
        traffic / base.residual_traffic_elements_per_token,
    )
    return {**dict(zip(PRICES, prices, strict=True)), **start, "note": ""}


def option_rows(spec: VariantSpec) -> list[dict[str, str]]:
    """A variant's options: name, possible values, default, meaning."""
    return [
        {
            "option": name,
            "values": _values(field),
            "default": _shown(field.default),
            "meaning": " ".join((field.description or "").split()),
        }
        for name, field in spec.options.model_fields.items()
    ]


def _shown(value: Any) -> str:
    """A value as a study file has it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else f"{value}"


def _values(field: FieldInfo) -> str:
    bounds = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    limits = [
        f"{sign} {getattr(item, bound)}"
        for item in field.metadata
        for bound, sign in bounds.items()
        if getattr(item, bound, None) is not None
    ]
    return _kind(field.annotation, " and ".join(limits))


def _kind(annotation: Any, limits: str) -> str:
    if get_origin(annotation) is Literal:
        return " or ".join(map(_shown, get_args(annotation)))
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join(_kind(part, limits) for part in get_args(annotation))
    if annotation in (int, float):
        return f"{'integer' if annotation is int else 'number'} {limits}".rstrip()
    return {bool: "true or false", NoneType: "null"}.get(annotation) or str(annotation)


def price_sentence(row: dict[str, Any]) -> str:
    """A row's price in words."""
    if row["note"]:
        return f"{row['note']}."
    return (
        f"{row['parameters_added']:+,} parameters,"
        f" {row['flops_over_prenorm']:.4f} times the forward FLOPs of PreNorm,"
        f" {row['residual_bytes_over_prenorm']:.2f} times its residual traffic"
        f" ({row['residual_bytes']:,.0f} bytes a token and sublayer in bf16);"
        f" {'equal' if row['prenorm_at_init'] else 'not equal'} to PreNorm at initialisation."
    )


def _size(shape: ModelShape) -> str:
    return (
        f"d_model {shape.d_model}, {shape.n_layers} transformer blocks, {shape.n_heads} heads,"
        f" vocabulary {shape.vocab_size:,}, context {shape.context:,}"
    )


def variant_text(spec: VariantSpec, shape: ModelShape) -> str:
    """One variant's documentation for a terminal."""
    (row,) = catalogue_rows(shape, [spec])
    parts = [
        f"{spec.name}: {spec.title} ({spec.family})",
        f"  {spec.formula}\n  {spec.reference}",
        spec.description,
    ]
    for option in option_rows(spec):
        head = f"{option['option']}: {option['values']}; default {option['default']}"
        meaning = textwrap.fill(
            option["meaning"], 96, initial_indent="    ", subsequent_indent="    "
        )
        parts.append(f"{head}\n{meaning}")
    if not spec.options.model_fields:
        parts.append("No options.")
    price = f"With defaults at {_size(shape)}: {price_sentence(row)}"
    parts.append(textwrap.fill(price, 100))
    return "\n\n".join(parts)


OPENING = """# Residual variants

Generated from the specs under `attnres_eval/variants/` by `make docs`; do not edit. A variant is
named in a study by its name, with options as `name: {option: value}`. Formulas: `h[l]` is what
sublayer l reads, `f_l` the sublayer with its norm, `x0` the embedding, `v_i` the embedding and all
sublayer outputs; attention and MLP are sublayers of their own. What counts as a FLOP and as
traffic is stated in `attnres_eval/cost.py`. Adding one: [adding_a_variant.md](adding_a_variant.md).

Prices are for {size}; `attnres-eval variants --d-model 1024
--layers 24` has them at another size.
"""


def variants_document() -> str:
    """docs/variants.md: every variant by family."""
    shape = decoder()
    parts = [OPENING.rstrip().replace("{size}", _size(shape))]
    for family in FAMILIES:
        specs = [spec for spec in VARIANTS.values() if spec.family == family]
        if specs:
            parts.append(f"## {family.capitalize()}")
        parts += [_entry(spec, shape) for spec in specs]
    return "\n\n".join(parts) + "\n"


def _entry(spec: VariantSpec, shape: ModelShape) -> str:
    (row,) = catalogue_rows(shape, [spec])
    options = [
        "| option | values | default | meaning |",
        "|---|---|---|---|",
        *(
            f"| `{option['option']}` | {option['values']} | `{option['default']}`"
            f" | {option['meaning']} |"
            for option in option_rows(spec)
        ),
    ]
    return "\n\n".join(
        [
            f"### {spec.title}: `{spec.name}`",
            f"`{spec.formula}`",
            f"Source: {spec.reference}.",
            _markdown(spec.description),
            "\n".join(options) if spec.options.model_fields else "No options.",
            f"With defaults: {price_sentence(row)}",
        ]
    )


def _markdown(text: str) -> str:
    """Text with code in backquotes, so that formulas keep their underscores and asterisks."""
    parts = re.split(r"(`[^`]*`)", text)
    parts[::2] = [
        re.sub(r"(?<!\w)_|_(?!\w)|\*|<(?=[\w/!?])", r"\\\g<0>", part) for part in parts[::2]
    ]
    return "".join(parts)


if __name__ == "__main__":
    print(variants_document(), end="")
