"""A study that trains in seconds, an executor that runs its jobs in this process, a full disk."""

import contextlib
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_study

from attnres_eval.study import Study


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
        own = {
            "context": 32,
            "batch_sequences": 2,
            "tokens_per_parameter": 0.3,
            "log_every": 1,
            "checkpoint_every": 10,
            "precision": "fp32",
        }
        return tiny_study.tiny(corpus, recipe=own | (recipe or {}), **changes)

    return make


@pytest.fixture
def here() -> tiny_study.Here:
    return tiny_study.Here()


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
