"""Byte-level BPE: any text in, the same text out.

Token 0 is `<|endoftext|>`; the next 256 are the bytes, so that nothing is unknown; then merges.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from attnres_eval.errors import UserError
from attnres_eval.files import write_json, write_text

END_OF_TEXT = "<|endoftext|>"
END_OF_TEXT_ID = 0


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Trains a BPE of `vocab_size` entries, fewer where the text has too few pairs to merge.

    The words are cut as GPT-2 cuts them; no space is put before a text. Depends on the text alone.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Writes what `transformers.AutoTokenizer.from_pretrained(folder)` reads."""
    write_text(folder / "tokenizer.json", tokenizer.to_str(pretty=True))
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": END_OF_TEXT,
            "eos_token": END_OF_TEXT,
            "pad_token": END_OF_TEXT,
            "add_prefix_space": False,
            "clean_up_tokenization_spaces": False,
        },
    )


def load_tokenizer(folder: Path) -> Tokenizer:
    """Reads a tokenizer that `save_tokenizer` wrote.

    Text that spells `<|endoftext|>` is encoded as text: only a document's end is that token.

    Raises:
        UserError: the file is missing or is not a tokenizer.
    """
    path = folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:
        # The library raises bare Exception for a malformed file.
        raise UserError(f"{path}: is not a tokenizer ({' '.join(str(error).split())})") from None
    tokenizer.encode_special_tokens = True
    return tokenizer


def token_bytes(tokenizer: Tokenizer) -> list[bytes]:
    """The bytes that each token stands for, by id; none for the end of text.

    The vocabulary is spelt in GPT-2's alphabet, which gives every byte a printable character: a
    printable byte its own, the others those from U+0100 on, in order.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    byte_of = {chr(byte): byte for byte in printable}
    byte_of |= {chr(256 + index): byte for index, byte in enumerate(others)}
    table = [b""] * tokenizer.get_vocab_size()
    for token, index in tokenizer.get_vocab().items():
        if token != END_OF_TEXT:
            table[index] = bytes(byte_of[character] for character in token)
    return table


def byte_lengths(tokenizer: Tokenizer, vocab_size: int) -> npt.NDArray[np.uint32]:
    """UTF-8 bytes by token id, shape [vocab_size]; 0 for the end of text and for unused ids.

    The sum over the targets of a scored span is the exact number of bytes scored.
    """
    lengths = np.zeros(vocab_size, dtype=np.uint32)
    table = token_bytes(tokenizer)
    lengths[: len(table)] = [len(spelt) for spelt in table]
    return lengths
