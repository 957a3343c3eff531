"""The loop: when it draws, when it ends, and what it says to a wrong folder."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from fabricate import fabricate, make_study
from folders import BEGAN, begin, files, hold, let_go, line, run_at
from rich.console import Console

from attnres_eval.errors import UserError
from attnres_eval.sweep.storage import mirror_folder
from attnres_eval.watch.command import watch

STUDY = make_study(n_sizes=1, seeds=(0,))
RUN = STUDY.run("full_attnres", "d32", 0)


class Time:
    """A clock that moves when somebody sleeps, and then does what comes next."""

    def __init__(self, *events: Callable[[], object]) -> None:
        self.now, self.events, self.slept = BEGAN + 500.0, list(events), 0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += 1
        self.events.pop(0)()


@pytest.fixture
def results(fabricated: Callable[..., Path]) -> Path:
    results = fabricated(study=STUDY)
    lines = [line(RUN, 20, 5.0, 20.0)]
    hold(begin(results, RUN, lines).path, BEGAN + 500)
    return results


def watched(results: Path | str, time: Time, *, terminal: bool, once: bool = False) -> str:
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=80, height=24, highlight=False)
    watch(str(results), 2.0, once=once, console=console, clock=time.clock, sleep=time.sleep)
    return file.getvalue()


def finish(results: Path) -> None:
    let_go(run_at(results, RUN).path)
    fabricate(results, study=STUDY)


def test_a_pipe_is_told_of_changes_alone(results: Path) -> None:
    time = Time(lambda: None, lambda: None, lambda: finish(results))
    text = watched(results, time, terminal=False)
    assert text.count("fabricated:") == 2
    assert text.index("1 running") < text.index("3 scored")
    assert "\x1b" not in text
    assert time.slept == 3


def test_a_terminal_is_drawn_anew_and_the_end_stays(results: Path) -> None:
    time = Time(lambda: None, lambda: finish(results))
    text = watched(results, time, terminal=True)
    assert text.count("fabricated:") >= 3
    assert "3 scored" in text.rsplit("fabricated:", 1)[1]


def test_once(results: Path) -> None:
    before = files(results)
    assert "1 running" in watched(results, Time(), terminal=False, once=True)
    assert "1 running" in watched(results, Time(), terminal=True, once=True)
    assert files(results) == before


def test_it_waits_for_a_study_that_was_stopped(results: Path) -> None:
    let_go(run_at(results, RUN).path)
    text = watched(results, Time(lambda: finish(results)), terminal=False)
    assert "nobody works here" in text
    assert "1 stopped" in text


def test_the_results_behind_a_url_are_those_of_this_machine(
    results: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ATTNRES_EVAL_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError, match="on the machine of"):
        watched("s3://bucket/x", Time(), terminal=False, once=True)
    folder = mirror_folder("s3://bucket/x/")
    folder.parent.mkdir(parents=True)
    results.rename(folder)
    assert "1 running" in watched("s3://bucket/x", Time(), terminal=False, once=True)


def test_an_interrupt_leaves_the_terminal_as_it_was(results: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, height=24)
    time = Time(interrupt)
    with pytest.raises(KeyboardInterrupt):
        watch(str(results), 2.0, console=console, clock=time.clock, sleep=time.sleep)
    # The cursor is shown again.
    assert file.getvalue().rindex("\x1b[?25h") > file.getvalue().rindex("\x1b[?25l")
