"""Greedy generation in batches: one growing cache, finished rows leave, prefixes are shared."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.cache_utils import Cache

from attnres_eval.evaluate.network import Growing, Network, SharedPrefix, additive
from attnres_eval.evaluate.trees import MIN_TREES, Ints, Row, in_order, runs

HARMLESS = frozenset(
    [
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
        "transformers_version",
        "use_cache",
        "do_sample",
        "temperature",
        "top_k",
        "top_p",
        "min_p",
        "typical_p",
        "max_length",
        "max_new_tokens",
        "output_attentions",
        "output_hidden_states",
        "return_dict_in_generate",
    ]
)
"""Settings of a model's own generation that greedy decoding to a limit does not read."""

Finished = Callable[[list[int]], bool]
"""Whether a row, given the tokens generated so far, needs no more."""


def decodes_greedily(model: Any) -> bool:
    """Whether `generate` would put out the likeliest token each time, and nothing changes it."""
    settings = model.generation_config.to_diff_dict()
    return all(name in HARMLESS or name.startswith("_") for name in settings)


def end_tokens(model: Any, otherwise: int) -> frozenset[int]:
    """Tokens that end a text, of the model's own settings where it has them."""
    ends = model.generation_config.eos_token_id
    if ends is None:
        return frozenset([otherwise])
    return frozenset(ends if isinstance(ends, list) else [ends])


@torch.inference_mode()
def decode(
    network: Network, prompts: Sequence[Ints], room: int, rows: int, finished: Finished
) -> list[list[int]]:
    """The likeliest tokens after each prompt, one by one.

    Args:
        network: one that `shares`.
        prompts: tokens; together with `room` they fit into the model's context.
        room: tokens to generate at most.
        rows: prompts a batch.
        finished: asked after each token.

    Returns:
        What was generated, for each prompt.
    """
    generated: list[list[int]] = [[] for _ in prompts]
    pooled: list[Row] = []
    ordered = in_order(Row(tokens, 1, key) for key, tokens in enumerate(prompts))
    for length, members in runs(ordered):
        if length and len(members) >= MIN_TREES:
            _decode(network, members, length, room, rows, finished, generated)
        else:
            pooled += members
    _decode(network, pooled, 0, room, rows, finished, generated)
    return generated


def _decode(
    network: Network,
    members: list[Row],
    length: int,
    room: int,
    rows: int,
    finished: Finished,
    generated: list[list[int]],
) -> None:
    """Decodes rows whose first `length` tokens are the same."""
    prefix = network.prefix(members[0].tokens[:length]) if length else []
    members = sorted(members, key=lambda row: -len(row.tokens))
    for start in range(0, len(members), rows):
        batch = members[start : start + rows]
        outputs = [generated[row.key] for row in batch]
        tails = [torch.from_numpy(row.tokens[length:]) for row in batch]
        _decode_batch(network, tails, prefix, room, finished, outputs)


def _decode_batch(
    network: Network,
    tails: list[Tensor],
    prefix: list[SharedPrefix],
    room: int,
    finished: Finished,
    outputs: list[list[int]],
) -> None:
    """Legend: B rows of `tails` that are not finished, T tokens of a pass, S tokens so far."""
    before = prefix[0].get_seq_length() if prefix else 0
    width = max(map(len, tails))
    padding_B = torch.tensor([width - len(tail) for tail in tails])
    tokens_BT = torch.stack([F.pad(tail, (width - len(tail), 0)) for tail in tails])
    padded = bool(padding_B.any())
    place_S = torch.arange(before + width + room)
    seen_BS = (place_S < before) | (place_S >= before + padding_B[:, None])
    positions_BT = (before + torch.arange(width) - padding_B[:, None]).clamp(min=0)
    mask = None
    if padded or before:
        query_T = before + torch.arange(width)[:, None]
        place = place_S[: before + width]
        causal_BTS = (place <= query_T) & seen_BS[:, None, : before + width]
        mask = additive(causal_BTS | (place == query_T), network.dtype)
    capacity = before + width + room
    if prefix:
        cache = Cache(layers=[Growing(capacity, layer) for layer in prefix])
    else:
        cache = Cache(layer_class_to_replicate=functools.partial(Growing, capacity, None))
    alive, done = list(range(len(tails))), set[int]()
    for step in range(1, room + 1):
        next_B = network.logits(tokens_BT, positions_BT, mask, cache, 1)[:, -1].argmax(dim=-1).cpu()
        for index, token in zip(alive, next_B.tolist(), strict=True):
            if index not in done:
                outputs[index].append(token)
                if finished(outputs[index]):
                    done.add(index)
        if len(done) == len(tails):
            return
        going = [row for row, index in enumerate(alive) if index not in done]
        if 2 * len(going) <= len(alive):
            cache.batch_select_indices(torch.tensor(going, device=network.device))
            next_B, positions_BT, seen_BS = next_B[going], positions_BT[going], seen_BS[going]
            alive = [alive[row] for row in going]
        tokens_BT, positions_BT = next_B[:, None], positions_BT[:, -1:] + 1
        so_far = before + width + step
        mask = additive(seen_BS[:, None, :so_far], network.dtype) if padded else None
