import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from attnres_eval.data.prepare import PreparedData, cache_folder, prepare
from attnres_eval.study import RunConfig, Study


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of sentences with some order in them, enough for a few hundred steps."""
    choice = random.Random(0).choice
    nouns, verbs = ["cat", "dog", "bird", "child", "tree"], ["sees", "hears", "likes", "finds"]
    lines = [f"the {choice(nouns)} {choice(verbs)} the {choice(nouns)} again" for _ in range(4000)]
    path = tmp_path_factory.mktemp("corpus") / "lines.txt"
    path.write_text("\n\n".join(" ".join(lines[i : i + 8]) for i in range(0, 4000, 8)))
    return path


MakeRun = Callable[..., RunConfig]


@pytest.fixture(scope="session")
def make_run(corpus: Path) -> MakeRun:
    """Builds the configuration of a small run; keywords change its recipe."""

    def make(variant: str = "prenorm", seed: int = 0, **recipe: Any) -> RunConfig:
        study = Study.model_validate(
            {
                "name": "tiny",
                "variants": {"prenorm": None, variant: None},
                "sizes": {"d16": {"d_model": 16, "n_layers": 4, "n_heads": 2}},
                "seeds": [seed],
                "data": {
                    "corpora": {f"file:{corpus}": 1.0},
                    "vocab_size": 300,
                    "validation_tokens": 1024,
                },
                "recipe": {
                    "context": 32,
                    "batch_sequences": 4,
                    "tokens_per_parameter": 0.3,
                    "learning_rate": 0.01,
                    "log_every": 2,
                    "checkpoint_every": 7,
                    "precision": "fp32",
                }
                | recipe,
            }
        )
        return study.run(variant, "d16", seed)

    return make


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of its own for data; kernels are the user's, since compiling them takes 20 s."""
    folder = tmp_path_factory.mktemp("cache")
    kernels = cache_folder() / "kernels"
    kernels.mkdir(parents=True, exist_ok=True)
    (folder / "kernels").symlink_to(kernels)
    return folder


@pytest.fixture(scope="session")
def data(make_run: MakeRun, cache: Path) -> PreparedData:
    return prepare(make_run().data, cache)
