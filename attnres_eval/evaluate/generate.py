"""Greedy generation until a stop sequence, to the text that lm-eval's `hf` backend returns."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from lm_eval.models.utils import postprocess_generated_text
from lm_eval.models.utils_hf import stop_sequences_criteria

from attnres_eval.evaluate.decode import decode, decodes_greedily, end_tokens
from attnres_eval.evaluate.network import Network
from attnres_eval.evaluate.trees import Ints


def generate(
    network: Network,
    tokenizer: Any,
    prompts: Sequence[Ints],
    room: int,
    stops: list[str],
    rows: int,
) -> list[str]:
    """The text after each prompt, up to the first stop sequence.

    Args:
        network: the model.
        tokenizer: of transformers.
        prompts: tokens, at least one each; with `room` they fit into the model's context.
        room: tokens to generate at most.
        stops: texts that end a generation and are left out.
        rows: prompts a batch.
    """
    ends = end_tokens(network.model, int(tokenizer.eos_token_id))

    def text(tokens: list[int]) -> str:
        return postprocess_generated_text(
            tokenizer.decode(tokens, skip_special_tokens=True), stops, None
        )

    if network.shares and decodes_greedily(network.model):
        watch = _Watch(tokenizer, stops, ends)
        return [text(tokens) for tokens in decode(network, prompts, room, rows, watch)]
    outputs = _generate_by_length(network, tokenizer, prompts, room, stops, rows)
    return [text(tokens) for tokens in outputs]


class _Watch:
    """Says when a row is finished: it has put out an end token or a stop sequence.

    A stop sequence of n bytes is within the last n + 1 tokens when its last byte arrives, since
    a token holds a byte at least. Found there, it is looked for in the whole text, which is what
    will be cut: pieces of characters at the window's start may look like another text.
    """

    def __init__(self, tokenizer: Any, stops: list[str], ends: frozenset[int]) -> None:
        self.tokenizer = tokenizer
        self.stops = [stop for stop in stops if stop]
        self.ends = ends
        self.may_end: dict[int, bool] = {}
        """Of each token so far, whether a stop sequence may end in it."""
        self.window = 1 + max((len(stop.encode()) for stop in self.stops), default=0)

    def __call__(self, tokens: list[int]) -> bool:
        if tokens[-1] in self.ends:
            return True
        if not self._may_end(tokens[-1]):
            return False
        return self._stops_in(tokens[-self.window :]) and self._stops_in(tokens)

    def _may_end(self, token: int) -> bool:
        """Whether the token has the last character of a stop sequence, or a piece of any.

        It is looked at beside itself, since some tokenizers leave out a text's first space.
        """
        if token not in self.may_end:
            text = self.tokenizer.decode([token, token], skip_special_tokens=True)
            last = {"\ufffd", *(stop[-1] for stop in self.stops)}
            self.may_end[token] = any(character in text for character in last)
        return self.may_end[token]

    def _stops_in(self, tokens: list[int]) -> bool:
        text = self.tokenizer.decode(tokens, skip_special_tokens=True)
        return any(stop in text for stop in self.stops)


@torch.inference_mode()
def _generate_by_length(
    network: Network,
    tokenizer: Any,
    prompts: Sequence[Ints],
    room: int,
    stops: list[str],
    rows: int,
) -> list[list[int]]:
    """By the model's own `generate`: prompts of one length at a time, so that none is padded."""
    lengths: dict[int, list[int]] = {}
    for index, prompt in enumerate(prompts):
        lengths.setdefault(len(prompt), []).append(index)
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    outputs: list[list[int]] = [[] for _ in prompts]
    for length, members in sorted(lengths.items(), reverse=True):
        for start in range(0, len(members), rows):
            batch = members[start : start + rows]
            inputs = torch.from_numpy(np.stack([prompts[index] for index in batch]))
            inputs = inputs.to(network.device)
            generated = network.model.generate(
                input_ids=inputs,
                attention_mask=torch.ones_like(inputs),
                max_new_tokens=room,
                do_sample=False,
                use_cache=True,
                pad_token_id=int(pad),
                stopping_criteria=stop_sequences_criteria(tokenizer, stops, length, len(batch)),
            )
            for index, tokens in zip(batch, generated[:, length:].tolist(), strict=True):
                outputs[index] = tokens
    return outputs
