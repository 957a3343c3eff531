from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from cases import SHAPE, build, every_case, every_variant, tokens
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM

from attnres_eval.cost import attention_flops, inference_flops_per_token, model_cost
from attnres_eval.model.hf import AttnResConfig, AttnResForCausalLM
from attnres_eval.model.initialise import initialise
from attnres_eval.model.transformer import Transformer, rotary_table, rotate
from attnres_eval.variants import parse_options


def wrapped(name: str, options: dict[str, Any]) -> AttnResForCausalLM:
    model = AttnResForCausalLM(AttnResConfig.of(SHAPE, name, options, end_of_text=0))
    model.model.load_state_dict(build(name, options).state_dict())
    return model.eval()


def test_prenorm_equals_a_decoder_written_out() -> None:
    model = build("prenorm", {})
    table = rotary_table(torch.arange(12)[None], SHAPE.head_dim)

    def norm(x: Tensor, weight: Tensor) -> Tensor:
        return x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * weight

    h = model.embedding.weight[tokens()]
    for layer in model.layers:
        attention = layer.attention
        projected = norm(h, attention.norm.weight) @ attention.qkv.weight.T
        q, k, v = projected.split([32, 16, 16], dim=-1)
        q = rotate(norm(q.view(2, 12, 4, 8), attention.q_norm.weight).transpose(1, 2), table)
        k = rotate(norm(k.view(2, 12, 2, 8), attention.k_norm.weight).transpose(1, 2), table)
        heads = []
        for head in range(4):
            scores = q[:, head] @ k[:, head // 2].mT / 8**0.5
            scores = scores.masked_fill(torch.ones(12, 12).triu(1).bool(), -torch.inf)
            heads.append(scores.softmax(-1) @ v.view(2, 12, 2, 8)[:, :, head // 2])
        h = h + torch.cat(heads, -1) @ attention.out.weight.T
        gate, up = (norm(h, layer.mlp.norm.weight) @ layer.mlp.gate_up.weight.T).chunk(2, -1)
        h = h + (gate / (1 + (-gate).exp()) * up) @ layer.mlp.down.weight.T
    logits = norm(h, model.final_norm.weight) @ model.embedding.weight.T
    torch.testing.assert_close(model(tokens()), logits, rtol=1e-4, atol=1e-5)


def test_loss_is_the_mean_surprise_of_the_next_token() -> None:
    model = build("prenorm", {})
    probabilities = model(tokens()[:, :-1]).softmax(-1)
    surprises = -probabilities.gather(-1, tokens()[:, 1:, None]).log()
    torch.testing.assert_close(model.loss(tokens()), surprises.mean())


@every_case
def test_cached_generation_equals_recomputation(name: str, options: dict[str, Any]) -> None:
    model, prompt = wrapped(name, options), tokens()
    generated = model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=6,
        do_sample=False,
        eos_token_id=None,
    )
    text = prompt
    for _ in range(6):
        text = torch.cat([text, model(text).logits[:, -1:].argmax(-1)], dim=1)
    assert torch.equal(generated, text)


@every_variant
def test_padding_on_the_left_changes_nothing(name: str, options: dict[str, Any]) -> None:
    model, prompt = wrapped(name, options), tokens()
    padded = F.pad(prompt, (3, 0))
    mask = F.pad(torch.ones_like(prompt), (3, 0))
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    logits = model(padded, attention_mask=mask, position_ids=positions).logits[:, 3:]
    # A scattered residual amplifies rounding; logits are of order one.
    torch.testing.assert_close(logits, model(prompt).logits, rtol=1e-3, atol=1e-3)


@every_case
def test_checkpoint_folder_round_trip(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    model = wrapped(name, options)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert isinstance(loaded, AttnResForCausalLM)
    assert torch.equal(loaded(tokens()).logits, model(tokens()).logits)
    assert loaded.config.max_position_embeddings == SHAPE.context
    assert loaded(tokens(), labels=tokens()).loss.item() == pytest.approx(
        model.model.loss(tokens()).item(), rel=1e-5
    )
    assert loaded(tokens(), logits_to_keep=1).logits.shape == (2, 1, SHAPE.vocab_size)


def test_a_parameter_that_nobody_initialises_is_an_error() -> None:
    model = Transformer(SHAPE, "prenorm", parse_options("prenorm", {}))
    model.residual.forgotten = torch.nn.Parameter(torch.zeros(3))
    with pytest.raises(RuntimeError, match=r"residual\.forgotten"):
        initialise(model, seed=0)


def test_flops_of_matrices_and_attention_equal_torchs_counter() -> None:
    model = build("prenorm", {}).eval()
    # The counter does not know the processor's fused attention.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        model(tokens())
    cost = model_cost(SHAPE, "prenorm", parse_options("prenorm", {}))
    counted = counter.get_flop_counts()["Global"]
    matrices = counted[torch.ops.aten.mm]
    assert matrices == 2 * cost.matrix_parameters * tokens().numel()
    # The counter takes attention as if every token read all 12 keys, and not 6.5 on average.
    attention = sum(counted.values()) - matrices
    assert attention == attention_flops(SHAPE, keys=12) * tokens().numel()
    assert cost.attention_flops_per_token == attention_flops(SHAPE, keys=12.5)
    per_token = inference_flops_per_token(SHAPE, "prenorm", parse_options("prenorm", {}), keys=12)
    assert per_token * tokens().numel() == sum(counted.values())
