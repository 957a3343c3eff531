from pathlib import Path

import pytest

from attnres_eval.data.prepare import cache_folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "text.txt"
    path.write_text("\n\n".join(f"line {i} says {i * i % 97} to line {i + 1}" for i in range(2000)))
    return path


@pytest.fixture(scope="session")
def tests_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_cache(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def cache(tests_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTNRES_EVAL_CACHE", str(tests_cache))


@pytest.fixture
def another_cache(tmp_path: Path) -> Path:
    """What `$ATTNRES_EVAL_CACHE` is on a machine that has done nothing yet."""
    return new_cache(tmp_path / "another_cache")


def new_cache(folder: Path) -> Path:
    """An empty cache, but for the kernels: to compile them takes half a minute."""
    kernels = cache_folder() / "kernels"
    kernels.mkdir(parents=True, exist_ok=True)
    folder.mkdir(exist_ok=True)
    (folder / "kernels").symlink_to(kernels.resolve())
    return folder
