"""The figures of studies over learning rates, over depth at one budget, and over an option."""

from pathlib import Path

import pandas as pd

from attnres_eval.analysis.collect import Results
from attnres_eval.labels import split_label
from attnres_eval.report.charts.swept import best_rates_chart, over_chart, rates_chart
from attnres_eval.report.figures import Figure, Tables, save_figure
from attnres_eval.report.plot_over import draw_over
from attnres_eval.report.plot_rates import draw_best_rates, draw_rates
from attnres_eval.report.style import label_title
from attnres_eval.report.words_over import (
    option_headline,
    option_sentences,
    shapes_headline,
)
from attnres_eval.report.words_rates import largest_swept, rates_headline


def draw_swept_figures(results: Results, tables: Tables, folder: Path) -> list[Figure]:
    """Draws what the tables of sweeps bear; nothing for other studies."""
    return [
        *_rates(results, tables, folder),
        *_shapes(results, tables, folder),
        *_options(results, tables, folder),
    ]


def _rates(results: Results, tables: Tables, folder: Path) -> list[Figure]:
    best = tables["best_rates"]
    size = largest_swept(results, best)
    if size is None:
        return []
    rates = tables["rates"][tables["rates"]["size"] == size]
    best = best[best["size"] == size]
    baseline = split_label(results.study.baseline)[0]
    base = label_title(baseline)
    finding = rates_headline(results, tables["best_rates"]) or "No interval bears a finding."
    curves = Figure(
        "rates",
        "Loss over the learning rate",
        f"Size {size}, mean over seeds; bars reach from the least to the greatest seed. A ring"
        f" marks each best rate; the thin line in every panel is {base}. A triangle at the edge"
        " stands for the number beside it.",
        f"Held-out loss over peak learning rates at size {size}. {finding}",
    )
    found = [
        save_figure(
            curves,
            lambda theme: draw_rates(rates, baseline, theme),
            folder,
            lambda: rates_chart(rates, baseline),
        )
    ]
    if (best["variant"] != baseline).any() and best["difference_at_best"].notna().any():
        compared = Figure(
            "best_rates",
            "What the learning rate decides",
            f"Size {size}, minus {base} at its best rate, mean over seeds: open dots at that same"
            " rate, filled ones at the variant's own best, which stands under its name. Bars are"
            " 95% intervals with one noise for all variants.",
            f"Differences to {base} at its best rate and at each variant's own. {finding}",
        )
        found.append(
            save_figure(
                compared,
                lambda theme: draw_best_rates(best, baseline, theme),
                folder,
                lambda: best_rates_chart(best, baseline),
            )
        )
    return found


def _shapes(results: Results, tables: Tables, folder: Path) -> list[Figure]:
    shapes = tables["shapes"]
    if shapes.empty:
        return []
    labels = [label for label in results.study.variants if label in set(shapes["variant"])]
    baseline = results.study.baseline
    base = label_title(baseline)
    finding = shapes_headline(results, tables["shape_slopes"]) or "No slope has an interval."
    figure = Figure(
        "shapes",
        "Depth against width at equal FLOPs",
        f"All depths cost {base} the same; deeper models are narrower. Left: loss, mean over seeds,"
        f" bars from the least to the greatest seed. Right: minus {base}'s at the same depth, bars"
        " are 95% intervals with one noise for all variants of a depth.",
        f"Held-out loss over the number of blocks at equal FLOPs. {finding}",
    )
    rows = shapes.assign(x=shapes["n_layers"].astype(float))
    return [
        save_figure(
            figure,
            lambda theme: draw_over(rows, labels, baseline, "Blocks (log scale)", theme),
            folder,
            lambda: over_chart(rows, labels, baseline, "Blocks (log scale)"),
        )
    ]


def _options(results: Results, tables: Tables, folder: Path) -> list[Figure]:
    """A figure an option, of the last size that has it."""
    table = tables["option_sweep"]
    found = []
    for option in dict.fromkeys(table["option"]):
        own = table[table["option"] == option]
        size = own["size"].iloc[-1]
        rows = own[own["size"] == size].rename(columns={"value": "x", "variant": "label"})
        found.append(_option(results, rows.rename(columns={"sweep": "variant"}), folder))
    return found


def _option(results: Results, rows: pd.DataFrame, folder: Path) -> Figure:
    option, size = rows["option"].iloc[0], rows["size"].iloc[0]
    baseline = results.study.baseline
    runs = results.finished
    of_baseline = runs[(runs["label"] == baseline) & (runs["size"] == size)]["loss"]
    level = float(of_baseline.mean()) if len(of_baseline) else None
    named = rows.drop(columns="label").assign(sweep=rows["variant"], value=rows["x"])
    finding = " ".join(option_sentences(results, named)) or "No interval bears a finding."
    figure = Figure(
        f"option_{option}",
        f"Loss over {option}",
        f"Size {size}. Left: loss, mean over seeds, bars from the least to the greatest seed."
        f" Right: minus {label_title(baseline)}'s, bars are 95% intervals with one noise for all"
        " labels.",
        f"Held-out loss over {option}. {finding}",
    )
    labels = list(dict.fromkeys(rows["variant"]))
    return save_figure(
        figure,
        lambda theme: draw_over(rows, labels, baseline, f"{option} (log scale)", theme, level),
        folder,
        lambda: over_chart(rows, labels, baseline, f"{option} (log scale)", level),
    )


def swept_lead(results: Results, tables: Tables) -> tuple[str, str] | None:
    """What a page opens with where there is no multiplier: a sentence and a figure's name."""
    if headline := rates_headline(results, tables["best_rates"]):
        return headline, "best_rates"
    if headline := shapes_headline(results, tables["shape_slopes"]):
        return headline, "shapes"
    if headline := option_headline(results, tables["option_sweep"]):
        return headline, f"option_{tables['option_sweep']['option'].iloc[0]}"
    return None
