"""Several processes compute what one does: losses, gradients, and so everything after them."""

import json
from pathlib import Path

import battery
import pytest
import torch
from battery import Case, cases_of
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
    by_torchrun = said.index("torch/distributed/elastic/")
    *_, line, _ = said[:by_torchrun].splitlines()
    assert line == "error: rank 1 fails"
    assert said.count("error: ") == 1
    assert "exitcode  : 2" in said


@pytest.mark.parametrize("case", cases_of(2), ids=lambda case: case.name)
def test_two_processes_compute_what_one_does(case: Case, by_two: Path) -> None:
    compare(case, by_two, ranks=2)


@pytest.mark.slow
def test_three_processes_compute_what_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    # A pipeline's middle stage, rows of a batch that is no power of two.
    torchrun(battery.__file__, str(tmp_path), code=1, processes=3)
    for case in cases_of(3):
        compare(case, tmp_path, ranks=3)


def compare(case: Case, found: Path, ranks: int) -> None:
    """Checks what each rank found against what one process computes here."""
    numbers, gradients = battery.computed(case, ALONE)
    # Muon makes its updates in bf16, and sums them in another order where they are sharded.
    coarse = ("optimizer", "muon") in case.recipe or ("precision", "bf16") in case.machine
    rounding, of_gradients = (5e-3, 0.05) if coarse else (1e-5, 1e-3)
    others: dict[str, torch.Tensor] = {}
    for rank in range(ranks):
        theirs = json.loads((found / f"{case.name}.{rank}.json").read_text())
        torch.testing.assert_close(
            torch.tensor(theirs), torch.tensor(numbers), rtol=rounding, atol=0
        )
        for name, gradient in load_file(found / f"{case.name}.{rank}.safetensors").items():
            assert torch.equal(others.setdefault(name, gradient), gradient), "ranks differ"
    assert others.keys() == gradients.keys()
    off = {
        name: ((others[name] - gradient).abs().max() / gradient.abs().max()).item()
        for name, gradient in gradients.items()
    }
    assert max(off.values()) < of_gradients, max(off, key=off.__getitem__)


@pytest.mark.parametrize(
    ("recipe", "size", "message"),
    [
        ({"batch_sequences": 3}, 2, "batch_sequences 3 does not divide among 2 processes"),
        ({"batch_sequences": 8, "micro_batch_sequences": 3}, 2, "divide the 4 that each of 2"),
        ({"batch_sequences": 8, "micro_batch_sequences": 3}, 1, "divide the 8 that each of 1"),
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
