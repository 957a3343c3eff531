"""What the battery cannot know of the variants with a single stream."""

import math
from typing import Any

import pytest
import torch
from cases import SHAPE, build, fresh, tokens
from net import Net, drive
from torch import Tensor

import attnres_eval.model.residuals.base as base
import attnres_eval.model.transformer as transformer
from attnres_eval.model.residuals import build_residual
from attnres_eval.model.residuals.base import Residual
from attnres_eval.shape import ModelShape
from attnres_eval.variants import parse_options


def residual_of(name: str, options: dict[str, Any], shape: ModelShape = SHAPE) -> Residual:
    """The residual alone, as training finds it."""
    residual = build_residual(name, parse_options(name, options), shape)
    with torch.no_grad():
        residual.initialise(seed=0)
    return residual


def embedding() -> Tensor:
    return torch.randn(2, 3, SHAPE.d_model, generator=torch.Generator().manual_seed(3))


def deep(n_layers: int) -> ModelShape:
    return SHAPE.model_copy(update={"n_layers": n_layers})


def test_rescaled_is_full_attnres_with_its_queries_at_zero() -> None:
    net = Net(SHAPE)
    reads, output = drive(residual_of("rescaled", {}), net, embedding())
    expected_reads, expected = drive(residual_of("full_attnres", {}), net, embedding())
    torch.testing.assert_close(torch.stack(reads), torch.stack(expected_reads))
    torch.testing.assert_close(output, expected)


def test_rescaled_is_prenorm_but_for_the_epsilon_of_norms(monkeypatch: pytest.MonkeyPatch) -> None:
    def difference() -> float:
        rescaled, prenorm = fresh("rescaled", {}).double(), fresh("prenorm", {}).double()
        with torch.no_grad():
            for model in (rescaled, prenorm):  # as after training, not only at the start
                for index, parameter in enumerate(model.parameters()):
                    generator = torch.Generator().manual_seed(index)
                    parameter += 0.1 * torch.randn(parameter.shape, generator=generator).double()
            return (rescaled(tokens()) - prenorm(tokens())).abs().max().item()

    assert difference() > 1e-7
    monkeypatch.setattr(transformer, "NORM_EPSILON", 0.0)
    monkeypatch.setattr(base, "NORM_EPSILON", 0.0)
    assert difference() < 1e-10


@pytest.mark.parametrize(("n_layers", "alpha", "beta"), [(8, 2.0, 8**-0.5), (2, 2**0.5, 0.5)])
def test_deepnorm_takes_the_papers_constants(n_layers: int, alpha: float, beta: float) -> None:
    # alpha = (2 M)^(1/4), beta = (8 M)^(-1/4) for a decoder of M blocks.
    residual = residual_of("deepnorm", {}, deep(n_layers))
    state = residual.start(torch.tensor([[[3.0, 4.0] + [0.0] * 30]]))
    output = torch.zeros(1, 1, 32)
    output[..., 2] = 1.0
    written = residual.write(state, 0, output)
    assert (written[..., 0] / written[..., 2]).item() == pytest.approx(3 * alpha)
    assert written.square().mean().item() == pytest.approx(1, rel=1e-4)
    assert residual.beta == pytest.approx(beta)


def test_deepnorm_scales_values_output_and_mlp_alone() -> None:
    deepnorm, prenorm = fresh("deepnorm", {}), fresh("prenorm", {})
    beta, depth = 32**-0.25, math.sqrt(8)
    keys = SHAPE.head_dim * SHAPE.n_kv_heads
    for ours, plain in zip(deepnorm.layers, prenorm.layers, strict=True):
        scaled, start = ours.attention.qkv.weight, plain.attention.qkv.weight
        assert torch.equal(scaled[:-keys], start[:-keys])
        torch.testing.assert_close(scaled[-keys:], beta * start[-keys:])
        activated, other = ours.mlp.gate_up.weight.chunk(2)
        torch.testing.assert_close(activated, beta * plain.mlp.gate_up.weight.chunk(2)[0])
        assert torch.equal(other, plain.mlp.gate_up.weight.chunk(2)[1])
        # GPT-2's division by sqrt(n_sublayers) gives way to beta.
        for one, other in (
            (ours.attention.out.weight, plain.attention.out.weight),
            (ours.mlp.down.weight, plain.mlp.down.weight),
        ):
            torch.testing.assert_close(one, beta * depth * other)


def test_layernorm_of_deepnorm_is_torchs() -> None:
    residual = residual_of("deepnorm", {"norm": "layernorm"})
    output = torch.randn(2, 3, SHAPE.d_model)
    alpha = (2 * SHAPE.n_layers) ** 0.25
    expected = torch.nn.functional.layer_norm(
        alpha * embedding() + output, (SHAPE.d_model,), eps=1e-6
    )
    torch.testing.assert_close(residual.write(embedding(), 0, output), expected)


@pytest.mark.parametrize("name", ["postnorm", "deepnorm"])
def test_the_stream_reaches_the_head_with_unit_rms(name: str) -> None:
    model = fresh(name, {}).eval()
    rms = model.hidden(tokens()).square().mean(-1).sqrt()
    torch.testing.assert_close(rms, torch.ones_like(rms), rtol=1e-4, atol=1e-4)


def test_rezero_starts_as_the_identity() -> None:
    for pre_norm in (False, True):
        reads, output = drive(
            residual_of("rezero", {"pre_norm": pre_norm}), Net(SHAPE), embedding()
        )
        assert all(torch.equal(read, embedding()) for read in reads)
        assert torch.equal(output, embedding())


def test_rezero_has_no_norm_in_its_sublayers_unless_asked() -> None:
    names = [name for name, _ in fresh("rezero", {}).named_parameters()]
    assert not any(name.endswith(("attention.norm.weight", "mlp.norm.weight")) for name in names)
    names = [name for name, _ in fresh("rezero", {"pre_norm": True}).named_parameters()]
    assert sum(name.endswith((".attention.norm.weight", ".mlp.norm.weight")) for name in names) == 8


@pytest.mark.parametrize(
    ("n_layers", "value"), [(1, 0.1), (18, 0.1), (19, 1e-5), (24, 1e-5), (25, 1e-6), (48, 1e-6)]
)
def test_layerscale_starts_by_the_papers_rule_of_depth(n_layers: int, value: float) -> None:
    scale = residual_of("layerscale", {}, deep(n_layers)).scale
    torch.testing.assert_close(scale, torch.full_like(scale, value))


@pytest.mark.parametrize("gate", ["vector", "scalar"])
@pytest.mark.parametrize("bias", [-2.0, 1.0])
def test_highway_starts_with_a_gate_of_its_bias(gate: str, bias: float) -> None:
    residual = residual_of("highway", {"gate": gate, "bias": bias})
    output = torch.randn(2, 3, SHAPE.d_model)
    share = 1 / (1 + math.exp(-bias))
    written = residual.write(embedding(), 0, output)
    torch.testing.assert_close(written, (1 - share) * embedding() + share * output)


def test_highways_gate_does_not_see_the_streams_scale() -> None:
    residual = build("highway", {}).residual
    one = residual.write(embedding(), 0, torch.zeros(2, 3, SHAPE.d_model))
    large = residual.write(100 * embedding(), 0, torch.zeros(2, 3, SHAPE.d_model))
    torch.testing.assert_close(100 * one, large, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("branch_scale", [True, False])
def test_siamesenorms_streams_take_outputs_at_different_scales(branch_scale: bool) -> None:
    residual = residual_of("siamesenorm", {"branch_scale": branch_scale})
    output = torch.randn(2, 3, SHAPE.d_model)
    for sublayer, divisor in ((0, 2), (1, 2), (2, 4), (7, 8)):  # sqrt(2 b) squared
        (x, y), read = residual.read((embedding(), 2 * embedding()), sublayer)
        torch.testing.assert_close(read, 2 * x, rtol=1e-4, atol=1e-4)  # both streams at unit RMS
        new_x, new_y = residual.write((x, y), sublayer, output)
        scale = divisor**-0.5 if branch_scale else 1.0
        torch.testing.assert_close(new_x - x, scale * output, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(new_y - 2 * embedding(), output, rtol=1e-4, atol=1e-5)


def test_x0_lambdas_decay_between_the_published_ends() -> None:
    residual = residual_of("x0_lambdas", {"init": "decaying"}, deep(3))
    torch.testing.assert_close(residual.resid_lambdas, torch.tensor([1.15, 1.10, 1.05]))
    torch.testing.assert_close(residual.x0_lambdas, torch.tensor([0.20, 0.125, 0.05]))
    alone = residual_of("x0_lambdas", {"init": "decaying"}, deep(1))
    assert alone.resid_lambdas.item() == pytest.approx(1.15)
    assert alone.x0_lambdas.item() == pytest.approx(0.20)


def test_x0_lambdas_slow_only_what_compounds() -> None:
    assert residual_of("x0_lambdas", {}).learning_rate_factors() == {"resid_lambdas": 0.01}


def test_x0_lambdas_mix_once_a_block_and_inject_the_normalised_embedding() -> None:
    residual = residual_of("x0_lambdas", {})
    with torch.no_grad():
        residual.x0_lambdas.fill_(1.0)
    normalised = torch.nn.functional.rms_norm(embedding(), (SHAPE.d_model,), eps=1e-6)
    state, read = residual.read(residual.start(embedding()), 0)
    torch.testing.assert_close(read, embedding() + normalised)
    state = residual.write(state, 0, torch.zeros_like(read))
    assert torch.equal(residual.read(state, 1)[1], read)
    torch.testing.assert_close(residual.read(state, 2)[1], read + normalised)
