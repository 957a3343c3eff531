"""The trackers themselves: what is read back from them is what they were told."""

import importlib.util
import sqlite3
from pathlib import Path

import pytest
from fabricate import make_study

from attnres_eval.errors import UserError
from attnres_eval.track import tracker
from attnres_eval.track.tracker import Tracked, Tracker, make_tracker, tracker_names
from attnres_eval.track.tracking import Tracking, whole_name
from attnres_eval.track.values import settings

RUN = make_study().run("full_attnres", "d32", 0)


def tracked(name: str, step: int | None = None) -> Tracked:
    return Tracked(f"id-{name}", name, "project", "group", settings(RUN), step)


def needs(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"needs {name}: pip install 'attnres-eval[{name}]'")


def use(made: Tracker) -> None:
    """Two runs side by side, of which the first is broken off and goes on."""
    one, two = made.open(tracked("one")), made.open(tracked("two"))
    for step in (1, 2, 3):
        one.log(step, {"train/loss": 5.0 - step})
        two.log(step, {"train/loss": 6.0 - step})
    one.flush()
    one.close("broken off")
    two.final(3, {"validation/nats_per_token": 2.5})
    two.close(None)
    one = made.open(tracked("one", step=2))
    one.log(3, {"train/loss": 1.5})
    one.final(3, {"validation/nats_per_token": 1.25})
    one.close(None)


def test_tensorboard(tmp_path: Path) -> None:
    needs("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    made = make_tracker("tensorboard", "project", tmp_path)
    use(made)
    assert made.where() == f"tensorboard --logdir {tmp_path / 'tensorboard'}"
    found = EventAccumulator(str(tmp_path / "tensorboard" / "one"))
    found.Reload()
    # The third step that was told first came behind the last one that counted.
    points = [(point.step, point.value) for point in found.Scalars("train/loss")]
    assert points == [(1, 4.0), (2, 3.0), (3, 1.5)]
    assert [p.value for p in found.Scalars("validation/nats_per_token")] == [1.25]
    other = EventAccumulator(str(tmp_path / "tensorboard" / "two"))
    other.Reload()
    assert [p.value for p in other.Scalars("train/loss")] == [5.0, 4.0, 3.0]
    told = other.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert b"recipe.learning_rate" in told


def test_trackio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("trackio")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    made = make_tracker("trackio", "project", tmp_path)
    use(made)
    (file,) = tmp_path.glob("*.db")
    with sqlite3.connect(file) as database:
        rows = database.execute(
            "select run_name, step, metrics from metrics order by id"
        ).fetchall()
    one = [(step, bytes(text)) for name, step, text in rows if name == "one-id-one"]
    assert [step for step, _ in one] == [1, 2, 3, 3, 3]
    assert b"1.25" in one[-1][1]
    assert {name for name, _, _ in rows} == {"one-id-one", "two-id-two"}


def test_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    made = make_tracker("wandb", "project", tmp_path)
    use(made)
    files = sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    # The first run's two halves have one name, so that they become one run when they are sent.
    assert sorted({file.name for file in files}) == ["run-id-one.wandb", "run-id-two.wandb"]
    assert len(files) == 3
    text = b"".join(file.read_bytes() for file in files)
    for told in (
        b"train/loss",
        b"validation/nats_per_token",
        b"recipe.learning_rate",
        b"broken off",
    ):
        assert told in text


def test_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker.importlib.util, "find_spec", lambda name: object())
    assert tracker_names("wandb, trackio,wandb") == ("wandb", "trackio")
    for wrong in ("", "wandb,", "mlflow"):
        with pytest.raises(UserError, match="there are trackio, wandb, tensorboard"):
            tracker_names(wrong)
    monkeypatch.setattr(tracker.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'attnres-eval\[trackio\]'"):
        tracker_names("trackio")


def test_options() -> None:
    assert Tracking.parse(None, None).trackers == ()
    with pytest.raises(UserError, match="--track-project is an option of --track"):
        Tracking.parse(None, "x")


def test_the_project_is_the_whole_study() -> None:
    study = make_study().model_copy(update={"name": "reference-rates"})
    assert whole_name(study, "rates") == "reference"
    assert whole_name(study, "") == "reference-rates"
