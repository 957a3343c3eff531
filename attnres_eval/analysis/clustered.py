"""The mean of a score over questions and seeds, and how far it can be trusted.

A score is d[i, s], of question i by the run of seed s, and questions hang together in clusters g
(a question by itself, the questions on one passage, an MMLU subject). Taken as

    d[i, s] = mean + q[g(i)] + r[s] + e[i, s]

with question, seed and remainder random, the variance of the weighted mean has the parts

    questions:   V_q, cluster-robust, of the questions' means over seeds (Miller,
                 arXiv:2411.00640, equation 6, times G / (G - 1)), G - 1 degrees of freedom
    seeds:       V_s - (S - 2) / (S - 1) V_e, S - 1 degrees of freedom

V_s is the variance of the seeds' means over the number of seeds S, and V_e what the remainder
adds to it, which V_q has too (two-way clustering after Cameron, Gelbach, Miller, "Robust inference
with multiway clustering", 2011, subtracts all of it). With few seeds V_s is small by luck too
often, and the factor, 0 for two seeds and near 1 for many, keeps the interval from being too
short then. An interval reaches

    sqrt(t[G - 1]^2 V_q + t[S - 1]^2 max(0, seeds' part))

to each side: variances are recovered from the limits of their own parts (MOVER; Zou, Donner,
2008), as Satterthwaite's degrees of freedom fail where a part with one of them dominates. The
tests simulate its coverage. "Questions" speaks for new questions put to these very models and has
the first part alone; "questions and seeds" speaks for new training runs too.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

from attnres_eval.analysis.intervals import CONFIDENCE, NO_INTERVAL, Array, Interval

ROUNDING = 1e-12
"""Sums below this share of the scores are taken for zero. An error that small was not seen, which
is not to say that there is none."""
POWER = 0.8
"""Chance of seeing a difference of the smallest detectable size."""


class Part(NamedTuple):
    """A part of the variance of a mean."""

    variance: float
    df: float
    """Degrees of freedom that it was estimated with."""


class Estimate(NamedTuple):
    """A mean with the parts of its variance; without any where the data bear no error."""

    mean: float
    parts: tuple[Part, ...] = ()

    @property
    def error(self) -> float:
        """Standard error; NaN without parts."""
        return math.sqrt(sum(part.variance for part in self.parts)) if self.parts else math.nan

    @property
    def interval(self) -> Interval:
        """95% interval."""
        if not self.parts:
            return NO_INTERVAL
        reach = self._reach((1 - CONFIDENCE) / 2)
        return Interval(self.mean - reach, self.mean + reach)

    @property
    def p_value(self) -> float:
        """Two-sided, of a mean of zero: the interval of confidence 1 - p ends at zero."""
        if not self.parts:
            return math.nan
        distance = abs(self.mean)
        smallest = 1e-100
        if self._reach(smallest / 2) <= distance:
            return smallest
        # Over logarithms, as small ones are asked for too.
        log_p = optimize.brentq(
            lambda x: self._reach(math.exp(x) / 2) - distance, math.log(smallest), 0.0
        )
        return float(math.exp(log_p))

    @property
    def detectable(self) -> float:
        """The true mean whose 95% interval excludes zero in 80% of studies like this."""
        if not self.parts:
            return math.nan
        return self._reach((1 - CONFIDENCE) / 2) + self._reach(1 - POWER)

    def _reach(self, tail: float) -> float:
        return math.sqrt(
            sum(part.variance * stats.t.isf(tail, part.df) ** 2 for part in self.parts)
        )


class Estimates(NamedTuple):
    """The same mean, its error counting what is taken as drawn at random."""

    questions: Estimate
    questions_and_seeds: Estimate
    """Without an error where there is one seed."""


def estimate(scores: ArrayLike, clusters: ArrayLike, strata: ArrayLike | None = None) -> Estimates:
    """Estimates the mean over questions, then over strata.

    Args:
        scores: [questions, seeds].
        clusters: [questions], what each question hangs together with.
        strata: [questions], such as the task; each stratum weighs the same, and the strata
            themselves are fixed. None for a single one. A cluster lies in one stratum.
    """
    d = np.asarray(scores, dtype=np.float64)
    n, n_seeds = d.shape
    _, stratum = np.unique(
        np.zeros(n) if strata is None else np.asarray(strata), return_inverse=True
    )
    _, cluster = np.unique(
        np.array([f"{s} {c}" for s, c in zip(stratum, np.asarray(clusters), strict=True)]),
        return_inverse=True,
    )
    sizes = np.bincount(stratum)
    weights = 1 / sizes[stratum] / len(sizes)

    by_question = d.mean(axis=1)
    by_seed = weights @ d
    mean = beyond_rounding(float(by_seed.mean()), d)
    v_q, df_q = _clustered(by_question[:, None], weights, cluster, stratum)
    # Equal scores say that the spread was not seen, not that it is zero.
    if not df_q or not beyond_rounding(math.sqrt(v_q), d):
        return Estimates(Estimate(mean), Estimate(mean))
    questions = Part(v_q, df_q)
    if n_seeds < 2:
        return Estimates(Estimate(mean, (questions,)), Estimate(mean))

    # Of each seed's own question effects, what the mean over seeds leaves.
    v_e, _ = _clustered(d - by_question[:, None], weights, cluster, stratum)
    v_e /= n_seeds * (n_seeds - 1)
    v_s = float(by_seed.var(ddof=1)) / n_seeds
    seeds = Part(max(0.0, v_s - (n_seeds - 2) / (n_seeds - 1) * v_e), n_seeds - 1)
    return Estimates(Estimate(mean, (questions,)), Estimate(mean, (questions, seeds)))


def beyond_rounding(value: float, scores: ArrayLike) -> float:
    """A value that was summed over `scores`; zero where it is nothing but rounding's error."""
    largest = float(np.abs(np.asarray(scores)).max())
    return 0.0 if abs(value) <= ROUNDING * largest else value


def _clustered(
    values: Array, weights: Array, cluster: NDArray[np.intp], stratum: NDArray[np.intp]
) -> tuple[float, float]:
    """Variance of the weighted sum of [questions, columns], summed over columns, by clusters.

    Returns:
        The variance and its degrees of freedom, clusters less strata.
    """
    sizes = np.bincount(stratum)
    total, df = 0.0, 0
    for s in range(len(sizes)):
        inside = stratum == s
        centred = values[inside] - values[inside].mean(axis=0)
        _, place = np.unique(cluster[inside], return_inverse=True)
        n_clusters = int(place.max()) + 1
        if n_clusters < 2:
            continue
        sums = np.zeros((n_clusters, values.shape[1]))
        np.add.at(sums, place, weights[inside][:, None] * centred)
        total += n_clusters / (n_clusters - 1) * float(np.sum(sums**2))
        df += n_clusters - 1
    return total, float(df)
