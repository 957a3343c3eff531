"""The compiled library: built once, quietly, and done without where it cannot be built."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from attnres_eval.model.kernels.build import compiler

CODE = """
import torch
from attnres_eval.model.kernels import ops
y = ops.linear(torch.ones(200, 4), None, torch.ones(3, 4))
print("plain" if y is None else y.sum().item())
"""


def run(cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CODE],
        env={**os.environ, "ATTNRES_EVAL_CACHE": str(cache), **environment},
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.mark.skipif(compiler() is None, reason="no C++ compiler")
def test_built_once_and_quietly(tmp_path: Path) -> None:
    first = run(tmp_path)
    assert (first.stdout.strip(), first.stderr) == ("2400.0", "")
    (library,) = (tmp_path / "kernels").iterdir()
    written = library.stat().st_mtime_ns
    assert run(tmp_path).stdout == first.stdout
    assert [library] == list((tmp_path / "kernels").iterdir())
    assert library.stat().st_mtime_ns == written


@pytest.mark.parametrize(
    "environment", [{"CXX": "no-such-compiler"}, {"ATTNRES_EVAL_KERNELS": "0"}]
)
def test_plain_torch_without_it(tmp_path: Path, environment: dict[str, str]) -> None:
    done = run(tmp_path, **environment)
    assert (done.stdout.strip(), done.stderr) == ("plain", "")
    assert not (tmp_path / "kernels").exists()


def test_a_build_that_fails_is_told_in_a_line(tmp_path: Path) -> None:
    done = run(tmp_path, CXX="false")
    assert done.stdout.strip() == "plain"
    (line,) = done.stderr.splitlines()
    assert line.startswith("the compiled kernels could not be built (exit code 1); plain torch")
    assert not list((tmp_path / "kernels").iterdir())


@pytest.mark.skipif(compiler() is None, reason="no C++ compiler")
def test_a_damaged_library_is_built_again(tmp_path: Path) -> None:
    run(tmp_path)
    (library,) = (tmp_path / "kernels").iterdir()
    library.write_bytes(b"not a library")
    assert run(tmp_path).stdout.strip() == "2400.0"
    assert library.stat().st_size > 10_000
