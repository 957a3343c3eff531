"""Log-likelihoods of continuations, what rows have in common being computed once."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from attnres_eval.evaluate.network import Network
from attnres_eval.evaluate.trees import Ints, Row, Tree, batches, plan

LOGITS = 2**25
"""Logits held at once: 128 MiB of fp32."""


@torch.inference_mode()
def log_likelihoods(
    network: Network, inputs: Sequence[Ints], targets: Sequence[Ints], tokens: int
) -> list[tuple[float, bool]]:
    """The sum (nats) over each target's tokens, and whether each is the likeliest.

    Args:
        network: the model.
        inputs: tokens put in; the last as many predict the target.
        targets: tokens scored, no more than there are inputs.
        tokens: of a forward pass at most, padding included; one tree is always taken.
    """
    requests: dict[bytes, list[int]] = {}
    for index, row in enumerate(inputs):
        if len(targets[index]):
            requests.setdefault(row.tobytes(), []).append(index)
    members = list(requests.values())
    rows = [
        Row(inputs[same[0]], max(len(targets[index]) for index in same), key)
        for key, same in enumerate(members)
    ]
    results = [(0.0, True)] * len(inputs)
    reads = max(1, LOGITS // network.vocab_size)
    for group in plan(rows, share=network.shares) if rows else []:
        prefix = network.prefix(group.prefix)
        for batch in batches(group.trees, tokens if network.shares else min(tokens, reads), reads):
            owners, places, wanted = _wanted(batch, members, targets)
            logits_BTV, first_B = network.read(batch, prefix)
            places[1] += first_B[places[0]]
            sums, likeliest = _score(logits_BTV, places, wanted, [len(targets[i]) for i in owners])
            for index, total, greedy in zip(owners, sums, likeliest, strict=True):
                results[index] = total, greedy
    return results


def _wanted(
    batch: Sequence[Tree], members: Sequence[Sequence[int]], targets: Sequence[Ints]
) -> tuple[list[int], Ints, Ints]:
    """The requests of a batch; (tree, node) of each token that they read, (2, n); the token."""
    owners, trees, nodes, tokens = [], list[Ints](), list[Ints](), list[Ints]()
    for index, tree in enumerate(batch):
        for row, path in tree.rows:
            for owner in members[row.key]:
                length = len(targets[owner])
                owners.append(owner)
                trees.append(np.full(length, index))
                nodes.append(path[len(path) - length :])
                tokens.append(targets[owner])
    return owners, np.stack([np.concatenate(trees), np.concatenate(nodes)]), np.concatenate(tokens)


def _score(
    logits_BTV: Tensor, places: Ints, wanted: Ints, lengths: Sequence[int]
) -> tuple[list[float], list[bool]]:
    """Sums over stretches of `lengths` tokens, and whether all of a stretch are the likeliest."""
    tree, node = torch.from_numpy(places).to(logits_BTV.device)
    token = torch.from_numpy(wanted).to(logits_BTV.device)
    logits_BTV = logits_BTV.float()
    picked = logits_BTV[tree, node, token]
    top_BT1, argmax_BT1 = logits_BTV.max(dim=-1, keepdim=True)
    # In place: these are by far the largest tensors of a pass.
    normaliser_BT = logits_BTV.sub_(top_BT1).exp_().sum(dim=-1).log_() + top_BT1[..., 0]
    logs = (picked - normaliser_BT[tree, node]).double().cpu().numpy()
    hits = (argmax_BT1[tree, node, 0] == token).cpu().numpy()
    starts = np.cumsum([0, *lengths[:-1]])
    return np.add.reduceat(logs, starts).tolist(), np.logical_and.reduceat(hits, starts).tolist()
