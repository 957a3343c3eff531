"""Two models on the same questions: McNemar's test, Holm's correction, published gains."""

import math
from typing import NamedTuple

from scipy import stats

from attnres_eval.analysis.clustered import Estimate, Part
from attnres_eval.analysis.intervals import CONFIDENCE


class McNemar(NamedTuple):
    """Two models on the same questions, right or wrong."""

    only_first: int
    """Questions that the first model alone has right."""
    only_second: int
    p_value: float
    """Exact, two-sided: of a fair coin thrown for each question on which they differ."""


def mcnemar(only_first: int, only_second: int) -> McNemar:
    """McNemar's exact test."""
    thrown = only_first + only_second
    p = stats.binomtest(only_first, thrown).pvalue if thrown else 1.0
    return McNemar(only_first, only_second, float(p))


class PublishedGain(NamedTuple):
    """What can be said of two published accuracies on n questions, one run each."""

    questions: int
    gain: float
    """Difference of the two accuracies."""
    most_discordant: float
    """Share of questions answered differently up to which the gain is significant at 5%."""
    independent_discordant: float
    """That share if the two models' answers had nothing to do with each other."""
    detectable: float
    """Smallest difference of accuracy seen in 80% of tests, were answers independent."""


def published_gain(first: float, second: float, questions: int) -> PublishedGain:
    """Bounds what a table's two accuracies can mean without the answers behind them.

    Args:
        first: accuracy of the baseline.
        second: accuracy of the other.
        questions: how many both answered.
    """
    gain = second - first
    net = round(abs(gain) * questions)
    most = net
    # The two counts of McNemar's test differ by `net`, whatever their sum.
    while most + 2 <= questions and mcnemar(
        (most + 2 - net) // 2, (most + 2 + net) // 2
    ).p_value <= (1 - CONFIDENCE):
        most += 2
    independent = first * (1 - second) + second * (1 - first)
    variance = (independent - gain**2) / questions
    detectable = Estimate(gain, (Part(variance, questions - 1),)).detectable
    return PublishedGain(questions, gain, most / questions, independent, detectable)


def holm(p_values: list[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given; NaN stays NaN and does not count."""
    order = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    adjusted = [math.nan] * len(p_values)
    least = 0.0
    for rank, (p, place) in enumerate(order):
        least = max(least, min(1.0, p * (len(order) - rank)))
        adjusted[place] = least
    return adjusted
