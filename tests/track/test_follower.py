"""The follower with a tracker that records: what it is told, how often, and what may go wrong."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fabricate import make_study
from folders import begin, fail, line, run_at, write_lines

from attnres_eval.lock import holding
from attnres_eval.records import Metrics, RunFolder, write_record
from attnres_eval.study import Study
from attnres_eval.track import follower as module
from attnres_eval.track.child import Order, followed
from attnres_eval.track.follower import BROKEN_OFF, Follower
from attnres_eval.track.position import tracking_folder
from attnres_eval.track.tracker import Tracked, TrackedRun
from attnres_eval.track.values import curve_values

STUDY = make_study(n_sizes=2, seeds=(0,))
RUN = STUDY.run("full_attnres", "d32", 0)
LINES = [line(RUN, step, 5 - step / 100, step * 2.0) for step in range(20, 220, 20)]


@dataclass
class Fake:
    """Keeps all that it is told; raises when it is told to."""

    opened: list[Tracked] = field(default_factory=list)
    points: list[tuple[str, int, dict[str, float]]] = field(default_factory=list)
    finals: list[tuple[str, int, dict[str, float]]] = field(default_factory=list)
    closed: list[tuple[str, str | None]] = field(default_factory=list)
    breaks: bool = False

    def where(self) -> str:
        return "in memory"

    def open(self, run: Tracked) -> TrackedRun:
        if self.breaks:
            raise ConnectionError("no network\nat all")
        self.opened.append(run)
        return FakeRun(self, run.name)

    def steps(self, run: str = RUN.run) -> list[int]:
        return [step for name, step, _ in self.points if name == run]


@dataclass
class FakeRun:
    fake: Fake
    name: str

    def log(self, step: int, values: dict[str, float]) -> None:
        if self.fake.breaks:
            raise ConnectionError("no network\nat all")
        self.fake.points.append((self.name, step, values))

    def final(self, step: int, values: dict[str, float]) -> None:
        self.fake.finals.append((self.name, step, values))

    def flush(self) -> None:
        pass

    def close(self, failure: str | None) -> None:
        self.fake.closed.append((self.name, failure))


def follower(
    results: Path, said: list[str] | None = None, study: Study = STUDY, **fakes: Fake
) -> Follower:
    order = Order(results=str(results), trackers=(), project="p", group="g", plan=study)
    said = [] if said is None else said
    return Follower(results, followed(order), dict(fakes), "p", "g", said.append)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


def test_points_are_told_once_as_they_come(results: Path) -> None:
    fake, said = Fake(), []  # type: ignore[var-annotated]
    one = follower(results, said, fake=fake)
    one.follow()
    assert fake.opened == []
    assert not results.exists()
    folder = begin(results, RUN, LINES[:2])
    one.follow()
    one.follow()
    write_lines(folder, LINES[:3], LINES[3].model_dump_json()[:40])
    one.follow()
    assert [point[2] for point in fake.points] == [curve_values(x) for x in LINES[:3]]
    assert fake.steps() == [20, 40, 60]
    (opened,) = fake.opened
    assert (opened.name, opened.project, opened.group, opened.step) == (RUN.run, "p", "g", None)
    assert opened.settings["recipe.learning_rate"] == RUN.recipe.learning_rate
    assert opened.settings["shape.d_model"] == 32
    assert opened.settings["training_flops"] == RUN.training_flops
    assert said == ["tracked by fake: in memory"]
    one.follow(last=True)
    assert fake.closed == [(RUN.run, BROKEN_OFF)]


def test_a_resumed_run_goes_on_without_steps_twice(results: Path) -> None:
    fake = Fake()
    begin(results, RUN, LINES[:5])
    follower(results, fake=fake).follow(last=True)
    # The checkpoint was at the third line: two steps are trained and logged once more.
    begin(results, RUN, LINES[:3])
    later = follower(results, fake=fake)
    later.follow()
    write_lines(run_at(results, RUN), LINES[:8])
    later.follow(last=True)
    assert fake.steps() == [x.step for x in LINES[:8]]
    first, second = fake.opened
    assert first.id == second.id
    assert (first.step, second.step) == (None, 100)


def test_the_same_study_elsewhere_is_other_runs(results: Path) -> None:
    fake = Fake()
    for folder in (results, results.with_name("again")):
        begin(folder, RUN, LINES)
        follower(folder, fake=fake).follow(last=True)
    assert len({run.id for run in fake.opened}) == 2


def test_a_done_study_is_told_whole_and_then_never_again(fabricated: Callable[..., Path]) -> None:
    fake, results = Fake(), fabricated(study=STUDY)
    follower(results, fake=fake).follow()
    names = [run.run for run in STUDY.runs()]
    assert {run.name for run in fake.opened} == {*names}
    scored = STUDY.run("prenorm", "d48", 0)
    finals = {
        key: x for name, _, values in fake.finals if name == scored.run for key, x in values.items()
    }
    assert finals["validation/nats_per_token"] > 0
    assert 0 <= finals["scores/arc_easy/acc"] <= 1
    assert {failure for _, failure in fake.closed} == {None}
    told = len(fake.opened), len(fake.points), len(fake.finals)
    follower(results, fake=fake).follow(last=True)
    assert (len(fake.opened), len(fake.points), len(fake.finals)) == told


def test_scores_come_when_all_are_there_or_at_the_end(fabricated: Callable[..., Path]) -> None:
    study = make_study(n_sizes=1, seeds=(0,), tasks=("arc_easy", "piqa"))
    results, run = fabricated(study=study), study.run("prenorm", "d32", 0)
    record = run_at(results, run).evaluation / "piqa.json"
    kept = record.read_bytes()
    record.unlink()
    fake = Fake()
    one = follower(results, study=study, fake=fake)

    def scores() -> list[set[str]]:
        finals = [set(values) for name, _, values in fake.finals if name == run.run]
        return [{key.split("/")[1] for key in keys} for keys in finals if "scores" in str(keys)]

    one.follow()
    assert scores() == []
    one.follow(last=True)
    assert scores() == [{"arc_easy"}]
    record.write_bytes(kept)
    follower(results, study=study, fake=fake).follow()
    assert scores() == [{"arc_easy"}, {"arc_easy", "piqa"}]


def test_a_failure_is_told_and_a_second_try_goes_on(results: Path) -> None:
    fake = Fake()
    folder = begin(results, RUN, LINES[:2])
    fail(folder, "diverged")
    one = follower(results, fake=fake)
    one.follow()
    one.follow()
    assert fake.closed == [(RUN.run, "diverged")]
    folder.failure.unlink()
    write_lines(folder, LINES[:3])
    one.follow()
    assert fake.steps() == [20, 40, 60]
    fail(folder, "diverged")
    one.follow(last=True)
    assert fake.closed == [(RUN.run, "diverged")] * 2


def test_a_broken_tracker_is_one_line_and_the_other_goes_on(results: Path) -> None:
    good, bad, said = Fake(), Fake(), []  # type: ignore[var-annotated]
    folder = begin(results, RUN, LINES[:1])
    one = follower(results, said, bad=bad, good=good)
    one.follow()
    bad.breaks = True
    for count in range(2, 5):
        write_lines(folder, LINES[:count])
        one.follow()
    one.follow(last=True)
    assert [text for text in said if text.startswith("warning")] == [
        "warning: tracking by bad has ended, training goes on: no network at all"
    ]
    assert good.steps() == [20, 40, 60, 80]
    # What it missed is told by the next process.
    bad.breaks = False
    follower(results, bad=bad).follow()
    assert bad.steps() == [20, 40, 60, 80]


def test_runs_of_another_study_in_the_folder_are_not_told(results: Path) -> None:
    other = RUN.model_copy(update={"steps": RUN.steps + 1})
    write_record(run_at(results, RUN).config, other)
    write_lines(run_at(results, RUN), LINES)
    fake = Fake()
    follower(results, fake=fake).follow(last=True)
    assert fake.opened == []
    assert not tracking_folder(results).exists()


def test_a_changed_run_is_another_run(results: Path) -> None:
    fake = Fake()
    begin(results, RUN, LINES)
    follower(results, fake=fake).follow(last=True)
    values = STUDY.model_dump(mode="json")
    changed = Study.model_validate({**values, "recipe": {"learning_rate": 1e-3}})
    run = changed.run(RUN.label, RUN.size, RUN.seed)
    begin(results, run, LINES[:1])
    follower(results, study=changed, fake=fake).follow(last=True)
    assert fake.opened[0].id != fake.opened[1].id
    assert fake.steps() == [*(x.step for x in LINES), 20]


def test_two_at_once_are_refused(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.0)
    begin(results, RUN, LINES)
    fake = Fake()
    with (
        holding(tracking_folder(results)),
        pytest.raises(module.UserError, match="being worked on"),
    ):
        follower(results, fake=fake).follow()
    assert fake.opened == []


def test_one_run_alone(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    write_record(folder.config, RUN)
    lines: list[Metrics] = LINES[:2]
    write_lines(folder, lines)
    fake = Fake()
    order = Order(results=str(tmp_path), trackers=(), project="p", group="g", plan=RUN)
    Follower(tmp_path, followed(order), {"fake": fake}, "p", "g", print).follow(last=True)
    assert fake.steps() == [20, 40]
