"""Standard errors: closed forms, known cases, and simulated truth."""

import math

import numpy as np
import pytest
from scipy import stats

from attnres_eval.analysis.clustered import Estimate, Part, beyond_rounding, estimate


def drawn(seed: int = 0, n: int = 40, seeds: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.3, 1.0, (n, seeds))


def test_questions_alone_are_a_t_test() -> None:
    d = drawn()
    found = estimate(d, np.arange(len(d))).questions
    expected = stats.ttest_1samp(d.mean(axis=1), 0.0)
    assert found.mean == pytest.approx(d.mean())
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_clusters_are_the_textbook_sandwich() -> None:
    """V = G / (G - 1) times the sum over clusters of squared summed deviations, over n^2."""
    d = drawn(n=30)
    clusters = np.arange(30) // 4
    y = d.mean(axis=1)
    sums = [sum(y[i] - y.mean() for i in range(30) if clusters[i] == g) for g in range(8)]
    expected = math.sqrt(8 / 7 * sum(total**2 for total in sums)) / 30
    assert estimate(d, clusters).questions.error == pytest.approx(expected)


def test_seeds_are_the_two_way_analysis_of_variance() -> None:
    """By the mean squares of a balanced two-way layout without replication."""
    d = drawn(n=25, seeds=4)
    n, s = d.shape
    rows, columns = d.mean(axis=1, keepdims=True), d.mean(axis=0, keepdims=True)
    ms_q = s * np.sum((rows - d.mean()) ** 2) / (n - 1)
    ms_s = n * np.sum((columns - d.mean()) ** 2) / (s - 1)
    ms_e = np.sum((d - rows - columns + d.mean()) ** 2) / ((n - 1) * (s - 1))
    questions, seeds = estimate(d + 5 * np.arange(s), np.arange(n)).questions_and_seeds.parts
    shifted = n * np.var(columns.ravel() + 5 * np.arange(s), ddof=1)
    assert questions == (pytest.approx(ms_q / (n * s)), n - 1)
    assert seeds.df == s - 1
    assert seeds.variance == pytest.approx((shifted - (s - 2) / (s - 1) * ms_e) / (n * s))
    assert ms_s < shifted


def test_two_seeds_that_agree_leave_the_questions() -> None:
    d = np.repeat(drawn(seeds=1), 2, axis=1)
    both = estimate(d, np.arange(len(d)))
    assert both.questions_and_seeds.interval == pytest.approx(both.questions.interval)


def test_strata_weigh_the_same() -> None:
    small, large = drawn(1, n=10), drawn(2, n=50) + 2
    strata = np.repeat([0, 1], [10, 50])
    both = estimate(np.concatenate([small, large]), np.arange(60), strata).questions
    parts = [estimate(d, np.arange(len(d))).questions for d in (small, large)]
    assert both.mean == pytest.approx((small.mean() + large.mean()) / 2)
    assert both.error == pytest.approx(math.hypot(*(part.error for part in parts)) / 2)


def test_nothing_is_claimed_without_spread() -> None:
    assert math.isnan(estimate(np.ones((5, 3)), np.arange(5)).questions.error)
    assert not estimate(np.ones((5, 3)), np.arange(5)).questions_and_seeds.interval.exists
    one_seed = estimate(drawn(seeds=1), np.arange(40))
    assert one_seed.questions.interval.exists
    assert not one_seed.questions_and_seeds.interval.exists
    assert math.isnan(one_seed.questions_and_seeds.p_value)
    assert math.isnan(one_seed.questions_and_seeds.detectable)
    assert not estimate(drawn(), np.zeros(40)).questions.interval.exists


def test_a_mean_that_cancels_is_zero() -> None:
    """Tenths have no exact float: their sum in order leaves 2.8e-17 or so."""
    scores = np.array([[0.1], [0.2], [-0.3], [0.3], [-0.1], [-0.2]])
    assert scores.mean() != 0
    found = estimate(scores, np.arange(6)).questions
    assert (found.mean, found.p_value) == (0, 1)
    assert estimate(scores * 1e-15, np.arange(6)).questions.mean == 0
    assert math.isnan(beyond_rounding(math.nan, scores))
    assert estimate(scores + 1e-9, np.arange(6)).questions.mean == pytest.approx(1e-9, rel=1e-3)


def test_p_value_agrees_with_the_interval() -> None:
    parts = (Part(0.01, 50), Part(0.004, 2))
    edge = Estimate(0.0, parts).interval.high
    assert Estimate(edge, parts).p_value == pytest.approx(0.05)
    assert Estimate(-edge, parts).p_value == pytest.approx(0.05)
    assert Estimate(0.0, parts).p_value == pytest.approx(1.0)
    assert Estimate(1e9, (Part(0.01, 1e6),)).p_value <= 1e-100


@pytest.mark.parametrize("df", [3.0, 20.0, 500.0])
def test_detectable_difference_is_seen_in_four_of_five(df: float) -> None:
    """Against the power of the t test, from the noncentral t distribution."""
    shift = Estimate(0.0, (Part(1.0, df),)).detectable
    critical = stats.t.isf(0.025, df)
    power = stats.nct.sf(critical, df, shift) + stats.nct.cdf(-critical, df, shift)
    assert power == pytest.approx(0.8, abs=0.02)


def studies(
    seeds: int, ratio: float, own: float, n: int = 80, size: int = 1, draws: int = 1500
) -> np.ndarray:
    """[draws, questions, seeds] with mean 0.

    Args:
        seeds: how many.
        ratio: the variance of the mean that seeds bring, over what questions bring.
        own: standard deviation of what a question does to all seeds alike; 1 is the remainder's.
        n: questions.
        size: questions of a cluster, which share `own`.
        draws: simulated studies.
    """
    random = np.random.default_rng([seeds, int(10 * ratio), int(10 * own), size])
    shared = np.repeat(random.normal(0, own, (draws, n // size, 1)), size, axis=1)
    of_questions = (own**2 * size + 1 / seeds) / n
    run = random.normal(0, math.sqrt(ratio * of_questions * seeds), (draws, 1, seeds))
    return shared + run + random.normal(0, 1, (draws, n, seeds))


def coverage(d: np.ndarray, clusters: np.ndarray, *, seeds: bool) -> float:
    found = [estimate(study, clusters)[int(seeds)].interval.contains(0.0) for study in d]
    return float(np.mean(found))


# Of 1,500 draws 95% have a standard error of 0.6 points.
@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("own", [0.0, 1.0])
def test_interval_over_questions_covers(own: float, size: int) -> None:
    d = studies(3, 0.0, own, size=size)
    assert 0.93 <= coverage(d, np.arange(80) // size, seeds=False) <= 0.97


@pytest.mark.parametrize("ratio", [0.0, 0.5, 2.0, 8.0])
@pytest.mark.parametrize(("seeds", "own"), [(3, 1.0), (4, 1.0), (6, 0.5)])
def test_interval_over_questions_and_seeds_covers(seeds: int, own: float, ratio: float) -> None:
    d = studies(seeds, ratio, own)
    assert 0.93 <= coverage(d, np.arange(80), seeds=True) <= 0.98


@pytest.mark.parametrize("ratio", [0.0, 2.0, 20.0])
def test_two_seeds_are_judged_cautiously(ratio: float) -> None:
    assert coverage(studies(2, ratio, 1.0), np.arange(80), seeds=True) >= 0.94


def test_questions_alone_say_too_much_of_new_seeds() -> None:
    """What the second interval is for."""
    assert coverage(studies(3, 8.0, 1.0), np.arange(80), seeds=False) < 0.6


def test_right_and_wrong_answers_are_covered() -> None:
    """Differences of two models' right answers: -1, 0 and 1, few of them not 0."""
    random = np.random.default_rng(5)
    d = random.choice([-1.0, 0.0, 1.0], (1500, 150, 3), p=[0.06, 0.88, 0.06])
    assert 0.93 <= coverage(d, np.arange(150), seeds=False) <= 0.97
    positives = np.mean([estimate(x, np.arange(150)).questions.p_value <= 0.05 for x in d])
    assert 0.035 <= positives <= 0.065
