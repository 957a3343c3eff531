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
    """Vectors of width d a token at each transition of a forward pass, in their order."""

    naive: tuple[int, ...]
    cached: tuple[int, ...]


def count_transfers(
    n_layers: int, bounds: Sequence[tuple[int, int]], stages: int, virtual_stages: int
) -> Transfers:
    """Counts embedding, finished blocks and running sums, transition by transition.

    A chunk is a number of whole transformer blocks, the same for all to within one.

    Args:
        n_layers: number of transformer blocks.
        bounds: the blocks of the residual as half-open ranges of sublayers.
        stages: P.
        virtual_stages: V.

    Raises:
        UserError: there are more chunks than transformer blocks.
    """
    chunks = stages * virtual_stages
    if chunks > n_layers:
        raise UserError(
            f"{stages} stages with {virtual_stages} virtual stages each are {chunks} chunks, more"
            f" than the {n_layers} transformer blocks"
        )
    ends = {end for _, end in bounds}
    naive, cached, known = [], [], [1]
    for chunk in range(1, chunks):
        start = 2 * (n_layers * chunk // chunks)
        # The embedding, and the blocks that are finished.
        whole = 1 + sum(end <= start for end in ends)
        running = 0 if start in ends else 1
        there = known[chunk - stages] if chunk >= stages else 0
        naive.append(whole + running)
        cached.append(whole - there + running)
        known.append(whole)
    return Transfers(tuple(naive), tuple(cached))
