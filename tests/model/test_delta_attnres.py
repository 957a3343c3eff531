"""Delta AttnRes: sources, readers and gates, step by step."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from net import Net, drive
from references import delta_attnres as delta_reference
from test_attnres import D, build, embeddings, shape_of

from attnres_eval.cost import model_cost
from attnres_eval.errors import UserError
from attnres_eval.variants import parse_options

OUTPUTS = [torch.full((1, 1, D), value) for value in (2.0, -5.0, 11.0, 23.0)]
X0 = torch.full((1, 1, D), 1.0)


def reads(residual: Any) -> list[torch.Tensor]:
    """What four sublayers with known outputs read, and what the final norm sees."""
    state, seen = residual.start(X0), []
    for sublayer, output in enumerate(OUTPUTS):
        state, read = residual.read(state, sublayer)
        seen.append(read)
        state = residual.write(state, sublayer, output)
    return [*seen, residual.finish(state)]


def expect(values: list[torch.Tensor], numbers: list[float]) -> None:
    torch.testing.assert_close(values, [torch.full((1, 1, D), float(number)) for number in numbers])


def test_full_adds_the_mean_of_outputs_at_the_start() -> None:
    streams = [1, 3, -2, 9, 32]
    added = [0, (1 + 2) / 2, (1 + 2 - 5) / 3, (1 + 2 - 5 + 11) / 4, 0]
    expected = [stream + more for stream, more in zip(streams, added, strict=True)]
    expect(reads(build(2, "delta_attnres", random=False)), expected)


def test_block_sources_are_changes_over_finished_blocks() -> None:
    residual = build(2, "delta_attnres", random=False, sources="block", num_blocks=2)
    # Two sublayers a block; the first block changes the stream by 2 - 5 = -3.
    added = [0, 1, (1 - 3) / 2, (1 - 3) / 2, 0]
    streams = [1, 3, -2, 9, 32]
    expect(reads(residual), [stream + more for stream, more in zip(streams, added, strict=True)])


def test_a_third_source_is_a_change_and_not_a_recursive_difference() -> None:
    residual = build(2, "delta_attnres", random=False, sources="block", num_blocks=4)
    # The released code would take h - (previous source) = 3 - 2, then -2 - ... instead.
    expect(reads(residual)[3:4], [9 + (1 + 2 - 5 + 11) / 4])


@pytest.mark.parametrize("options", [{}, {"sources": "block", "num_blocks": 2}])
def test_a_gate_of_zero_leaves_the_stream(options: dict[str, Any]) -> None:
    residual = build(2, "delta_attnres", random=False, gate="zero", **options)
    expect(reads(residual), [1, 3, -2, 9, 32])


def test_readers_of_one_source_need_no_query() -> None:
    for blocks, readers in ((1, 0), (2, 4), (4, 6), (8, 7)):
        options = {"sources": "block", "num_blocks": blocks}
        cost = model_cost(shape_of(4), "delta_attnres", parse_options("delta_attnres", options))
        assert cost.residual_parameters == 2 * D * readers
    assert build(4, "delta_attnres", sources="block", num_blocks=4).shape.n_sublayers == 8


@settings(deadline=None, max_examples=30)
@given(
    n_layers=st.integers(1, 5),
    tokens=st.sampled_from([1, 3]),
    gate=st.sampled_from(["none", "zero"]),
    data=st.data(),
)
def test_any_depth_and_division_equals_the_equations(
    n_layers: int, tokens: int, gate: str, data: st.DataObject
) -> None:
    blocks = data.draw(st.none() | st.integers(1, 2 * n_layers))
    form = data.draw(st.sampled_from([{}, {"sources": "block", "num_blocks": blocks}]))
    residual = build(n_layers, "delta_attnres", gate=gate, **form)
    net, embedding = Net(residual.shape), embeddings(2, tokens)
    ours, output = drive(residual, net, embedding)
    theirs, expected = delta_reference.reference(
        net, embedding, dict(residual.named_parameters()), residual.options
    )
    for one, other in zip([*ours, output], [*theirs, expected], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_blocks_of_the_full_form_are_refused() -> None:
    with pytest.raises(UserError, match="num_blocks belongs to sources: block"):
        parse_options("delta_attnres", {"num_blocks": 2})
    options = parse_options("delta_attnres", {"sources": "block", "num_blocks": 9})
    with pytest.raises(ValueError, match="num_blocks 9 is not between 1 and the 8 sublayers"):
        options.check(shape_of(4))
