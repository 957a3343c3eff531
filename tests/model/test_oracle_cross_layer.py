"""LAuReL and the value residual against public implementations.

There is none to install for DenseFormer, MUDDFormer and the static router of LIMe (x-transformers
has the input-dependent one, over hidden states): those have the references alone.
"""

import warnings
from types import SimpleNamespace

import pytest
import torch
from cases import SHAPE, build

from attnres_eval.shape import ModelShape


def randn(*sizes: int) -> torch.Tensor:
    return torch.randn(sizes, generator=torch.Generator().manual_seed(8))


def test_low_rank_laurel_equals_gemma3n() -> None:
    """Gemma 3n adds a norm to the low-rank term and has no sublayer output: both are taken out."""
    gemma = pytest.importorskip("transformers.models.gemma3n.modeling_gemma3n")
    residual = build("laurel", {}).residual
    rank = residual.down.shape[-1]
    oracle = gemma.Gemma3nTextLaurelBlock(
        SimpleNamespace(hidden_size=SHAPE.d_model, laurel_rank=rank, rms_norm_eps=1e-6)
    )
    oracle.post_laurel_norm = torch.nn.Identity()
    for sublayer in range(SHAPE.n_sublayers):
        with torch.no_grad():
            oracle.linear_left.weight.copy_(residual.down[sublayer].T)
            oracle.linear_right.weight.copy_(residual.up[sublayer].T)
        h, direction = randn(2, 3, SHAPE.d_model).requires_grad_(), randn(2, 3, SHAPE.d_model)
        ours, theirs = residual.write(h, sublayer, torch.zeros_like(h)), oracle(h)
        torch.testing.assert_close(ours, theirs)
        gradients = [torch.autograd.grad((y * direction).sum(), h)[0] for y in (ours, theirs)]
        torch.testing.assert_close(*gradients)


def test_fixed_value_residual_equals_x_transformers() -> None:
    """An attention of theirs given the first layer's values, against ours with our weights.

    Theirs has no norm and no rotary embedding: ours loses its norm and gets a table that rotates
    nothing. As many key and value heads as query heads, since theirs groups them otherwise.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        oracles = pytest.importorskip("x_transformers.x_transformers")
    shape = ModelShape.model_validate({**SHAPE.model_dump(), "n_kv_heads": 4, "qk_norm": False})
    model = build("value_residual", {}, shape)
    theirs = oracles.Attention(
        shape.d_model,
        heads=shape.n_heads,
        dim_head=shape.head_dim,
        causal=True,
    )
    attention = model.layers[2].attention
    with torch.no_grad():
        q, k, v = attention.qkv.weight.chunk(3)
        theirs.to_q.weight.copy_(q)
        theirs.to_k.weight.copy_(k)
        theirs.to_v.weight.copy_(v)
        theirs.to_out.weight.copy_(attention.out.weight)
    h = randn(2, 5, shape.d_model).requires_grad_()
    first = randn(2, shape.n_kv_heads, 5, shape.head_dim)
    direction = randn(2, 5, shape.d_model)
    attention.norm = torch.nn.Identity()
    state = model.residual.start(h)._replace(first_BGTK=first)
    _, *heads = model.residual.attend(state, 2, *attention.heads(attention.project(h)))
    table = torch.ones(1, 1, 5, shape.head_dim), torch.zeros(1, 1, 5, shape.head_dim)
    outputs = attention.attend(*heads, table, None, 2, None), theirs(h, value_residual=first)
    torch.testing.assert_close(*outputs)
    gradients = [torch.autograd.grad((y * direction).sum(), h)[0] for y in outputs]
    torch.testing.assert_close(*gradients)
