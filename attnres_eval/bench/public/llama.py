"""transformers' Llama of our shape: what most people train when they train a decoder."""

from torch import Tensor, nn

from attnres_eval.bench.public.peer import LossOf, package
from attnres_eval.shape import ModelShape


def build_llama(shape: ModelShape, attention: str) -> tuple[nn.Module, LossOf]:
    """`LlamaForCausalLM` with transformers' `eager` or `sdpa` attention."""
    transformers = package("transformers")
    config = transformers.LlamaConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.d_model,
        intermediate_size=shape.d_ff,
        num_hidden_layers=shape.n_layers,
        num_attention_heads=shape.n_heads,
        num_key_value_heads=shape.n_kv_heads,
        head_dim=shape.head_dim,
        max_position_embeddings=shape.context,
        tie_word_embeddings=shape.tied_head,
        use_cache=False,
        attn_implementation=attention,
    )
    model = transformers.LlamaForCausalLM(config).train()

    def loss_of(tokens_BT: Tensor) -> Tensor:
        targets_BT = tokens_BT[:, 1:]
        # Labels that are shifted already: both models score the same T targets.
        loss: Tensor = model(
            tokens_BT[:, :-1], labels=targets_BT, shift_labels=targets_BT.contiguous()
        ).loss
        return loss

    return model, loss_of
