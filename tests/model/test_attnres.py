"""Full and Block AttnRes in every combination of options, and what their paper says of them."""

from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from net import Net, drive
from references import block_attnres as block_reference
from references import full_attnres as full_reference
from torch import Tensor

from attnres_eval.cost import model_cost
from attnres_eval.errors import UserError
from attnres_eval.model.kernels.switch import kernels
from attnres_eval.model.residuals import build_residual
from attnres_eval.model.residuals.base import Residual
from attnres_eval.model.residuals.depth import DepthAttention, Source
from attnres_eval.shape import ModelShape
from attnres_eval.variants import parse_options

D = 8


def shape_of(n_layers: int, d_model: int = D) -> ModelShape:
    return ModelShape(
        d_model=d_model,
        n_layers=n_layers,
        n_heads=1,
        n_kv_heads=1,
        head_dim=d_model,
        d_ff=16,
        vocab_size=32,
        context=16,
    )


def build(n_layers: int, name: str, *, random: bool = True, **options: Any) -> Residual:
    residual = build_residual(name, parse_options(name, options), shape_of(n_layers))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        residual.initialise(0)
        for parameter in residual.parameters() if random else ():
            parameter += 0.5 * torch.randn(parameter.shape, generator=generator)
    return residual


def embeddings(batch: int = 2, tokens: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(batch, tokens, D, generator=generator).requires_grad_()


def run(residual: Residual, tokens: int = 3) -> list[Tensor]:
    """All reads, the output, and the gradients of a number that depends on all of them."""
    embedding = embeddings(2, tokens)
    reads, output = drive(residual, Net(residual.shape), embedding)
    wanted = [embedding, *residual.parameters()]
    total = sum(read.sin().sum() for read in [*reads, output])
    return [*reads, output, *torch.autograd.grad(total, wanted)]


def assert_same(one: list[Tensor], other: list[Tensor]) -> None:
    for ours, theirs in zip(one, other, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


MIXING = st.one_of(
    st.fixed_dictionaries({"mixing": st.sampled_from(["static", "static_linear"])}),
    st.fixed_dictionaries(
        {},
        optional={
            "mixing": st.sampled_from(["softmax", "sigmoid"]),
            "query": st.just("input_dependent"),
            "key_norm": st.just(False),
            "heads": st.sampled_from([2, 4]),
            "logit_scale": st.sampled_from([0.3, 2.0]),
        },
    ),
)


@settings(deadline=None, max_examples=40)
@given(
    n_layers=st.integers(1, 4),
    tokens=st.sampled_from([1, 3]),
    mixing=MIXING,
    window=st.none() | st.integers(1, 5),
    data=st.data(),
)
def test_any_combination_equals_the_equations(
    n_layers: int, tokens: int, mixing: dict[str, Any], window: int | None, data: st.DataObject
) -> None:
    blocks = data.draw(
        st.sampled_from([{}, {"num_blocks": 1}, {"num_blocks": 2}, {"block_size": 2}])
        | st.fixed_dictionaries({"num_blocks": st.integers(1, 2 * n_layers)})
        | st.fixed_dictionaries({"block_size": st.integers(1, 2 * n_layers)})
    )
    for name, options, module in (
        ("full_attnres", {}, full_reference),
        ("block_attnres", blocks, block_reference),
    ):
        residual = build(n_layers, name, window=window, **mixing, **options)
        embedding, net = embeddings(2, tokens), Net(residual.shape)
        reads, output = drive(residual, net, embedding)
        parameters = dict(residual.named_parameters())
        expected_reads, expected = module.reference(net, embedding, parameters, residual.options)
        for ours, theirs in zip([*reads, output], [*expected_reads, expected], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@settings(deadline=None, max_examples=25)
@given(
    n_layers=st.integers(1, 5),
    data=st.data(),
    tokens=st.integers(1, 4),
    key_norm=st.booleans(),
    logit_scale=st.sampled_from([1.0, 2.0]),
)
def test_two_phase_equals_plain(
    n_layers: int, data: st.DataObject, tokens: int, key_norm: bool, logit_scale: float
) -> None:
    options = {
        "num_blocks": data.draw(st.integers(1, 2 * n_layers)),
        "key_norm": key_norm,
        "logit_scale": logit_scale,
    }
    plain, phased = (
        build(n_layers, "block_attnres", two_phase=two_phase, **options)
        for two_phase in (False, True)
    )
    assert_same(run(plain, tokens), run(phased, tokens))


def test_two_phase_holds_its_coefficients_fixed_like_the_plain_form() -> None:
    results = []
    for two_phase in (False, True):
        residual = build(4, "block_attnres", two_phase=two_phase, num_blocks=3)
        residual.frozen = True
        embedding = embeddings()
        reads, output = drive(residual, Net(residual.shape), embedding)
        total = sum(read.sin().sum() for read in [*reads, output])
        results.append(torch.autograd.grad(total, embedding)[0])
        assert not any(
            gradient is not None
            for gradient in torch.autograd.grad(
                reads[-1].sum(), list(residual.parameters()), allow_unused=True
            )
        )
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


@settings(deadline=None, max_examples=10)
@given(n_layers=st.integers(1, 5), tokens=st.integers(1, 4), mixing=MIXING)
def test_as_many_blocks_as_sublayers_is_full(
    n_layers: int, tokens: int, mixing: dict[str, Any]
) -> None:
    full = build(n_layers, "full_attnres", **mixing)
    for blocks in ({"num_blocks": 2 * n_layers}, {"block_size": 1}):
        block = build(n_layers, "block_attnres", **blocks, **mixing)
        assert_same(run(full, tokens), run(block, tokens))


@settings(deadline=None, max_examples=10)
@given(n_layers=st.integers(1, 5), mixing=MIXING)
def test_a_window_over_everything_is_none(n_layers: int, mixing: dict[str, Any]) -> None:
    plain = build(n_layers, "full_attnres", **mixing)
    assert_same(run(plain), run(build(n_layers, "full_attnres", window=2 * n_layers, **mixing)))


def test_a_window_sees_the_embedding_and_the_latest_sources() -> None:
    residual = build(3, "full_attnres", window=2, random=False)
    state, sources = residual.start(embeddings()), [embeddings()]
    for sublayer in range(6):
        state, read = residual.read(state, sublayer)
        seen = sources if len(sources) < 3 else [sources[0], *sources[-2:]]
        torch.testing.assert_close(read, torch.stack(seen).mean(0))
        sources.append(torch.full((2, 3, D), float(sublayer)))
        state = residual.write(state, sublayer, sources[-1])
    last = torch.stack([sources[0], *sources[-2:]]).mean(0)
    torch.testing.assert_close(residual.finish(state), last)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("full_attnres", {}),
        ("full_attnres", {"query": "input_dependent"}),
        ("full_attnres", {"mixing": "static"}),
        ("full_attnres", {"mixing": "static_linear"}),
        ("full_attnres", {"heads": 4}),
    ],
)
def test_mixing_starts_as_the_plain_mean_of_outputs(name: str, options: dict[str, Any]) -> None:
    # Excludes cumulative states as sources, a recency bias, an embedding that counts twice and
    # a gate beside the ordinary residual.
    residual = build(2, name, random=False, **options)
    state, sources = residual.start(embeddings()), [embeddings()]
    for sublayer in range(4):
        state, read = residual.read(state, sublayer)
        torch.testing.assert_close(read, torch.stack(sources).mean(0))
        sources.append(torch.tanh(3 * read + sublayer))
        state = residual.write(state, sublayer, sources[-1])
    torch.testing.assert_close(residual.finish(state), torch.stack(sources).mean(0))


def test_sigmoid_weights_start_at_one_half() -> None:
    residual = build(1, "full_attnres", random=False, mixing="sigmoid")
    state = residual.write(residual.start(embeddings()), 0, torch.ones(2, 3, D))
    torch.testing.assert_close(residual.read(state, 1)[1], (embeddings() + 1) / 2)


def test_the_latest_source_makes_an_input_dependent_query() -> None:
    residual = build(2, "block_attnres", random=False, query="input_dependent", num_blocks=2)
    with torch.no_grad():
        residual.get_parameter("projection").copy_(torch.eye(D).expand(4, D, D))
    small, large = torch.zeros(2, 3, D), torch.zeros(2, 3, D)
    small[..., 0], large[..., 1] = 1.0, 50.0
    state = residual.start(small)
    state = residual.write(state, 0, large)
    # The partial sum asks for what resembles it: itself.
    torch.testing.assert_close(residual.read(state, 1)[1], large)
    state = residual.write(state, 1, -large + 50 * small)
    # A block's first sublayer asks as the last finished block: 50 small, of which x0 is a part.
    # The two differ in length alone, so that they weigh the same but for the norm's epsilon.
    torch.testing.assert_close(residual.read(state, 2)[1], 25.5 * small, rtol=1e-3, atol=0)


def test_one_block_keeps_the_embedding_as_its_own_source() -> None:
    residual = build(1, "block_attnres", random=False, num_blocks=1)
    state = residual.write(residual.start(embeddings()), 0, torch.ones(2, 3, D))
    torch.testing.assert_close(residual.read(state, 1)[1], (embeddings() + 1) / 2)
    state = residual.write(state, 1, torch.ones(2, 3, D))
    torch.testing.assert_close(residual.finish(state), (embeddings() + 2) / 2)


def test_gradients_reach_every_source_through_finished_blocks() -> None:
    residual = build(3, "block_attnres", num_blocks=3)
    embedding = embeddings()
    state, outputs = residual.start(embedding), []
    for sublayer in range(6):
        state, _ = residual.read(state, sublayer)
        outputs.append(torch.randn(2, 3, D, requires_grad=True))
        state = residual.write(state, sublayer, outputs[-1])
    gradients = torch.autograd.grad(residual.finish(state).pow(2).sum(), [embedding, *outputs])
    assert all(gradient.abs().sum() > 0 for gradient in gradients)


def test_keys_are_normalised_and_values_are_raw() -> None:
    residual = build(1, "full_attnres")
    output = torch.randn(2, 3, D, generator=torch.Generator().manual_seed(4))
    state = residual.write(residual.start(embeddings()), 0, output)
    # A source a thousand times larger leaves its weight as it is, and its value not.
    larger = residual.write(residual.start(1000 * embeddings()), 0, output)
    weight = (residual.read(state, 1)[1] - output) / (embeddings() - output)
    scaled = (residual.read(larger, 1)[1] - output) / (1000 * embeddings() - output)
    torch.testing.assert_close(weight, scaled, rtol=1e-2, atol=1e-3)


def test_each_head_mixes_its_own_channels() -> None:
    residual = build(1, "full_attnres", heads=2, random=False)
    with torch.no_grad():
        residual.get_parameter("query")[0, : D // 2] = 100.0
    one, other = torch.ones(1, 1, D), -torch.ones(1, 1, D)
    state = residual.write(residual.start(one), 0, other)
    expected = torch.cat([torch.ones(D // 2), torch.zeros(D // 2)])
    torch.testing.assert_close(residual.read(state, 1)[1].flatten(), expected)


def test_mixing_is_done_in_single_precision_under_autocast() -> None:
    residual = build(4, "full_attnres")
    assert isinstance(residual, DepthAttention)
    with kernels(False):
        plain = residual.source(embeddings(), first=1)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = residual.source(embeddings(), first=1)
    assert isinstance(plain, Source)
    assert isinstance(mixed, Source)
    assert torch.equal(plain.score(3), mixed.score(3))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("full_attnres", {"mixing": "static", "heads": 4}, "static computes no scores, so heads"),
        (
            "full_attnres",
            {"mixing": "static_linear", "key_norm": False, "logit_scale": 2.0},
            "key_norm and logit_scale would have no effect",
        ),
        ("full_attnres", {"mixing": "static", "query": "input_dependent"}, "so query would"),
        ("full_attnres", {"window": 0}, "option window: .*greater than or equal to 1"),
        ("block_attnres", {"num_blocks": 2, "block_size": 2}, "exclude each other"),
        ("block_attnres", {"two_phase": True, "window": 2}, "two_phase is .* with window"),
        ("block_attnres", {"two_phase": True, "mixing": "sigmoid"}, "with mixing"),
        ("block_attnres", {"two_phase": True, "query": "input_dependent"}, "with query"),
        ("block_attnres", {"two_phase": True, "heads": 2}, "with heads"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as error:
        parse_options(name, options)
    assert "Value error" not in str(error.value)
    assert "option :" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("full_attnres", {"heads": 3}, "heads 3 does not divide d_model 8"),
        ("block_attnres", {"heads": 3}, "heads 3 does not divide d_model 8"),
        ("block_attnres", {"num_blocks": 8}, "num_blocks 8 is not between 1 and the 4 sublayers"),
        ("block_attnres", {"block_size": 5}, "block_size 5 is more than the model's 4 sublayers"),
    ],
)
def test_options_that_do_not_fit_the_model_are_refused(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        parse_options(name, options).check(shape_of(2))


@pytest.mark.parametrize(
    ("n_layers", "options", "bounds"),
    [
        (2, {}, [(0, 1), (1, 2), (2, 3), (3, 4)]),
        (12, {}, [(3 * block, 3 * block + 3) for block in range(8)]),
        (4, {"num_blocks": 3}, [(0, 2), (2, 4), (4, 8)]),
        (4, {"block_size": 3}, [(0, 3), (3, 6), (6, 8)]),
        (4, {"block_size": 8}, [(0, 8)]),
    ],
)
def test_blocks(n_layers: int, options: dict[str, Any], bounds: list[tuple[int, int]]) -> None:
    for name in ("block_attnres", "rms_block_attnres"):
        parsed: Any = parse_options(name, options)
        assert parsed.bounds(shape_of(n_layers)) == bounds


def traffic(n_layers: int, name: str, **options: Any) -> float:
    """Elements a sublayer and token, as a multiple of d."""
    shape = shape_of(n_layers)
    cost = model_cost(shape, name, parse_options(name, options))
    return cost.residual_traffic_elements_per_token / D / shape.n_sublayers


def test_traffic_is_what_the_paper_prints() -> None:
    # Table 1 of arXiv:2603.15031: L = 128, N = 8, S = 16.
    assert traffic(64, "prenorm") == 3
    assert traffic(64, "full_attnres") == 24
    assert traffic(64, "block_attnres", num_blocks=8) == 5.5
    assert traffic(64, "block_attnres", block_size=16) == 5.5
    assert traffic(64, "block_attnres", two_phase=True) == 5.5


def test_traffic_follows_the_options() -> None:
    assert traffic(64, "full_attnres", window=8) == 9
    assert traffic(64, "full_attnres", window=100) == 24
    assert traffic(64, "full_attnres", query="input_dependent") == 128
    assert traffic(64, "block_attnres", window=3) == 4 / 16 + 5
    assert traffic(64, "block_attnres", query="input_dependent") == 11
    assert traffic(64, "block_attnres", block_size=32) == 4 / 32 + 5
    assert traffic(64, "rms_block_attnres") == 7.5
    assert traffic(64, "delta_attnres") == 27
    assert traffic(64, "delta_attnres", sources="block") == (8 + 3) / 16 + 5


@settings(deadline=None, max_examples=20)
@given(n_layers=st.integers(1, 6), mixing=MIXING, window=st.none() | st.integers(1, 4))
def test_parameters_are_counted_in_any_combination(
    n_layers: int, mixing: dict[str, Any], window: int | None
) -> None:
    for name in ("full_attnres", "block_attnres"):
        options = {**mixing, "window": window}
        residual = build(n_layers, name, **options)
        cost = model_cost(residual.shape, name, parse_options(name, options))
        counted = sum(parameter.numel() for parameter in residual.parameters())
        assert cost.residual_parameters == counted


def test_the_paper_has_one_query_and_one_norm_a_sublayer() -> None:
    # The first sublayer has one source, and the output aggregation takes its place: 2 d L.
    for name in ("full_attnres", "block_attnres", "rms_block_attnres"):
        shape = shape_of(4)
        assert model_cost(shape, name, parse_options(name, {})).residual_parameters == 2 * D * 8


def test_static_mixing_has_one_number_a_pair() -> None:
    # Readers 1 to L of L = 8 sublayers have 2 to L + 1 sources.
    cost = model_cost(
        shape_of(4), "full_attnres", parse_options("full_attnres", {"mixing": "static"})
    )
    assert cost.residual_parameters == sum(range(2, 10))
    assert cost.residual_flops_per_token == 2 * D * sum(range(2, 10))


@settings(deadline=None, max_examples=15)
@given(n_layers=st.integers(1, 5), size=st.integers(1, 4), data=st.data())
def test_rms_block_is_block_where_outputs_have_unit_rms(
    n_layers: int, size: int, data: st.DataObject
) -> None:
    assume(size <= 2 * n_layers)
    results = []
    for name in ("block_attnres", "rms_block_attnres"):
        residual = build(n_layers, name, block_size=size)
        generator = torch.Generator().manual_seed(5)
        state, reads = residual.start(embeddings()), []
        for sublayer in range(2 * n_layers):
            state, read = residual.read(state, sublayer)
            reads.append(read)
            signs = torch.randn(2, 3, D, generator=generator).sign()
            state = residual.write(state, sublayer, signs)
        results.append(torch.stack([*reads, residual.finish(state)]))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)


def test_rms_block_normalises_finished_blocks_alone() -> None:
    residual = build(2, "rms_block_attnres", num_blocks=2, random=False)
    x0, ones = torch.full((1, 1, D), 7.0), torch.ones(1, 1, D)
    state = residual.write(residual.start(x0), 0, 10 * ones)
    torch.testing.assert_close(residual.read(state, 1)[1], (7 + 10) / 2 * ones)
    state = residual.write(state, 1, 30 * ones)
    torch.testing.assert_close(residual.read(state, 2)[1], (7 + (1 + 1)) / 2 * ones)
    state = residual.write(residual.write(state, 2, -5 * ones), 3, -5 * ones)
    torch.testing.assert_close(residual.finish(state), (7 + 2 - 2) / 3 * ones)
