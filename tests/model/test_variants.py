"""The battery: whatever is listed in the registry must pass all of this."""

import importlib
import re
from typing import Any

import pytest
import torch
import torch.autograd.forward_ad as fwAD
from cases import DEFAULTS as DEFAULT_CASES
from cases import SHAPE, Case, build, case_id, every_case, every_variant, fresh, scatter, tokens
from hypothesis import given, settings
from hypothesis import strategies as st
from net import Net, drive
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from attnres_eval.cost import model_cost
from attnres_eval.model.initialise import initialise
from attnres_eval.model.kernels.switch import kernels
from attnres_eval.model.residuals import build_residual
from attnres_eval.model.residuals.base import QKV, Residual
from attnres_eval.model.transformer import Transformer, rotary_table
from attnres_eval.shape import ModelShape
from attnres_eval.variants import VARIANTS, parse_options

EMBEDDING = (2, 3, SHAPE.d_model)


def residual_of(
    name: str, options: dict[str, Any], shape: ModelShape = SHAPE, scale: float = 0.3
) -> Residual:
    """The residual alone, its parameters away from their starting values."""
    residual = build_residual(name, parse_options(name, options), shape)
    with torch.no_grad():
        residual.initialise(seed=0)
    scatter(residual.parameters(), scale)
    return residual


def embedding_of(batch: int = 2, length: int = 3, width: int = SHAPE.d_model) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(batch, length, width, generator=generator).requires_grad_()


def by_reference(residual: Residual, name: str, embedding: Tensor) -> tuple[list[Tensor], Tensor]:
    module = importlib.import_module(f"references.{name}")
    parameters = dict(residual.named_parameters())
    return module.reference(Net(residual.shape), embedding, parameters, residual.options)


def compare(
    residual: Residual, name: str, embedding: Tensor, rtol: float = 1e-4, atol: float = 1e-5
) -> None:
    """Inputs, output and all gradients, against the slow reference."""
    ours, output = drive(residual, Net(residual.shape), embedding)
    theirs, expected = by_reference(residual, name, embedding)
    assert len(ours) == len(theirs) == residual.shape.n_sublayers
    for index, (one, other) in enumerate(zip([*ours, output], [*theirs, expected], strict=True)):
        # Sums of large terms that cancel are as exact as their terms.
        scale = max(other.abs().max().item(), 1.0)
        torch.testing.assert_close(
            one, other, rtol=rtol, atol=atol * scale, msg=lambda m, i=index: f"read {i}: {m}"
        )
    wanted = {"embedding": embedding, **dict(residual.named_parameters())}
    direction = torch.randn(output.shape, generator=torch.Generator().manual_seed(5))
    gradients = [
        torch.autograd.grad((result * direction).sum(), list(wanted.values()), allow_unused=True)
        for result in (output, expected)
    ]
    for key, one, other in zip(wanted, *gradients, strict=True):
        one, other = (torch.zeros(()) if g is None else g for g in (one, other))
        scale = max(other.abs().max().item(), 1.0)
        torch.testing.assert_close(
            one.expand(other.shape) if one.ndim == 0 else one,
            other.expand(one.shape) if other.ndim == 0 else other,
            rtol=10 * rtol,
            atol=10 * atol * scale,
            msg=lambda m, k=key: f"gradient of {k}: {m}",
        )


@every_case
def test_values_and_gradients_equal_the_reference(name: str, options: dict[str, Any]) -> None:
    compare(residual_of(name, options), name, embedding_of())


@every_variant
def test_the_reference_is_its_own(name: str, options: dict[str, Any]) -> None:
    """References import nothing of ours: they are written straight from the formula."""
    text = importlib.import_module(f"references.{name}").__spec__.loader.get_source(
        f"references.{name}"
    )
    assert not re.search(r"attnres_eval\.(model|variants)", text)


@settings(max_examples=6, deadline=None)
@given(
    n_layers=st.integers(1, 5),
    length=st.sampled_from([1, 4]),
    kv_heads=st.sampled_from([1, 2]),
    data=st.data(),
)
@every_variant
def test_any_depth_and_length(
    name: str, options: dict[str, Any], n_layers: int, length: int, kv_heads: int, data: Any
) -> None:
    shape = SHAPE.model_copy(update={"n_layers": n_layers, "n_kv_heads": kv_heads})
    if field := VARIANTS[name].options.model_fields.get("num_blocks"):
        blocks = data.draw(st.integers(1, shape.n_sublayers), label="num_blocks")
        example = (field.examples or [None])[0]
        options = {**(example if isinstance(example, dict) else {}), "num_blocks": blocks}
    residual = residual_of(name, options, shape)
    compare(residual, name, embedding_of(1, length), rtol=1e-3, atol=1e-4)


@every_case
def test_later_tokens_change_nothing_before(name: str, options: dict[str, Any]) -> None:
    model = build(name, options).eval()
    changed = tokens()
    changed[:, 7] = (changed[:, 7] + 1) % SHAPE.vocab_size
    before, after = model(tokens()), model(changed)
    assert torch.equal(before[:, :7], after[:, :7])
    assert not torch.equal(before[:, 7:], after[:, 7:])


def rows_of(residual: Residual) -> dict[str, tuple[Tensor, Any]]:
    """Every row of every stacked parameter, by the name that `gradient_free` would use."""
    rows: dict[str, tuple[Tensor, Any]] = {}
    for name, parameter in residual.named_parameters():
        for index in range(parameter.shape[0]):
            rows[f"{name}[{index}]"] = parameter, index
    return rows


@every_case
def test_no_parameter_is_dead(name: str, options: dict[str, Any]) -> None:
    model = fresh(name, options)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(2):  # a zero gate before a zero query: each opens the next
        model.loss(tokens()).backward()
        optimiser.step()
        optimiser.zero_grad()
    model.loss(tokens()).backward()
    free = model.residual.gradient_free()
    names = {key.partition("[")[0] for key in free}
    assert names <= {key for key, _ in model.residual.named_parameters()}, "stale declaration"
    for key, parameter in model.named_parameters():
        if not key.startswith("residual."):
            assert parameter.grad is not None, key
            assert parameter.grad.abs().max() > 0, key
    rows = rows_of(model.residual)
    assert all(parameter.grad is not None for parameter, _ in rows.values())
    strongest = max((p.grad.abs().max().item() for p, _ in rows.values()), default=0.0)
    for row, (parameter, index) in rows.items():
        largest = parameter.grad[index].abs().max()
        if row in free or row.partition("[")[0] in free:
            # Where the reason is algebra, rounding and the epsilon of a norm leave a trace.
            bound = max(1e-3 * parameter.grad.abs().max().item(), 1e-5 * strongest)
            assert largest <= bound, f"{row} is not"
            assert free.get(row) or free.get(row.partition("[")[0])
        else:
            assert largest > 0, row


@every_case
def test_every_parameter_matters(name: str, options: dict[str, Any]) -> None:
    """Perturbing any row changes the logits: a matrix that is never applied would not."""
    model = build(name, options).eval()
    free = model.residual.gradient_free()
    with torch.no_grad():
        before = model(tokens())
        for row, (parameter, index) in rows_of(model.residual).items():
            if row in free or row.partition("[")[0] in free:
                continue
            kept = parameter[index].clone()
            noise = torch.randn(kept.shape, generator=torch.Generator().manual_seed(6))
            parameter[index] += 0.5 + 0.5 * noise
            change = (model(tokens()) - before).abs().max()
            parameter[index] = kept
            assert change > 1e-6, row


@every_case
def test_start_equals_prenorm_where_claimed(
    name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where reads are multiples of PreNorm's, norms take the factor out, up to their epsilon.
    for module in ("transformer", "residuals.base", "residuals.depth", "residuals.streams"):
        monkeypatch.setattr(f"attnres_eval.model.{module}.NORM_EPSILON", 1e-12)
    model, baseline = fresh(name, options).eval(), fresh("prenorm", {}).eval()
    # The compiled kernels have the epsilon in them.
    with kernels(False):
        difference = (model(tokens()) - baseline(tokens())).abs().max().item()
    if model.residual.options.equals_prenorm_at_init:
        assert difference < 1e-4
    else:
        assert difference > 1e-3


@every_variant
def test_bf16_is_close_to_fp32(name: str, options: dict[str, Any]) -> None:
    model = fresh(name, options)
    scatter(model.residual.parameters(), 0.1)
    loss = model.loss(tokens())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model.loss(tokens())
    assert mixed.item() == pytest.approx(loss.item(), rel=0.02)
    assert model.to(torch.bfloat16).loss(tokens()).item() == pytest.approx(loss.item(), rel=0.03)


@every_case
def test_activation_checkpointing_changes_nothing(name: str, options: dict[str, Any]) -> None:
    gradients = []
    for checkpointed in (False, True):
        model = build(name, options)
        model.activation_checkpointing = checkpointed
        model.loss(tokens()).backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recomputed)


@pytest.mark.parametrize("by_kernels", [False, True])
@every_case
def test_a_history_goes_on_elsewhere(name: str, options: dict[str, Any], by_kernels: bool) -> None:
    results = []
    with kernels(by_kernels):
        for packed in (False, True):
            model = build(name, options)
            residual, given = model.residual, tokens()
            state = residual.start(model.embedding(given[:, :-1]))
            rotary = rotary_table(torch.arange(given.shape[1] - 1)[None], SHAPE.head_dim)
            for layer in range(SHAPE.n_layers):
                if packed and layer:
                    state = residual.unpack(residual.pack(state), layer)
                state = model.through(state, range(layer, layer + 1), rotary)
            loss = model.loss_of(residual.finish(state), given[:, 1:])
            loss.backward()
            results.append([loss, *(parameter.grad for parameter in model.parameters())])
    for whole, in_parts in zip(*results, strict=True):
        assert (in_parts - whole).abs().max() <= 1e-5 * whole.abs().max()


@every_case
def test_shared_weights_start_alike(name: str, options: dict[str, Any]) -> None:
    model = Transformer(SHAPE, name, parse_options(name, options))
    torch.randn(7)  # the global generator has no say
    initialise(model, seed=5)
    baseline = Transformer(SHAPE, "prenorm", parse_options("prenorm", {}))
    initialise(baseline, seed=5)
    weights = model.state_dict()
    for key, value in baseline.state_dict().items():
        if key not in weights:
            assert "norm" in key  # the variant has norms of its own
        elif type(model.residual).adapt is Residual.adapt:
            assert torch.equal(weights[key], value), key
        else:
            # Adapted weights are the shared ones times a factor a row.
            ratio = (weights[key] / value).flatten(1) if value.ndim > 1 else weights[key] / value
            spread = ratio.amax(-1) - ratio.amin(-1)
            assert (spread < 1e-4).all(), key
    initialise(baseline, seed=6)
    assert not torch.equal(weights["embedding.weight"], baseline.embedding.weight)


@every_variant
def test_only_the_seed_decides_the_residuals_start(name: str, options: dict[str, Any]) -> None:
    residuals = []
    for seed in (5, 5):
        residual = build_residual(name, parse_options(name, options), SHAPE)
        torch.rand(3)
        with torch.no_grad():
            residual.initialise(seed)
        residuals.append(residual.state_dict())
    for key, value in residuals[0].items():
        assert torch.equal(value, residuals[1][key]), key


@every_case
@pytest.mark.parametrize("tied", [True, False])
def test_cost_counts_parameters_exactly(name: str, options: dict[str, Any], tied: bool) -> None:
    shape = SHAPE.model_copy(update={"tied_head": tied})
    model = build(name, options, shape)
    cost = model_cost(shape, name, parse_options(name, options))
    assert cost.parameters == sum(parameter.numel() for parameter in model.parameters())
    residual = sum(parameter.numel() for parameter in model.residual.parameters())
    assert cost.residual_parameters == residual


@every_case
def test_flops_equal_what_torch_counts_in_the_reference(name: str, options: dict[str, Any]) -> None:
    """References write contractions as matrix products or einsum; the toy network has none."""
    residual, embedding = residual_of(name, options), torch.randn(EMBEDDING)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        by_reference(residual, name, embedding)
    cost = model_cost(SHAPE, name, parse_options(name, options))
    tokens_in = EMBEDDING[0] * EMBEDDING[1]
    assert cost.residual_flops_per_token * tokens_in == counter.get_total_flops()


@every_case
def test_traffic_is_counted(name: str, options: dict[str, Any]) -> None:
    cost = model_cost(SHAPE, name, parse_options(name, options))
    assert cost.residual_traffic_elements_per_token >= 2 * SHAPE.d_model * SHAPE.n_sublayers


@every_case
def test_with_coefficients_frozen_the_residual_is_linear(
    name: str, options: dict[str, Any]
) -> None:
    """The derivative along all sources at once is then what is read: reads = sum_i J_i v_i."""
    residual, net = residual_of(name, options), Net(SHAPE)
    embedding = embedding_of().detach()
    residual.frozen = True
    with torch.no_grad(), fwAD.dual_level():
        state, outputs = residual.start(fwAD.make_dual(embedding, embedding)), []
        for index in range(SHAPE.n_sublayers):
            state, read = residual.read(state, index)
            parts = read if isinstance(read, QKV) else (read,)
            for part in parts:
                value, tangent = fwAD.unpack_dual(part)
                torch.testing.assert_close(tangent, value, rtol=1e-4, atol=1e-5)
            values = [fwAD.unpack_dual(part).primal for part in parts]
            if index % 2:
                outputs.append(net.mlp(index, values[0]))
            else:
                q, k, v = values if len(values) == 3 else values * 3
                q, k, v = net.project(index, q, k, v)
                state, q, k, v = residual.attend(state, index // 2, q, k, v)
                q, k, v = (fwAD.unpack_dual(x).primal for x in (q, k, v))
                outputs.append(net.combine(index, q, k, v))
            state = residual.write(state, index, fwAD.make_dual(outputs[-1], outputs[-1]))
        value, tangent = fwAD.unpack_dual(residual.finish(state))
        torch.testing.assert_close(tangent, value, rtol=1e-4, atol=1e-5)


FAMILY_HEADS: list[Case] = [
    next(case for case in DEFAULT_CASES if VARIANTS[case[0]].family == family)
    for family in dict.fromkeys(spec.family for spec in VARIANTS.values())
]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *FAMILY_HEADS,
        *(pytest.param(*case, marks=pytest.mark.slow, id=case_id(case)) for case in DEFAULT_CASES),
    ],
)
def test_compiled_equals_eager(name: str, options: dict[str, Any]) -> None:
    shape = SHAPE.model_copy(update={"n_layers": 2})
    if name == "block_attnres":
        options = {"num_blocks": 2}
    torch._dynamo.reset()  # beyond 8 models of one function it would quietly stay eager
    eager, compiled = build(name, options, shape), build(name, options, shape)
    loss = torch.compile(compiled.loss)(tokens())
    loss.backward()
    expected = eager.loss(tokens())
    expected.backward()
    torch.testing.assert_close(loss, expected)
    for one, other in zip(eager.parameters(), compiled.parameters(), strict=True):
        if one.grad is None or other.grad is None:
            assert one.grad is other.grad
            continue
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-5)
