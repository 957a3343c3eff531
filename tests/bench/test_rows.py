"""Rows: their keys as JSON, their aims, and what a later measurement replaces."""

from dataclasses import replace
from pathlib import Path

import pytest

from attnres_eval.bench.record import FILE, by_processor, latest, merged, read_rows, write_rows
from attnres_eval.bench.rounds import Measured, once
from attnres_eval.bench.rows import Aim, Row, measured_row
from attnres_eval.errors import UserError


def row(value: float = 1.0, peer: str | None = None, aim: Aim | None = None) -> Row:
    measured = Measured(value, 0.1)
    return measured_row("steps", "a over b", "d16x4", measured, aim=aim, peer=peer, rounds=3)


def test_json_has_the_seven_keys_first_and_what_reproducing_takes() -> None:
    keys = list(row().stamped("a processor", "2.9", "2026-01-02").as_dict())
    assert keys[:7] == ["quantity", "size", "value", "aim", "met", "spread", "peer"]
    assert {"section", "threads", "precision", "rounds", "processor", "torch", "date"} < set(keys)


def test_aims_look_up_or_down() -> None:
    assert Aim(1.05).met(1.05)
    assert not Aim(1.05).met(1.06)
    assert Aim(2, upward=True).met(2.0)
    assert not Aim(2, upward=True).met(1.99)
    assert (row(1.1, aim=Aim(1.05)).aim, row(1.1, aim=Aim(1.05)).met) == ("<= 1.05", False)


def test_what_was_not_measured_has_neither_value_nor_verdict() -> None:
    missing = measured_row("peers", "a", None, None, aim=Aim(2, upward=True), note="is absent")
    assert (missing.value, missing.met, missing.spread, missing.aim) == (None, None, None, ">= 2")
    assert measured_row("steps", "a", None, once(3.0)).spread is None


def test_rows_survive_the_file_and_a_new_one_replaces_its_own_kind(tmp_path: Path) -> None:
    rows = [row(1.0), row(2.0, peer="x (p 1.0), fp32"), row(3.0, peer="y (p 1.0), fp32")]
    write_rows(tmp_path, rows)
    assert read_rows(tmp_path) == rows
    again = merged(read_rows(tmp_path), [row(5.0, peer="x (p 2.0), bf16")])
    assert [one.value for one in again] == [1.0, 5.0, 3.0]


def test_another_processor_s_rows_stay_and_figures_draw_what_came_last() -> None:
    old, new = ("old", "2.9", "2026-01-02"), ("new", "2.9", "2026-01-03")
    steps, memory = row(1.0), replace(row(2.0), section="memory")
    earlier = [steps.stamped(*old), memory.stamped(*old)]
    rows = merged(earlier, [row(3.0).stamped(*new)])
    assert [(one.value, one.processor) for one in rows] == [
        (1.0, "old"),
        (2.0, "old"),
        (3.0, "new"),
    ]
    assert [[one.value for one in own] for own in by_processor(rows)] == [[3.0], [1.0, 2.0]]
    assert sorted(one.value or 0 for one in latest(rows)) == [2.0, 3.0]


def test_no_file_is_no_rows_and_a_damaged_one_is_one_line(tmp_path: Path) -> None:
    assert read_rows(tmp_path) == []
    (tmp_path / FILE).write_text('[{"section": 3}]')
    with pytest.raises(UserError, match="measure again"):
        read_rows(tmp_path)
