import math

import pytest
from scipy import stats

from attnres_eval.analysis.mcnemar import holm, mcnemar, published_gain


@pytest.mark.parametrize(("first", "second"), [(1, 8), (10, 10), (30, 12), (0, 6)])
def test_mcnemar_is_the_exact_sign_test(first: int, second: int) -> None:
    n, k = first + second, min(first, second)
    tail = sum(math.comb(n, i) for i in range(k + 1)) / 2**n
    assert mcnemar(first, second).p_value == pytest.approx(min(1.0, 2 * tail))


def test_models_that_never_differ_cannot_be_told_apart() -> None:
    assert mcnemar(0, 0).p_value == 1.0


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    adjusted = holm([math.nan, 0.01, math.nan, 0.02])
    assert adjusted[1::2] == pytest.approx([0.02, 0.02])
    assert math.isnan(adjusted[0])
    assert holm([]) == []


def test_published_gain_on_a_small_benchmark() -> None:
    """The normal approximation's closed form is close, and the bound is tight."""
    gain = published_gain(0.369, 0.444, 198)
    independent = 0.369 * 0.556 + 0.444 * 0.631
    assert gain.independent_discordant == pytest.approx(independent)
    error = math.sqrt((independent - 0.075**2) / 198)
    z = stats.norm.isf(0.025) + stats.norm.isf(0.2)
    assert gain.detectable == pytest.approx(z * error, rel=0.01)
    most, net = round(gain.most_discordant * 198), 15
    assert mcnemar((most - net) // 2, (most + net) // 2).p_value <= 0.05
    assert mcnemar((most + 2 - net) // 2, (most + 2 + net) // 2).p_value > 0.05
