"""Token files: the documents of one split as one row of integers, read through memory maps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from attnres_eval.data.tokenizer import END_OF_TEXT_ID
from attnres_eval.files import replacing

BATCH_DOCUMENTS = 1000

Tokens = npt.NDArray[Any]


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """The smallest of uint16 and uint32 that holds every token."""
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")


def write_tokens(
    path: Path, documents: Sequence[str], tokenizer: Tokenizer, dtype: np.dtype[Any]
) -> int:
    """Writes the documents' tokens, each document ended by `<|endoftext|>`.

    Returns:
        How many tokens were written.
    """
    written = 0
    with replacing(path) as temporary, temporary.open("wb") as file:
        for start in range(0, len(documents), BATCH_DOCUMENTS):
            batch = tokenizer.encode_batch_fast(
                list(documents[start : start + BATCH_DOCUMENTS]), add_special_tokens=False
            )
            ids: list[int] = []
            for encoding in batch:
                ids.extend(encoding.ids)
                ids.append(END_OF_TEXT_ID)
            file.write(np.asarray(ids, dtype=dtype).tobytes())
            written += len(ids)
    return written


def open_tokens(path: Path, dtype: np.dtype[Any]) -> Tokens:
    """Maps a token file, read-only, shape [tokens]. Pages are read as they are used."""
    if path.stat().st_size == 0:
        return np.zeros(0, dtype=dtype)  # which mmap refuses
    return np.memmap(path, dtype=dtype, mode="r")
