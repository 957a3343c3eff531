"""bf16 products by the processor's matrix tiles: the values of those without, up to rounding."""

import os
import subprocess
import sys
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from attnres_eval.model.kernels import ops
from attnres_eval.model.kernels.switch import kernels, tiles_used, use_tiles

SHAPES = [(600, 72, 72), (137, 70, 100), (64, 34, 40), (9, 96, 20), (118, 118, 118)]
"""Tokens, inner and outer widths that leave rest rows, rest units and narrow panels; the first has
so many tokens that a weight's gradient is summed in two parts, the last so many rest units (11 of
59) that they fill most of a tile."""


def results(wanted: bool) -> dict[str, Tensor]:
    """Values and gradients of products of all shapes."""
    torch.manual_seed(0)
    found: dict[str, Tensor] = {}

    def keep(name: str, y: Tensor | None, inputs: Sequence[Tensor]) -> None:
        if y is None:
            return
        y.float().square().sum().backward()
        gradients = {f"{name}.d{i}": x.grad for i, x in enumerate(inputs)}
        found.update({name: y.detach(), **gradients})

    def made(*shape: int) -> Tensor:
        return torch.randn(*shape, requires_grad=True)

    with kernels(True, wanted), torch.autocast("cpu", dtype=torch.bfloat16):
        for tokens, inside, outside in SHAPES:
            x, w = made(tokens, inside), made(outside, inside)
            keep(f"linear-{tokens}", ops.linear(x, None, w), [x, w])
            x, gain = made(tokens, inside), made(inside)
            up, down = made(2 * outside, inside), made(inside, outside)
            keep(f"mlp-{tokens}", ops.mlp(x, gain, up, down), [x, gain, up, down])
    return {name: value.float() for name, value in found.items()}


@pytest.mark.usefixtures("tiles")
def test_tiles_give_the_values_of_vectors() -> None:
    without, by_tiles = results(False), results(True)
    assert len(without) == len(SHAPES) * (3 + 5)
    assert without.keys() == by_tiles.keys()
    for name, wanted in without.items():
        error = (by_tiles[name] - wanted).norm() / wanted.norm()
        assert error < 2e-3, name
    # Sums in another order: a sign that the tiles were used at all.
    assert any(not torch.equal(by_tiles[name], wanted) for name, wanted in without.items())


@pytest.mark.usefixtures("tiles")
def test_a_setting_inside_is_put_back() -> None:
    for outside in (True, False):
        use_tiles(outside)
        for inside in (True, False):
            with kernels(True, inside):
                assert tiles_used() is inside
            assert tiles_used() is outside
        with kernels(True):
            assert tiles_used() is outside


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize(("setting", "used"), [("0", False), ("1", True), (None, True)])
def test_they_are_used_unless_the_environment_says_no(setting: str | None, used: bool) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "ATTNRES_EVAL_TILES"}
    if setting is not None:
        environment["ATTNRES_EVAL_TILES"] = setting
    code = "from attnres_eval.model.kernels.switch import tiles_used; print(tiles_used())"
    said = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    assert said.stdout.strip() == str(used)
