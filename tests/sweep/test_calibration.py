"""Steps are taken in turn; a calibration is kept, measured anew, or refused in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fabricate import fabricate, make_study

from attnres_eval.errors import UserError
from attnres_eval.records import Calibration, calibration_file, read_record, write_record
from attnres_eval.study import Study
from attnres_eval.sweep import calibration
from attnres_eval.sweep.calibration import (
    LEAST_ROUNDS,
    WARM_UP,
    calibrate_folder,
    calibration_left,
    interleave,
    time_pair,
)
from attnres_eval.sweep.executor import LocalExecutor
from attnres_eval.sweep.folder import claim, read_calibration
from attnres_eval.sweep.run import run_study
from attnres_eval.train.trainer import Trainer


class Bench:
    """Steps with a clock that stands still but for what each step is made to take."""

    def __init__(self, *seconds: float) -> None:
        self.now, self.taken = 0.0, ""
        self.steps = [self._step(name, s) for name, s in zip("ABC", seconds, strict=False)]

    def _step(self, name: str, seconds: float) -> Callable[[], None]:
        def step() -> None:
            self.taken += name
            self.now += seconds

        return step

    def clock(self) -> float:
        return self.now


def test_each_round_goes_the_other_way_round() -> None:
    bench = Bench(1, 2, 4)
    steps_a_turn, seconds = interleave(bench.steps, 3, bench.clock)
    assert steps_a_turn == 1
    assert bench.taken == "ABCCBAABC" + "ABCCBAABC"
    assert WARM_UP == 3
    assert seconds == [[1] * 3, [2] * 3, [4] * 3]


def test_short_steps_come_several_a_turn() -> None:
    bench = Bench(0.02, 0.04)
    steps_a_turn, seconds = interleave(bench.steps, 2, bench.clock)
    assert steps_a_turn == 3
    assert bench.taken == "ABBAAB" + "AAABBBBBBAAA"
    assert seconds == [pytest.approx([0.02] * 2), pytest.approx([0.04] * 2)]


def test_rounds_end_with_the_time_but_not_before_the_least() -> None:
    slow = Bench(5, 10)
    assert len(interleave(slow.steps, 50, slow.clock)[1][0]) == LEAST_ROUNDS
    middle = Bench(1, 1)
    # 15 rounds of 2 seconds fill the time; the next one ends beyond it.
    assert len(interleave(middle.steps, 50, middle.clock)[1][0]) == 16
    short = Bench(5, 10)
    assert len(interleave(short.steps, 4, short.clock)[1][0]) == 4


def tiny(**changes: Any) -> Study:
    values = {
        "name": "tiny",
        "variants": {"prenorm": None, "full_attnres": None},
        "sizes": {"d16": {"d_model": 16, "n_layers": 2, "n_heads": 1}},
        "seeds": [0],
        "data": {"vocab_size": 300},
        "recipe": {"context": 32, "batch_sequences": 2, "tokens_per_parameter": 0.1},
        "evaluation": {"inspection_tokens": 0, "calibration_rounds": 6},
    }
    return Study.model_validate(values | changes)


def test_a_pair_takes_whole_training_steps_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    step = Trainer.step

    def watched(self: Trainer, tokens: Any, factor: float = 1.0) -> float:
        assert tokens.shape == (2, 33)
        taken.append(self.config.label)
        return step(self, tokens, factor)

    monkeypatch.setattr(Trainer, "step", watched)
    study = tiny()
    pair = time_pair(study.run("prenorm", "d16", 0), study.run("full_attnres", "d16", 0), 6)
    order = ["prenorm", "full_attnres", "full_attnres", "prenorm"] * 3
    assert taken[: 2 * WARM_UP] == order[: 2 * WARM_UP]
    turns = [label for label in order for _ in range(pair.steps_a_turn)]
    assert taken[2 * WARM_UP :] == turns
    assert (pair.label, pair.size, pair.tokens) == ("full_attnres", "d16", 64)
    assert len(pair.seconds) == len(pair.baseline_seconds) == 6
    assert min(pair.seconds + pair.baseline_seconds) > 0


@pytest.fixture
def unlike(tmp_path: Path) -> Path:
    """A results folder whose calibration is of a machine called Fabricated."""
    return fabricate(tmp_path / "results", study=make_study(tasks=()), step_times={})


def rewritten(folder: Path, **machine: Any) -> None:
    record = read_record(calibration_file(folder), Calibration)
    pairs = [
        pair.model_copy(update={"machine": pair.machine.model_copy(update=machine)})
        for pair in record.pairs
    ]
    write_record(calibration_file(folder), record.model_copy(update={"pairs": pairs}))


def test_what_is_measured_again(unlike: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(tasks=())
    monkeypatch.setattr(calibration, "available", lambda device: False)
    assert calibration_left(study, unlike)
    pair = time_pair(tiny().run("prenorm", "d16", 0), tiny().run("prenorm", "d16", 0), 1)
    here = {"processor": pair.machine.processor, "torch": pair.machine.torch}
    here["device"] = pair.machine.device
    rewritten(unlike, **here)
    assert not calibration_left(study, unlike)
    # A compiler has come, a torch has gone, the study has changed, the file is damaged or gone.
    with monkeypatch.context() as changed:
        changed.setattr(calibration, "available", lambda device: True)
        assert calibration_left(study, unlike)
    assert calibration_left(make_study(n_sizes=2, tasks=()), unlike)
    rewritten(unlike, torch="0.1")
    assert calibration_left(study, unlike)
    calibration_file(unlike).write_text("{")
    assert calibration_left(study, unlike)
    calibration_file(unlike).unlink()
    assert calibration_left(study, unlike)


def test_force_drops_a_calibration_of_other_steps(unlike: Path) -> None:
    more_seeds = make_study(tasks=(), seeds=(0, 1, 2, 3))
    claim(unlike, more_seeds, force=True)
    assert read_calibration(unlike, more_seeds) is not None
    fewer_sizes = make_study(tasks=(), n_sizes=2)
    claim(unlike, fewer_sizes, force=True)
    assert not calibration_file(unlike).exists()


def test_calibrate_wants_a_results_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no results folder"):
        calibrate_folder(tmp_path / "absent", None)
    with pytest.raises(UserError, match=r"it has no study\.json"):
        calibrate_folder(tmp_path, None)
    (tmp_path / "study.json").write_text("[]")
    with pytest.raises(UserError, match=r"study\.json is no Study"):
        calibrate_folder(tmp_path, None)


def test_a_study_is_calibrated_once_and_by_hand_anew(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTNRES_EVAL_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    corpus = tmp_path / "text.txt"
    corpus.write_text("\n\n".join(f"line {i} says {i * i % 97}" for i in range(2000)))
    data = {"corpora": {f"file:{corpus}": 1.0}, "vocab_size": 300, "validation_tokens": 512}
    out, said = tmp_path / "out", list[str]()
    off = tiny(data=data, evaluation={"inspection_tokens": 0, "calibration_rounds": 0})
    assert not run_study(off, out, LocalExecutor(1), say=said.append).calibrated
    assert not calibration_file(out).exists()
    on = tiny(data=data)
    first = run_study(on, out, LocalExecutor(2), force=True, say=said.append)
    assert first.calibrated
    assert not first.trained
    record = read_record(calibration_file(out), Calibration)
    assert [(pair.size, pair.label) for pair in record.pairs] == [
        ("d16", "prenorm"),
        ("d16", "full_attnres"),
    ]
    assert {pair.machine.threads for pair in record.pairs} == {1}
    assert {len(pair.seconds) for pair in record.pairs} == {6}
    before = calibration_file(out).read_bytes()
    assert not run_study(on, out, LocalExecutor(1), say=said.append).calibrated
    assert calibration_file(out).read_bytes() == before
    study, anew = calibrate_folder(out, 7)
    assert study == on
    assert {len(pair.seconds) for pair in anew.pairs} == {7}
    assert json.loads(calibration_file(out).read_text())["study"]["name"] == "tiny"
