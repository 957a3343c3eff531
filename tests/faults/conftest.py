"""A study that trains in seconds, and an executor that runs its jobs in this process."""

import contextlib
import resource
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from attnres_eval.study import Study, parse_study
from attnres_eval.sweep.executor import Job, Outcome, _attempt


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "text.txt"
    path.write_text("\n\n".join(f"line {i} says {i * i % 97} to line {i + 1}" for i in range(2000)))
    return path


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Prepared data of all tests here, which worker processes find by the environment."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATTNRES_EVAL_CACHE", str(folder))
        yield folder


MakeStudy = Callable[..., Study]


@pytest.fixture
def tiny(corpus: Path, cache: Path) -> MakeStudy:
    """Makes a study of two runs of 49 steps; keywords change its parts."""

    def make(recipe: dict[str, Any] | None = None, **changes: Any) -> Study:
        values = {
            "name": "tiny",
            "variants": {"prenorm": None, "full_attnres": None},
            "sizes": {"d16": {"d_model": 16, "n_layers": 2, "n_heads": 1}},
            "seeds": [0],
            "data": {
                "corpora": {f"file:{corpus}": 1.0},
                "vocab_size": 300,
                "validation_tokens": 512,
            },
            "recipe": {
                "context": 32,
                "batch_sequences": 2,
                "tokens_per_parameter": 0.3,
                "log_every": 1,
                "checkpoint_every": 10,
                "precision": "fp32",
            }
            | (recipe or {}),
            "evaluation": {"inspection_tokens": 0, "calibration_rounds": 0},
        }
        return parse_study(yaml.safe_dump(values | changes), "tiny.yaml")

    return make


class Here:
    """Runs jobs one after another in this process; failures are what a worker reports."""

    def execute(self, jobs: Sequence[Job], tick: Callable[[], None]) -> Iterator[Outcome]:
        for job in jobs:
            value, failure = _attempt(job)
            yield Outcome(job.name, value, failure)


@pytest.fixture
def here() -> Here:
    return Here()


@contextlib.contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """As on a full disk, no file can be written beyond a size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def full_disk() -> Callable[[int], contextlib.AbstractContextManager[None]]:
    return files_up_to
