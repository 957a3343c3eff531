"""What of a task's token rows is computed once: trees of rows that begin alike. Torch-free.

A row is a request's context and continuation. The choices of a question share its context, so
they form a tree, whose nodes are tokens; one forward pass computes each node once, letting it
attend to its ancestors alone. Where many trees begin with the same tokens, the worked examples of
a task, that prefix is computed once for all of them.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

MIN_PREFIX = 32
"""Tokens from which a common prefix is worth a pass of its own."""
MIN_TREES = 4
"""Trees from which it is."""
TOKEN_COST = 256
"""What a token costs in products, in attended pairs: 6 d_model, of a small model."""


@dataclass(frozen=True, eq=False)
class Row:
    """Tokens put into the model, and which predictions are read."""

    tokens: Ints
    wanted: int
    """Positions read, the last ones."""
    key: int = 0
    """The caller's name for it."""


@dataclass(frozen=True, eq=False)
class Tree:
    """Rows as nodes. What is read comes last, what is not comes first."""

    tokens: Ints
    """(n)."""
    positions: Ints
    """Of each node in its rows, (n)."""
    seen: NDArray[np.bool_] | None
    """Whether a node, the first index, attends to another, (n, n); None for a single row."""
    reads: int
    """Nodes read, the last ones."""
    rows: list[tuple[Row, Ints]]
    """Each row with the nodes of the positions read from it."""


@dataclass(frozen=True, eq=False)
class Group:
    """Trees on a common prefix, which may be empty."""

    prefix: Ints
    trees: list[Tree]


def plan(rows: Iterable[Row], *, share: bool) -> list[Group]:
    """Puts rows into trees, and trees on prefixes.

    Args:
        rows: all different; each reads no more positions than it has.
        share: whether rows may share anything; if not, each is a tree by itself.
    """
    ordered = in_order(rows)
    if not share:
        return [Group(ordered[0].tokens[:0], [_tree([row], 0) for row in ordered])]
    groups, rest = [], []
    for prefix, members in runs(ordered):
        trees = _trees(members, prefix) if prefix else []
        if len(trees) >= MIN_TREES:
            groups.append(Group(members[0].tokens[:prefix], trees))
        else:
            rest += members
    if rest:
        groups.append(Group(rest[0].tokens[:0], _trees(rest, 0)))
    return groups


def in_order(rows: Iterable[Row]) -> list[Row]:
    """Rows in lexicographic order, in which those that begin alike are neighbours."""
    return sorted(rows, key=lambda row: row.tokens.astype(">u4").tobytes())


def runs(ordered: Sequence[Row]) -> Iterator[tuple[int, list[Row]]]:
    """Runs of rows with a long common prefix, each with its length; others run with 0.

    What is read never lies in the prefix.
    """
    shared = [_common(a.tokens, b.tokens) for a, b in itertools.pairwise(ordered)]
    start = 0
    for end in range(1, len(ordered) + 1):
        if end < len(ordered) and shared[end - 1] >= MIN_PREFIX:
            continue
        members = list(ordered[start:end])
        unread = min(len(row.tokens) - row.wanted for row in members)
        prefix = min([*shared[start : end - 1], unread]) if len(members) > 1 else 0
        yield (prefix if prefix >= MIN_PREFIX else 0), members
        start = end


def batches(trees: Sequence[Tree], tokens: int, reads: int) -> Iterator[list[Tree]]:
    """Trees of like size, so many that neither their padded tokens nor reads exceed a limit."""
    batch: list[Tree] = []
    most_reads = 0
    for tree in sorted(trees, key=lambda tree: (-len(tree.tokens), -tree.reads)):
        most_reads = max(most_reads, tree.reads)
        size = len(batch) + 1
        if batch and (size * len(batch[0].tokens) > tokens or size * most_reads > reads):
            yield batch
            batch, most_reads = [], tree.reads
        batch.append(tree)
    if batch:
        yield batch


def _common(a: Ints, b: Ints) -> int:
    """Length of the common prefix."""
    length = min(len(a), len(b))
    different = a[:length] != b[:length]
    return int(different.argmax()) if different.any() else length


def _trees(ordered: Sequence[Row], prefix: int) -> list[Tree]:
    """Trees of neighbours, as long as sharing saves more than the pairs it masks cost."""
    trees: list[Tree] = []
    members: list[Row] = []
    nodes = 0
    for row in ordered:
        length = len(row.tokens) - prefix
        if members:
            saved = _common(members[-1].tokens, row.tokens) - prefix
            if saved * TOKEN_COST <= (length - saved) * (nodes - saved):
                trees.append(_tree(members, prefix))
                members, nodes = [], 0
            else:
                length -= saved
        members.append(row)
        nodes += length
    if members:
        trees.append(_tree(members, prefix))
    return trees


def _tree(ordered: Sequence[Row], prefix: int) -> Tree:
    if len(ordered) == 1:
        (row,) = ordered
        length = len(row.tokens) - prefix
        return Tree(
            row.tokens[prefix:],
            np.arange(prefix, prefix + length),
            None,
            row.wanted,
            [(row, np.arange(length - row.wanted, length))],
        )
    tokens: list[Ints] = []
    positions: list[Ints] = []
    blocks: list[tuple[Ints, Ints]] = []
    paths: list[Ints] = []
    path = np.arange(0)
    nodes = 0
    for index, row in enumerate(ordered):
        shared = _common(ordered[index - 1].tokens, row.tokens) if index else prefix
        own = np.arange(nodes, nodes + len(row.tokens) - shared)
        blocks.append((own, path[: shared - prefix]))
        path = np.concatenate([path[: shared - prefix], own])
        paths.append(path)
        tokens.append(row.tokens[shared:])
        positions.append(np.arange(shared, len(row.tokens)))
        nodes += len(own)
    seen = np.zeros((nodes, nodes), dtype=np.bool_)
    for own, ancestors in blocks:
        if len(own):
            seen[own[0] : own[-1] + 1, ancestors] = True
            seen[own[0] : own[-1] + 1, own[0] : own[-1] + 1] = np.tri(len(own), dtype=np.bool_)
    read = np.zeros(nodes, dtype=np.bool_)
    for row, path in zip(ordered, paths, strict=True):
        read[path[len(path) - row.wanted :]] = True
    order = np.argsort(read, kind="stable")
    place = np.empty(nodes, dtype=np.int64)
    place[order] = np.arange(nodes)
    return Tree(
        np.concatenate(tokens)[order],
        np.concatenate(positions)[order],
        seen[np.ix_(order, order)],
        int(read.sum()),
        [
            (row, place[path[len(path) - row.wanted :]])
            for row, path in zip(ordered, paths, strict=True)
        ],
    )
