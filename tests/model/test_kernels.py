"""The compiled kernels against the same mathematics in fp64, and against plain torch."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from cases import SHAPE, build, every_case, fresh, scatter
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from attnres_eval.model.kernels import depth, ops
from attnres_eval.model.kernels.build import compiler
from attnres_eval.model.kernels.switch import kernels, kind, multiplies_bf16
from attnres_eval.model.residuals.base import NORM_EPSILON
from attnres_eval.model.transformer import Transformer, rotary_table
from attnres_eval.shape import ModelShape

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler")

WIDTHS = st.sampled_from([2, 3, 7, 8, 16, 24, 33, 64, 130, 144])
ROWS = st.sampled_from([1, 2, 5, 16, 49, 200])


def randn(*size: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed + sum(size))
    return scale * torch.randn(size, generator=generator)


def norm(x: Tensor, gain: Tensor | None) -> Tensor:
    if gain is None:
        return x
    return x * (x.square().mean(-1, keepdim=True) + NORM_EPSILON).rsqrt() * gain


def both(
    ours: Callable[..., Tensor | None], slow: Callable[..., Tensor], inputs: Sequence[Tensor | None]
) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs and gradients of a kernel, and of the same in fp64."""
    results = []
    for function, dtype in ((ours, torch.float32), (slow, torch.float64)):
        leaves = [None if x is None else x.to(dtype).requires_grad_() for x in inputs]
        output = function(*leaves)
        assert output is not None, "the kernel did not take this input"
        direction = randn(*output.shape, seed=9).to(output.dtype)
        wanted = [x for x in leaves if x is not None]
        gradients = torch.autograd.grad((output * direction).sum(), wanted)
        results.append([output.detach(), *gradients])
    return results[0], results[1]


def assert_close(
    ours: Sequence[Tensor], slow: Sequence[Tensor], tolerance: float = 1e-5, least: float = 1e-2
) -> None:
    """Differences stay below the tolerance times the largest entry of their tensor.

    Or times `least`, where terms cancel: what is left of them is rounding.
    """
    for index, (one, other) in enumerate(zip(ours, slow, strict=True)):
        largest = other.abs().max().item()
        difference = (one.double() - other.double()).abs().max().item()
        assert difference <= tolerance * max(largest, least), (index, difference, largest)


@settings(deadline=None, max_examples=40)
@given(rows=ROWS, width=WIDTHS, out=WIDTHS, normed=st.booleans(), threads=st.sampled_from([1, 2]))
def test_linear(rows: int, width: int, out: int, normed: bool, threads: int) -> None:
    gain = 1 + randn(width, seed=1, scale=0.3) if normed else None
    inputs = randn(rows, width), gain, randn(out, width, seed=2, scale=width**-0.5)
    with in_threads(threads):
        assert_close(*both(ops.linear, lambda x, g, w: norm(x, g) @ w.T, inputs))


@settings(deadline=None, max_examples=30)
@given(rows=ROWS, width=WIDTHS, inner=WIDTHS, normed=st.booleans())
def test_mlp(rows: int, width: int, inner: int, normed: bool) -> None:
    def slow(x: Tensor, gain: Tensor | None, gate_up: Tensor, down: Tensor) -> Tensor:
        gate, up = (norm(x, gain) @ gate_up.T).chunk(2, -1)
        return (F.silu(gate) * up) @ down.T

    gain = 1 + randn(width, seed=1, scale=0.3) if normed else None
    gate_up = randn(2 * inner, width, seed=2, scale=width**-0.5)
    inputs = randn(rows, width), gain, gate_up, randn(width, inner, seed=3, scale=inner**-0.5)
    assert_close(*both(ops.mlp, slow, inputs))


@settings(deadline=None, max_examples=30)
@given(
    batch=st.integers(1, 3),
    length=st.sampled_from([1, 2, 17, 48, 49, 130]),
    heads=st.sampled_from([(1, 1), (2, 1), (4, 2), (3, 3)]),
    width=st.sampled_from([2, 6, 8, 16, 24, 34, 64]),
)
def test_attention(batch: int, length: int, heads: tuple[int, int], width: int) -> None:
    queries, keys = heads
    table = rotary_table(torch.arange(length)[None], width)

    def ours(qkv: Tensor) -> Tensor | None:
        return ops.attention(qkv, table, (queries, keys, width))

    def slow(qkv: Tensor) -> Tensor:
        cos, sin = (t.to(qkv.dtype) for t in table)
        parts = qkv.unflatten(-1, (-1, width)).transpose(1, 2)
        q, k, v = parts.split([queries, keys, keys], dim=1)
        q, k = (x * cos + x.roll(width // 2, -1) * sin for x in (q, k))
        k, v = (x.repeat_interleave(queries // keys, 1) for x in (k, v))
        scores = q @ k.mT / width**0.5
        scores = scores.masked_fill(torch.ones(length, length).triu(1).bool(), -torch.inf)
        return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)

    assert_close(*both(ours, slow, [randn(batch, length, (queries + 2 * keys) * width)]))


@settings(deadline=None, max_examples=30)
@given(
    rows=ROWS,
    width=WIDTHS,
    vocabulary=WIDTHS,
    normed=st.booleans(),
    upstream=st.sampled_from([1.0, 0.3]),
)
def test_loss(rows: int, width: int, vocabulary: int, normed: bool, upstream: float) -> None:
    generator = torch.Generator().manual_seed(rows)
    targets = torch.randint(0, vocabulary, (rows,), generator=generator)
    weights = torch.rand(rows, generator=generator)

    def ours(x: Tensor, gain: Tensor | None, head: Tensor) -> Tensor:
        loss = ops.loss(x, gain, head, targets, weights)
        assert loss is not None
        return loss * upstream

    def slow(x: Tensor, gain: Tensor | None, head: Tensor) -> Tensor:
        losses = F.cross_entropy(norm(x, gain) @ head.T, targets, reduction="none")
        return (losses * weights).sum() * upstream

    gain = 1 + randn(width, seed=1, scale=0.3) if normed else None
    inputs = randn(rows, width), gain, randn(vocabulary, width, seed=2, scale=3 * width**-0.5)
    assert_close(*both(ours, slow, inputs))


def test_loss_of_a_token_outside_the_vocabulary_is_no_number() -> None:
    for token in (-1, 5):
        loss = ops.loss(
            randn(2, 8), None, randn(5, 8), torch.tensor([1, token]), torch.full((2,), 0.5)
        )
        assert loss is not None
        assert loss.isnan()


def test_loss_of_far_logits_is_finite() -> None:
    head = torch.eye(8)[:4] * 1e4
    loss = ops.loss(torch.eye(8)[:1], None, head, torch.tensor([2]), torch.ones(1))
    assert loss is not None
    assert loss.item() == pytest.approx(1e4)


DEPTHS = {
    "width": WIDTHS,
    "rows": st.sampled_from([1, 3, 16, 50, 100]),
    "sources": st.integers(1, 9),
    "normed": st.booleans(),
    "scale": st.sampled_from([1.0, 0.5]),
    "threads": st.sampled_from([1, 2]),
}


@settings(deadline=None, max_examples=40)
@given(**DEPTHS, summed=st.booleans())
def test_depth_attention(
    width: int, rows: int, sources: int, normed: bool, scale: float, threads: int, summed: bool
) -> None:
    """Reader r mixes sources 0 to r; a source may be a sum, and may be read elsewhere too."""
    gain = 1 + randn(sources, width, seed=1, scale=0.3) if normed else None

    def ours(query: Tensor, gain: Tensor | None, *tensors: Tensor) -> Tensor:
        made, mixes = [], []
        for reader in range(sources):
            queries = depth.Queries(query, gain, scale, reader, sources)
            source = depth.source(
                tensors[reader], queries, reader, tensors[reader - 1] if summed else None
            )
            assert source is not None
            made.append(source)
            mixes.append(depth.mix(made, reader))
        return torch.stack([*mixes, made[0].values_BTD.sin()])

    def slow(query: Tensor, gain: Tensor | None, *tensors: Tensor) -> Tensor:
        made, mixes = [], []
        for reader in range(sources):
            made.append(tensors[reader] + tensors[reader - 1] if summed else tensors[reader])
            ones = torch.ones(width, dtype=query.dtype)
            keys = [norm(v, gain[reader] if gain is not None else None) for v in made]
            logits = torch.stack([scale * (k * query[reader] * ones).sum(-1) for k in keys])
            mixes.append((logits.softmax(0).unsqueeze(-1) * torch.stack(made)).sum(0))
        return torch.stack([*mixes, made[0].sin()])

    inputs = [randn(sources, width, seed=3, scale=width**-0.5), gain]
    inputs += [randn(rows, width, seed=5 + index) for index in range(sources)]
    with in_threads(threads):
        assert_close(*both(ours, slow, inputs))


def depth_pair() -> tuple[list[Tensor], Tensor, Callable[[], list[Tensor]]]:
    """Two sources and two readers: leaves, queries, and a function that makes the mixes."""
    leaves = [randn(6, 8, seed=seed).requires_grad_() for seed in (1, 2)]
    query = randn(2, 8, seed=3).requires_grad_()

    def mixes() -> list[Tensor]:
        queries = depth.Queries(query, None, 1.0, 0, 2)
        made = [depth.source(leaf, queries, 0) for leaf in leaves]
        kept = [source for source in made if source is not None]
        return [depth.mix(kept, reader) for reader in (0, 1)]

    return leaves, query, mixes


def plain_pair(leaves: list[Tensor], query: Tensor, reader: int) -> Tensor:
    logits = torch.stack([(leaf * query[reader]).sum(-1) for leaf in leaves])
    return (logits.softmax(0).unsqueeze(-1) * torch.stack(leaves)).sum(0)


def test_a_reader_without_a_gradient_sends_none() -> None:
    leaves, query, mixes = depth_pair()
    ours = torch.autograd.grad(mixes()[1].sin().sum(), [*leaves, query])
    slow = torch.autograd.grad(plain_pair(leaves, query, 1).sin().sum(), [*leaves, query])
    assert_close(ours, slow)


def test_a_second_backward_pass_hears_nothing_of_the_first() -> None:
    leaves, query, mixes = depth_pair()
    first, second = mixes()
    total = first.sin().sum() + second.cos().sum()
    once = torch.autograd.grad(total, [*leaves, query], retain_graph=True)
    twice = torch.autograd.grad(total, [*leaves, query], retain_graph=True)
    assert all(torch.equal(a, b) for a, b in zip(once, twice, strict=True))
    # A pass that needs one source leaves a letter with the other, which has to stay unread.
    torch.autograd.grad(first.sin().sum(), leaves[0], retain_graph=True)
    ours = torch.autograd.grad(second.cos().sum(), leaves)
    slow = torch.autograd.grad(plain_pair(leaves, query, 1).cos().sum(), leaves)
    assert_close(ours, slow)


def test_an_addend_of_another_type_is_added_in_the_sources() -> None:
    if not multiplies_bf16():
        pytest.skip("the kernels do without bf16 here")
    values, addend = randn(6, 8, seed=1).bfloat16(), randn(6, 8, seed=2)
    queries = depth.Queries(randn(1, 8, seed=3), None, 1.0, 0, 1)
    with torch.autocast("cpu", torch.bfloat16):
        ours = depth.source(values, queries, 0, addend)
        same = depth.source(values, queries, 0, addend.bfloat16())
    assert ours is not None
    assert same is not None
    assert torch.equal(ours.values_BTD, same.values_BTD)
    assert torch.equal(ours.scores_RM, same.scores_RM)


def in_threads(threads: int) -> Any:
    class Threads:
        def __enter__(self) -> None:
            self.before = torch.get_num_threads()
            torch.set_num_threads(threads)

        def __exit__(self, *_: object) -> None:
            torch.set_num_threads(self.before)

    return Threads()


PLAIN_SHAPE = ModelShape.model_validate({**SHAPE.model_dump(), "qk_norm": False})


def loss_and_gradients(
    model: Transformer, wanted: bool, *, autocast: bool = False, seed: int = 4
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    read = torch.randint(1, SHAPE.vocab_size, (3, 21), generator=generator)
    with kernels(wanted):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = model.loss(read)
        gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    return [loss.detach(), *(g for g in gradients if g is not None)]


def errors(found: list[Tensor], exact: list[Tensor]) -> Tensor:
    """Of the loss and of each gradient, relative."""
    # A gradient that cancels is measured by the others.
    least = 1e-3 * max(other.norm() for other in exact)
    pairs = zip(found, exact, strict=True)
    return torch.stack([(one - other).norm() / max(other.norm(), least) for one, other in pairs])


@every_case
def test_models_are_the_same_with_and_without(name: str, options: dict[str, Any]) -> None:
    model = fresh(name, options, PLAIN_SHAPE)
    # Far from their start some residuals are steep, and multiply rounding by thousands.
    scatter(model.residual.parameters(), 0.05)
    plain, ours = (loss_and_gradients(model, wanted) for wanted in (False, True))
    assert errors(ours, plain).max() < 1e-5


@pytest.mark.skipif(not multiplies_bf16(), reason="the processor has no bf16 products")
@pytest.mark.parametrize("made", [fresh, build])
@pytest.mark.parametrize("name", ["prenorm", "full_attnres", "block_attnres", "mhc"])
def test_bf16_is_as_close_to_fp32_as_plain_torch_is(name: str, made: Any) -> None:
    model = made(name, {}, PLAIN_SHAPE)
    ratios = []
    for seed in range(8):
        exact = loss_and_gradients(model, wanted=False, seed=seed)
        ours, plain = (
            errors(loss_and_gradients(model, wanted, autocast=True, seed=seed), exact)[1:].mean()
            for wanted in (True, False)
        )
        ratios.append(ours / plain)
    # What depth attention gives is bf16, where plain torch leaves it fp32 until it is normed.
    assert torch.stack(ratios).log().mean().exp() < 1.15


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_bits_every_time(threads: int) -> None:
    with in_threads(threads):
        model = build("block_attnres", {}, PLAIN_SHAPE)
        runs = [loss_and_gradients(model, wanted=True) for _ in range(3)]
    for run in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(run, runs[0], strict=True))


def test_plain_torch_is_taken_where_kernels_do_not_reach() -> None:
    x = randn(2, 4)
    assert kind(x) is not None
    with kernels(False):
        assert kind(x) is None
    for other in (x.double(), x.bfloat16(), x.to("meta"), x[:0]):
        assert kind(other) is None
    assert kind(x, torch.ones(4, dtype=torch.bfloat16)) is None
    with torch.autocast("cpu", torch.float16):
        assert kind(x) is None
    seen: list[int | None] = []

    def inside(row: Tensor) -> Tensor:
        seen.append(kind(row))
        return row

    torch.func.vmap(inside)(x)
    assert seen == [None]


def test_compilation_sees_plain_torch() -> None:
    def doubled(x: Tensor) -> Tensor:
        return x * (2 if kind(x) is None else 3)

    compiled = torch.compile(doubled, backend="eager")
    assert torch.equal(compiled(torch.ones(2)), torch.full((2,), 2.0))
