"""Tokens of requests: each text once, its beginning with those that begin alike, kept in memory.

Worked examples make prompts long and alike, and lm-eval tokenises each of them twice a choice.
"""

import bisect
import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from attnres_eval.evaluate.trees import Ints

Encoded = tuple[Ints, Ints]
"""Tokens of a context and of its continuation."""

KEPT_TOKENS = 2**24
"""Tokens of requests kept in memory for the next model with the same tokenizer."""

_CUT = re.compile(r"(?<=\S) (?=[A-Za-z])|(?<=\n)(?=[A-Za-z])")
"""Where GPT-2's pattern always begins a word, whatever comes before and after."""

_kept: OrderedDict[tuple[str, str], tuple[int, list[Encoded]]] = OrderedDict()


class Encoder:
    """Tokenises the requests of a task as lm-eval's `hf` backend does.

    Args:
        tokenizer: of transformers.
        encode: tokens of one text, special tokens included unless False is said.
        empty: the token that stands for an empty context.
    """

    def __init__(
        self, tokenizer: Any, encode: Callable[[str, bool | None], list[int]], empty: int
    ) -> None:
        self._encode = encode
        self._empty = empty
        self._backend: Any = getattr(tokenizer, "backend_tokenizer", None)
        self._state = self._backend.to_str() if self._backend is not None else None
        self._cuts = self._state is not None and _can_be_cut(json.loads(self._state), tokenizer)

    def pairs(self, pairs: Sequence[tuple[str, str]]) -> list[Encoded]:
        """Tokens of contexts and continuations. Equal contexts share one array.

        Spaces that end a context are tokenised with the continuation, and the empty context is
        the token that begins a text: lm-eval's rules.
        """
        if self._state is None:
            return self._pairs(pairs)
        key = (
            _sha256([self._state, str(self._empty)]),
            _sha256(text for pair in pairs for text in pair),
        )
        if key not in _kept:
            encoded = self._pairs(pairs)
            contexts = {id(context): len(context) for context, _ in encoded}
            size = sum(contexts.values()) + sum(len(continuation) for _, continuation in encoded)
            _kept[key] = size, encoded
            while sum(size for size, _ in _kept.values()) > KEPT_TOKENS and len(_kept) > 1:
                _kept.popitem(last=False)
        _kept.move_to_end(key)
        return _kept[key][1]

    def _pairs(self, pairs: Sequence[tuple[str, str]]) -> list[Encoded]:
        cut = [_without_end_spaces(*pair) for pair in pairs]
        tokens = self.texts(
            text
            for (context, _), (text, rest) in zip(pairs, cut, strict=True)
            if context
            for text in (text, text + rest)
        )
        arrays = {
            text: np.array(tokens[text] or [self._empty]) for text, _ in cut if text in tokens
        }
        result = []
        for (context, continuation), (text, rest) in zip(pairs, cut, strict=True):
            if context:
                before, after = arrays[text], tokens[text + rest][len(tokens[text]) :]
            else:
                after = self._encode(continuation, False)
                before = np.array([self._empty])
                if after[:1] == [self._empty]:
                    after = after[1:]
            result.append((before, np.array(after, dtype=np.int64)))
        return result

    def texts(self, texts: Iterable[str]) -> dict[str, list[int]]:
        """Tokens of each text.

        In lexicographic order, a text begins like the one before it. Where the tokenizer cuts
        texts into words by GPT-2's pattern, the tokens up to a safe cut are that one's.
        """
        ordered = sorted(set(texts))
        if not self._cuts:
            return {text: self._encode(text, None) for text in ordered}
        tokens: dict[str, list[int]] = {}
        before, parts = "", list[_Part]()
        for text in ordered:
            start = _last_cut(text, _common(before, text))
            first, kept = 0, list[int]()
            if start:
                parts = parts[: bisect.bisect_right(parts, start, key=lambda part: part.start)]
                first = parts[-1].token_at(start)
                kept = tokens[before][:first]
                if parts[-1].start == start:
                    parts.pop()
            else:
                parts = []
            encoding = self._backend.encode(text[start:], add_special_tokens=False)
            parts = [*parts, _Part(start, first, text, encoding)]
            tokens[text] = kept + encoding.ids
            before = text
        return tokens


@dataclass(frozen=True)
class _Part:
    """A stretch of a text that was tokenised by itself."""

    start: int
    """In characters of the text."""
    first: int
    """Tokens of the text before it."""
    text: str
    encoding: Any

    def token_at(self, cut: int) -> int:
        """Tokens of the text before a cut in this part."""
        if cut == self.start:
            return self.first
        letter = cut + (self.text[cut] == " ") - self.start
        word = self.encoding.token_to_word(self.encoding.char_to_token(letter))
        return self.first + int(self.encoding.word_to_tokens(word)[0])


def _can_be_cut(state: dict[str, Any], tokenizer: Any) -> bool:
    """Whether a text's tokens are those of its parts, cut at `_CUT`.

    So it is with byte-level BPE after GPT-2's pattern, no special tokens being put around a text,
    and none that stands in it reaching over a cut.
    """
    steps = state["pre_tokenizer"] or {}
    steps = steps["pretokenizers"] if steps.get("type") == "Sequence" else [steps]
    *others, last = steps
    return (
        state["model"]["type"] == "BPE"
        and state["normalizer"] is None
        and all(step["type"] == "Digits" for step in others)
        and last.get("type") == "ByteLevel"
        and last["use_regex"]
        and not last["add_prefix_space"]
        and state["truncation"] is None
        and state["padding"] is None
        and tokenizer.num_special_tokens_to_add() == 0
        and not any(
            token["lstrip"] or token["rstrip"] or token["single_word"] or _has_space(token)
            for token in state["added_tokens"]
        )
    )


def _has_space(token: dict[str, Any]) -> bool:
    return any(character.isspace() for character in token["content"])


def _last_cut(text: str, common: int) -> int:
    """The last place where a text may be cut so that its first part ends in the common one.

    A word is found by looking one character beyond it, so that two are kept on the cut's right.
    """
    for place in range(common - 2, 0, -1):
        if _CUT.match(text, place):
            return place
    return 0


def _common(a: str, b: str) -> int:
    """Length of the common prefix, by bisection."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _without_end_spaces(context: str, continuation: str) -> tuple[str, str]:
    """Moves the spaces that end a context to the continuation."""
    stripped = context.rstrip()
    return stripped, context[len(stripped) :] + continuation


def _sha256(texts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()
