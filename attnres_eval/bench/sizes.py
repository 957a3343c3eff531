"""Decoders that the bench measures, by name: `d128x12` is 12 blocks of d_model 128."""

import re

from attnres_eval.cost import matrix_parameters
from attnres_eval.errors import UserError
from attnres_eval.shape import ModelShape, default_d_ff

CONTEXT = 256
VOCABULARY = 512
TOKENS_A_STEP = 2048
NARROW, MIDDLE, WIDE, LARGE = "d64x8", "d128x12", "d256x8", "d320x8"
"""0.4, 2.4, 6.5 and 10 million parameters."""
MILLION = "d96x9"
"""1.0 million parameters."""


def bench_shape(name: str, context: int = CONTEXT) -> ModelShape:
    """The decoder of a size: heads of 64 from d_model 256 on, of 32 below, one where neither fits.

    Args:
        name: `d`, d_model, `x`, and the number of transformer blocks.
        context: tokens of a sequence.

    Raises:
        UserError: this is no name of a size.
    """
    found = re.fullmatch(r"d([1-9]\d{0,4})x([1-9]\d{0,2})", name)
    if not found or int(found[1]) % 2:
        raise UserError(
            f"size {name!r}: give d, an even d_model, x and the number of blocks, as in {MIDDLE}"
        )
    d_model, n_layers = int(found[1]), int(found[2])
    widths = (64, 32) if d_model >= 256 else (32,)
    head_dim = next((width for width in widths if d_model % width == 0), d_model)
    return ModelShape(
        d_model=d_model,
        n_layers=n_layers,
        n_heads=d_model // head_dim,
        n_kv_heads=d_model // head_dim,
        head_dim=head_dim,
        d_ff=default_d_ff(d_model),
        vocab_size=VOCABULARY,
        context=context,
    )


def size_title(name: str) -> str:
    """The name with its parameters: `d128x12 (2.4M)`."""
    return f"{name} ({matrix_parameters(bench_shape(name)) / 1e6:.1f}M)"
