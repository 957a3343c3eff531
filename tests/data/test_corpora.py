import pytest

from attnres_eval.data.commonsense import Commonsense
from attnres_eval.data.corpora import open_corpus
from attnres_eval.data.hub import HubDataset
from attnres_eval.data.textfiles import TextFile
from attnres_eval.errors import UserError


def test_names():
    assert isinstance(
        open_corpus("commonsense", hub_characters=1, reasoning_characters=1), Commonsense
    )
    file = open_corpus("file:some/where:odd.txt", hub_characters=1, reasoning_characters=1)
    assert isinstance(file, TextFile)
    assert str(file.path) == "some/where:odd.txt"
    assert open_corpus("hf:owner/name", hub_characters=5, reasoning_characters=1) == HubDataset(
        "hf:owner/name", "owner/name", None, 5
    )
    assert open_corpus(
        "hf:owner/name:part", hub_characters=5, reasoning_characters=1
    ) == HubDataset("hf:owner/name:part", "owner/name", "part", 5)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("comonsense", "did you mean commonsense"),
        ("Commonsense", "did you mean commonsense"),
        ("files:x.txt", "did you mean file:PATH"),
        ("file:", "did you mean file:PATH"),
        ("hf", r"did you mean hf:NAME\[:CONFIG\]"),
        ("pile", "did you mean file:PATH"),
        ("wikipedia", "known are commonsense, reasoning"),
    ],
)
def test_unknown_name_is_answered_with_a_near_one(name, hint):
    with pytest.raises(UserError, match=f"unknown corpus '{name}': {hint}"):
        open_corpus(name, hub_characters=1, reasoning_characters=1)
