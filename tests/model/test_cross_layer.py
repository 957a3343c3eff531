"""DenseFormer, value residual, LIMe, LAuReL, MUDDFormer: what the battery does not ask."""

from typing import Any

import pytest
import torch
from cases import SHAPE, build, fresh, tokens
from net import Net, drive
from transformers import DynamicCache

from attnres_eval.cost import model_cost
from attnres_eval.model.residuals import build_residual
from attnres_eval.variants import get_variant, parse_options

DEEP = SHAPE.model_copy(update={"n_layers": 6})


@pytest.mark.parametrize(
    ("dilation", "period", "averaged"),
    [
        (1, 1, {i: list(range(i + 1)) for i in range(1, 7)}),
        (2, 1, {1: [1], 2: [0, 2], 3: [1, 3], 4: [0, 2, 4], 5: [1, 3, 5], 6: [0, 2, 4, 6]}),
        (1, 4, {4: [0, 1, 2, 3, 4]}),
        (4, 3, {3: [3], 6: [2, 6]}),
    ],
)
def test_denseformer_averages_exactly_these_states(
    dilation: int, period: int, averaged: dict[int, list[int]]
) -> None:
    """State j is 10^j and all weights are one, so that an average's digits tell its states."""
    options = parse_options("denseformer", {"dilation": dilation, "period": period})
    residual = build_residual("denseformer", options, DEEP)
    assert residual.weights.shape == (sum(map(len, averaged.values())),)
    with torch.no_grad():
        residual.weights.fill_(1.0)
    state = residual.start(torch.ones(1, 1, 1, dtype=torch.float64))
    for block in range(1, 7):
        for sublayer in (2 * block - 2, 2 * block - 1):
            state, h = residual.read(state, sublayer)
            # Outputs make up for whatever the last average has left.
            state = residual.write(state, sublayer, 10.0**block - h)
        expected = sum(10**j for j in averaged.get(block, [block]))
        assert residual.finish(state).item() == expected


@pytest.mark.parametrize("option", ["dilation", "period"])
def test_denseformer_refuses_options_that_leave_nothing_to_average(option: str) -> None:
    with pytest.raises(ValueError, match="more than the 6 transformer blocks"):
        build_residual("denseformer", parse_options("denseformer", {option: 7}), DEEP)


def test_laurel_refuses_a_rank_above_the_width() -> None:
    with pytest.raises(ValueError, match="rank 33 is more than d_model 32"):
        build_residual("laurel", parse_options("laurel", {"rank": 33}), SHAPE)
    build_residual("laurel", parse_options("laurel", {"rank": 33, "form": "rw"}), SHAPE)


@pytest.mark.parametrize(
    ("name", "options"),
    [("value_residual", {}), ("value_residual", {"weights": "learned"}), ("lime", {})],
)
def test_token_by_token_with_a_cache_equals_all_at_once(name: str, options: dict[str, Any]) -> None:
    """Caches hold mixed keys and values; what is mixed from earlier layers is this token's own."""
    model = build(name, options).eval()
    whole, cache, steps = model(tokens()), DynamicCache(), []
    for position in range(tokens().shape[1]):
        token = tokens()[:, position : position + 1]
        hidden = model.hidden(token, torch.tensor([[position]]), cache=cache)
        steps.append(model.head(hidden))
    torch.testing.assert_close(torch.cat(steps, 1), whole, rtol=1e-4, atol=1e-4)


def test_value_residual_without_the_first_layers_values_is_prenorm() -> None:
    model = fresh("value_residual", {"weights": "learned"})
    with torch.no_grad():
        model.residual.weights.copy_(torch.tensor([0.0, 1.0]).expand(3, 2))
    torch.testing.assert_close(model(tokens()), fresh("prenorm", {})(tokens()))


def test_lime_with_identity_weights_is_prenorm() -> None:
    model = fresh("lime", {})
    with torch.no_grad():
        model.residual.weights.zero_()
        for weights in model.residual.layer_weights():
            weights[:, -1] = torch.eye(SHAPE.n_kv_heads)
    torch.testing.assert_close(model(tokens()), fresh("prenorm", {})(tokens()))


def test_lime_starts_with_its_own_heads_as_they_are() -> None:
    for layer, weights in enumerate(fresh("lime", {}, DEEP).residual.layer_weights(), 1):
        assert torch.equal(weights[:, -1], torch.eye(SHAPE.n_kv_heads))
        bound = (3 / ((layer + 1) * SHAPE.n_kv_heads)) ** 0.5
        assert 0 < weights[:, :-1].abs().max() <= bound


@pytest.mark.parametrize("bounding", ["softmax", "sigmoid"])
def test_laurels_weights_are_bounded_and_start_at_one(bounding: str) -> None:
    residual = fresh("laurel", {"form": "rw", "bounding": bounding}).residual
    one, zero = torch.ones(1, 1, SHAPE.d_model), torch.zeros(1, 1, SHAPE.d_model)

    def weights() -> tuple[float, float]:
        kept, written = residual.write(one, 0, zero), residual.write(zero, 0, one)
        return written.mean().item(), kept.mean().item()

    assert weights() == (1.0, 1.0)
    with torch.no_grad():
        residual.weights[0] = torch.tensor([50.0, 50.0])
    expected = 1.0 if bounding == "softmax" else 2.0
    assert weights() == pytest.approx((expected, expected))


def test_laurels_down_projection_starts_with_orthogonal_columns() -> None:
    down = fresh("laurel", {"rank": 5}).residual.down
    for matrix in down:
        gram = matrix.T @ matrix
        assert (gram - gram.diag().diag()).abs().max() == 0
        assert (gram.diag() > 0).all()
    assert down.unique().tolist() == pytest.approx([0, 1 / (5 * SHAPE.d_model) ** 0.5])


def test_muddformer_takes_queries_keys_values_and_stream_from_ways_in_this_order() -> None:
    residual = build_residual("muddformer", parse_options("muddformer", {}), SHAPE)
    with torch.no_grad():
        residual.initialise(0)
        # Way c of the first aggregation is c + 1 times the embedding.
        residual.prior[0].copy_(torch.tensor([[1.0, 0], [2, 0], [3, 0], [4, 0]]))
    embedding = torch.ones(1, 1, SHAPE.d_model)
    inputs, _ = drive(residual, Net(SHAPE), embedding)
    torch.testing.assert_close(inputs[2][:, 0, 0, 0], torch.tensor([1.0, 2.0, 3.0]))
    state = residual.start(embedding)
    for sublayer in (0, 1):
        state = residual.write(state, sublayer, embedding)
    torch.testing.assert_close(state.stream_BTD, 4 * embedding)


def test_muddformer_has_the_published_inner_widths() -> None:
    residual = build_residual("muddformer", parse_options("muddformer", {}), DEEP)
    # C n = 8, 12, 16, 20, 24; the last 4 (1 n) = 28: all below 64.
    assert [up.shape[0] for up in residual.up] == [64] * 6
    deep = SHAPE.model_copy(update={"n_layers": 31})
    residual = build_residual("muddformer", parse_options("muddformer", {}), deep)
    # An exact multiple of 64 is raised by 64, as in the released code: C n = 64 where n = 16.
    assert residual.up[13].shape[0] == 64
    assert residual.up[14].shape[0] == 128
    assert residual.up[30].shape[0] == 192


@pytest.mark.parametrize("name", ["denseformer", "lime", "value_residual", "muddformer"])
def test_one_block_has_no_mixing_but_before_the_head(name: str) -> None:
    shape = SHAPE.model_copy(update={"n_layers": 1})
    cost = model_cost(shape, name, parse_options(name, {}))
    residual = get_variant(name).cost(shape, parse_options(name, {}))
    # One average of two states; one aggregation of 64 units over two sources, one way.
    expected = {"denseformer": 2, "muddformer": 64 * (32 + 2) + 2}.get(name, 0)
    assert cost.residual_parameters == expected
    assert residual.norm_change == 0
    model = build(name, {}, shape)
    model.loss(tokens()).backward()
    assert sum(parameter.numel() for parameter in model.residual.parameters()) == expected
