"""Attention over depth: the packages attn-res and x-transformers in models of our shape."""

import torch.nn.functional as F
from torch import Tensor, nn

from attnres_eval.bench.public.peer import LossOf, package
from attnres_eval.shape import ModelShape

NUM_BLOCKS = 8
LORA_RANK = 64
"""x-transformers' own default; it has to be less than d_model."""


def build_attn_res_full(shape: ModelShape, attention: str) -> tuple[nn.Module, LossOf]:
    """attn-res, every earlier output a source."""
    return _attn_res(shape, "FULL")


def build_attn_res_block(shape: ModelShape, attention: str) -> tuple[nn.Module, LossOf]:
    """attn-res, eight block sums as sources."""
    return _attn_res(shape, "BLOCK")


def _attn_res(shape: ModelShape, mode: str) -> tuple[nn.Module, LossOf]:
    attn_res = package("attn_res")
    config = attn_res.TransformerConfig(
        d_model=shape.d_model,
        n_layers=shape.n_sublayers,
        n_heads=shape.n_heads,
        n_kv_heads=shape.n_kv_heads,
        vocab_size=shape.vocab_size,
        max_seq_len=shape.context,
        # It rounds the width up to a multiple of 8: a little less than ours ends at ours.
        ffn_mult=(shape.d_ff - 0.5) / shape.d_model,
        attn_res_mode=attn_res.AttnResMode[mode],
        n_blocks=min(NUM_BLOCKS, shape.n_sublayers),
    )
    model = attn_res.AttnResTransformer(config).train()

    def loss_of(tokens_BT: Tensor) -> Tensor:
        _, loss = model(tokens_BT[:, :-1], tokens_BT[:, 1:].contiguous())
        return loss

    return model, loss_of


def build_x_transformers(shape: ModelShape, attention: str) -> tuple[nn.Module, LossOf]:
    """x-transformers with `attn_aggregated_residuals`: attention over all earlier hidden states.

    Its query is a low-rank function of the latest one; it also keeps the plain residual sum.
    """
    x_transformers = package("x_transformers")
    decoder = x_transformers.Decoder(
        dim=shape.d_model,
        depth=shape.n_layers,
        heads=shape.n_heads,
        attn_dim_head=shape.head_dim,
        attn_kv_heads=shape.n_kv_heads,
        attn_flash=attention == "flash",
        attn_aggregated_residuals=True,
        attn_aggregated_residual_kwargs={"lora_rank": min(LORA_RANK, shape.d_model // 2)},
        ff_mult=(shape.d_ff + 0.5) / shape.d_model,
        ff_glu=True,
        ff_swish=True,
        ff_no_bias=True,
        rotary_pos_emb=True,
        rotary_emb_dim=shape.head_dim,
        use_rmsnorm=True,
        verbose=False,
    )
    model = x_transformers.TransformerWrapper(
        num_tokens=shape.vocab_size,
        max_seq_len=shape.context,
        attn_layers=decoder,
        tie_embedding=shape.tied_head,
        use_abs_pos_emb=False,
    ).train()

    def loss_of(tokens_BT: Tensor) -> Tensor:
        logits_BTV = model(tokens_BT[:, :-1])
        return F.cross_entropy(logits_BTV.flatten(0, 1).float(), tokens_BT[:, 1:].flatten())

    return model, loss_of
