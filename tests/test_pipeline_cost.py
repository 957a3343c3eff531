"""Equations 7 and 8 of arXiv:2603.15031 against a simulation that hands blocks about."""

from dataclasses import dataclass, field

import pytest

from attnres_eval.errors import UserError
from attnres_eval.pipeline_cost import cached_vectors, count_transfers, naive_vectors
from attnres_eval.shape import block_bounds


@dataclass
class Sent:
    naive: list[set[str]] = field(default_factory=list)
    cached: list[set[str]] = field(default_factory=list)


def simulate(
    n_layers: int, bounds: list[tuple[int, int]], stages: int, virtual: int, embedding: bool = True
) -> Sent:
    """Runs one token through the chunks, sublayer by sublayer, by names of vectors.

    A stage keeps what it was sent, and the embedding if it made it; not the blocks that it made,
    as in the paper's figure 3.
    """
    chunks = stages * virtual
    cuts = [2 * (n_layers * chunk // chunks) for chunk in range(chunks + 1)]
    caches: list[set[str]] = [set() for _ in range(stages)]
    held = {"embedding"} if embedding else set()
    caches[0] |= held
    sent, running = Sent(), ""
    for chunk in range(chunks):
        if chunk:
            sent.naive.append(held | ({running} if running else set()))
            sent.cached.append((held - caches[chunk % stages]) | ({running} if running else set()))
            caches[chunk % stages] |= held
        for sublayer in range(cuts[chunk], cuts[chunk + 1]):
            block, (_, end) = next(
                (number, one) for number, one in enumerate(bounds) if one[0] <= sublayer < one[1]
            )
            running = f"sum {block} up to {sublayer}"
            if sublayer + 1 == end:
                held, running = held | {f"block {block}"}, ""
    return sent


SCHEDULES = [(1, 1), (1, 4), (2, 1), (2, 3), (4, 1), (4, 2), (8, 4)]


@pytest.mark.parametrize("blocks_a_chunk", [1, 2, 4])
@pytest.mark.parametrize(("stages", "virtual"), SCHEDULES)
def test_equations(stages: int, virtual: int, blocks_a_chunk: int) -> None:
    """They hold exactly where blocks fill chunks and the embedding is not counted."""
    chunks = stages * virtual
    n_layers = 4 * chunks
    blocks = blocks_a_chunk * chunks
    sent = simulate(n_layers, block_bounds(2 * n_layers, blocks), stages, virtual, embedding=False)
    assert sum(map(len, sent.naive)) == naive_vectors(stages, virtual, blocks)
    # The equation takes it that a stage receives P N_p for each later virtual stage: what it made
    # itself comes back to it.
    assert sum(map(len, sent.cached)) == cached_vectors(stages, virtual, blocks)


@pytest.mark.parametrize("blocks", [1, 3, 4, 8, 24, 48])
@pytest.mark.parametrize(("stages", "virtual"), [*SCHEDULES[:-1], (3, 4), (5, 2)])
def test_count(stages: int, virtual: int, blocks: int) -> None:
    bounds = block_bounds(48, blocks)
    sent = simulate(24, bounds, stages, virtual)
    found = count_transfers(24, bounds, stages, virtual)
    assert list(found.naive) == list(map(len, sent.naive))
    assert list(found.cached) == list(map(len, sent.cached))


def test_the_papers_figure_3() -> None:
    """P = 4, V = 2, blocks of two chunks: caching saves 6 in the second virtual stage."""
    found = count_transfers(16, block_bounds(32, 4), 4, 2)
    whole = [sent - (chunk % 2) for chunk, sent in enumerate(found.naive, 1)]
    assert whole == [1, 2, 2, 3, 3, 4, 4]
    assert sum(found.naive[3:]) - sum(found.cached[3:]) == 6
    assert found.naive[:3] == found.cached[:3]
    # Each later transition hands on P N_p = 2 blocks, and a running sum into every other chunk.
    assert found.cached[3:] == (2, 3, 2, 3)
    assert naive_vectors(4, 2, 4) == 14
    assert cached_vectors(4, 2, 4) == 6 / 2 + 16 / 2


def test_one_virtual_stage_has_nothing_to_cache() -> None:
    assert naive_vectors(8, 1, 8) == cached_vectors(8, 1, 8)


def test_peak_falls_by_the_number_of_virtual_stages() -> None:
    """O(C) to O(P): the last transition carries (C - 1) N_p or P N_p."""
    stages, virtual = 8, 16
    found = count_transfers(128, block_bounds(256, 128), stages, virtual)
    assert max(found.naive) == stages * virtual
    assert max(found.cached[stages:]) == stages


def test_more_chunks_than_blocks_is_refused() -> None:
    with pytest.raises(UserError, match="16 chunks, more than the 12 transformer blocks"):
        count_transfers(12, block_bounds(24, 8), 8, 2)
