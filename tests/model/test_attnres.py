import depth_reference
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from attnres_eval.model.residuals import build_residual
from attnres_eval.model.residuals.attnres import AttnRes
from attnres_eval.shape import ModelShape
from attnres_eval.variants import parse_options

D = 8


def shape_of(n_layers: int) -> ModelShape:
    return ModelShape(
        d_model=D,
        n_layers=n_layers,
        n_heads=1,
        n_kv_heads=1,
        head_dim=D,
        d_ff=16,
        vocab_size=32,
        context=16,
    )


def build(n_layers: int, name: str, *, random: bool = True, **options: object) -> AttnRes:
    residual = build_residual(name, parse_options(name, options), shape_of(n_layers))
    assert isinstance(residual, AttnRes)
    residual.initialise(0)
    if random:
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in residual.parameters():
                parameter += torch.randn(parameter.shape, generator=generator)
    return residual


def matrices(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(D, D, generator=generator) for _ in range(count)]


def drive(residual: AttnRes, embedding_BTD: Tensor) -> tuple[list[Tensor], Tensor]:
    """Runs sublayers tanh(h W_l) through the residual; returns all reads and the output."""
    state, reads = residual.start(embedding_BTD), []
    for sublayer, matrix in enumerate(matrices(residual.shape.n_sublayers)):
        state, read = residual.read(state, sublayer)
        assert isinstance(read, Tensor)
        reads.append(read)
        state = residual.write(state, sublayer, torch.tanh(reads[-1] @ matrix))
    return reads, residual.finish(state)


def embeddings(batch: int = 2, tokens: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(batch, tokens, D, generator=generator).requires_grad_()


def reference(
    residual: AttnRes, embedding_BTD: Tensor, sizes: list[int] | None
) -> tuple[list[Tensor], Tensor]:
    sublayers = [
        lambda h, m=matrix: torch.tanh(h @ m) for matrix in matrices(residual.shape.n_sublayers)
    ]
    queries = {
        reader: (residual.query[reader - 1], residual.gain[reader - 1])
        for reader in range(1, residual.shape.n_sublayers + 1)
    }
    reads, outputs = [], []
    for embedding in embedding_BTD.flatten(0, 1):
        if sizes is None:
            inputs, output = depth_reference.full(embedding, sublayers, queries)
        else:
            inputs, output = depth_reference.block(embedding, sublayers, queries, sizes)
        reads.append(torch.stack(inputs))
        outputs.append(output)
    stacked = torch.stack(reads, 1).view(-1, *embedding_BTD.shape)
    return list(stacked), torch.stack(outputs).view(embedding_BTD.shape)


def assert_same(residual: AttnRes, sizes: list[int] | None) -> None:
    """Reads, output and all gradients equal the reference's."""
    gradients = []
    results = []
    for run in (drive, lambda r, e: reference(r, e, sizes)):
        embedding = embeddings()
        reads, output = run(residual, embedding)
        probe = torch.linspace(-1, 1, output.numel()).view(output.shape)
        total = (output * probe).sum() + sum((read.sin() * probe).sum() for read in reads)
        wanted = [embedding, *residual.parameters()]
        gradients.append(torch.autograd.grad(total, wanted))
        results.append(torch.stack([*reads, output]))
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_full_equals_equations() -> None:
    assert_same(build(3, "full_attnres"), None)


@pytest.mark.parametrize("two_phase", [False, True])
@pytest.mark.parametrize(
    ("num_blocks", "sizes"),
    [(1, [8]), (2, [4, 4]), (3, [2, 2, 4]), (5, [1, 1, 1, 1, 4]), (8, [1] * 8)],
)
def test_block_equals_equations(num_blocks: int, sizes: list[int], two_phase: bool) -> None:
    residual = build(4, "block_attnres", num_blocks=num_blocks, two_phase=two_phase)
    assert_same(residual, sizes)


@settings(deadline=None, max_examples=25)
@given(n_layers=st.integers(1, 5), data=st.data(), tokens=st.integers(1, 4))
def test_two_phase_equals_plain(n_layers: int, data: st.DataObject, tokens: int) -> None:
    num_blocks = data.draw(st.integers(1, 2 * n_layers))
    plain = build(n_layers, "block_attnres", num_blocks=num_blocks)
    phased = build(n_layers, "block_attnres", num_blocks=num_blocks, two_phase=True)
    results = []
    for residual in (plain, phased):
        embedding = embeddings(1, tokens)
        _, output = drive(residual, embedding)
        gradients = torch.autograd.grad(output.sin().sum(), [embedding, *residual.parameters()])
        results.append([output, *gradients])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@settings(deadline=None, max_examples=10)
@given(n_layers=st.integers(1, 5), tokens=st.integers(1, 4))
def test_as_many_blocks_as_sublayers_is_full(n_layers: int, tokens: int) -> None:
    full = build(n_layers, "full_attnres")
    block = build(n_layers, "block_attnres", num_blocks=2 * n_layers)
    one, other = drive(full, embeddings(1, tokens)), drive(block, embeddings(1, tokens))
    torch.testing.assert_close(one[0], other[0])
    torch.testing.assert_close(one[1], other[1])


def test_mixing_starts_as_the_plain_mean_of_outputs() -> None:
    # Excludes cumulative states as sources, a recency bias, an embedding that counts twice and
    # a gate beside the ordinary residual.
    residual = build(2, "full_attnres", random=False)
    state, sources = residual.start(embeddings()), [embeddings()]
    for sublayer, matrix in enumerate(matrices(4)):
        state, h = residual.read(state, sublayer)
        torch.testing.assert_close(h, torch.stack(sources).mean(0))
        sources.append(torch.tanh(h @ matrix))
        state = residual.write(state, sublayer, sources[-1])
    torch.testing.assert_close(residual.finish(state), torch.stack(sources).mean(0))


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


@pytest.mark.parametrize("name", ["full_attnres", "block_attnres"])
def test_every_reader_but_the_first_sublayer_has_query_and_gain(name: str) -> None:
    residual = build(4, name)
    assert sum(parameter.numel() for parameter in residual.parameters()) == 2 * D * 8


def test_keys_are_normalised_and_values_are_raw() -> None:
    residual = build(1, "full_attnres")
    output = torch.randn(2, 3, D)
    state = residual.write(residual.start(embeddings()), 0, output)
    # A source a thousand times larger leaves its weight as it is, and its value not.
    larger = residual.write(residual.start(1000 * embeddings()), 0, output)
    weight = (residual.read(state, 1)[1] - output) / (embeddings() - output)
    scaled = (residual.read(larger, 1)[1] - output) / (1000 * embeddings() - output)
    torch.testing.assert_close(weight, scaled, rtol=1e-2, atol=1e-3)
