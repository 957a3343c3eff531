"""The learning curves: training loss, and each variant's lead over the baseline as it trains."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from attnres_eval.report.legend import legend_looks, legend_names
from attnres_eval.report.plot_compare import short_count
from attnres_eval.report.plot_scaling import WIDTH, legend_columns, legend_inches
from attnres_eval.report.style import Theme, label_title, themed

SMOOTHED_SHARE = 0.05
"""Share of a curve's logged steps that one drawn point averages."""


def smoothing_window(logged_steps: int) -> int:
    """How many neighbouring logged steps one drawn point averages: odd, at least one."""
    return max(1, int(logged_steps * SMOOTHED_SHARE) // 2 * 2 + 1)


def smoothed_curves(metrics: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """Training loss by label and tokens: mean over seeds, then over neighbouring logged steps.

    Args:
        metrics: label, seed, tokens, loss of one size.
        labels: the columns of the result.
    """
    means = metrics.groupby(["label", "tokens"])["loss"].mean().unstack("label")
    # A seed that is missing at the end of a curve must not change the mean of the others.
    whole = means.dropna().reindex(columns=[label for label in labels if label in means])
    return whole.rolling(smoothing_window(len(whole)), center=True).mean().dropna()


def draw_training(
    metrics: pd.DataFrame, labels: Sequence[str], baseline: str, theme: Theme
) -> Figure:
    """Training loss over tokens at one size, and its difference from the baseline.

    All variants of a seed see the same batches, so the difference is paired batch by batch.
    """
    curves = smoothed_curves(metrics, labels)
    with themed(theme):
        shown = list(map(str, curves.columns))
        looks, names = legend_looks(shown, labels, theme), legend_names(shown)
        figure = Figure(figsize=(WIDTH, 5.6 + legend_inches(len(names))))
        upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [1.5, 1]})
        for label in curves:
            look = looks[str(label)]
            line = {"color": look.colour, "linestyle": look.line}
            name = names.get(str(label))
            upper.plot(curves.index, curves[label], label=name, gid=f"loss-{label}", **line)
            if baseline in curves:
                difference = curves[label] - curves[baseline]
                lower.plot(curves.index, difference, gid=f"difference-{label}", **line)
        upper.set_ylabel("Training loss\n(nats per token)")
        lower.set_ylabel(f"Minus {label_title(baseline)}\n(nats per token)")
        lower.set_xlabel("Training tokens")
        lower.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_count(value)))
        figure.align_ylabels()
        figure.legend(loc="outside upper center", ncols=legend_columns(len(names)))
        return figure
