import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnres_eval.data.split import is_held_out, pieces, split_documents, unit_hash, valid_text
from attnres_eval.errors import UserError


def test_about_one_in_fifty_is_held_out():
    hashes = [unit_hash(f"question {number}") for number in range(20_000)]
    assert all(0 <= value < 1 for value in hashes)
    # Binomial, 20,000 draws at 0.02: standard deviation 20.
    assert abs(sum(is_held_out(f"question {number}") for number in range(20_000)) - 400) < 100
    assert unit_hash("question 0") == hashes[0]


def test_lone_surrogates_become_valid():
    assert valid_text("a\ud800b") == "a?b"
    assert valid_text("é 世 😀") == "é 世 😀"


@given(st.text(alphabet="ab \n", max_size=300), st.integers(1, 40))
def test_pieces_join_to_the_text(text, longest):
    found = list(pieces(text, longest))
    assert "".join(found) == text
    assert all(0 < len(piece) <= longest for piece in found)


def test_pieces_end_at_paragraphs_where_they_can():
    text = "First one.\n\nSecond one.\n\nThird, which is much longer than the others."
    assert list(pieces(text, 30)) == [
        "First one.\n\nSecond one.\n\n",
        "Third, which is much longer ",
        "than the others.",
    ]


def test_many_documents_are_held_out_whole():
    documents = [f"document {number} " + "x " * 3000 for number in range(1000)]
    split = split_documents("c", [*documents, documents[0]])
    assert {*split.training} | {*split.held_out} == set(documents)
    assert not {*split.training} & {*split.held_out}
    assert 5 <= len(split.held_out) <= 40


def test_few_documents_are_held_out_by_piece():
    documents = [
        "\n\n".join(f"Book {book}, paragraph {number}. " + "word " * 60 for number in range(400))
        for book in range(5)
    ]
    split = split_documents("c", documents)
    pieces_out = set(split.held_out)
    assert all(len(piece) <= 4000 for piece in pieces_out)
    assert sum(map(len, split.training + split.held_out)) == sum(map(len, documents))
    fraction = sum(map(len, split.held_out)) / sum(map(len, documents))
    assert 0.002 < fraction < 0.06
    # A training document is what lies between two held-out pieces: as long as the book allows.
    assert max(map(len, split.training)) > 20_000
    assert not any(piece in text for piece in pieces_out for text in split.training)


@pytest.mark.parametrize(
    "documents",
    [["one", "two"], [f"document {n}" for n in range(9)], [" ".join(map(str, range(200)))]],
)
def test_something_is_held_out_of_a_small_corpus(documents):
    split = split_documents("c", documents)
    assert split.training
    assert split.held_out
    assert not set(split.training) & set(split.held_out)


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([], "is empty"),
        (["", " \n"], "is empty"),
        (["x"], "too little text"),
        (["x", "x"], "too little text"),
    ],
)
def test_nothing_to_hold_out(documents, message):
    with pytest.raises(UserError, match=f"corpus file:x: .*{message}"):
        split_documents("file:x", documents)
