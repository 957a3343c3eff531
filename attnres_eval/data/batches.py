"""Training batches that depend on seed and step alone, and the windows that a model is scored on.

A run that resumes needs no state, and all variants of a seed see the same batches in order.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from attnres_eval.errors import UserError

_GOLDEN = (5**0.5 - 1) / 2
_MIX, _ORDER = 0, 1


class Batches:
    """Batches over several corpora, mixed by share.

    A corpus is cut into windows of `context` tokens and their targets, so that neighbours overlap
    by one token. Each pass takes every window once, in an order drawn anew from the seed.
    """

    def __init__(
        self,
        train: Mapping[str, npt.NDArray[Any]],
        shares: Mapping[str, float],
        *,
        context: int,
        batch_sequences: int,
        steps: int,
        seed: int,
    ) -> None:
        """Plans all steps; the order of `train` and `shares` changes nothing.

        Args:
            train: tokens [tokens] by corpus.
            shares: share of the sequences by corpus, of any positive sum.
            context: tokens of a sequence that are read, and that are targets.
            batch_sequences: sequences of a batch.
            steps: batches of the run. More steps prolong the same order.
            seed: of the mix and of the orders.

        Raises:
            UserError: a corpus with a share has too few tokens for one sequence.
        """
        self.context = context
        self.batch_sequences = batch_sequences
        self.steps = steps
        self.seed = seed
        self.corpora = sorted(shares)
        self._tokens = [train[name] for name in self.corpora]
        self.windows = [(len(tokens) - 1) // context for tokens in self._tokens]
        for name, windows in zip(self.corpora, self.windows, strict=True):
            if windows < 1:
                raise UserError(
                    f"corpus {name}: has {len(train[name])} training tokens, too few for one "
                    f"sequence of context {context}: take more text or a shorter context"
                )

        # The fractional parts of multiples of the golden ratio fill [0, 1) evenly, so that any
        # stretch of sequences holds each corpus in its share, to within a few sequences.
        sequences = steps * batch_sequences
        start = np.random.default_rng([seed, _MIX]).random()
        points = (start + _GOLDEN * np.arange(sequences)) % 1.0
        upper = np.cumsum([shares[name] for name in self.corpora])
        self._corpus = np.searchsorted(upper[:-1] / upper[-1], points, side="right")
        self._ordinal = np.zeros(sequences, dtype=np.int64)
        self._drawn = []
        for index in range(len(self.corpora)):
            mine = self._corpus == index
            self._drawn.append(int(mine.sum()))
            self._ordinal[mine] = np.arange(self._drawn[index])
        self._orders: dict[int, tuple[int, npt.NDArray[np.int64]]] = {}

    @property
    def epochs(self) -> dict[str, float]:
        """Passes over each corpus by the end of the run."""
        return {
            name: drawn / windows
            for name, drawn, windows in zip(self.corpora, self._drawn, self.windows, strict=True)
        }

    def batch(self, step: int) -> npt.NDArray[np.int64]:
        """The batch of one step, from 0 on, shape [batch_sequences, context + 1].

        Inputs are all but the last column, targets all but the first.
        """
        if not 0 <= step < self.steps:
            raise IndexError(f"step {step} of a run of {self.steps}")
        rows = np.empty((self.batch_sequences, self.context + 1), dtype=np.int64)
        first = step * self.batch_sequences
        for row in range(self.batch_sequences):
            corpus = int(self._corpus[first + row])
            epoch, position = divmod(int(self._ordinal[first + row]), self.windows[corpus])
            start = int(self._order(corpus, epoch)[position]) * self.context
            rows[row] = self._tokens[corpus][start : start + self.context + 1]
        return rows

    def _order(self, corpus: int, epoch: int) -> npt.NDArray[np.int64]:
        """The order of a corpus's windows in one pass; the last one used is remembered."""
        known = self._orders.get(corpus)
        if known is None or known[0] != epoch:
            generator = np.random.default_rng([self.seed, _ORDER, corpus, epoch])
            known = epoch, generator.permutation(self.windows[corpus])
            self._orders[corpus] = known
        return known[1]


def validation_windows(
    validation: npt.NDArray[Any], context: int
) -> Iterator[npt.NDArray[np.int64]]:
    """Consecutive windows [context + 1], each beginning with the last target of the one before.

    Every token but the first is a target once, except the fewer than `context` last ones, which
    fill no window.

    Raises:
        UserError: there are too few tokens for one window.
    """
    count = (len(validation) - 1) // context
    if count < 1:
        raise UserError(
            f"{len(validation)} validation tokens are too few for one window of context "
            f"{context}: take more text, more validation_tokens or a shorter context"
        )

    def windows() -> Iterator[npt.NDArray[np.int64]]:
        for start in range(0, count * context, context):
            yield np.asarray(validation[start : start + context + 1], dtype=np.int64)

    return windows()
