"""The compiled kernels of dense connections against the same mathematics in fp64."""

import pytest
import torch
from cases import build, fresh
from hypothesis import given, settings
from hypothesis import strategies as st
from test_kernels import (
    PLAIN_SHAPE,
    WIDTHS,
    assert_close,
    both,
    errors,
    in_threads,
    loss_and_gradients,
    randn,
)
from torch import Tensor

from attnres_eval.model.kernels import dense
from attnres_eval.model.kernels.build import compiler
from attnres_eval.model.residuals.dense import source, weighted_sums

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler")


@settings(deadline=None, max_examples=40)
@given(
    rows=st.sampled_from([1, 3, 16, 50]),
    width=WIDTHS,
    count=st.integers(1, 6),
    ways=st.sampled_from([1, 2, 4, 5]),
    static=st.booleans(),
    threads=st.sampled_from([1, 2]),
)
def test_weighted_sums(
    rows: int, width: int, count: int, ways: int, static: bool, threads: int
) -> None:
    """Reader r sums sources 0 to r; the last source is read elsewhere too."""

    def ours(*inputs: Tensor) -> Tensor:
        weights, values = inputs[:count], inputs[count:]
        made, sums = [], []
        for reader in range(count):
            one = dense.source(values[reader])
            assert one is not None
            made.append(one)
            sums += dense.weighted_sums(weights[reader], made)
        return torch.stack([*sums, made[-1].values_BTD.sin()])

    def slow(*inputs: Tensor) -> Tensor:
        weights, values = inputs[:count], inputs[count:]
        sums = [
            sum(weights[reader][..., way, index].unsqueeze(-1) * values[index] for index in made)
            for reader in range(count)
            for made in [range(reader + 1)]
            for way in range(ways)
        ]
        return torch.stack([torch.as_tensor(one) for one in sums] + [values[-1].sin()])

    batch = () if static else (1, rows)
    inputs = [randn(*batch, ways, reader + 1, seed=reader) for reader in range(count)]
    inputs += [randn(1, rows, width, seed=20 + index) for index in range(count)]
    with in_threads(threads):
        assert_close(*both(ours, slow, inputs))


def test_a_way_without_a_gradient_sends_none() -> None:
    leaves = [randn(1, 6, 8, seed=seed).requires_grad_() for seed in (1, 2)]
    weights = randn(1, 6, 3, 2, seed=3).requires_grad_()
    made = [one for one in map(dense.source, leaves) if one is not None]
    sums = dense.weighted_sums(weights, made)
    expected = torch.einsum("bts,sbtd->btd", weights[:, :, 1], torch.stack(leaves))
    ours = torch.autograd.grad(sums[1].sin().sum(), [weights, *leaves], retain_graph=True)
    slow = torch.autograd.grad(expected.sin().sum(), [weights, *leaves])
    assert_close(ours, slow)
    again = torch.autograd.grad(sums[1].sin().sum(), [weights, *leaves])
    assert all(torch.equal(a, b) for a, b in zip(ours, again, strict=True))


def test_sources_of_both_kinds_are_summed_by_plain_torch() -> None:
    values = [randn(1, 5, 8, seed=seed).requires_grad_() for seed in (1, 2)]
    weights = randn(1, 5, 1, 2, seed=3)
    results = []
    for frozen in [(False, False), (False, True), (True, True)]:
        made = [source(*pair) for pair in zip(values, frozen, strict=True)]
        (total,) = weighted_sums(weights, made)
        results.append([total, *torch.autograd.grad(total.sin().sum(), values)])
    for result in results[1:]:
        assert_close(result, results[0])


@pytest.mark.parametrize("name", ["muddformer", "denseformer"])
def test_the_same_bits_every_time_and_nearly_so_in_two_threads(name: str) -> None:
    model = build(name, {}, PLAIN_SHAPE) if name == "denseformer" else fresh(name, {}, PLAIN_SHAPE)
    runs = {}
    for threads in (1, 2):
        with in_threads(threads):
            first, second = (loss_and_gradients(model, wanted=True) for _ in range(2))
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
        runs[threads] = first
    assert errors(runs[2], runs[1]).max() < 1e-5
