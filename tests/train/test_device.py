import subprocess
import sys
from collections.abc import Callable

import pytest
import torch

from attnres_eval.study import Recipe, RunConfig
from attnres_eval.train import device
from attnres_eval.train.device import choose_compile, choose_precision, describe_machine

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("native", "kernels", "d_model", "expected"),
    [
        (True, False, 512, "bf16"),
        (True, False, 32, "fp32"),
        (True, True, 32, "bf16"),
        (False, True, 512, "fp32"),
    ],
)
def test_auto_precision_is_bf16_where_that_is_faster(
    native: bool, kernels: bool, d_model: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "multiplies_bf16", lambda where: native)
    assert choose_precision(Recipe(), d_model, CPU, kernels) == expected
    assert choose_precision(Recipe(precision="bf16"), d_model, CPU, kernels) == "bf16"
    assert choose_precision(Recipe(precision="fp32"), d_model, CPU, kernels) == "fp32"


@pytest.mark.parametrize("kernels", [True, False])
def test_auto_compiles_only_long_runs_without_kernels(
    kernels: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "available", lambda where: kernels)
    assert not choose_compile(Recipe(), 10**6, 60, CPU)
    assert choose_compile(Recipe(), 10, 36_000, CPU) is not kernels
    assert choose_compile(Recipe(compile=True), 1, 1, CPU)
    assert not choose_compile(Recipe(compile=False), 10**6, 36_000, CPU)


def test_auto_counts_the_steps_of_an_accelerator() -> None:
    assert not choose_compile(Recipe(), 100, 36_000, GPU)
    assert choose_compile(Recipe(), 10_000, 60, GPU)
    assert not choose_compile(Recipe(compile=False), 10_000, 60, GPU)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("installed", [True, False])
def test_the_record_of_a_gpu_says_whether_the_package_computes(
    installed: bool,
    compiled: bool,
    make_run: Callable[..., RunConfig],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "attnres_eval.model.residuals.flash.package", object() if installed else None
    )
    monkeypatch.setattr(device, "processor_name", lambda where: "a GPU")
    monkeypatch.setattr(device, "multiplies_bf16", lambda where: True)
    machine = describe_machine(make_run(compile=compiled, precision="auto"), GPU, 1.0)
    assert (machine.device, machine.precision) == ("cuda", "bf16")
    assert (machine.kernels, machine.compiled) == (installed, compiled)


def in_a_fresh_process(code: str) -> list[int]:
    """Prints of code that reads its own peak memory.

    The test's own process holds what earlier tests left, which the system may take back at any
    moment: that hides an allocation made in the same moment.
    """
    head = "import torch; from attnres_eval.train.device import *; cpu = torch.device('cpu')\n"
    done = subprocess.run(
        [sys.executable, "-c", head + code], capture_output=True, text=True, check=True
    )
    return [int(word) for word in done.stdout.split()]


def test_peak_memory_notices_an_allocation() -> None:
    before, after = in_a_fresh_process(
        "print(peak_memory(cpu)); ballast = torch.ones(256 * 2**20); print(peak_memory(cpu))"
    )
    assert after - before > 512 * 2**20


def test_peak_memory_starts_anew() -> None:
    before, after = in_a_fresh_process(
        "ballast = torch.ones(256 * 2**20); print(peak_memory(cpu)); del ballast\n"
        "reset_peak_memory(cpu); print(peak_memory(cpu))"
    )
    assert after < before - 512 * 2**20
