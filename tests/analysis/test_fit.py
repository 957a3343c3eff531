import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from attnres_eval.analysis.fit import NoFitError, fit_power
from attnres_eval.analysis.irreducible import HUBER_DELTA, fit_irreducible, minimise_huber

COMPUTES = np.geomspace(1e12, 1e14, 5)


def points(
    factors: dict[str, float],
    alpha: float,
    *,
    e: float = 0.0,
    noise: float = 0.0,
    seeds: int = 1,
    n_sizes: int = 5,
) -> pd.DataFrame:
    random = np.random.default_rng(3)
    rows = []
    for label, factor in factors.items():
        for number, flops in enumerate(COMPUTES[:n_sizes]):
            for seed in range(seeds):
                loss = e + factor * (flops / 1e13) ** -alpha
                loss *= np.exp(noise * random.standard_normal())
                rows.append(
                    {
                        "label": label,
                        "size": f"n{number}",
                        "seed": seed,
                        "compute": flops,
                        "loss": loss,
                    }
                )
    return pd.DataFrame(rows)


def test_recovers_exact_curves() -> None:
    fit = fit_power(points({"x": 4.0, "y": 3.5}, 0.07))
    assert fit.alpha == pytest.approx(0.07)
    for label, factor in {"x": 4.0, "y": 3.5}.items():
        assert np.exp(fit.log_loss(label, 1e13)) == pytest.approx(factor)
    assert fit.r2 == pytest.approx(1)
    assert fit.degrees_of_freedom == 7


def test_one_label_is_a_linear_regression() -> None:
    data = points({"x": 4.0}, 0.07, noise=0.01)
    fit = fit_power(data)
    x, y = np.log(data["compute"]), np.log(data["loss"])
    line = stats.linregress(x, y)
    reach = stats.t.ppf(0.975, 3)
    assert fit.alpha == pytest.approx(-line.slope)
    assert fit.alpha_interval == pytest.approx(
        (-line.slope - reach * line.stderr, -line.slope + reach * line.stderr)
    )
    assert fit.a_interval("x") == pytest.approx(
        (
            np.exp(line.intercept - reach * line.intercept_stderr),
            np.exp(line.intercept + reach * line.intercept_stderr),
        )
    )
    assert fit.r2 == pytest.approx(line.rvalue**2)


def test_band_is_the_confidence_band_of_a_regression() -> None:
    data = points({"x": 4.0}, 0.07, noise=0.01)
    fit = fit_power(data)
    x = np.log(data["compute"].to_numpy())
    at = np.log(3e13)
    squares = np.sum((np.log(data["loss"]) - fit.log_loss("x", data["compute"].to_numpy())) ** 2)
    error = np.sqrt(squares / 3 * (1 / 5 + (at - x.mean()) ** 2 / np.sum((x - x.mean()) ** 2)))
    reach = stats.t.ppf(0.975, 3) * error
    low, high = fit.band("x", np.array([3e13]))
    centre = np.exp(fit.log_loss("x", 3e13))
    assert low[0] == pytest.approx(centre * np.exp(-reach))
    assert high[0] == pytest.approx(centre * np.exp(reach))


def test_two_points_have_a_curve_and_no_interval() -> None:
    fit = fit_power(points({"x": 4.0}, 0.07, n_sizes=2))
    assert fit.alpha == pytest.approx(0.07)
    assert not fit.alpha_interval.exists
    assert not fit.a_interval("x").exists
    assert np.isnan(fit.band("x", COMPUTES)[0]).all()


def test_refuses_what_is_no_power_law() -> None:
    with pytest.raises(NoFitError, match="at least two sizes"):
        fit_power(points({"x": 4.0}, 0.07, n_sizes=1, seeds=3))
    with pytest.raises(NoFitError, match="does not fall"):
        fit_power(points({"x": 4.0}, -0.02))


def test_irreducible_recovers_the_truth() -> None:
    fit = fit_irreducible(points({"x": 2.0, "y": 1.8}, 0.3, e=1.5, noise=1e-4, seeds=2))
    assert fit.borne
    assert fit.e == pytest.approx(1.5, rel=0.01)
    assert fit.alpha == pytest.approx(0.3, rel=0.02)
    at_1e13 = np.exp(fit.log_a) * 1e13**-fit.alpha
    assert at_1e13 == pytest.approx([2.0, 1.8], rel=0.01)
    # y's curve is x's at M times the compute: 1.8 = 2 M^-0.3.
    assert fit.log_multiplier("y", "x") == pytest.approx(np.log(2 / 1.8) / 0.3, rel=0.01)
    assert fit.log_multiplier("x", "x") == 0


def test_irreducible_is_not_borne_by_a_plain_power_law() -> None:
    fit = fit_irreducible(points({"x": 4.0, "y": 3.8}, 0.07, noise=0.003, seeds=2))
    assert not fit.borne


def test_irreducible_has_the_same_digits_by_another_way() -> None:
    """As of another processor: by sums in another order."""
    data = points({"x": 2.0, "y": 1.8}, 0.3, e=1.5, noise=0.003, seeds=3)
    first = fit_irreducible(data)
    other = fit_irreducible(data.sample(frac=1, random_state=0).sort_values("label", kind="stable"))
    assert other.labels == first.labels
    assert [other.e, other.alpha, *other.log_a] == pytest.approx(
        [first.e, first.alpha, *first.log_a], rel=1e-12
    )


def test_irreducible_needs_four_sizes() -> None:
    data = points({"x": 2.0}, 0.3, e=1.5, n_sizes=3, seeds=3)
    with pytest.raises(NoFitError, match="3 sizes, fewer than 4"):
        fit_irreducible(data)


def test_huber_minimum_agrees_with_another_optimiser() -> None:
    random = np.random.default_rng(0)
    x = np.linspace(-1, 1, 30)
    y = 0.4 + 0.2 * x + 0.002 * random.standard_normal(30)
    y[4] += 0.5  # an outlier that least squares would follow

    def model(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return p[0] + p[1] * x - y, np.column_stack([np.ones_like(x), x])

    found, _ = minimise_huber(model, [np.zeros(2)], [(-5, 5), (-5, 5)])
    other = optimize.least_squares(
        lambda p: model(p)[0], np.zeros(2), loss="huber", f_scale=HUBER_DELTA, xtol=1e-15
    )
    assert found == pytest.approx(other.x, abs=1e-5)
    assert found == pytest.approx([0.4, 0.2], abs=2e-3)
