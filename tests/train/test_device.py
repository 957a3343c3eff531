import pytest
import torch

from attnres_eval.study import Recipe
from attnres_eval.train import device
from attnres_eval.train.device import choose_compile, choose_precision, peak_memory

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("native", "d_model", "expected"),
    [(True, 512, "bf16"), (True, 32, "fp32"), (False, 512, "fp32")],
)
def test_auto_precision_is_bf16_where_that_is_faster(
    native: bool, d_model: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "multiplies_bf16", lambda where: native)
    assert choose_precision(Recipe(), d_model, CPU) == expected
    assert choose_precision(Recipe(precision="bf16"), d_model, CPU) == "bf16"
    assert choose_precision(Recipe(precision="fp32"), d_model, CPU) == "fp32"


def test_auto_compiles_only_long_runs() -> None:
    assert not choose_compile(Recipe(), seconds=60)
    assert choose_compile(Recipe(), seconds=36_000)
    assert choose_compile(Recipe(compile=True), seconds=1)
    assert not choose_compile(Recipe(compile=False), seconds=36_000)


def test_peak_memory_notices_an_allocation() -> None:
    device.reset_peak_memory(CPU)  # an earlier test may have needed more
    before = peak_memory(CPU)
    ballast = torch.ones(64 * 2**20)
    assert peak_memory(CPU) - before > 200 * 2**20
    del ballast


def test_peak_memory_starts_anew() -> None:
    ballast = torch.ones(128 * 2**20)
    with_ballast = peak_memory(CPU)
    del ballast
    device.reset_peak_memory(CPU)
    assert peak_memory(CPU) < with_ballast - 200 * 2**20
