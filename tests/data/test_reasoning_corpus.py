import pytest

from attnres_eval.data.corpora import open_corpus
from attnres_eval.errors import UserError
from attnres_eval.reasoning import FAMILIES


def test_all_families_have_as_much_text() -> None:
    corpus = open_corpus("reasoning", hub_characters=1, reasoning_characters=60_000)
    split = corpus.read()
    assert set(split.counts) == set(FAMILIES)
    assert not set(split.training) & set(split.held_out)
    for family in FAMILIES.values():
        ours = [text for text in split.training if text.split()[0] == family.letter]
        assert len(ours) == split.counts[family.name]["training"]
        assert 10_000 <= sum(map(len, ours)) < 10_500
        assert split.counts[family.name]["held_out"]


def test_one_family() -> None:
    corpus = open_corpus("reasoning:s5", hub_characters=1, reasoning_characters=5_000)
    assert {text[0] for text in corpus.read().training} == {"S"}
    with pytest.raises(UserError, match="did you mean s5"):
        open_corpus("reasoning:s55", hub_characters=1, reasoning_characters=1)


def test_identity_tells_amounts_and_families_apart() -> None:
    def identity(name: str, characters: int) -> dict[str, str]:
        corpus = open_corpus(name, hub_characters=1, reasoning_characters=characters)
        return corpus.identity()

    made = [identity("reasoning", 10), identity("reasoning", 20), identity("reasoning:s5", 10)]
    assert len({str(x) for x in made}) == 3
