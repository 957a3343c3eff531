"""Imports follow the order of the rooms; help and tables open without what they do not need."""

import ast
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fabricate import fabricate

import attnres_eval
from attnres_eval.sweep.parts import claim_parts

PACKAGE = Path(attnres_eval.__file__).parent
ORDER = [
    {"errors", "interrupt", "processor", "shape"},
    {"files", "hardware", "pipeline_cost", "variants"},
    {"cost", "kept", "labels"},
    {"memory"},
    {"study", "records", "reference", "catalogue"},
    {"estimate", "lock", "reasoning", "study_file"},
    {"data"},
    {"model"},
    {"train"},
    {"evaluate"},
    {"inspection"},
    {"sweep"},
    {"watch"},
    {"track"},
    {"analysis"},
    {"report"},
    {"bench", "reproduce"},
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
    "processor",
    "reasoning",
    "data.prepare",
    "data.batches",
    "hardware",
    "memory",
    "pipeline_cost",
    "sweep.plan_command",
    "sweep.choose",
    "sweep.ray_executor",
    "sweep.storage",
    "watch.command",
    "track.child",
    "track.tracking",
    "analysis.tables",
    "analysis.depth",
    "analysis.paper",
    "report.build",
    "report.command",
    "report.export",
    "report.inspected",
    "report.paper",
    "bench.command",
    "bench.figures",
    "bench.readme",
]

HEAVY = {
    *(
        "altair",
        "datasets",
        "jinja2",
        "lm_eval",
        "markdown_it",
        "matplotlib",
        "numpy",
        "pandas",
        "pyarrow",
    ),
    *("pydantic", "rich.console", "scipy", "tokenizers", "torch", "transformers", "vl_convert"),
    "yaml",
}
"""Modules without which help is printed: any of them takes a good part of its time."""
NEVER_FOR_TABLES = {"torch", "lm_eval", "transformers"}


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


def imported_by(*arguments: str | Path, code: int = 0) -> set[str]:
    """All modules of a process that ran one command, which ends with the exit code."""
    script = (
        "import sys\n"
        "from attnres_eval import cli\n"
        "try: cli.main()\n"
        "finally: modules = list(sys.modules); import json; print(json.dumps(modules))"
    )
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_help_imports_little() -> None:
    assert not HEAVY & imported_by("--help")


def test_plan_report_and_export_import_no_torch(
    fabricated: Callable[..., Path], tmp_path: Path
) -> None:
    results = fabricated()
    parts = tmp_path / "parts"
    claim_parts(parts, "mine", ["ladder"])
    fabricate(parts / "ladder", random_seed=1)
    for arguments in (
        ("plan", "quick"),
        ("plan", "paper-scale", "--hardware", "h100x64"),
        ("plan", "paper-scale", "--hardware", "h100x64", "--table", "totals"),
        ("plan", "quick", "--hardware", "h100x8", "--slurm", "--out", "results"),
        ("watch", results, "--once"),
        ("report", results),
        ("report", results, parts, "--out", tmp_path / "both"),
        ("export", results, "--table", "multipliers", "--format", "json"),
        ("export", results, "--figures", "pdf", "--style", "paper"),
    ):
        assert not NEVER_FOR_TABLES & imported_by(*arguments), arguments


def test_the_tests_of_commands_can_fail() -> None:
    assert {"pandas", "numpy", "pydantic"} <= HEAVY & imported_by("plan", "smoke")
    assert "torch" in imported_by("inspect", "absent", code=2)
