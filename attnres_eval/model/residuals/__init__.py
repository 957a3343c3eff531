"""The residual variants as torch modules: one module a variant or close family, one protocol."""

import importlib
from typing import cast

from attnres_eval.model.residuals.base import Residual
from attnres_eval.shape import ModelShape
from attnres_eval.variants import Options, get_variant


def build_residual(variant: str, options: Options, shape: ModelShape) -> Residual:
    """Builds the torch module behind a variant's name.

    Raises:
        UserError: there is no variant of that name.
        ValueError: the options do not fit the shape.
    """
    options.check(shape)
    module, _, name = get_variant(variant).module.partition(":")
    return cast(Residual, getattr(importlib.import_module(module), name)(shape, options))
