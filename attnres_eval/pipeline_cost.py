"""What attention over depth sends between the stages of a pipeline. Torch-free.

An interleaved schedule has P physical stages with V virtual stages each: C = P V chunks of
consecutive sublayers, chunk c on physical stage c mod P, C - 1 transitions. Section 4.1 of
arXiv:2603.15031 lets each chunk produce N_p vectors of width d on average, so that chunk j has
j N_p behind it. Vectors per token that cross:

- naive, equation 7: all of them at every transition, C (C - 1) / 2 N_p;
- cached, equation 8: what a physical stage received for an earlier chunk stays there, so that from
  its second virtual stage on only the P N_p since then are sent: P (P - 1) / 2 N_p
  + (V - 1) P^2 N_p.

The equations leave out the embedding, which every later stage reads too, and a block that a
transition cuts: its running sum crosses as well. `count_transfers` counts these. It agrees with the
paper's figure 3 (P = 4, V = 2, blocks of two chunks), where caching saves six transmissions of the
second virtual stage. The backward pass sends as much again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from attnres_eval.errors import UserError
from attnres_eval.shape import block_bounds


def naive_vectors(stages: int, virtual_stages: int, blocks: float) -> float:
    """Equation 7 in vectors of width d a token, N_p being blocks over chunks.

    Args:
        stages: P.
        virtual_stages: V.
        blocks: N, number of blocks of the model.
    """
    chunks = stages * virtual_stages
    return (chunks - 1) / 2 * blocks


def cached_vectors(stages: int, virtual_stages: int, blocks: float) -> float:
    """Equation 8; units and arguments as of `naive_vectors`."""
    per_chunk = blocks / (stages * virtual_stages)
    first = stages * (stages - 1) / 2 * per_chunk
    return first + (virtual_stages - 1) * stages**2 * per_chunk


@dataclass(frozen=True)
class Transfers:
    """Vectors of width d a token over all transitions of a forward pass."""

    naive: int
    cached: int
    most_naive: int
    """Of one transition."""
    most_cached: int


def count_transfers(
    n_sublayers: int, bounds: Sequence[tuple[int, int]], stages: int, virtual_stages: int
) -> Transfers:
    """Counts embedding, finished blocks and running sums, transition by transition.

    Sublayers fall into chunks as into blocks: equally, the remainder on the last.

    Args:
        n_sublayers: L.
        bounds: the blocks as half-open ranges of sublayers.
        stages: P.
        virtual_stages: V.

    Raises:
        UserError: there are more chunks than sublayers.
    """
    chunks = stages * virtual_stages
    if chunks > n_sublayers:
        raise UserError(
            f"{stages} stages of {virtual_stages} virtual stages are {chunks} chunks, more than"
            f" the {n_sublayers} sublayers"
        )
    naive, cached = [], []
    known = [0] * stages
    ends = {end for _, end in bounds}
    for chunk, (start, _) in enumerate(block_bounds(n_sublayers, chunks)):
        # The embedding, which the first chunk makes itself, and the blocks that are finished.
        whole = 1 + sum(end <= start for end in ends)
        running = 0 if start in ends or not start else 1
        stage = chunk % stages
        if chunk:
            naive.append(whole + running)
            cached.append(whole - known[stage] + running)
        known[stage] = whole
    return Transfers(sum(naive), sum(cached), max(naive, default=0), max(cached, default=0))
