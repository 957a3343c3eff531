from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


@pytest.fixture(scope="session")
def s3() -> Iterator[dict[str, str]]:
    """The surroundings in which s3:// is moto's server; empty where it is not installed."""
    try:
        import s3fs  # noqa: F401
        from moto.server import ThreadedMotoServer
    except ImportError:
        yield {}
        return
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    server.stop()


@pytest.fixture
def bucket(s3: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A bucket of its own for each test, as fsspec's driver with its name in `bucket`."""
    if not s3:
        pytest.skip("needs s3fs and moto[server]: pip install 'attnres-eval[dev]'")
    import s3fs

    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    driver = s3fs.S3FileSystem(use_listings_cache=False)
    driver.bucket = f"b{abs(hash(tmp_path)):x}"
    driver.mkdir(driver.bucket)
    yield driver
    s3fs.S3FileSystem.clear_instance_cache()


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
