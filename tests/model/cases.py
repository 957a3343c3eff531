"""Every variant with its defaults, and every other value of each of its options in turn.

A variant is tested by being listed in the registry. An option is tested by being declared: flags
and choices by all their values, numbers by the `examples` of their field.
"""

from typing import Any, Literal, get_args, get_origin

import pytest
import torch
from torch import Tensor

from attnres_eval.model.initialise import initialise
from attnres_eval.model.transformer import Transformer
from attnres_eval.shape import ModelShape
from attnres_eval.variants import VARIANTS, VariantSpec, parse_options

SHAPE = ModelShape(
    d_model=32,
    n_layers=4,
    n_heads=4,
    n_kv_heads=2,
    head_dim=8,
    d_ff=88,
    vocab_size=96,
    context=24,
    qk_norm=True,
)

Case = tuple[str, dict[str, Any]]


def option_cases(spec: VariantSpec) -> list[Case]:
    """The defaults, then each option at each other value."""
    cases: list[Case] = [(spec.name, {})]
    for name, field in spec.options.model_fields.items():
        values: list[Any] = list(field.examples or [])
        if field.annotation is bool:
            values += [True, False]
        if get_origin(field.annotation) is Literal:
            values += get_args(field.annotation)
        assert values, f"{spec.name}.{name} needs examples=[...] to be tested"
        # An example may be a dict of options that only make sense together.
        changes = [value if isinstance(value, dict) else {name: value} for value in values]
        cases += [
            (spec.name, change) for change in changes if change.get(name, ...) != field.default
        ]
    return cases


DEFAULTS: list[Case] = [(name, {}) for name in VARIANTS]
CASES: list[Case] = [case for spec in VARIANTS.values() for case in option_cases(spec)]


def case_id(case: Case) -> str:
    """`name-option=value`, for reports."""
    return "-".join([case[0], *(f"{key}={value}" for key, value in case[1].items())])


every_case = pytest.mark.parametrize(("name", "options"), CASES, ids=map(case_id, CASES))
every_variant = pytest.mark.parametrize(("name", "options"), DEFAULTS, ids=map(case_id, DEFAULTS))


def scatter(parameters: Any, scale: float = 0.3) -> None:
    """Moves parameters away from their starting values, reproducibly."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in parameters:
            parameter += scale * torch.randn(parameter.shape, generator=generator)


def build(name: str, options: dict[str, Any], shape: ModelShape = SHAPE) -> Transformer:
    """A model whose residual parameters have left their starting values."""
    model = fresh(name, options, shape)
    scatter(model.residual.parameters())
    return model


def fresh(name: str, options: dict[str, Any], shape: ModelShape = SHAPE) -> Transformer:
    """A model as training finds it."""
    model = Transformer(shape, name, parse_options(name, options))
    initialise(model, seed=0)
    return model


def tokens(batch: int = 2, length: int = 12) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.randint(1, SHAPE.vocab_size, (batch, length), generator=generator)
