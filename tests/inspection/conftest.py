import random
from collections.abc import Iterator

import pytest

from attnres_eval.data.prepare import prepare
from attnres_eval.records import RunFolder
from attnres_eval.study import RunConfig, Study
from attnres_eval.train.loop import train


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, cache: None) -> RunFolder:
    """A run of two blocks, trained for a few steps; not to be written to."""
    folder = tmp_path_factory.mktemp("inspection")
    choice = random.Random(0).choice
    text = folder / "text.txt"
    text.write_text(" ".join(choice(["red", "green", "blue", "then"]) for _ in range(20_000)))
    study = Study.model_validate(
        {
            "name": "tiny",
            "variants": {"prenorm": None, "full_attnres": None},
            "sizes": {"d16": {"d_model": 16, "n_layers": 2, "n_heads": 1}},
            "seeds": [0],
            "data": {"corpora": {f"file:{text}": 1.0}, "vocab_size": 280},
            "recipe": {
                "context": 32,
                "batch_sequences": 4,
                "tokens_per_parameter": 0.3,
                # As inspections compute.
                "precision": "fp32",
            },
        }
    )
    run = RunFolder(folder / "runs" / "full_attnres-d16-s0")
    config: RunConfig = study.run("full_attnres", "d16", 0)
    train(config, run, prepare(config.data))
    return run


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATTNRES_EVAL_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        yield
