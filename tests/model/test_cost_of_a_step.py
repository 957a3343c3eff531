"""What depth attention adds to a training step, by counts: a guard of its speed without a clock."""

from collections import Counter
from typing import Any

import pytest
import torch
from cases import fresh
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from attnres_eval.model.kernels import call, depth, ops
from attnres_eval.model.kernels.build import compiler
from attnres_eval.shape import ModelShape

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler")

ROWS, CONTEXT, WIDTH = 2, 64, 32


def shape_of(n_layers: int) -> ModelShape:
    return ModelShape(
        d_model=WIDTH,
        n_layers=n_layers,
        n_heads=2,
        n_kv_heads=2,
        head_dim=16,
        d_ff=88,
        vocab_size=96,
        context=CONTEXT,
    )


class Step:
    """Counts of one training step: kernels, tensors that they were given, torch's operators."""

    def __init__(self, name: str, n_layers: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kernels: Counter[str] = Counter()
        self.whole: Counter[str] = Counter()
        """Tensors of (B, T, D) that a kernel was given, read or written."""

        def counting(name: str, kind: int, numbers: tuple[int | float, ...], *given: Any) -> None:
            self.kernels[name] += 1
            for one in given:
                for tensor in [one] if isinstance(one, Tensor) else one or []:
                    if isinstance(tensor, Tensor):
                        self.whole[name] += tensor.numel() == ROWS * CONTEXT * WIDTH
            call.call(name, kind, numbers, *given)

        for module in (ops, depth):
            monkeypatch.setattr(module, "call", counting)
        model = fresh(name, {}, shape_of(n_layers))
        read = torch.randint(96, (ROWS, CONTEXT + 1))
        model.loss(read).backward()
        self.kernels.clear()
        self.whole.clear()
        model.zero_grad()
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            model.loss(read).backward()
        self.operators = sum(
            event.count for event in profiled.key_averages() if event.key.startswith("aten::")
        )


@pytest.mark.parametrize("n_layers", [4, 8])
def test_every_sublayer_is_four_compiled_functions(
    n_layers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("prenorm", "full_attnres", "block_attnres"):
        step = Step(name, n_layers, monkeypatch)
        for function, times in (("linear", 2), ("attention", 1), ("mlp", 1)):
            for way in ("forward", "backward"):
                assert step.kernels[f"{function}_{way}"] == times * n_layers
        assert step.kernels["loss_forward"] == 1


@pytest.mark.parametrize("n_layers", [4, 8])
def test_full_attnres_reads_every_pair_once_each_way(
    n_layers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, sublayers = Step("full_attnres", n_layers, monkeypatch), 2 * n_layers
    assert step.kernels["source_forward"] == step.kernels["source_backward"] == sublayers + 1
    assert step.kernels["mix_forward"] == step.kernels["mix_backward"] == sublayers
    # Readers 1 to L have 2 to L + 1 sources, and every source gathers from all of its readers.
    pairs = sum(range(2, sublayers + 2))
    assert step.whole["mix_forward"] == pairs + sublayers
    # A source's own value and gradient; the embedding's is read by the first sublayer besides.
    assert step.whole["source_backward"] == pairs + 2 * (sublayers + 1) + 1


def test_block_attnres_reads_blocks_and_the_running_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    n_layers, blocks = 8, 8
    step, sublayers = Step("block_attnres", n_layers, monkeypatch), 2 * n_layers
    assert step.kernels["source_forward"] == step.kernels["source_backward"] == sublayers + 1
    # Two sublayers a block, whose readers have n and n + 1 sources; the first reads one alone.
    pairs = sum(n + n + 1 for n in range(1, blocks + 1)) - 1 + blocks + 1
    assert step.whole["mix_forward"] == pairs + step.kernels["mix_forward"]


@pytest.mark.parametrize("name", ["full_attnres", "block_attnres"])
def test_torch_does_little_beside(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small operators cost what their number is: so many a sublayer, whatever the depth."""
    shallow, deep = (
        Step(name, n_layers, monkeypatch).operators
        - Step("prenorm", n_layers, monkeypatch).operators
        for n_layers in (4, 12)
    )
    per_sublayer = (deep - shallow) / 16
    assert per_sublayer < 25
