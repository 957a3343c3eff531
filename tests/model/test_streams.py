"""Several streams: doubly stochastic and applied mixing, one stream, published counts."""

from itertools import permutations
from math import factorial
from typing import Any

import pytest
import torch
from cases import SHAPE, build, fresh, tokens
from torch import Tensor

from attnres_eval.model.residuals import build_residual
from attnres_eval.model.residuals.hyper_connections import HyperConnections
from attnres_eval.model.residuals.mhc import MHC, DoublyStochastic, MHCLite, sinkhorn
from attnres_eval.shape import ModelShape
from attnres_eval.variants import get_variant, parse_options

STREAM_COUNTS = [1, 2, 4]


def random_streams(n: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(2, 3, n, SHAPE.d_model, generator=generator).to(dtype)


def shape_of(d_model: int, n_layers: int) -> ModelShape:
    return SHAPE.model_copy(update={"d_model": d_model, "n_layers": n_layers})


def residual_cost(name: str, shape: ModelShape, **options: Any) -> Any:
    return get_variant(name).cost(shape, parse_options(name, options))


def with_skewed_logits(name: str, n: int, std: float) -> DoublyStochastic:
    residual = build(name, {"streams": n}).residual
    assert isinstance(residual, DoublyStochastic)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(8)
        residual.b_res.copy_(std * torch.randn(residual.b_res.shape, generator=generator))
    return residual


@pytest.mark.parametrize("n", STREAM_COUNTS)
@pytest.mark.parametrize(("std", "tolerance"), [(1.0, 1e-3), (3.0, 0.1)])
def test_mhc_mixes_by_a_doubly_stochastic_matrix(n: int, std: float, tolerance: float) -> None:
    residual = with_skewed_logits("mhc", n, std)
    for sublayer in range(SHAPE.n_sublayers):
        mixing = residual.weights(random_streams(n), sublayer).mixing_NN
        assert mixing.shape == (2, 3, n, n)
        assert (mixing >= 0).all()
        torch.testing.assert_close(mixing.sum(-1), torch.ones(2, 3, n))
        torch.testing.assert_close(mixing.sum(-2), torch.ones(2, 3, n), rtol=0, atol=tolerance)
    assert n == 1 or mixing.var() > 1e-3  # the matrix is not merely uniform


@pytest.mark.parametrize("n", STREAM_COUNTS)
def test_mhc_lite_mixes_by_an_exactly_doubly_stochastic_matrix(n: int) -> None:
    residual = with_skewed_logits("mhc_lite", n, std=5.0)
    for sublayer in range(SHAPE.n_sublayers):
        mixing = residual.weights(random_streams(n), sublayer).mixing_NN
        assert (mixing >= 0).all()
        for dimension in (-1, -2):
            torch.testing.assert_close(mixing.sum(dimension), torch.ones(2, 3, n))
    assert n == 1 or mixing.var() > 1e-3


def test_mhc_lite_reaches_every_permutation() -> None:
    residual = build("mhc_lite", {"streams": 3}).residual
    assert isinstance(residual, MHCLite)
    reached = set()
    for k, order in enumerate(permutations(range(3))):
        logits = torch.full((1, 1, 6), -50.0)
        logits[..., k] = 50.0
        matrix = residual.doubly_stochastic(logits)[0, 0]
        assert matrix.argmax(-1).tolist() == list(order)
        reached.add(tuple(matrix.flatten().tolist()))
    assert len(reached) == factorial(3)


def test_sinkhorn_converges_and_never_divides_zero_by_zero() -> None:
    generator = torch.Generator().manual_seed(9)
    logits = torch.randn(2, 3, 4, 4, generator=generator)
    matrix = sinkhorn(logits, 200)
    torch.testing.assert_close(matrix.sum(-2), torch.ones(2, 3, 4))
    # Scaling rows and columns is all that it may do.
    for rows, columns in [((0, 1), (2, 3)), ((1, 3), (0, 2))]:
        (i, j), (k, m) = rows, columns
        cross = matrix[..., i, k] * matrix[..., j, m] / matrix[..., i, m] / matrix[..., j, k]
        expected = logits[..., i, k] + logits[..., j, m] - logits[..., i, m] - logits[..., j, k]
        torch.testing.assert_close(cross.log(), expected, rtol=1e-3, atol=1e-3)
    far = torch.tensor([[0.0, 0.0], [-500.0, -500.0]]).expand(1, 1, 2, 2)
    torch.testing.assert_close(sinkhorn(far, 20), torch.full((1, 1, 2, 2), 0.5))
    assert sinkhorn(far + 300, 1).isfinite().all()


MIXED: dict[str, list[str]] = {
    "hyper_connections": ["mixing", "dynamic_mixing"],
    "frac_connections": ["mixing", "dynamic_mixing"],
    "mhc": ["b_res", "phi_res"],
    "mhc_lite": ["b_res", "phi_res"],
}


@pytest.mark.parametrize("name", MIXED)
def test_the_mixing_matrix_is_applied(name: str) -> None:
    """Two public implementations of Hyper-Connections returned the unmixed streams."""
    model = build(name, {})
    with torch.no_grad():
        before = model(tokens())
    for key in MIXED[name]:
        parameter = model.residual.get_parameter(key)
        middle = SHAPE.n_sublayers // 2
        with torch.no_grad():
            kept = parameter[middle].clone()
            parameter[middle] += torch.randn(kept.shape, generator=torch.Generator().manual_seed(1))
            assert (model(tokens()) - before).abs().max() > 1e-3, key
            parameter[middle] = kept
        (gradient,) = torch.autograd.grad(model.loss(tokens()), parameter)
        assert gradient[middle].abs().max() > 1e-7, key


@pytest.mark.parametrize("name", ["hyper_connections", "mhc"])
def test_streams_are_mixed_as_the_formula_orders(name: str) -> None:
    """A matrix that sends stream 0 to stream 1 alone, and only that way."""
    n, source, target = 3, 0, 1
    residual = build(name, {"streams": n}).residual
    streams = random_streams(n)
    with torch.no_grad():
        if isinstance(residual, HyperConnections):  # H'_t = sum_s A_r[s, t] H_s
            residual.mixing.zero_()
            residual.alpha_scale.zero_()
            residual.mixing[2, source, target] = 1
        else:
            assert isinstance(residual, MHC)
            residual.a_res.zero_()
            order = torch.eye(n)[[2, 0, 1]]  # row 1 takes stream 0
            residual.b_res[2] = 60 * order.flatten()
        reading, _ = residual.read(streams, 2)
        mixed = residual.write(reading, 2, torch.zeros_like(streams[:, :, 0]))
    torch.testing.assert_close(mixed[:, :, target], streams[:, :, source])
    if name == "hyper_connections":
        assert mixed[:, :, [0, 2]].abs().max() == 0


@pytest.mark.parametrize("options", [{"dynamic": True}, {"dynamic": False}, {"streams": 2}])
def test_hyper_connections_start_as_prenorm(options: dict[str, Any]) -> None:
    model, baseline = fresh("hyper_connections", options), fresh("prenorm", {})
    torch.testing.assert_close(model(tokens()), baseline(tokens()), rtol=1e-4, atol=1e-3)
    embedding = random_streams(1)[:, :, 0]
    residual, plain = model.residual, baseline.residual
    state, other = residual.start(embedding), plain.start(embedding)
    for sublayer in range(SHAPE.n_sublayers):
        state, read = residual.read(state, sublayer)
        other, expected = plain.read(other, sublayer)
        torch.testing.assert_close(read, expected)
        state = residual.write(state, sublayer, read.sin())
        other = plain.write(other, sublayer, expected.sin())
    torch.testing.assert_close(
        residual.finish(state), residual.streams * plain.finish(other), rtol=1e-5, atol=1e-5
    )


ALONE: list[tuple[str, dict[str, Any]]] = [
    ("hyper_connections", {"streams": 1}),
    ("hyper_connections", {"streams": 1, "dynamic": False}),
    ("mhc", {"streams": 1}),
    ("mhc", {"streams": 1, "read_out": "sum"}),
    ("mhc_lite", {"streams": 1}),
    ("gated_residual", {"streams": 1}),
    ("frac_connections", {"fractions": 1}),
]


@pytest.mark.parametrize(("name", "options"), ALONE)
def test_a_single_stream(name: str, options: dict[str, Any]) -> None:
    """It trains, and what is declared free of gradient, all reads among it, is."""
    model = build(name, options, SHAPE.model_copy(update={"tied_head": False}))
    with torch.no_grad():
        model.embedding.weight *= 30  # makes the epsilon of norms negligible
    model.loss(tokens()).backward()
    free = model.residual.gradient_free()
    for key, parameter in model.residual.named_parameters():
        assert parameter.grad is not None
        for index, row in enumerate(parameter.grad):
            if key in free or f"{key}[{index}]" in free:
                assert row.abs().max() < 1e-5, key
            else:
                assert row.abs().max() > 1e-7, key


@pytest.mark.parametrize("dynamic", [True, False])
def test_one_fraction_is_one_stream(dynamic: bool) -> None:
    """The two papers' methods meet at n = m = 1, but for the norm of the dynamic part."""
    options = {"dynamic": dynamic}
    frac = build("frac_connections", {"fractions": 1, **options})
    hyper = build("hyper_connections", {"streams": 1, **options})
    body = {k: v for k, v in frac.state_dict().items() if not k.endswith("residual.gain")}
    hyper.load_state_dict(body)
    with torch.no_grad():
        if dynamic:
            for model in (frac, hyper):
                model.residual.get_parameter("alpha_scale").zero_()
                model.residual.get_parameter("beta_scale").zero_()
        torch.testing.assert_close(frac(tokens()), hyper(tokens()))


def test_fractions_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="d_model 32 cannot be cut into 5 equal fractions"):
        build_residual(
            "frac_connections", parse_options("frac_connections", {"fractions": 5}), SHAPE
        )


def test_a_tanh_without_a_dynamic_part_is_refused() -> None:
    options = parse_options("hyper_connections", {"dynamic": False, "tanh": False})
    with pytest.raises(ValueError, match="dynamic form alone"):
        build_residual("hyper_connections", options, SHAPE)


def test_parameters_equal_published_counts() -> None:
    olmo = shape_of(2048, 16)
    counts = {
        # arXiv:2409.19606 appendix: OLMo-1B-SHCx4 and -DHCx4.
        768: residual_cost("hyper_connections", olmo, dynamic=False),
        394_048: residual_cost("hyper_connections", olmo),
        # arXiv:2503.14125 section 4.4: OLMo-1B-7B-SFCx4 and -DFCx4.
        1_152: residual_cost("frac_connections", olmo, dynamic=False),
        165_056: residual_cost("frac_connections", olmo),
        # hyper-connection-factory's 594.6k for 12 blocks of width 256.
        594_573: residual_cost("mhc", shape_of(256, 12)),
    }
    assert {count: cost.parameters for count, cost in counts.items()} == {k: k for k in counts}
    gated = residual_cost("gated_residual", shape_of(2560, 1))
    read, write = 2560**2 + 4 * 2560, 16 * 2560
    assert gated.parameters == 3 * read + 2 * write  # 2 d^2 a block at rank d / 8, and one read
    assert gated.norm_change == -3


@pytest.mark.parametrize("name", ["hyper_connections", "mhc", "mhc_lite"])
def test_traffic_leads_with_the_papers_34_d(name: str) -> None:
    """arXiv:2603.15031 table 1: (8 m + 2) d is 34 d for m = 4 streams."""
    wide = shape_of(10**6, 64)
    traffic = residual_cost(name, wide).traffic_elements_per_token / wide.n_sublayers
    assert traffic / wide.d_model == pytest.approx(34, abs=1e-3)
    assert traffic - 34 * wide.d_model == 2 * (4**2 + 2 * 4)


@pytest.mark.parametrize("name", ["hyper_connections", "frac_connections", "mhc", "mhc_lite"])
def test_streams_keep_their_precision_under_autocast(name: str) -> None:
    """Mixing in bf16 would round the streams themselves at every sublayer."""
    residual = fresh(name, {}).residual
    embedding = random_streams(1)[:, :, 0]

    def run() -> Tensor:
        state = residual.start(embedding)
        for sublayer in range(SHAPE.n_sublayers):
            state, read = residual.read(state, sublayer)
            state = residual.write(state, sublayer, read.sin())
        return residual.finish(state)

    with torch.no_grad():
        expected = run()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = run()
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, expected)
