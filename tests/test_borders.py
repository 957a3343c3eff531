"""Imports follow the order of the rooms, and tables open without torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import attnres_eval

PACKAGE = Path(attnres_eval.__file__).parent
ORDER = [
    {"errors", "shape"},
    {"files", "variants"},
    {"cost"},
    {"study", "records", "reference", "catalogue"},
    {"estimate", "reasoning"},
    {"data"},
    {"model"},
    {"train"},
    {"evaluate"},
    {"inspection"},
    {"sweep"},
    {"analysis"},
    {"report"},
    {"cli"},
]
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
TORCH_FREE = [
    "cli",
    "cost",
    "catalogue",
    "study",
    "records",
    "estimate",
    "reasoning",
    "data.prepare",
    "data.batches",
    "sweep.plan",
    "analysis.tables",
    "analysis.depth",
    "analysis.paper",
    "report.build",
    "report.inspected",
    "report.paper",
]


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def forbidden(source: str, room: str) -> list[str]:
    """Rooms that a module of `room` imports and must not know."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "attnres_eval" and len(parts) > 1:
                other = parts[1]
                same_or_earlier = other == room or RANK[other] < RANK[room]
                if not same_or_earlier:
                    found.append(name)
    return found


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in sorted(PACKAGE.rglob("*.py"))
        if room_of(path) not in {"__init__", "__main__"}
    ],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_a_room_knows_only_those_before_it(path: Path) -> None:
    # `torch`-free files of a later room may be imported by the command line alone.
    assert forbidden(path.read_text(encoding="utf-8"), room_of(path)) == []


def test_the_border_can_be_crossed() -> None:
    assert forbidden("from attnres_eval.report.build import x", "train") == [
        "attnres_eval.report.build"
    ]
    assert forbidden("import attnres_eval.cli", "report") == ["attnres_eval.cli"]
    assert forbidden("from attnres_eval.study import Study", "train") == []


@pytest.mark.parametrize("module", TORCH_FREE)
def test_opens_without_torch(module: str) -> None:
    code = (
        f"import sys, attnres_eval.{module};"
        "assert not {'torch', 'lm_eval', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_torch_test_can_fail() -> None:
    code = "import sys, attnres_eval.train.loop; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert b"AssertionError" in done.stderr
