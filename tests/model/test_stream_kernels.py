"""The compiled kernels of several streams against the same mathematics in fp64."""

from itertools import permutations
from typing import Any

import pytest
import torch
from cases import build, fresh
from hypothesis import given, settings
from hypothesis import strategies as st
from test_kernels import (
    PLAIN_SHAPE,
    assert_close,
    both,
    errors,
    in_threads,
    loss_and_gradients,
    norm,
    randn,
)
from torch import Tensor

from attnres_eval.model.kernels import gated, streams
from attnres_eval.model.kernels.build import compiler
from attnres_eval.model.kernels.streams import FusedReading, Gate, GateKind
from attnres_eval.model.kernels.switch import kernels, multiplies_bf16
from attnres_eval.model.residuals.base import NORM_EPSILON
from attnres_eval.model.residuals.mhc import SMALLEST_ENTRY
from attnres_eval.model.residuals.streams import Reading, Streams

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler")

SIZES = {
    "rows": st.sampled_from([1, 2, 16, 33, 70]),
    "width": st.sampled_from([1, 3, 8, 16, 24, 33, 64]),
    "count": st.sampled_from([1, 2, 3, 4, 5]),
    "threads": st.sampled_from([1, 2]),
}
NAMES = ["hyper_connections", "mhc", "mhc_lite", "frac_connections", "gated_residual"]


def plainly_normed(x: Tensor, centred: bool) -> Tensor:
    if centred:
        x = x - x.mean(-1, keepdim=True)
    return x * (x.square().mean(-1, keepdim=True) + NORM_EPSILON).rsqrt()


def through(gate: Gate, reads: int, x: Tensor, output: Tensor) -> Tensor:
    """What is read and what is written, side by side, by the kernels."""
    taken = streams.read(x, gate, reads)
    assert taken is not None, "the kernel did not take these streams"
    reading, u = taken
    written = streams.write(reading, output)
    assert written is not None, "the kernel did not take this output"
    return torch.cat([u, written.flatten(-2)], -1)


def plainly(read: Tensor, mixing: Tensor, write: Tensor, x: Tensor, output: Tensor) -> Tensor:
    u = (read @ x).flatten(-2)
    parts = output.unflatten(-1, (-1, x.shape[-1]))
    written = mixing @ x + write.unsqueeze(-1) * parts
    return torch.cat([u, written.flatten(-2)], -1)


@settings(deadline=None, max_examples=40)
@given(
    **SIZES,
    tanh=st.booleans(),
    centred=st.booleans(),
    fractions=st.booleans(),
)
def test_learned_weights(
    rows: int, width: int, count: int, threads: int, tanh: bool, centred: bool, fractions: bool
) -> None:
    reads = count if fractions else 1
    # Of two or three channels little but rounding is left where they are nearly alike.
    centred = centred and width > 3

    def ours(x: Tensor, weight: Tensor, scale: Tensor, offset: Tensor, output: Tensor) -> Tensor:
        gate = Gate(GateKind.LEARNED, weight, scale, offset, int(tanh), centred)
        return through(gate, reads, x, output)

    def slow(x: Tensor, weight: Tensor, scale: Tensor, offset: Tensor, output: Tensor) -> Tensor:
        change = plainly_normed(x, centred) @ weight.T
        weights = offset + scale * (change.tanh() if tanh else change)
        read, mixing, write = weights.split([reads, count, 1], -1)
        return plainly(read.mT, mixing.mT, write.squeeze(-1), x, output)

    outputs = reads + count + 1
    inputs = [
        randn(rows, count, width),
        randn(outputs, width, seed=1, scale=width**-0.5),
        randn(outputs, seed=2),
        randn(count, outputs, seed=3),
        randn(rows, reads * width, seed=4),
    ]
    with in_threads(threads):
        assert_close(*both(ours, slow, inputs))


def sinkhorn(logits: Tensor, iterations: int) -> Tensor:
    matrix = (logits - logits.amax(-2, keepdim=True)).exp().clamp_min(SMALLEST_ENTRY)
    for _ in range(iterations):
        matrix = matrix / matrix.sum(-2, keepdim=True)
        matrix = matrix / matrix.sum(-1, keepdim=True)
    return matrix


def orders(count: int) -> Tensor:
    return torch.eye(count)[torch.tensor(list(permutations(range(count))))]


def doubly_stochastic(
    rows: int, width: int, count: int, iterations: int | None, offset_std: float = 1.0
) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs and gradients, ours and those in fp64; of permutations without iterations."""
    matrices = orders(count) if iterations is None else None
    logits = count * count if matrices is None else len(matrices)
    outputs = 2 * count + logits

    def ours(x: Tensor, weight: Tensor, scale: Tensor, offset: Tensor, output: Tensor) -> Tensor:
        how = GateKind.SINKHORN if matrices is None else GateKind.PERMUTATIONS
        gate = Gate(how, weight, scale, offset, iterations or 0, permutations_FNN=matrices)
        return through(gate, 1, x, output)

    def slow(x: Tensor, weight: Tensor, scale: Tensor, offset: Tensor, output: Tensor) -> Tensor:
        projected = plainly_normed(x.flatten(-2), False) @ weight.T
        read, write, mixing = (scale * projected + offset).split([count, count, logits], -1)
        if matrices is None:
            assert iterations is not None
            matrix = sinkhorn(mixing.unflatten(-1, (count, count)), iterations)
        else:
            matrix = torch.einsum("mk,kij->mij", mixing.softmax(-1), matrices.to(x.dtype))
        return plainly(read.sigmoid().unsqueeze(-2), matrix, 2 * write.sigmoid(), x, output)

    inputs = [
        randn(rows, count, width),
        randn(outputs, count * width, seed=1, scale=(count * width) ** -0.5),
        randn(outputs, seed=2),
        randn(outputs, seed=3, scale=offset_std),
        randn(rows, width, seed=4),
    ]
    return both(ours, slow, inputs)


@settings(deadline=None, max_examples=40)
@given(**SIZES, iterations=st.sampled_from([1, 3, 20]))
def test_sinkhorn(rows: int, width: int, count: int, threads: int, iterations: int) -> None:
    with in_threads(threads):
        assert_close(*doubly_stochastic(rows, width, count, iterations))


@settings(deadline=None, max_examples=20)
@given(**{**SIZES, "count": st.sampled_from([1, 2, 3, 4])})
def test_permutations(rows: int, width: int, count: int, threads: int) -> None:
    with in_threads(threads):
        assert_close(*doubly_stochastic(rows, width, count, None))


@pytest.mark.parametrize("far", [(0, 0), (1, 0), (1, 1)])
def test_sinkhorn_of_entries_that_are_raised(far: tuple[int, int]) -> None:
    """One entry far below its column's largest; or a whole row, or a tie."""
    count, iterations = 2, 3
    logits = torch.zeros(count, count)
    logits[1, : 1 + far[1]] = -500.0 * far[0]

    def mixing(logits: Tensor) -> Tensor:
        offset = torch.cat([torch.zeros(2 * count), logits.flatten()])
        gate = Gate(
            GateKind.SINKHORN,
            torch.zeros(len(offset), count * 3),
            torch.ones(len(offset)),
            offset,
            iterations,
        )
        taken = streams.read(randn(1, count, 3), gate, 1)
        assert taken is not None
        return taken[0].weights_BTKN[0, 1:-1]

    assert_close(*both(mixing, lambda x: sinkhorn(x, iterations), [logits]))


@settings(deadline=None, max_examples=20)
@given(**SIZES)
def test_read_out(rows: int, width: int, count: int, threads: int) -> None:
    def ours(x: Tensor, weight: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
        taken = streams.read(x, Gate(GateKind.READ, weight, scale, offset), 1)
        assert taken is not None
        return taken[1]

    def slow(x: Tensor, weight: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
        projected = plainly_normed(x.flatten(-2), False) @ weight.T
        return ((scale * projected + offset).sigmoid().unsqueeze(-2) @ x).squeeze(-2)

    weight = randn(count, count * width, seed=1, scale=(count * width) ** -0.5)
    inputs = randn(rows, count, width), weight, randn(count, seed=2), randn(count, seed=3)
    with in_threads(threads):
        assert_close(*both(ours, slow, inputs))


@settings(deadline=None, max_examples=40)
# A single channel over its root mean square is a sign, whose gradient is rounding alone.
@given(
    **{**SIZES, "width": st.sampled_from([3, 8, 16, 24, 33, 64])},
    rank=st.sampled_from([1, 4, 16, 19]),
    writes=st.booleans(),
)
def test_gated_mean(
    rows: int, width: int, count: int, threads: int, rank: int, writes: bool
) -> None:
    def ours(x: Tensor, gain: Tensor, weights: Tensor, up: Tensor, output: Tensor) -> Tensor:
        mean = gated.gated_mean(x, gain, weights, up)
        assert mean is not None
        if mean.write_BTN is None:
            return torch.cat([mean.read_BTD, output], -1)
        written = gated.add(mean.streams_BTND, mean.write_BTN, output)
        assert written is not None
        return torch.cat([mean.read_BTD, output, written.flatten(-2)], -1)

    def slow(x: Tensor, gain: Tensor, weights: Tensor, up: Tensor, output: Tensor) -> Tensor:
        h = norm(x, gain)
        z = h.flatten(-2) @ weights.T / count
        hidden = torch.nn.functional.silu(z[..., :rank])
        gates = (hidden @ up.T).sigmoid().view(x.shape)
        u = (gates * h).mean(-2)
        if not writes:
            return torch.cat([u, output], -1)
        write = 2 * z[..., rank:].sigmoid()
        written = x + write.unsqueeze(-1) * output.unsqueeze(-2)
        return torch.cat([u, output, written.flatten(-2)], -1)

    wide = count * width
    inputs = [
        randn(rows, count, width),
        1 + randn(count, width, seed=1, scale=0.3),
        randn(rank + writes * count, wide, seed=2, scale=2 * wide**-0.5),
        randn(wide, rank, seed=3),
        randn(rows, width, seed=4),
    ]
    with in_threads(threads):
        assert_close(*both(ours, slow, inputs), least=0.1)


def test_a_reading_that_is_not_written_has_a_gradient() -> None:
    """Sums of what is read, of the weights, and of the streams alone."""
    x = randn(5, 4, 8).requires_grad_()
    gate = Gate(GateKind.LEARNED, randn(6, 8, seed=1), torch.ones(6), randn(4, 6, seed=2))
    taken = streams.read(x, gate, 1)
    assert taken is not None
    parts = taken[1], taken[0].weights_BTKN[:, 1:], taken[0].streams_BTND
    alone = [torch.autograd.grad(part.sin().sum(), x, retain_graph=True)[0] for part in parts]
    (together,) = torch.autograd.grad(sum(part.sin().sum() for part in parts), x)
    assert_close([sum(alone[1:], start=alone[0])], [together])


@pytest.mark.skipif(not multiplies_bf16(), reason="the processor has no bf16 products")
@pytest.mark.parametrize("name", NAMES)
def test_bf16_is_as_close_to_fp32_as_plain_torch_is(name: str) -> None:
    model = fresh(name, {}, PLAIN_SHAPE)
    ratios = []
    for seed in range(6):
        exact = loss_and_gradients(model, wanted=False, seed=seed)
        ours, plain = (
            errors(loss_and_gradients(model, wanted, autocast=True, seed=seed), exact)[1:].mean()
            for wanted in (True, False)
        )
        ratios.append(ours / plain)
    assert torch.stack(ratios).log().mean().exp() < 1.1


@pytest.mark.parametrize("name", NAMES)
def test_the_same_bits_every_time_and_nearly_so_in_two_threads(name: str) -> None:
    model = fresh(name, {}, PLAIN_SHAPE)
    runs = {}
    for threads in (1, 2):
        with in_threads(threads):
            first, second = (loss_and_gradients(model, wanted=True) for _ in range(2))
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
        runs[threads] = first
    assert errors(runs[2], runs[1]).max() < 1e-5


@pytest.mark.parametrize("name", ["hyper_connections", "mhc", "mhc_lite", "frac_connections"])
def test_frozen_weights_are_left_to_plain_torch(name: str) -> None:
    residual: Any = build(name, {}, PLAIN_SHAPE).residual
    assert isinstance(residual, Streams)
    state = residual.start(randn(1, 3, PLAIN_SHAPE.d_model))
    assert isinstance(residual.read(state, 1)[0], FusedReading)
    residual.frozen = True
    assert isinstance(residual.read(state, 1)[0], Reading)
    residual.frozen = False
    with kernels(False):
        assert isinstance(residual.read(state, 1)[0], Reading)


def test_an_output_of_another_type_is_written_by_plain_torch() -> None:
    residual: Any = build("mhc", {}, PLAIN_SHAPE).residual
    reading, _ = residual.read(residual.start(randn(1, 3, PLAIN_SHAPE.d_model)), 1)
    output = randn(1, 3, PLAIN_SHAPE.d_model, seed=1).bfloat16()
    assert streams.write(reading, output) is None
    by_kernel = residual.write(reading, 1, output.float())
    assert_close([residual.write(reading, 1, output)], [by_kernel])
