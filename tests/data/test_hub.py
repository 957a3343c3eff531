import time
from types import SimpleNamespace

import datasets
import huggingface_hub
import pytest

from attnres_eval.data.corpora import open_corpus
from attnres_eval.errors import UserError


@pytest.fixture
def hub(monkeypatch):
    """A hub that holds one dataset, and tells what was asked of it."""
    state = SimpleNamespace(rows=[{"text": f"page {n} " + "x" * 90} for n in range(5000)], read=0)

    def dataset_info(self, name, timeout):
        state.name = name
        return SimpleNamespace(sha="f00d")

    def load_dataset(name, config, *, split, streaming, revision):
        state.loaded = (name, config, split, streaming, revision)
        for row in state.rows:
            state.read += 1
            yield row

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", dataset_info)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return state


def test_streams_no_more_than_asked(hub):
    split = open_corpus("hf:owner/web:small", hub_characters=150_000, reasoning_characters=1).read()
    assert hub.loaded == ("owner/web", "small", "train", True, "f00d")
    characters = sum(map(len, split.training + split.held_out))
    assert 150_000 <= characters < 150_200
    assert hub.read < 1600
    assert split.held_out


def test_identity_needs_no_hub():
    first = open_corpus("hf:owner/web", hub_characters=10, reasoning_characters=1).identity()
    assert (
        first != open_corpus("hf:owner/web", hub_characters=20, reasoning_characters=1).identity()
    )
    assert (
        first
        != open_corpus("hf:owner/web:part", hub_characters=10, reasoning_characters=1).identity()
    )


def test_missing_field_names_the_fields(hub):
    hub.rows = [{"content": "x", "id": 1}]
    with pytest.raises(UserError, match=r"has no field `text`.*content, id"):
        open_corpus("hf:owner/web", hub_characters=10, reasoning_characters=1).read()


def test_empty_stream(hub):
    hub.rows = []
    with pytest.raises(UserError, match="is empty"):
        open_corpus("hf:owner/web", hub_characters=10, reasoning_characters=1).read()


def test_connection_lost_midway(hub, monkeypatch):
    def load_dataset(*args, **options):
        yield {"text": "one"}
        raise ConnectionError("reset\nby peer")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(UserError, match=r"hf:owner/web: cannot be streamed .*reset by peer"):
        open_corpus("hf:owner/web", hub_characters=10, reasoning_characters=1).read()


def test_offline_is_one_line_and_fast(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    start = time.monotonic()
    with pytest.raises(UserError, match="cannot be streamed from the hub") as raised:
        open_corpus(
            "hf:HuggingFaceFW/fineweb-edu", hub_characters=10, reasoning_characters=1
        ).read()
    assert "\n" not in str(raised.value)
    assert time.monotonic() - start < 10
