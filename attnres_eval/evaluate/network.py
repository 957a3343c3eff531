"""A transformers model as evaluation calls it: masks of our own, shared and growing caches.

Legend: B batch, T tokens of this pass, S all tokens attended to, G key and value heads, K head
width, V vocabulary.
"""

import functools
import inspect
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from attnres_eval.evaluate.trees import Ints, Row, Tree, plan
from attnres_eval.model.kernels.decode import Room

RESCALED = ("dynamic", "longrope")
"""Rotary embeddings whose frequencies depend on the longest row of a pass."""

PROBE = [[1, 2, 3, 4, 5], [1, 2, 3, 4, 6, 7, 1], [1, 2, 3, 6, 5]]
"""Rows of a common prefix of two tokens, whose rest is a tree."""


class SharedPrefix(DynamicLayer):  # type: ignore[misc]
    """One layer's keys and values of a prefix, (1, G, S, K), read by every row of a batch.

    Nothing is kept of what comes after the prefix, so that every batch starts from it.
    """

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.keys, self.values = keys, values
        self.is_initialized = True

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        shape = (keys.shape[0], -1, -1, -1)
        return (
            torch.cat([self.keys.expand(shape), keys], dim=-2),
            torch.cat([self.values.expand(shape), values], dim=-2),
        )


class Growing(DynamicLayer):  # type: ignore[misc]
    """One layer's keys and values in buffers that hold a whole generation: no step copies them."""

    def __init__(self, capacity: int, prefix: SharedPrefix | None) -> None:
        super().__init__()
        self.capacity = capacity
        self.prefix = prefix
        self.filled = 0
        self.allocated = False

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        if not self.allocated:
            rows, heads, width = keys.shape[0], keys.shape[1], keys.shape[-1]
            self.keys = keys.new_empty(rows, heads, self.capacity, width)
            self.values = values.new_empty(rows, heads, self.capacity, values.shape[-1])
            self.allocated = self.is_initialized = True
            if self.prefix is not None:
                self.filled = int(self.prefix.keys.shape[-2])
                self.keys[:, :, : self.filled] = self.prefix.keys
                self.values[:, :, : self.filled] = self.prefix.values
        start, end = self.filled, self.filled + keys.shape[-2]
        if end > self.capacity:
            raise IndexError(f"{end} tokens do not fit a cache of {self.capacity}")
        self.filled = end
        self.keys[:, :, start : self.filled] = keys
        self.values[:, :, start : self.filled] = values
        return self.keys[:, :, : self.filled], self.values[:, :, : self.filled]

    def room(self) -> Room | None:
        """The buffers for one more token; None where they are not allocated or full."""
        if not self.allocated or self.filled == self.capacity:
            return None
        return Room(self.keys, self.values, self.filled)

    def appended(self) -> None:
        """Counts a token whose keys and values have been put into the buffers."""
        self.filled += 1

    def get_seq_length(self) -> int:
        if not self.allocated and self.prefix is not None:
            return int(self.prefix.keys.shape[-2])
        return self.filled

    def batch_select_indices(self, indices: Tensor) -> None:
        self.keys, self.values = self.keys[indices], self.values[indices]


class Network:
    """A model whose passes may share what rows have in common, if it can.

    Args:
        model: of transformers, causal, in evaluation mode.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.device = model.device
        self.dtype = model.dtype
        self.vocab_size = int(model.get_output_embeddings().weight.shape[0])

    @functools.cached_property
    def shares(self) -> bool:
        """Whether this model takes masks and caches of ours and still predicts the same.

        Models with windowed, compressed or recurrent layers (their cache is another), with
        positions that are no argument, or with rotary frequencies that depend on the batch, do
        not. What a model says of itself is not relied on: a small tree is computed both ways.
        """
        arguments = inspect.signature(self.model.forward).parameters
        needed = ("attention_mask", "position_ids", "past_key_values", "logits_to_keep")
        rope = getattr(self.model.config, "rope_parameters", None) or {}
        if any(name not in arguments for name in needed) or rope.get("rope_type") in RESCALED:
            return False
        try:
            return self._probe()
        except Exception:  # whatever a model raises at a call that it does not know
            return False

    @torch.inference_mode()
    def _probe(self) -> bool:
        rows = [Row(np.array(tokens), 2, key) for key, tokens in enumerate(PROBE)]
        first = torch.tensor([PROBE[0][:2]], device=self.device)
        cache = self.model(first, use_cache=True).past_key_values
        if not isinstance(cache, DynamicCache):
            return False
        if any(type(layer) is not DynamicLayer for layer in cache.layers):
            return False
        tails = [Row(row.tokens[2:], 2, row.key) for row in rows]
        (group,) = plan(tails, share=True)
        (tree,) = group.trees
        shifted = Tree(tree.tokens, tree.positions + 2, tree.seen, tree.reads, tree.rows)
        (logits,), (first,) = self._trees([shifted], self.prefix(rows[0].tokens[:2]))
        for row, nodes in tree.rows:
            tokens = torch.tensor([PROBE[row.key]], device=self.device)
            expected = self.model(tokens).logits[0, -2:].float()
            scale = 1e-4 if self.dtype == torch.float32 else 5e-2
            found = logits[nodes + first].float()
            if (found - expected).abs().max() > scale * expected.abs().max().clamp(min=1):
                return False
        return True

    def prefix(self, tokens: Any) -> list[SharedPrefix]:
        """Keys and values of a prefix, a layer each; none where there are no tokens."""
        if not len(tokens):
            return []
        inputs = torch.as_tensor(tokens, device=self.device)[None]
        cache = self.model(inputs, use_cache=True, logits_to_keep=1).past_key_values
        return [SharedPrefix(layer.keys, layer.values) for layer in cache.layers]

    def read(self, batch: list[Tree], prefix: list[SharedPrefix]) -> tuple[Tensor, Ints]:
        """Logits (B, T, V) of what is read of each tree, and where in them node 0 would be, (B)."""
        lengths = np.array([len(tree.tokens) for tree in batch])
        width = int(lengths.max())
        tokens_BT = np.zeros((len(batch), width), dtype=np.int64)
        if not self.shares:
            # What stands right of a row's end cannot reach it, whatever it is.
            for index, tree in enumerate(batch):
                tokens_BT[index, : len(tree.tokens)] = tree.tokens
            inputs = torch.from_numpy(tokens_BT).to(self.device)
            return self.model(inputs).logits, np.zeros_like(lengths)
        return self._trees(batch, prefix)

    def _trees(self, batch: list[Tree], prefix: list[SharedPrefix]) -> tuple[Tensor, Ints]:
        """As `read`, padded on the left, so that what is read of each tree comes last."""
        lengths = np.array([len(tree.tokens) for tree in batch])
        width, keep = int(lengths.max()), max(tree.reads for tree in batch)
        tokens_BT = np.zeros((len(batch), width), dtype=np.int64)
        positions_BT = np.zeros_like(tokens_BT)
        for index, tree in enumerate(batch):
            tokens_BT[index, width - len(tree.tokens) :] = tree.tokens
            positions_BT[index, width - len(tree.tokens) :] = tree.positions
        before = prefix[0].get_seq_length() if prefix else 0
        mask = None
        if before or (lengths < width).any() or any(tree.seen is not None for tree in batch):
            mask = additive(_seen(batch, before, width), self.dtype)
        cache = Cache(layers=prefix) if prefix else None
        tokens, positions = torch.from_numpy(tokens_BT), torch.from_numpy(positions_BT)
        return self.logits(tokens, positions, mask, cache, keep), keep - lengths

    def logits(
        self,
        tokens_BT: Tensor,
        positions_BT: Tensor,
        mask_B1TS: Tensor | None,
        cache: Cache | None,
        keep: int,
    ) -> Tensor:
        """Logits (B, keep, V) of the last positions; the mask is causal where there is none."""
        return self.model(
            input_ids=tokens_BT.to(self.device),
            position_ids=positions_BT.to(self.device),
            attention_mask=None if mask_B1TS is None else mask_B1TS.to(self.device),
            past_key_values=cache,
            use_cache=cache is not None,
            logits_to_keep=keep,
        ).logits


def additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask to add to attention's scores, (B, 1, T, S), from one of truth values (B, T, S)."""
    mask = torch.zeros(seen.shape, dtype=dtype)
    return mask.masked_fill_(~seen, torch.finfo(dtype).min)[:, None]


def _seen(batch: list[Tree], before: int, width: int) -> Tensor:
    """What each node attends to, (B, T, S). Padding, on the left, attends to itself."""
    seen = np.zeros((len(batch), width, before + width), dtype=np.bool_)
    seen[:, :, :before] = True
    diagonal = np.arange(width)
    seen[:, diagonal, before + diagonal] = True
    for index, tree in enumerate(batch):
        nodes = len(tree.tokens)
        own = np.tri(nodes, dtype=np.bool_) if tree.seen is None else tree.seen
        seen[index, width - nodes :, before + width - nodes :] = own
    return torch.from_numpy(seen)
