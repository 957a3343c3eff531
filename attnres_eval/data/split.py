"""What every corpus gives: text to train on, and held-out text that shares nothing with it."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Protocol

from attnres_eval.errors import UserError

HELD_OUT_FRACTION = 0.02
MANY_DOCUMENTS = 1000
"""From this many documents on, whole documents are held out; below it, pieces of them."""
PIECE_CHARACTERS = 4000
"""Longest piece that is held out of a long document."""
PIECES_AT_LEAST = 100
"""Pieces are made shorter where a corpus would otherwise have fewer."""


@dataclass(frozen=True)
class Split:
    """Documents of one corpus, each once. What was left out, and why, is in `counts`."""

    training: list[str]
    held_out: list[str]
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    """Per source within the corpus: how many were kept, held out, removed, by reason."""


class Corpus(Protocol):
    """A named source of text."""

    @property
    def name(self) -> str:
        """As a study writes it."""

    def identity(self) -> dict[str, str]:
        """What decides the text, cheap to find, so that prepared data can be reused.

        Raises:
            UserError: the source is absent.
        """

    def read(self) -> Split:
        """Reads everything.

        Raises:
            UserError: the source is absent, malformed or too small to hold anything out.
        """


def unit_hash(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2.0**64


def is_held_out(text: str) -> bool:
    """Whether the document or question named by `text` is held out: about one in fifty is."""
    return unit_hash(text) < HELD_OUT_FRACTION


def valid_text(text: str) -> str:
    """`text` with lone surrogates, which JSON can hold and UTF-8 cannot, replaced by `?`."""
    return text.encode("utf-8", "replace").decode()


def pieces(text: str, longest: int) -> Iterator[str]:
    """Cuts a text into pieces of at most `longest` characters, which joined are the text.

    Cuts are made behind the last paragraph that ends within reach, else behind the last line,
    else behind the last space, else anywhere.
    """
    start = 0
    while len(text) - start > longest:
        for mark in ("\n\n", "\n", " "):
            at = text.rfind(mark, start, start + longest)
            if at >= 0:
                end = at + len(mark)
                break
        else:
            end = start + longest
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]


def split_documents(name: str, documents: list[str]) -> Split:
    """Holds out about one part in fifty by the hash of its text, so that repeats stay together.

    A part is a document where there are at least 1,000, else a piece of one of up to 4,000
    characters (shorter in a small corpus); what lies between two held-out pieces stays one
    training document. At least one part is always held out.

    Raises:
        UserError: there is no text, or too little to hold any of it out.
    """
    documents = [text for text in documents if text.strip()]
    if not documents:
        raise UserError(f"corpus {name}: is empty")
    if len(documents) >= MANY_DOCUMENTS:
        parted = [[text] for text in documents]
    else:
        longest = sum(map(len, documents)) // PIECES_AT_LEAST
        longest = min(max(longest, PIECE_CHARACTERS // 20), PIECE_CHARACTERS)
        parted = [list(pieces(text, longest)) for text in documents]
    distinct = {part for parts in parted for part in parts if part.strip()}
    if len(distinct) < 2:
        raise UserError(f"corpus {name}: holds too little text to hold any of it out")
    chosen = {part for part in distinct if is_held_out(part)}
    if not chosen or chosen == distinct:
        chosen = {min(distinct, key=unit_hash)}

    training: list[str] = []
    held_out: list[str] = []
    for parts in parted:
        for out, run in groupby(parts, key=chosen.__contains__):
            if out:
                held_out.extend(run)
            else:
                training.append("".join(run))
    counts = {
        "documents": len(documents),
        "parts": sum(map(len, parted)),
        "held_out": len(held_out),
    }
    return Split(training, held_out, {name: counts})
