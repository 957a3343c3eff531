"""The charts of benchmarks: scores, paired differences, steps, and scores over compute."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from attnres_eval.report.charts import layers
from attnres_eval.report.charts.chart import Chart, Panel, columns, interval_texts, panel
from attnres_eval.report.charts.look import Looks, short_title
from attnres_eval.report.style import LIGHT, label_title

ROW_PIXELS = 22
CHANCE = (5, 4)
ENDS = ("ci_low", "ci_high")


def scores_chart(scores: pd.DataFrame, labels: Sequence[str]) -> Chart:
    """Benchmark scores with 95% intervals, a panel a task, and the chance line of each.

    Args:
        scores: the table's rows of one size, one metric a task.
        labels: all labels of the report.
    """
    frame = scores[
        [
            *("task", "variant", "size", "metric", "n_questions", "n_seeds", "score"),
            *("ci_low", "ci_high", "chance"),
        ]
    ].reset_index(drop=True)
    drawn = [name for name in labels if name in set(frame["variant"])]
    keys = dict(zip(drawn, layers.row_keys([short_title(name) for name in drawn]), strict=True))
    frame["row"] = frame["variant"].map(keys)
    frame["interval"] = interval_texts(frame)
    looks = Looks.of(drawn, labels)
    tasks = list(dict.fromkeys(frame["task"]))
    return Chart(
        looks=looks,
        data={"scores": columns(frame)},
        panels=tuple(_score_panel(frame[frame["task"] == task], looks) for task in tasks),
        columns=2,
    )


def _score_panel(own: pd.DataFrame, looks: Looks) -> Panel:
    first = own.iloc[0]
    is_task = layers.equal("task", first["task"])
    told = layers.tips(
        ("title:N", "title", ""),
        ("task:N", "Task", ""),
        ("metric:N", "Metric", ""),
        ("score:Q", "Score", layers.DIGITS),
        ("interval:N", "95% interval", ""),
        ("chance:Q", "Guessing", layers.DIGITS),
        ("n_questions:Q", "Questions", layers.COUNT),
        ("n_seeds:Q", "Seeds", ""),
    )
    x = alt.X(
        "score:Q",
        scale=alt.Scale(zero=False, padding=10),
        axis=alt.Axis(
            titleAnchor="end", title="Score (fraction of questions)", format="~g", tickCount=5
        ),
    )
    y = alt.Y("row:N", axis=layers.row_axis())
    chance = own["chance"].dropna()
    parts = [
        *(
            [layers.reference(x=float(chance.iloc[0]), dashes=CHANCE, name="chance")]
            if len(chance)
            else []
        ),
        layers.bars(
            layers.rows("scores", is_task, *layers.known("ci_low", "ci_high")),
            looks,
            2.2,
            x=alt.X("ci_low:Q"),
            x2="ci_high:Q",
            y=y,
            tooltip=told,
        ),
        *layers.estimates("scores", looks, "ci_low", is_task, size=75, x=x, y=y, tooltip=told),
    ]
    title = f"{first['task']}: {first['metric']}, {int(first['n_questions']):,} questions"
    return panel(parts, height=ROW_PIXELS, rows="scores", title=title)


def paired_chart(
    paired: pd.DataFrame, labels: Sequence[str], baseline: str, units: dict[str, str]
) -> Chart:
    """Differences to the baseline by task, a panel a metric; thick bars count questions alone.

    Args:
        paired: the table's rows of one size and of the metrics in `units`.
        labels: all labels of the report; the baseline is not drawn.
        baseline: what the others are compared with.
        units: the label of the axis by metric.
    """
    frame = paired[
        [
            *("task", "variant", "size", "metric", "n_questions", "n_seeds", "difference"),
            *("ci_low", "ci_high", "questions_ci_low", "questions_ci_high", "p_holm"),
        ]
    ].reset_index(drop=True)
    frame["interval"] = interval_texts(frame)
    frame["interval_questions"] = interval_texts(frame, "questions_ci_low", "questions_ci_high")
    tasks = list(dict.fromkeys(frame["task"]))
    frame["row"] = frame["task"].map(dict(zip(tasks, layers.row_keys(tasks), strict=True)))
    drawn = [name for name in labels if name in set(frame["variant"])]
    looks = Looks.of(drawn, labels)
    return Chart(
        looks=looks,
        data={"paired": columns(frame)},
        panels=tuple(
            _paired_panel(metric, unit, looks, baseline) for metric, unit in units.items()
        ),
        columns=2,
        key=True,
    )


def _paired_panel(metric: str, unit: str, looks: Looks, baseline: str) -> Panel:
    told = layers.tips(
        ("title:N", "title", ""),
        ("task:N", "Task", ""),
        ("difference:Q", unit, layers.SIGNED),
        ("interval:N", "95%, questions and seeds", ""),
        ("interval_questions:N", "95%, questions alone", ""),
        ("p_holm:Q", "p (Holm)", layers.DIGITS),
        ("n_questions:Q", "Questions", layers.COUNT),
        ("n_seeds:Q", "Seeds", ""),
    )
    x = alt.X(
        "difference:Q",
        scale=alt.Scale(padding=6),
        axis=alt.Axis(
            titleAnchor="end",
            title=[unit, f"minus {label_title(baseline)}'s"],
            formatType="signed",
            tickCount=4,
        ),
    )
    place: dict[str, Any] = {
        "y": alt.Y("row:N", axis=layers.row_axis()),
        "yOffset": alt.YOffset("label:N", sort=looks.labels),
        "tooltip": told,
    }
    is_metric = layers.equal("metric", metric)
    parts = [layers.reference(x=0.0)]
    for low, high, width in (
        ("ci_low", "ci_high", 1.3),
        ("questions_ci_low", "questions_ci_high", 3.0),
    ):
        parts.append(
            layers.bars(
                layers.rows("paired", is_metric, *layers.known(low, high)),
                looks,
                width,
                x=alt.X(f"{low}:Q"),
                x2=f"{high}:Q",
                **place,
            )
        )
    parts += layers.estimates("paired", looks, "ci_low", is_metric, size=50, x=x, **place)
    return panel(parts, height=13, rows="paired")


def steps_chart(steps: pd.DataFrame, labels: Sequence[str]) -> Chart:
    """Accuracy over reasoning steps, a panel a family, with 95% intervals and what guessing scores.

    Args:
        steps: the table's rows of one size and of accuracy.
        labels: all labels of the report.
    """
    frame = steps[
        [
            *("family", "steps", "task", "variant", "size", "n_questions", "n_seeds", "score"),
            *("ci_low", "ci_high", "chance"),
        ]
    ].reset_index(drop=True)
    frame["interval"] = interval_texts(frame)
    drawn = [name for name in labels if name in set(frame["variant"])]
    looks = Looks.of(drawn, labels)
    families = list(dict.fromkeys(frame["family"]))
    return Chart(
        looks=looks,
        data={"steps": columns(frame)},
        panels=tuple(_steps_panel(family, looks) for family in families),
        columns=2,
        key=True,
    )


def _steps_panel(family: str, looks: Looks) -> Panel:
    told = layers.tips(
        ("title:N", "title", ""),
        ("task:N", "Task", ""),
        ("score:Q", "Accuracy", layers.DIGITS),
        ("interval:N", "95% interval", ""),
        ("chance:Q", "Guessing", layers.DIGITS),
        ("n_questions:Q", "Questions", layers.COUNT),
        ("n_seeds:Q", "Seeds", ""),
    )
    x = alt.X("steps:O", axis=alt.Axis(title="Steps k", labelAngle=0, grid=False))
    offset = alt.XOffset("label:N", sort=looks.labels, scale=alt.Scale(paddingOuter=1))
    y = alt.Y(
        "score:Q",
        scale=alt.Scale(domain=[0, 1.03], nice=False),
        axis=alt.Axis(title="Accuracy", format="~g", tickCount=5),
    )
    is_family = layers.equal("family", family)
    chance = (
        layers.rows("steps", is_family)
        .mark_line(color=LIGHT.quiet, strokeDash=list(CHANCE), strokeWidth=1.3)
        .encode(x=x, y=alt.Y("mean(chance):Q"))
    )
    return panel(
        [
            chance,
            *layers.curves("steps", looks, ENDS, is_family, x=x, xOffset=offset, y=y, tooltip=told),
        ],
        height=190,
        title=family,
    )


def task_scaling_chart(scaling: pd.DataFrame, labels: Sequence[str]) -> Chart:
    """Bits per byte of the right choice over training compute, a panel a task.

    Args:
        scaling: the table's rows of one metric.
        labels: all labels of the report.
    """
    frame = scaling[
        ["task", "variant", "size", "flops", "n_seeds", "score", "ci_low", "ci_high"]
    ].reset_index(drop=True)
    frame["interval"] = interval_texts(frame)
    drawn = [name for name in labels if name in set(frame["variant"])]
    looks = Looks.of(drawn, labels)
    tasks = list(dict.fromkeys(frame["task"]))
    return Chart(
        looks=looks,
        data={"scaling": columns(frame)},
        panels=tuple(_task_panel(task, looks, frame["flops"]) for task in tasks),
        columns=2,
        key=True,
    )


def _task_panel(task: str, looks: Looks, flops: "pd.Series[float]") -> Panel:
    told = layers.tips(
        ("title:N", "title", ""),
        ("size:N", "Size", ""),
        ("flops:Q", "FLOPs", layers.POWER),
        ("score:Q", "Gold bits per byte", layers.DIGITS),
        ("interval:N", "95% interval", ""),
        ("n_seeds:Q", "Seeds", ""),
    )
    x = alt.X(
        "flops:Q",
        scale=alt.Scale(type="log", nice=False, padding=12),
        axis=layers.power_axis("Training compute (FLOPs)", flops),
    )
    y = alt.Y(
        "score:Q",
        scale=alt.Scale(zero=False, padding=8),
        axis=alt.Axis(title="Gold bits per byte", format="~g", tickCount=5),
    )
    is_task = layers.equal("task", task)
    return panel(
        layers.curves("scaling", looks, ENDS, is_task, x=x, y=y, tooltip=told),
        height=200,
        title=task,
    )
