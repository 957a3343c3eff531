"""The documentation's example of a corpus, taken from its page as it stands, can be trained on."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from attnres_eval.data import prepare as room
from attnres_eval.data.split import Corpus
from attnres_eval.study import Data

PAGE = (Path(__file__).parents[2] / "docs" / "adding_a_corpus.md").read_text(encoding="utf-8")


def test_the_example_study_is_read() -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    data = Data.model_validate(yaml.safe_load(text)["data"])
    assert len(data.corpora) == 3


def test_the_example_corpus_is_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(code, names)
    corpus: Corpus = names["Counting"]()
    monkeypatch.setattr(room, "open_corpus", lambda name, **_: corpus)
    data = Data(corpora={"counting": 1.0}, vocab_size=300, validation_tokens=1000)
    prepared = room.prepare(data, cache=tmp_path)
    assert len(prepared.validation) == 1000
    assert len(prepared.train["counting"]) > 100_000
