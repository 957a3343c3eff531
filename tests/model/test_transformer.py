from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM

from attnres_eval.cost import attention_flops, inference_flops_per_token, model_cost
from attnres_eval.model.hf import AttnResConfig, AttnResForCausalLM
from attnres_eval.model.initialise import initialise
from attnres_eval.model.residuals.prenorm import PreNorm
from attnres_eval.model.transformer import Transformer, rotary_table, rotate
from attnres_eval.shape import ModelShape
from attnres_eval.variants import VARIANTS, parse_options

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
CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in VARIANTS),
    ("block_attnres", {"num_blocks": 3}),
    ("block_attnres", {"num_blocks": 3, "two_phase": True}),
]
every_variant = pytest.mark.parametrize(("name", "options"), CASES)


def build(name: str, options: dict[str, Any], shape: ModelShape = SHAPE) -> Transformer:
    """A model whose residual parameters have left their starting values."""
    model = Transformer(shape, name, parse_options(name, options))
    initialise(model, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.residual.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model


def tokens(batch: int = 2, length: int = 12) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.randint(1, SHAPE.vocab_size, (batch, length), generator=generator)


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


@every_variant
def test_later_tokens_change_nothing_before(name: str, options: dict[str, Any]) -> None:
    model = build(name, options).eval()
    changed = tokens()
    changed[:, 7] = (changed[:, 7] + 1) % SHAPE.vocab_size
    before, after = model(tokens()), model(changed)
    assert torch.equal(before[:, :7], after[:, :7])
    assert not torch.equal(before[:, 7:], after[:, 7:])


@every_variant
def test_every_parameter_has_a_gradient_after_one_step(name: str, options: dict[str, Any]) -> None:
    model = build(name, options)
    model.loss(tokens()).backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


@every_variant
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
    torch.testing.assert_close(logits, model(prompt).logits, rtol=1e-4, atol=1e-5)


@every_variant
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


@every_variant
def test_activation_checkpointing_changes_nothing(name: str, options: dict[str, Any]) -> None:
    gradients = []
    for checkpointed in (False, True):
        model = build(name, options)
        model.activation_checkpointing = checkpointed
        model.loss(tokens()).backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recomputed)


@every_variant
def test_bf16_is_close_to_fp32(name: str, options: dict[str, Any]) -> None:
    model = build(name, options)
    loss = model.loss(tokens())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model.loss(tokens())
    assert mixed.item() == pytest.approx(loss.item(), rel=0.01)


@every_variant
def test_shared_weights_start_alike(name: str, options: dict[str, Any]) -> None:
    model = Transformer(SHAPE, name, parse_options(name, options))
    torch.randn(7)  # the global generator has no say
    initialise(model, seed=5)
    baseline = Transformer(SHAPE, "prenorm", parse_options("prenorm", {}))
    initialise(baseline, seed=5)
    weights = model.state_dict()
    for parameter_name, value in baseline.state_dict().items():
        assert torch.equal(weights[parameter_name], value), parameter_name
    initialise(baseline, seed=6)
    assert not torch.equal(weights["embedding.weight"], baseline.embedding.weight)


def test_a_parameter_that_nobody_initialises_is_an_error() -> None:
    model = Transformer(SHAPE, "prenorm", parse_options("prenorm", {}))
    model.residual.forgotten = torch.nn.Parameter(torch.zeros(3))
    with pytest.raises(RuntimeError, match=r"residual\.forgotten"):
        initialise(model, seed=0)


@every_variant
@pytest.mark.parametrize("tied", [True, False])
def test_cost_counts_parameters_exactly(name: str, options: dict[str, Any], tied: bool) -> None:
    shape = SHAPE.model_copy(update={"tied_head": tied})
    model = build(name, options, shape)
    cost = model_cost(shape, name, parse_options(name, options))
    assert cost.parameters == sum(parameter.numel() for parameter in model.parameters())
    residual = sum(parameter.numel() for parameter in model.residual.parameters())
    assert cost.residual_parameters == residual


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


@pytest.mark.parametrize(("name", "options"), CASES[1:])
def test_flops_of_the_mix_equal_an_einsum_reference(name: str, options: dict[str, Any]) -> None:
    parsed = parse_options(name, options)
    sizes = [1] * 8 if name == "full_attnres" else None
    if sizes is None:
        blocks = options.get("num_blocks", 8)
        sizes = [8 // blocks] * (blocks - 1) + [8 // blocks + 8 % blocks]
    query, value = torch.randn(32), torch.randn(5, 32)
    total = 0
    for block, size in enumerate(sizes):
        for index in range(size):
            total += _mix_flops(query, value, block + 1 + (index > 0))
    total += _mix_flops(query, value, len(sizes) + 1)
    cost = model_cost(SHAPE, name, parsed)
    assert cost.residual_flops_per_token * 5 == total


def _mix_flops(query: Tensor, value: Tensor, sources: int) -> int:
    if sources == 1:
        return 0
    history = torch.stack([value] * sources)
    with FlopCounterMode(display=False) as counter:
        logits = torch.einsum("d,std->st", query, history)
        torch.einsum("st,std->td", logits.softmax(0), history)
    return counter.get_total_flops()


class ValueResidual(PreNorm):
    """Value residual learning (arXiv:2410.17897), to show that the protocol carries it."""

    def start(self, embedding_BTD: Tensor) -> Any:
        return embedding_BTD, None

    def read(self, state: Any, sublayer: int) -> Tensor:
        return state[0]

    def write(self, state: Any, sublayer: int, output_BTD: Tensor) -> Any:
        return state[0] + output_BTD, state[1]

    def finish(self, state: Any) -> Tensor:
        return state[0]

    def attend(self, state: Any, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Any:
        first = v if state[1] is None else state[1]
        return (state[0], first), q, k, (first + v) / 2


def test_a_residual_may_touch_values() -> None:
    plain, changed = build("prenorm", {}), build("prenorm", {})
    changed.residual = ValueResidual(SHAPE, parse_options("prenorm", {}))
    assert not torch.allclose(plain(tokens()), changed(tokens()))
    changed.loss(tokens()).backward()
    one_layer = SHAPE.model_copy(update={"n_layers": 1})
    plain, changed = build("prenorm", {}, one_layer), build("prenorm", {}, one_layer)
    changed.residual = ValueResidual(one_layer, parse_options("prenorm", {}))
    torch.testing.assert_close(plain(tokens()), changed(tokens()))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("block_attnres", {"num_blocks": 2}),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in CASES),
    ],
)
def test_compiled_equals_eager(name: str, options: dict[str, Any]) -> None:
    n_layers = 1 if options == {"num_blocks": 2} else SHAPE.n_layers
    shape = SHAPE.model_copy(update={"n_layers": n_layers})
    eager, compiled = build(name, options, shape), build(name, options, shape)
    loss = torch.compile(compiled.loss)(tokens())
    loss.backward()
    expected = eager.loss(tokens())
    expected.backward()
    torch.testing.assert_close(loss, expected)
    for one, other in zip(eager.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-5)
