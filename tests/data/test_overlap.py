import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from attnres_eval.data.overlap import NGRAM_WORDS, RunHasher, normalised, words

SENTENCE = " ".join(f"word{number}" for number in range(NGRAM_WORDS))
TEXTS = st.lists(st.lists(st.sampled_from("abc"), max_size=12).map(" ".join), max_size=6)


def test_words_ignore_case_and_punctuation():
    assert words("It's a _ SEMI-trailer, 42!") == [b"it", b"s", b"a", b"semi", b"trailer", b"42"]
    assert normalised("“Don’t”  go…") == normalised("don't GO")
    assert words("\ud800 ...") == []


def runs_in(text: str, length: int) -> set[tuple[bytes, ...]]:
    found = words(text)
    return {tuple(found[at : at + length]) for at in range(len(found) - length + 1)}


@given(TEXTS, TEXTS, st.integers(1, 5))
def test_equals_sets_of_tuples(texts, others, length):
    hasher = RunHasher(length)
    found = hasher.runs(texts).shared_with(hasher.runs(others))
    known = set().union(*(runs_in(text, length) for text in others))
    assert found.tolist() == [bool(runs_in(text, length) & known) for text in texts]


def test_thirteen_words_are_found_and_twelve_are_not():
    hasher = RunHasher()
    forbidden = hasher.runs([f"Before all, {SENTENCE.upper()}; and after."])
    twelve = SENTENCE.rsplit(" ", 1)[0]
    texts = [f"x {SENTENCE} y", f"x {twelve} y", SENTENCE, twelve, ""]
    assert hasher.runs(texts).shared_with(forbidden).tolist() == [True, False, True, False, False]


def test_runs_do_not_cross_texts():
    hasher = RunHasher()
    half, rest = SENTENCE.split(" word6 ")
    forbidden = hasher.runs([SENTENCE])
    assert not hasher.runs([half, f"word6 {rest}"]).shared_with(forbidden).any()


def test_runs_of_chosen_texts_only():
    hasher = RunHasher()
    runs = hasher.runs([SENTENCE, f"again {SENTENCE}", "other"])
    none = runs.of(np.array([False, False, True]))
    first = runs.of(np.array([True, False, False]))
    assert not runs.shared_with(none).any()
    assert runs.shared_with(first).tolist() == [True, True, False]
