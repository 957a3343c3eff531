"""bf16 products by the processor's matrix tiles: the values of those without, up to rounding."""

import ctypes
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from attnres_eval.model.kernels.build import compiler

# Tokens, widths and contexts that leave rest rows, rest units and narrow panels.
CODE = """
import sys, torch
from safetensors.torch import save_file
from attnres_eval.model.kernels import ops
torch.manual_seed(0)
found = {}
def keep(name, y, inputs):
    if y is None:
        return
    y.float().square().sum().backward()
    for key, value in {"y": y, **{f"d{i}": x.grad for i, x in enumerate(inputs)}}.items():
        found[f"{name}.{key}"] = value.detach().float().contiguous()
def made(*shape):
    return torch.randn(*shape, requires_grad=True)
with torch.autocast("cpu", dtype=torch.bfloat16):
    for tokens, inside, outside in [(200, 72, 72), (137, 70, 100), (64, 34, 40), (9, 96, 20)]:
        x, w = made(tokens, inside), made(outside, inside)
        keep(f"linear-{tokens}", ops.linear(x, None, w), [x, w])
        x, gain = made(tokens, inside), made(inside)
        up, down = made(2 * outside, inside), made(inside, outside)
        keep(f"mlp-{tokens}", ops.mlp(x, gain, up, down), [x, gain, up, down])
save_file(found, sys.argv[1])
"""


def have_tiles() -> bool:
    """Whether processor and kernel give this process tiles: arch_prctl (158), XTILEDATA (18)."""
    info = Path("/proc/cpuinfo")
    if platform.machine() != "x86_64" or not info.exists() or "amx_bf16" not in info.read_text():
        return False
    return ctypes.CDLL(None).syscall(158, 0x1023, 18) == 0


def values(path: Path, tiles: str) -> dict[str, torch.Tensor]:
    environment = {**os.environ, "ATTNRES_EVAL_TILES": tiles, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", CODE, str(path)], env=environment, check=True)
    return load_file(path)


@pytest.mark.skipif(compiler() is None, reason="no C++ compiler")
@pytest.mark.skipif(not have_tiles(), reason="no matrix tiles (AMX) on this machine")
def test_tiles_give_the_values_of_vectors(tmp_path: Path) -> None:
    without, by_tiles = values(tmp_path / "0", "0"), values(tmp_path / "1", "1")
    assert len(without) == 4 * (3 + 5)
    assert without.keys() == by_tiles.keys()
    for name, wanted in without.items():
        error = (by_tiles[name] - wanted).norm() / wanted.norm()
        assert error < 2e-3, name
    # Sums in another order: a sign that the tiles were used at all.
    assert any(not torch.equal(by_tiles[name], wanted) for name, wanted in without.items())
