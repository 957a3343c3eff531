"""What a peer is, and how it trains: the same step as ours around its own model."""

import importlib
import importlib.metadata
import itertools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch._dynamo.config as dynamo
from torch import Tensor, nn

from attnres_eval.bench.ours import batch
from attnres_eval.bench.rounds import Turn
from attnres_eval.bench.sizes import TOKENS_A_STEP
from attnres_eval.shape import ModelShape
from attnres_eval.study import Recipe

LossOf = Callable[[Tensor], Tensor]
"""Token ids (B, T + 1) to the mean loss of the next tokens."""
LEARNING_RATE = 1e-3
COMPILED_AT_MOST = 256
"""Models that one process may compile."""


class AbsentPeer(Exception):
    """A peer's package is not installed."""


@dataclass(frozen=True)
class Peer:
    """A public implementation that ours is compared with.

    Args:
        name: what rows call it.
        package: whose version is stated.
        build: makes the model and its loss, given a shape and one of `attention`.
        attention: its implementations of attention, of which the fastest counts.
        compiled: whether its loss is compiled as a whole.
    """

    name: str
    package: str
    build: Callable[[ModelShape, str], tuple[nn.Module, LossOf]]
    attention: tuple[str, ...] = ("own",)
    compiled: bool = False

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.name} ({self.package} {importlib.metadata.version(self.package)})"

    def settings(self, precisions: list[str]) -> list[tuple[str, str]]:
        """Every pair of precision and attention."""
        return list(itertools.product(precisions, self.attention))


def package(module: str) -> Any:
    """A peer's module.

    Raises:
        AbsentPeer: its package is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except ImportError:
        raise AbsentPeer(module) from None


def peer_step(
    peer: Peer, shape: ModelShape, precision: str, attention: str, tokens: int = TOKENS_A_STEP
) -> Turn:
    """One training step of a peer: loss, gradients, clipping and fused AdamW, as ours does them.

    Raises:
        AbsentPeer: its package is not installed.
    """
    torch.manual_seed(0)
    model, loss_of = peer.build(shape, attention)
    recipe = Recipe()
    parameters = list(model.parameters())
    groups = [
        {
            "params": [p for p in parameters if p.ndim >= 2],
            "weight_decay": recipe.weight_decay,
        },
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=recipe.betas, fused=True)
    if peer.compiled:
        # One function for every size and setting: beyond its limit torch would run it uncompiled.
        dynamo.recompile_limit = max(dynamo.recompile_limit, COMPILED_AT_MOST)
        loss_of = torch.compile(loss_of, fullgraph=True, dynamic=False)
    tokens_BT = batch(shape, tokens)

    def step() -> float:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            loss = loss_of(tokens_BT)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, recipe.grad_clip).item()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return float(loss.item())

    return step
