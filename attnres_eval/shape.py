"""The size of a decoder, and how its sublayers fall into blocks."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

Width = Annotated[PositiveInt, Field(le=2**20)]
"""Widths beyond this are slips of the pen: costs are computed for what could be built."""
Hidden = Annotated[PositiveInt, Field(le=2**24)]
"""Of an MLP."""
Layers = Annotated[PositiveInt, Field(le=4096)]
"""The costs of some variants take time that grows with the square of the depth."""
Tokens = Annotated[PositiveInt, Field(le=2**31)]


class ModelShape(BaseModel):
    """Everything that decides the decoder's tensors, whatever its residual.

    A transformer block holds two sublayers, attention then MLP, so `n_sublayers = 2 * n_layers`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    d_model: Width
    n_layers: Layers
    """Number of transformer blocks."""
    n_heads: Width
    n_kv_heads: Width
    head_dim: Width
    d_ff: Hidden
    vocab_size: Tokens
    context: Tokens
    """Longest sequence that the model is trained on, in tokens."""
    tied_head: bool = True
    qk_norm: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> "ModelShape":
        if self.n_heads % self.n_kv_heads:
            raise ValueError(
                f"n_heads {self.n_heads} is not a multiple of n_kv_heads {self.n_kv_heads}"
            )
        if self.head_dim % 2:
            raise ValueError(f"head_dim {self.head_dim} is odd; rotary embeddings need it even")
        return self

    @property
    def n_sublayers(self) -> int:
        """L of the papers: attention and MLP modules both count."""
        return 2 * self.n_layers


def default_d_ff(d_model: int) -> int:
    """SwiGLU width with the parameters of a 4x MLP: 8/3 of d_model, rounded up to 8."""
    return -(-8 * d_model // 24) * 8


def block_bounds(n_sublayers: int, num_blocks: int) -> list[tuple[int, int]]:
    """Splits sublayers into consecutive blocks (arXiv:2603.15031 section 3.2).

    Args:
        n_sublayers: L.
        num_blocks: N, at most L.

    Returns:
        N half-open ranges [first, end) of sublayer indices. Each holds L // N of them; the
        remainder goes to the last block.

    Raises:
        ValueError: there are more blocks than sublayers.
    """
    if not 1 <= num_blocks <= n_sublayers:
        raise ValueError(
            f"num_blocks {num_blocks} is not between 1 and the {n_sublayers} sublayers"
            f" of {n_sublayers // 2} transformer blocks"
        )
    size = n_sublayers // num_blocks
    starts = [block * size for block in range(num_blocks)]
    return list(zip(starts, [*starts[1:], n_sublayers], strict=True))
