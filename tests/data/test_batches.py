import numpy as np
import pytest

from attnres_eval.data.batches import Batches, validation_windows
from attnres_eval.errors import UserError

CONTEXT = 4


def make(train=None, shares=None, *, steps=50, seed=0, batch_sequences=8) -> Batches:
    return Batches(
        train or {"a": np.arange(1003, dtype=np.uint16)},
        shares or {"a": 1.0},
        context=CONTEXT,
        batch_sequences=batch_sequences,
        steps=steps,
        seed=seed,
    )


def starts(batches: Batches, steps: int) -> list[int]:
    """First token of every sequence, which names its window where tokens count up."""
    return [int(row[0]) for step in range(steps) for row in batches.batch(step)]


def test_a_batch_holds_windows_with_their_targets():
    batch = make().batch(0)
    assert batch.shape == (8, CONTEXT + 1)
    assert batch.dtype == np.int64
    assert np.all(np.diff(batch, axis=1) == 1)
    assert np.all(batch[:, 0] % CONTEXT == 0)


def test_every_window_once_in_each_pass():
    train = {"a": np.arange(40 * CONTEXT + 1)}
    batches = make(train, steps=15)  # 120 sequences, three passes over 40 windows
    seen = starts(batches, 15)
    passes = [seen[at : at + 40] for at in (0, 40, 80)]
    for one in passes:
        assert sorted(one) == [window * CONTEXT for window in range(40)]
    assert passes[0] != passes[1] != passes[2]
    assert batches.epochs == {"a": 3.0}


def test_the_last_target_may_be_the_last_token():
    assert make({"a": np.arange(5 * CONTEXT + 1)}).windows == [5]
    assert make({"a": np.arange(5 * CONTEXT)}).windows == [4]


def test_a_batch_depends_on_seed_and_step_alone():
    straight = [make().batch(step) for step in range(50)]
    jumping = make()
    for step in (49, 3, 31, 3, 0):
        assert np.array_equal(jumping.batch(step), straight[step])
    resumed = make()
    assert np.array_equal(resumed.batch(17), straight[17])
    assert not np.array_equal(make(seed=1).batch(0), straight[0])
    assert not np.array_equal(straight[0], straight[1])


def test_more_steps_prolong_the_same_order():
    train = {"a": np.arange(1003), "b": np.arange(2000, 2500)}
    shares = {"a": 0.3, "b": 0.7}
    short, long = make(train, shares, steps=20), make(train, shares, steps=400)
    for step in range(20):
        assert np.array_equal(short.batch(step), long.batch(step))


def test_corpora_are_mixed_by_share_at_all_times():
    train = {name: np.full(997, index) for index, name in enumerate("abc")}
    shares = {"c": 2.0, "a": 5.0, "b": 3.0}  # any order, any sum
    batches = make(train, shares, steps=500)
    sequences = np.concatenate([batches.batch(step)[:, 0] for step in range(500)])
    for index, share in enumerate([0.5, 0.3, 0.2]):
        mine = np.cumsum(sequences == index)
        expected = share * np.arange(1, len(sequences) + 1)
        assert np.abs(mine - expected).max() < 6
    windows = 996 // CONTEXT
    for name, share in (("a", 0.5), ("b", 0.3), ("c", 0.2)):
        assert batches.epochs[name] == pytest.approx(share * 4000 / windows, rel=0.01)


def test_each_corpus_is_passed_through_evenly():
    train = {"a": np.arange(20 * CONTEXT + 1), "b": 1000 + np.arange(30 * CONTEXT + 1)}
    batches = make(train, {"a": 0.5, "b": 0.5}, steps=20)
    seen = starts(batches, 20)
    for name, base, windows in (("a", 0, 20), ("b", 1000, 30)):
        mine = [start for start in seen if (start >= 1000) == (base == 1000)]
        assert len(mine) == pytest.approx(80, abs=3)
        assert batches.epochs[name] == len(mine) / windows
        for at in range(0, len(mine) - windows + 1, windows):
            expected = [base + window * CONTEXT for window in range(windows)]
            assert sorted(mine[at : at + windows]) == expected


def test_the_order_of_the_mappings_changes_nothing():
    a, b = np.arange(1003), np.arange(5000, 6003)
    one = make({"a": a, "b": b}, {"a": 0.5, "b": 0.5})
    other = make({"b": b, "a": a}, {"b": 0.5, "a": 0.5})
    assert np.array_equal(one.batch(7), other.batch(7))


def test_steps_outside_the_run():
    for step in (-1, 50):
        with pytest.raises(IndexError, match="of a run of 50"):
            make().batch(step)


def test_too_few_tokens():
    with pytest.raises(UserError, match="corpus a: has 4 training tokens"):
        make({"a": np.arange(CONTEXT)})
    assert make({"a": np.arange(CONTEXT + 1)}).batch(3).shape == (8, CONTEXT + 1)


def test_validation_windows_score_every_target_once():
    validation = np.arange(100, 143, dtype=np.uint16)  # 42 targets, ten windows of four
    windows = list(validation_windows(validation, CONTEXT))
    assert len(windows) == 10
    assert all(window.dtype == np.int64 and window.shape == (5,) for window in windows)
    targets = np.concatenate([window[1:] for window in windows])
    assert targets.tolist() == list(range(101, 141))


def test_validation_too_small():
    with pytest.raises(UserError, match="4 validation tokens are too few"):
        validation_windows(np.arange(4), CONTEXT)
