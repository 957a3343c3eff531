import numpy as np
import pytest

from attnres_eval.data import tokens
from attnres_eval.data.tokenizer import END_OF_TEXT, END_OF_TEXT_ID, train_tokenizer

DOCUMENTS = [f"document {number} é" for number in range(25)]


@pytest.fixture(scope="module")
def tokenizer():
    tokenizer = train_tokenizer(DOCUMENTS, 300)
    tokenizer.encode_special_tokens = True
    return tokenizer


@pytest.mark.parametrize(("vocab_size", "name"), [(257, "<u2"), (65_536, "<u2"), (65_537, "<u4")])
def test_dtype_holds_every_token(vocab_size, name):
    dtype = tokens.token_dtype(vocab_size)
    assert dtype.str == name
    assert np.iinfo(dtype).max >= vocab_size - 1


@pytest.mark.parametrize("dtype", ["<u2", "<u4"])
def test_documents_come_back(tmp_path, tokenizer, monkeypatch, dtype):
    monkeypatch.setattr(tokens, "BATCH_DOCUMENTS", 7)
    path = tmp_path / "train.bin"
    written = tokens.write_tokens(path, DOCUMENTS, tokenizer, np.dtype(dtype))
    found = tokens.open_tokens(path, np.dtype(dtype))
    assert isinstance(found, np.memmap)
    assert len(found) == written
    assert found[-1] == END_OF_TEXT_ID
    text = tokenizer.decode(found.tolist(), skip_special_tokens=False)
    assert text == END_OF_TEXT.join([*DOCUMENTS, ""])
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 1


def test_the_mark_spelt_in_a_document_does_not_end_it(tmp_path, tokenizer):
    path = tmp_path / "train.bin"
    tokens.write_tokens(path, [f"a{END_OF_TEXT}b"], tokenizer, np.dtype("<u2"))
    found = tokens.open_tokens(path, np.dtype("<u2"))
    assert (found == END_OF_TEXT_ID).sum() == 1


def test_no_documents(tmp_path, tokenizer):
    path = tmp_path / "none.bin"
    assert tokens.write_tokens(path, [], tokenizer, np.dtype("<u2")) == 0
    assert tokens.open_tokens(path, np.dtype("<u2")).shape == (0,)
