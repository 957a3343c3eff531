"""The parametric law: known truths come back, and what runs cannot tell is said."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, special

from attnres_eval.analysis.fit import NoFitError
from attnres_eval.analysis.parametric import PARAMETERS, fit_parametric

TRUTH = {"e": 1.8172, "a": 482.01, "alpha": 0.3478, "b": 2085.43, "beta": 0.3658}
"""What Besiroglu et al. (arXiv:2404.10102) find for the runs of Hoffmann et al."""


def runs(count: int = 40, noise: float = 0.0, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    params = 10 ** random.uniform(7.5, 10.0, count)
    tokens = params * 10 ** random.uniform(0.5, 2.2, count)
    t = TRUTH
    loss = t["e"] + t["a"] / params ** t["alpha"] + t["b"] / tokens ** t["beta"]
    loss = loss * np.exp(noise * random.standard_normal(count))
    return pd.DataFrame({"params": params, "tokens": tokens, "loss": loss})


def test_runs_on_the_law_give_its_numbers() -> None:
    fit = fit_parametric(runs(), resamples=20)
    assert fit.values == pytest.approx(TRUTH, rel=1e-6)
    assert fit.objections == ()
    assert fit.rmse < 1e-8
    points = runs()
    found = fit.loss(points["params"].to_numpy(), points["tokens"].to_numpy())
    assert found == pytest.approx(points["loss"].to_numpy())
    for name in PARAMETERS:
        assert fit.intervals[name].low == pytest.approx(TRUTH[name], rel=1e-4)


def test_a_noisy_fit_is_the_minimum_of_the_summed_huber_loss() -> None:
    points = runs(noise=0.003, seed=1)
    fit = fit_parametric(points, resamples=60)

    def loss(x: np.ndarray) -> float:
        e, a, alpha, b, beta = x
        terms = [
            np.full(len(points), e),
            a - alpha * np.log(points["params"]),
            b - beta * np.log(points["tokens"]),
        ]
        residuals = special.logsumexp(terms, axis=0) - np.log(points["loss"])
        return 1e6 * float(np.sum(special.huber(1e-3, residuals)))

    at = [fit.values[name] for name in PARAMETERS]
    x = np.array([math.log(at[0]), math.log(at[1]), at[2], math.log(at[3]), at[4]])
    found = optimize.minimize(loss, x, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-9})
    assert loss(x) <= found.fun + 1e-4
    truth = [math.log(v) if n in "eab" else v for n, v in TRUTH.items()]
    assert loss(x) < loss(np.array(truth))
    inside = [fit.intervals[name].contains(TRUTH[name]) for name in PARAMETERS]
    assert sum(inside) >= 4
    assert all(fit.intervals[name].contains(fit.values[name]) for name in PARAMETERS)


def test_an_outlier_moves_it_little() -> None:
    points = runs()
    points.loc[3, "loss"] *= 1.1
    fit = fit_parametric(points, resamples=1)
    assert fit.values["alpha"] == pytest.approx(TRUTH["alpha"], rel=0.02)


def test_intervals_hold_the_truth_most_of_the_time() -> None:
    held = [
        fit_parametric(runs(noise=0.003, seed=seed), resamples=40)
        .intervals["beta"]
        .contains(TRUTH["beta"])
        for seed in range(2, 7)
    ]
    assert sum(held) >= 4


def test_what_bears_no_law() -> None:
    with pytest.raises(NoFitError, match="5 runs"):
        fit_parametric(runs(5))
    with pytest.raises(NoFitError, match="column params has one value"):
        fit_parametric(runs().assign(params=1e8))
    points = runs()
    with pytest.raises(NoFitError, match="rise together"):
        fit_parametric(points.assign(tokens=20 * points["params"]))


def test_a_loss_that_does_not_fall_is_an_objection() -> None:
    random = np.random.default_rng(0)
    flat = runs().assign(loss=3.0 * np.exp(0.01 * random.standard_normal(40)))
    assert fit_parametric(flat, resamples=1).objections
