"""Several processes compute what one does: losses, gradients, and so everything after them."""

import json
from pathlib import Path

import battery
import pytest
import torch
from battery import CASES, Case
from safetensors.torch import load_file
from torchrun import torchrun

from attnres_eval.train.ranks import ALONE


@pytest.fixture(scope="module")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes computed of every case."""
    out = tmp_path_factory.mktemp("battery")
    torchrun(battery.__file__, str(out))
    return out


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_two_processes_compute_what_one_does(case: Case, by_two: Path) -> None:
    numbers, gradients = battery.computed(case, ALONE)
    # Muon makes its updates in bf16, and sums them in another order where they are sharded.
    rounding = 1e-2 if ("optimizer", "muon") in case.recipe else 1e-5
    found = torch.tensor(json.loads((by_two / f"{case.name}.json").read_text()))
    torch.testing.assert_close(found, torch.tensor(numbers), rtol=rounding, atol=0)
    others = load_file(by_two / f"{case.name}.safetensors")
    assert others.keys() == gradients.keys()
    off = {
        name: ((others[name] - gradient).abs().max() / gradient.abs().max()).item()
        for name, gradient in gradients.items()
    }
    assert max(off.values()) < 50 * rounding, max(off, key=off.__getitem__)
