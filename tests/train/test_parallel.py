"""Several processes compute what one does: losses, gradients, and so everything after them."""

import json
from pathlib import Path

import battery
import pytest
import torch
from battery import CASES, Case
from safetensors.torch import load_file
from torchrun import torchrun

from attnres_eval.errors import UserError
from attnres_eval.study import Recipe
from attnres_eval.train.parallel import micro_batches
from attnres_eval.train.ranks import ALONE, Ranks, joined


@pytest.fixture(scope="module")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes computed of every case, and what they said at their end."""
    out = tmp_path_factory.mktemp("battery")
    said = torchrun(battery.__file__, str(out), code=1)
    (out / "said").write_text(said)
    return out


def test_one_process_that_fails_ends_all_with_one_line(by_two: Path) -> None:
    said = (by_two / "said").read_text()
    by_torchrun = said.index(" torch/distributed/elastic/")
    *_, line, _ = said[:by_torchrun].splitlines()
    assert line == "error: rank 1 fails"
    assert said.count("error: ") == 1
    assert "exitcode  : 2" in said


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


@pytest.mark.parametrize(
    ("recipe", "size", "message"),
    [
        ({"batch_sequences": 3}, 2, "batch_sequences 3 does not divide among 2 processes"),
        ({"batch_sequences": 8, "micro_batch_sequences": 3}, 2, "divide the 4 sequences that each"),
        ({"batch_sequences": 8, "micro_batch_sequences": 3}, 1, "divide the 8 sequences that each"),
    ],
)
def test_batches_that_do_not_divide(recipe: dict[str, int], size: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        micro_batches(Recipe(**recipe), Ranks("ddp", 0, size))


def test_ranks_share_the_rows_of_a_batch_in_order() -> None:
    recipe = Recipe(batch_sequences=8, micro_batch_sequences=2)
    rows = [micro_batches(recipe, Ranks("fsdp", rank, 2)) for rank in range(2)]
    assert rows == [[slice(0, 2), slice(2, 4)], [slice(4, 6), slice(6, 8)]]


def test_a_process_that_torchrun_did_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with pytest.raises(UserError, match="--parallel fsdp needs processes"), joined("fsdp"):
        pass
