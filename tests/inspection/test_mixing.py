"""Where a residual's weights are explicit, the depth-mixing matrix must be those weights."""

from typing import Any

import pytest
import torch
from cases import SHAPE, build, every_case, every_variant, tokens
from torch import Tensor

from attnres_eval.inspection.mixing import MixingMean, contributions
from attnres_eval.inspection.probe import Trace, probing
from attnres_eval.model.residuals.base import QKV
from attnres_eval.model.transformer import Transformer

L = SHAPE.n_sublayers


def traced(model: Transformer, tokens_BT: Tensor | None = None) -> Trace:
    with torch.no_grad(), probing(model.eval()) as probe:
        model(tokens() if tokens_BT is None else tokens_BT)
    return probe.trace


def mixing(model: Transformer) -> Tensor:
    mean = MixingMean(model.shape.n_sublayers)
    mean.add(model.residual, traced(model))
    return torch.tensor(mean.matrix())


def check(model: Transformer, expected: Tensor, atol: float = 1e-5) -> None:
    torch.testing.assert_close(mixing(model), expected, rtol=1e-4, atol=atol)


def parameters(model: Transformer) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in model.residual.named_parameters()}


@every_case
def test_contributions_sum_to_what_is_read(name: str, options: dict[str, Any]) -> None:
    """Every reader gets sum_i J v_i, and nothing written later; frozen only meanwhile."""
    model = build(name, options)
    trace = traced(model)
    sums: list[Any] = [0] * (L + 1)
    for source, found in enumerate(contributions(model.residual, trace)):
        assert len(found) == L + 1 - source
        assert not model.residual.frozen
        for reader, part in enumerate(found, source):
            if part is not None:
                sums[reader] = sums[reader] + (torch.stack(part) if isinstance(part, QKV) else part)
    for reader, (total, read) in enumerate(zip(sums, trace.reads, strict=True)):
        whole = torch.stack(read) if isinstance(read, QKV) else read
        # Contributions may be larger than their sum, whose rounding follows theirs.
        error = (total - whole).abs().max().item()
        assert error < 2e-5 * max(1.0, whole.abs().max().item()), f"reader {reader}"


@every_variant
def test_no_reader_reads_later_outputs(name: str, options: dict[str, Any]) -> None:
    matrix = mixing(build(name, options))
    assert torch.equal(matrix.tril(-1), torch.zeros(L + 1, L + 1))
    assert (matrix[0, 0] != 0).item()


def test_prenorm_reads_everything_with_weight_one() -> None:
    check(build("prenorm", {}), torch.ones(L + 1, L + 1).triu())


def test_rescaled_reads_the_mean() -> None:
    check(build("rescaled", {}), (1 / torch.arange(1, L + 2)).expand(L + 1, -1).triu())


def softmax_weights(model: Transformer, reader: int, sources: list[Tensor]) -> Tensor:
    """softmax_i(w . (g * v_i / rms(v_i))), (S, B, T); row reader - 1 of the parameters."""
    query, gain = (parameters(model)[key][reader - 1] for key in ("query", "gain"))
    logits = [
        (gain * v / (v.square().mean(-1, keepdim=True) + 1e-6).sqrt() * query).sum(-1)
        for v in sources
    ]
    return torch.stack(logits).softmax(0)


def test_full_attnres_reads_with_its_softmax_weights() -> None:
    model = build("full_attnres", {})
    sources = traced(model).sources_BTD
    expected = torch.zeros(L + 1, L + 1)
    expected[0, 0] = 1
    for reader in range(1, L + 1):
        weights = softmax_weights(model, reader, sources[: reader + 1])
        expected[: reader + 1, reader] = weights.mean((1, 2))
    check(model, expected)


@pytest.mark.parametrize("two_phase", [True, False])
def test_block_attnres_reads_a_blocks_outputs_with_one_weight(two_phase: bool) -> None:
    model = build("block_attnres", {"num_blocks": 4, "two_phase": two_phase})
    sources = traced(model).sources_BTD
    expected = torch.zeros(L + 1, L + 1)
    expected[0, 0] = 1
    for reader in range(1, L + 1):
        # Sources 1 to `reader` in blocks of two; the last may be half.
        members = [[0], *([i for i in (j, j + 1) if i <= reader] for j in range(1, reader + 1, 2))]
        blocks = [sum(sources[i] for i in block) for block in members]
        weights = softmax_weights(model, reader, blocks)  # type: ignore[arg-type]
        for block, weight in zip(members, weights.mean((1, 2)), strict=True):
            expected[block, reader] = weight
    check(model, expected)


def test_denseformer_reads_with_products_of_its_averages() -> None:
    """X_i = Y_{i-1} + own outputs, Y_i = sum_j a_ij X_j, followed as rows of weights."""
    model = build("denseformer", {})
    averages = iter(parameters(model)["weights"].split([i + 2 for i in range(SHAPE.n_layers)]))
    unit = torch.eye(L + 1)
    stream, blocks, expected = unit[0], [unit[0]], []
    for sublayer in range(L):
        expected.append(stream)
        stream = stream + unit[sublayer + 1]
        if sublayer % 2:
            blocks.append(stream)
            weights = next(averages)
            stream = sum(a * x for a, x in zip(weights, blocks, strict=True))  # type: ignore[assignment]
    check(model, torch.stack([*expected, stream], 1))


def test_rezero_reads_outputs_with_their_scales() -> None:
    model = build("rezero", {})
    weights = torch.cat([torch.ones(1), parameters(model)["scale"]])
    check(model, weights[:, None].expand(-1, L + 1).triu())


def test_x0_lambdas_reads_the_embedding_twice() -> None:
    """Every block scales all that is there, and adds the embedding over its RMS."""
    model = build("x0_lambdas", {})
    embedding = traced(model).sources_BTD[0]
    again = (embedding.square().mean(-1) + 1e-6).rsqrt().mean()
    keep, add = (parameters(model)[key] for key in ("resid_lambdas", "x0_lambdas"))
    unit = torch.eye(L + 1)
    stream, expected = unit[0], []
    for sublayer in range(L):
        if sublayer % 2 == 0:
            stream = keep[sublayer // 2] * stream + add[sublayer // 2] * again * unit[0]
        expected.append(stream)
        stream = stream + unit[sublayer + 1]
    check(model, torch.stack([*expected, stream], 1))


def test_static_hyper_connections_read_through_their_streams() -> None:
    """Streams followed as rows of weights: u = A_m^T H, H' = A_r^T H + B f^T, the sum at last."""
    model = build("hyper_connections", {"dynamic": False})
    own = parameters(model)
    unit = torch.eye(L + 1)
    streams, expected = unit[:1].expand(own["mixing"].shape[-1], -1), []
    for sublayer in range(L):
        expected.append((own["read_weight"][sublayer].T @ streams).squeeze(0))
        written = torch.outer(own["write_weight"][sublayer], unit[sublayer + 1])
        streams = own["mixing"][sublayer].T @ streams + written
    check(model, torch.stack([*expected, streams.sum(0)], 1), atol=1e-4)


def test_weights_read_apart_are_averaged() -> None:
    """One source, three readings of it with weights 1, 2 and 6: the mean is 3."""
    model = build("prenorm", {})
    residual = model.residual

    def read(state: Tensor, sublayer: int) -> tuple[Tensor, Any]:
        return state, state if sublayer % 2 else QKV(state, 2 * state, 6 * state)

    trace = traced(model)
    residual.read = read  # type: ignore[method-assign, assignment]
    mean = MixingMean(L)
    mean.add(residual, trace)
    expected = torch.ones(L + 1, L + 1)
    expected[:, 0:L:2] = 3
    torch.testing.assert_close(torch.tensor(mean.matrix()), expected.triu())


def test_a_source_of_zeros_has_no_weight() -> None:
    model = build("full_attnres", {})
    with torch.no_grad(), probing(model.eval(), silenced=2) as probe:
        model(tokens())
    mean = MixingMean(L)
    mean.add(model.residual, probe.trace)
    assert mean.matrix()[3] == [None] * (L + 1)
    assert all(weight is not None for weight in mean.matrix()[2])


def test_tokens_of_all_passes_count_alike() -> None:
    model = build("full_attnres", {})
    whole, parts = MixingMean(L), MixingMean(L)
    whole.add(model.residual, traced(model))
    for row in tokens():
        parts.add(model.residual, traced(model, row[None]))
    torch.testing.assert_close(torch.tensor(whole.matrix()), torch.tensor(parts.matrix()))
