"""The command: what it prints, what it refuses in one line, what it writes."""

import json
import math
import sys
from pathlib import Path

import pytest

from attnres_eval import cli
from attnres_eval.bench import command, sections
from attnres_eval.bench.plan import Plan
from attnres_eval.bench.rounds import Measured
from attnres_eval.bench.rows import Row, measured_row
from attnres_eval.bench.sections import SECTIONS, Section


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["attnres-eval", "bench", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def quick(self: Section, plan: Plan) -> list[Row]:
    return [
        measured_row(
            self.name, f"{name} over prenorm", size, Measured(1.5, 0.1), rounds=plan.rounds
        )
        for size in plan.sizes
        for name in plan.variants
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--section", "step"], "did you mean steps"),
        (["--variants", "blok_attnres"], "did you mean block_attnres"),
        (["--size", "big"], "size 'big'"),
        (["--size", "d18x2", "--variants", "frac_connections"], "frac_connections at size d18x2"),
        (["--section", "worth", "--results", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    # What is wrong is found before anything is measured.
    monkeypatch.delattr(sections.Section, "measure")
    code, out, err = run(monkeypatch, capsys, *arguments)
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert (code, out, len(errors)) == (2, "", 1)
    assert message in errors[0]


def test_json_has_every_field_and_the_file_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(sections.Section, "measure", quick)
    arguments = ["--section", "steps", "--size", "d16x4", "--variants", "block_attnres"]
    code, out, err = run(
        monkeypatch, capsys, *arguments, "--format", "json", "--out", str(tmp_path)
    )
    assert code == 0
    (row,) = json.loads(out)
    assert list(row)[:7] == ["quantity", "size", "value", "aim", "met", "spread", "peer"]
    assert row["torch"]
    assert "minutes" in err
    assert json.loads((tmp_path / "speed.json").read_text()) == [row]
    assert "block_attnres over prenorm" in (tmp_path / "README.md").read_text()


def test_a_section_of_its_own_keeps_the_other_sections_rows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sections.Section, "measure", quick)
    for section in ("steps", "memory"):
        command.run_bench(
            "block_attnres", "d16x4", section, rounds=2, out=tmp_path, say=lambda _: None
        )
    rows = json.loads((tmp_path / "speed.json").read_text())
    assert [row["section"] for row in rows] == ["steps", "memory"]


def test_a_real_section_from_end_to_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(
        monkeypatch,
        capsys,
        *("--section", "steps", "--size", "d16x4", "--variants", "block_attnres"),
        *("--rounds", "2", "--format", "json"),
    )
    assert code == 0
    step, rate = json.loads(out)
    assert step["quantity"] == "training step, block_attnres over prenorm"
    assert (step["size"], step["threads"], step["rounds"]) == ("d16x4", 1, 2)
    assert step["value"] > 0
    assert rate["quantity"].endswith("tokens per second")


def test_time_is_estimated_by_sections_sizes_and_rounds() -> None:
    plan = Plan(say=lambda _: None)
    one = command.minutes([SECTIONS["steps"]], plan)
    assert one == SECTIONS["steps"].minutes
    half = Plan(say=lambda _: None, sizes=plan.sizes[:2])
    assert command.minutes([SECTIONS["steps"]], half) == one / 2
    assert command.minutes([SECTIONS["growth"]], half) == SECTIONS["growth"].minutes


def test_a_quick_look_is_not_drawn_out() -> None:
    assert Plan(say=lambda _: None).seconds > 0
    assert Plan(say=lambda _: None, rounds=10).seconds == 0


def test_rounds_that_were_asked_for_are_not_cut_short() -> None:
    usual = Plan(say=lambda _: None)
    assert usual.seconds < usual.most < math.inf
    assert Plan(say=lambda _: None, rounds=usual.rounds + 1).most == math.inf


@pytest.mark.parametrize("name", SECTIONS)
def test_every_section_has_a_module(name: str) -> None:
    import importlib

    assert callable(importlib.import_module(f"attnres_eval.bench.{name}").measure)
