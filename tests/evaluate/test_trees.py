"""Trees of rows: every row can be read off again, and nothing else is attended to."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from attnres_eval.evaluate.trees import MIN_PREFIX, Row, Tree, batches, plan

TAIL = st.lists(st.integers(1, 3), min_size=1, max_size=9)


@st.composite
def rows_of_a_task(draw: st.DrawFn) -> list[Row]:
    """Different rows, some on a long common prefix, some reading more than their last token."""
    long = [7] * (MIN_PREFIX + 5)
    texts = {tuple(tail) for tail in draw(st.lists(TAIL, min_size=1, max_size=12))}
    texts |= {(*long, *tail) for tail in draw(st.lists(TAIL, max_size=12))}
    return [
        Row(np.array(text), draw(st.integers(1, min(3, len(text)))), key)
        for key, text in enumerate(sorted(texts))
    ]


def ancestors(tree: Tree, node: int) -> np.ndarray:
    """Tokens that a node attends to, in the order of their positions."""
    size = len(tree.tokens)
    seen = np.tri(size, dtype=bool) if tree.seen is None else tree.seen
    nodes = np.flatnonzero(seen[node])
    return tree.tokens[nodes[np.argsort(tree.positions[nodes])]]


@settings(max_examples=60, deadline=None)
@given(rows_of_a_task())
def test_every_row_is_a_path(rows: list[Row]) -> None:
    found = set()
    for group in plan(rows, share=True):
        for tree in group.trees:
            for row, nodes in tree.rows:
                found.add(row.key)
                length = len(row.tokens)
                assert tree.positions[nodes].tolist() == [*range(length - row.wanted, length)]
                assert min(nodes) >= len(tree.tokens) - tree.reads
                for node, position in zip(nodes, range(length - row.wanted, length), strict=True):
                    path = np.concatenate([group.prefix, ancestors(tree, node)])
                    assert path.tolist() == row.tokens[: position + 1].tolist()
    assert found == {row.key for row in rows}


@given(rows_of_a_task())
def test_nothing_is_shared_where_that_is_not_valid(rows: list[Row]) -> None:
    (group,) = plan(rows, share=False)
    assert not len(group.prefix)
    assert all(tree.seen is None and len(tree.rows) == 1 for tree in group.trees)


def test_a_long_prefix_and_the_contexts_are_computed_once() -> None:
    rows = [
        Row(np.array([9] * 50 + [question] * 30 + [choice]), 1, 4 * question + choice)
        for question in range(5)
        for choice in range(4)
    ]
    (group,) = plan(rows, share=True)
    assert len(group.prefix) == 50
    assert [len(tree.tokens) for tree in group.trees] == [34] * 5
    assert [tree.reads for tree in group.trees] == [4] * 5


@given(rows_of_a_task(), st.integers(1, 60), st.integers(1, 20))
def test_batches_keep_their_limits(rows: list[Row], tokens: int, reads: int) -> None:
    trees = plan(rows, share=False)[0].trees
    taken = list(batches(trees, tokens, reads))
    assert sorted(id(tree) for batch in taken for tree in batch) == sorted(map(id, trees))
    for batch in taken:
        longest = max(len(tree.tokens) for tree in batch)
        most = max(tree.reads for tree in batch)
        fits = len(batch) * longest <= tokens and len(batch) * most <= reads
        assert fits or len(batch) == 1
