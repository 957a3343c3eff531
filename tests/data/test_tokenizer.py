import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from attnres_eval.data.tokenizer import (
    END_OF_TEXT,
    END_OF_TEXT_ID,
    byte_lengths,
    load_tokenizer,
    save_tokenizer,
    token_bytes,
    train_tokenizer,
)
from attnres_eval.errors import UserError

TEXTS = [
    f"The {number}th naïve cat sat on the mat; didn't it? 世界 😀\n\n" for number in range(500)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(train_tokenizer(TEXTS, 400), folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder) -> Tokenizer:
    return load_tokenizer(folder)


@pytest.fixture(scope="module")
def table(tokenizer) -> list[bytes]:
    return token_bytes(tokenizer)


def test_vocabulary(tokenizer, table):
    assert tokenizer.get_vocab_size() == 400
    assert tokenizer.token_to_id(END_OF_TEXT) == END_OF_TEXT_ID
    assert table[END_OF_TEXT_ID] == b""
    assert sorted(table[1:257]) == [bytes([byte]) for byte in range(256)]
    assert all(len(spelt) >= 2 for spelt in table[257:])


def test_bytes_alone(tmp_path):
    save_tokenizer(train_tokenizer(TEXTS, 257), tmp_path)
    text = "naïve 世界"
    assert len(load_tokenizer(tmp_path).encode(text).ids) == len(text.encode())


@given(
    st.one_of(
        st.text(), st.lists(st.sampled_from([END_OF_TEXT, " ", "\n", "cat", "é"])).map("".join)
    )
)
def test_round_trip(tokenizer, table, text):
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert END_OF_TEXT_ID not in ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == text
    assert b"".join(table[index] for index in ids) == text.encode()


def test_no_space_is_added(tokenizer):
    assert tokenizer.decode(tokenizer.encode("cat").ids) == "cat"
    assert tokenizer.encode("cat").ids != tokenizer.encode(" cat").ids


def test_byte_lengths_are_padded(tokenizer):
    lengths = byte_lengths(tokenizer, 410)
    assert lengths.shape == (410,)
    assert lengths[400:].tolist() == [0] * 10
    ids = tokenizer.encode(TEXTS[0]).ids
    assert lengths[ids].sum() == len(TEXTS[0].encode())


def test_small_text_gives_fewer_entries():
    assert train_tokenizer(["ab"], 4096).get_vocab_size() == 258


def test_same_text_same_file_in_another_process(folder, tmp_path):
    code = (
        "import sys, json, pathlib\n"
        "from attnres_eval.data.tokenizer import save_tokenizer, train_tokenizer\n"
        "save_tokenizer(train_tokenizer(json.load(sys.stdin), 400), pathlib.Path(sys.argv[1]))\n"
    )
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "true"}
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        input=json.dumps(TEXTS),
        text=True,
        check=True,
        env=environment,
    )
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_transformers_reads_it(folder, tokenizer):
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    loaded = AutoTokenizer.from_pretrained(folder)
    assert isinstance(loaded, PreTrainedTokenizerFast)
    assert len(loaded) == 400
    for mark in (loaded.bos_token_id, loaded.eos_token_id, loaded.pad_token_id):
        assert mark == END_OF_TEXT_ID
    assert loaded.model_max_length > 1e20
    for text in [*TEXTS[:3], " a , b . c 's", "  two  spaces "]:
        ids = loaded(text)["input_ids"]
        assert ids == tokenizer.encode(text, add_special_tokens=False).ids
        assert loaded.decode(ids) == text


@pytest.mark.parametrize("content", [None, "", "{}", '{"model": 3}'])
def test_damaged_file(tmp_path, content):
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(UserError, match=r"tokenizer\.json: is not a tokenizer"):
        load_tokenizer(tmp_path)
