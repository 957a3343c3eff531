"""metrics.jsonl read while it grows, is cut, and is half-written."""

from pathlib import Path

from fabricate import make_study
from folders import line, write_lines

from attnres_eval.records import RunFolder
from attnres_eval.watch.tail import MetricsTail

CONFIG = make_study().run("prenorm", "d32", 0)
LINES = [line(CONFIG, step, 5 - step / 10, step * 2.0) for step in range(1, 9)]


def test_only_what_is_new_is_read(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    tail = MetricsTail(folder.metrics)
    assert tail.read() == []
    write_lines(folder, LINES[:2])
    assert tail.read() == LINES[:2]
    assert tail.read() == []
    with folder.metrics.open("a") as file:
        file.write(LINES[2].model_dump_json() + "\n")
    assert tail.read() == [LINES[2]]
    assert tail.lines == LINES[:3]


def test_half_a_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    tail = MetricsTail(folder.metrics)
    text = LINES[1].model_dump_json()
    write_lines(folder, LINES[:1], text[:30])
    assert tail.read() == LINES[:1]
    with folder.metrics.open("a") as file:
        file.write(text[30:] + "\n")
    assert tail.read() == [LINES[1]]


def test_a_damaged_line_is_left_out(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    write_lines(folder, LINES[:1], "\0\0{]\xff\n" + LINES[1].model_dump_json() + "\n")
    assert MetricsTail(folder.metrics).read() == LINES[:2]


def test_a_run_that_goes_on_from_a_checkpoint_is_read_anew(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    tail = MetricsTail(folder.metrics)
    write_lines(folder, LINES[:5])
    tail.read()
    # As the training loop does: a file of the lines until the checkpoint takes its place.
    shorter = RunFolder(tmp_path / "new")
    write_lines(shorter, LINES[:3])
    shorter.metrics.replace(folder.metrics)
    assert tail.read() == LINES[:3]
    longer = RunFolder(tmp_path / "newer")
    write_lines(longer, LINES[:7])
    longer.metrics.replace(folder.metrics)
    assert tail.read() == LINES[:7]
    assert tail.lines == LINES[:7]


def test_a_file_that_vanishes_and_returns(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    tail = MetricsTail(folder.metrics)
    write_lines(folder, LINES[:2])
    tail.read()
    folder.metrics.unlink()
    assert tail.read() == []
    assert tail.lines == []
    write_lines(folder, LINES[:1])
    assert tail.read() == LINES[:1]
