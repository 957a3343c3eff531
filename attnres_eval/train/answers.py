"""Weights of the training loss: more for the answers of made-up questions."""

from pathlib import Path

import torch
from torch import Tensor

from attnres_eval.data.tokenizer import load_tokenizer
from attnres_eval.errors import UserError

MARK = " ="
"""What stands before an answer in the corpora `reasoning`."""


class AnswerWeights:
    """Gives each target token its weight."""

    def __init__(self, weight: float, tokenizer: Path) -> None:
        """Finds the mark's token.

        Args:
            weight: of a token behind ` =`; all others weigh 1.
            tokenizer: folder of the tokenizer that the tokens are of.

        Raises:
            UserError: a weight other than 1 is asked for, and the mark is not one token.
        """
        self.weight = weight
        self.mark: int | None = None
        if weight == 1.0:
            return
        ids = load_tokenizer(tokenizer).encode(MARK, add_special_tokens=False).ids
        if len(ids) != 1:
            raise UserError(
                f"recipe.answer_weight is {weight:g}, but `{MARK}` is {len(ids)} tokens of this"
                " tokenizer: give data.corpora a larger share of `reasoning`, or a larger"
                " data.vocab_size"
            )
        self.mark = ids[0]

    def __call__(self, tokens_BT: Tensor) -> Tensor | None:
        """Weights of the targets, (B, T), of tokens (B, T + 1); None where all weigh the same."""
        if self.mark is None:
            return None
        return torch.where(tokens_BT[:, :-1] == self.mark, self.weight, 1.0)
