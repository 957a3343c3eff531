"""The same decoder as a transformers model: Auto classes, KV cache, `generate`.

Importing this module registers the classes, after which `AutoModelForCausalLM.from_pretrained`
loads a checkpoint folder. Weights are safetensors, configuration is JSON, no code is loaded.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    DynamicCache,
    GenerationMixin,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.cache_utils import Cache
from transformers.masking_utils import create_causal_mask
from transformers.modeling_outputs import CausalLMOutputWithPast

from attnres_eval.model.transformer import Transformer
from attnres_eval.shape import ModelShape
from attnres_eval.variants import parse_options

MODEL_TYPE = "attnres_eval"


class AttnResConfig(PretrainedConfig):  # type: ignore[misc]
    """A decoder's shape, its residual, and that residual's options."""

    model_type = MODEL_TYPE
    keys_to_ignore_at_inference = ("past_key_values",)
    attribute_map = {  # noqa: RUF012 (the base class declares it so)
        "hidden_size": "d_model",
        "intermediate_size": "d_ff",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "num_key_value_heads": "n_kv_heads",
        "max_position_embeddings": "context",
        "tie_word_embeddings": "tied_head",
    }

    d_model: int = 64
    n_layers: int = 2
    n_heads: int = 2
    n_kv_heads: int = 2
    head_dim: int = 32
    d_ff: int = 176
    vocab_size: int = 512
    context: int = 256
    tied_head: bool = True
    qk_norm: bool = False
    variant: str = "prenorm"
    residual_options: dict[str, Any] | None = None
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    pad_token_id: int | None = None
    use_cache: bool = True

    @classmethod
    def of(
        cls, shape: ModelShape, variant: str, options: dict[str, Any], end_of_text: int
    ) -> "AttnResConfig":
        """The configuration of a model of ours."""
        return cls(
            **shape.model_dump(),
            variant=variant,
            residual_options=options,
            bos_token_id=end_of_text,
            eos_token_id=end_of_text,
            pad_token_id=end_of_text,
        )

    def shape(self) -> ModelShape:
        """The decoder's sizes."""
        return ModelShape(**{name: getattr(self, name) for name in ModelShape.model_fields})


class AttnResForCausalLM(PreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """Our `Transformer` behind transformers' interface."""

    config_class = AttnResConfig
    base_model_prefix = "model"
    _supports_sdpa = True
    _tied_weights_keys = {"model.head.weight": "model.embedding.weight"}  # noqa: RUF012

    def __init__(self, config: AttnResConfig) -> None:
        super().__init__(config)
        options = parse_options(config.variant, config.residual_options or {})
        self.model = Transformer(config.shape(), config.variant, options)
        self.post_init()

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Weights come from a checkpoint or from `attnres_eval.model.initialise`, never here."""

    def get_input_embeddings(self) -> torch.nn.Module:
        return self.model.embedding

    def get_output_embeddings(self) -> torch.nn.Module:
        return self.model.head

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits (B, T, V) of the last `logits_to_keep` tokens, all where 0; the loss if labelled.

        Args:
            input_ids: (B, T), the new tokens only where there is a cache.
            attention_mask: (B, earlier + T), 0 where a token is padding.
            position_ids: rotary positions; counted from the cache's length where absent.
            past_key_values: cache of earlier tokens.
            labels: (B, T), -100 where ignored.
            use_cache: whether to return a cache.
            logits_to_keep: how many last positions get logits.
            kwargs: arguments of newer transformers, passed on to the loss.
        """
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        if position_ids is None:
            seen = 0 if past_key_values is None else past_key_values.get_seq_length()
            position_ids = torch.arange(input_ids.shape[1], device=input_ids.device)[None] + seen
        mask = create_causal_mask(
            config=self.config,
            inputs_embeds=self.model.embedding(input_ids),
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            position_ids=position_ids,
        )
        read = self.model.trunk(input_ids, position_ids, mask, past_key_values)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.model.logits(read[:, kept])
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs
            )
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=past_key_values)


AutoConfig.register(MODEL_TYPE, AttnResConfig)
AutoModelForCausalLM.register(AttnResConfig, AttnResForCausalLM)
