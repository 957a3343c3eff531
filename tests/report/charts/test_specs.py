"""What the charts of a study hold: valid Vega-Lite, the tables' numbers, the figures' looks."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import altair as alt
import pandas as pd
import pytest
from charted import Charted
from jsonschema import ValidationError  # type: ignore[import-untyped]

from attnres_eval.report.charts.chart import Chart, columns
from attnres_eval.report.charts.embed import chart_json
from attnres_eval.report.charts.look import SHAPES, dark_colours, dash
from attnres_eval.report.charts.scaling import bits_per_nat
from attnres_eval.report.charts.scores import steps_chart, task_scaling_chart
from attnres_eval.report.charts.swept import over_chart
from attnres_eval.report.plot_training import smoothed_curves
from attnres_eval.report.style import DARK, LIGHT, styles

OF_STUDY = {
    *("scaling", "time_scaling", "multipliers", "benchmarks", "paired"),
    *("differences", "training", "depth"),
}


def parts(node: Any) -> Iterator[dict[str, Any]]:
    """Every object in a specification."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from parts(value)
    elif isinstance(node, list):
        for value in node:
            yield from parts(value)


def scales(chart: Chart, channel: str) -> list[dict[str, Any]]:
    return [
        part["encoding"][channel]["scale"]
        for panel in chart.panels
        for part in parts(panel.spec)
        if "scale" in part.get("encoding", {}).get(channel, {})
    ]


def test_every_figure_whose_reading_gains_by_it_has_a_chart(study: Charted, sweep: Charted) -> None:
    assert set(study.charts) == OF_STUDY
    assert {"rates", "best_rates"} <= set(sweep.charts)


def test_specifications_are_valid(study: Charted, sweep: Charted) -> None:
    for chart in (*study.charts.values(), *sweep.charts.values()):
        for panel in chart.panels:
            assert panel.spec["width"] == "container"
            alt.Chart.from_dict(panel.spec)


def test_an_invalid_specification_is_refused(study: Charted) -> None:
    spec = copy.deepcopy(study.charts["training"].panels[0].spec)
    spec["layer"][0]["mark"]["type"] = "squiggle"
    with pytest.raises(ValidationError):
        alt.Chart.from_dict(spec)


def test_panels_name_data_that_the_chart_has(study: Charted, sweep: Charted) -> None:
    for chart in (*study.charts.values(), *sweep.charts.values()):
        for panel in chart.panels:
            own = set(panel.spec.get("datasets", {}))
            named = {part["data"]["name"] for part in parts(panel.spec) if "data" in part}
            assert named - own <= set(chart.data)
            fields = {part["field"] for part in parts(panel.spec) if "field" in part}
            assert fields <= {name for data in chart.data.values() for name in data}


def test_columns_are_of_one_length_and_plain_json(study: Charted) -> None:
    for chart in study.charts.values():
        for data in chart.data.values():
            assert len({len(column) for column in data.values()}) == 1
        json.loads(chart_json(chart))


def test_runs_are_those_of_the_table_of_losses(study: Charted) -> None:
    runs = study.charts["scaling"].data["runs"]
    # The run that is missing has a row of the table, and no point.
    table = study.tables["losses"].dropna(subset=["nats_per_token"])
    assert len(runs["run"]) == len(table) == 26
    for name, column in (
        ("run", "run"),
        ("label", "variant"),
        ("seed", "seed"),
        ("tokens", "tokens"),
        ("flops", "flops"),
        ("compute", "flops"),
        ("loss", "nats_per_token"),
        ("loss_bits", "bits_per_byte"),
    ):
        assert runs[name] == table[column].tolist(), name


def test_seconds_are_tokens_times_the_calibrated_time_of_each(study: Charted) -> None:
    timed = study.charts["scaling"].data["runs_time"]
    losses = study.tables["losses"].set_index("run")
    per_token = study.tables["step_times"].set_index(["variant", "size"])["seconds_per_token"]
    for run, seconds in zip(timed["run"], timed["compute"], strict=True):
        row = losses.loc[run]
        expected = row["tokens"] * per_token[row["variant"], row["size"]]
        assert seconds == pytest.approx(expected, rel=1e-6)


def test_fitted_curves_are_the_tables_power_laws(study: Charted) -> None:
    fits = study.tables["fits"]
    fits = fits[fits["model"] == "shared exponent"].set_index("variant")
    curve = study.charts["scaling"].data["curves"]
    for label, compute, fit in zip(curve["label"], curve["compute"], curve["fit"], strict=True):
        row = fits.loc[label]
        e = 0.0 if pd.isna(row["e"]) else row["e"]
        loss = e + row["a"] * (compute / 8.64e19) ** -row["alpha"]
        assert fit == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "data", "table"),
    [
        ("benchmarks", "scores", "benchmarks"),
        ("paired", "paired", "paired"),
        ("depth", "depth", "depth"),
        ("multipliers", "multipliers", "multipliers"),
        ("differences", "differences", "differences"),
    ],
)
def test_numbers_are_the_tables_own(study: Charted, name: str, data: str, table: str) -> None:
    drawn = pd.DataFrame(study.charts[name].data[data]).rename(columns={"label": "variant"})
    known = pd.DataFrame(columns(study.tables[table])).rename(columns={"label": "variant"})
    if name == "multipliers":
        drawn = drawn[drawn["model"] != "at equal time"]
    assert len(drawn)
    shared = [column for column in known if column in drawn]
    assert {"variant", "size"} & set(shared)
    assert len(shared) >= 4
    rows = set(
        known[shared].astype(object).where(known[shared].notna(), None).itertuples(index=False)
    )
    found = drawn[shared].astype(object).where(drawn[shared].notna(), None)
    assert set(found.itertuples(index=False)) <= rows


def test_learning_curves_are_thinned_and_not_changed(study: Charted) -> None:
    curves = study.results.curves
    largest = study.results.finished.sort_values("flops")["size"].iloc[-1]
    whole = smoothed_curves(curves[curves["size"] == largest], list(study.results.study.variants))
    drawn = pd.DataFrame(study.charts["training"].data["curves"])
    for label, own in drawn.groupby("label"):
        exact = whole[label].reindex(own["tokens"])
        assert own["loss"].tolist() == pytest.approx(exact.tolist(), rel=1e-6)
        assert own["tokens"].iloc[-1] == whole.index[-1]


def test_points_of_rates_are_labels_of_the_study(sweep: Charted) -> None:
    chart = sweep.charts["rates"]
    assert set(chart.data["rates"]["label"]) <= set(sweep.results.study.variants)
    drawn = pd.DataFrame(chart.data["rates"])
    table = sweep.tables["rates"]
    assert drawn["nats_per_token"].tolist() == table["nats_per_token"].tolist()
    for panel in chart.panels:
        assert len(panel.labels) > 1
        assert len({label.split("_x")[0] for label in panel.labels}) == 1


def test_looks_are_those_of_the_figures(study: Charted) -> None:
    light = styles(list(study.results.study.variants), LIGHT)
    dark = styles(list(study.results.study.variants), DARK)
    for chart in study.charts.values():
        for label, look in chart.looks.styles.items():
            assert look == light[label]
            assert dark_colours()[look.colour] == dark[label].colour
        for scale in scales(chart, "color"):
            found = dict(zip(scale["domain"], scale["range"], strict=True))
            assert found == {label: light[label].colour for label in chart.looks.labels}
        for scale in scales(chart, "shape"):
            found = dict(zip(scale["domain"], scale["range"], strict=True))
            assert found == {label: SHAPES[light[label].marker] for label in chart.looks.labels}
        for scale in scales(chart, "strokeDash"):
            assert scale["range"] == [dash(light[label]) for label in chart.looks.labels]
    assert scales(study.charts["scaling"], "strokeDash")


def test_a_colour_of_the_light_theme_has_one_of_the_dark() -> None:
    pairs = dark_colours()
    assert pairs[LIGHT.page] == DARK.page
    assert [pairs[colour] for colour in LIGHT.colours] == list(DARK.colours)


def test_every_panel_hides_by_the_one_parameter(study: Charted, sweep: Charted) -> None:
    for chart in (*study.charts.values(), *sweep.charts.values()):
        for panel in chart.panels:
            assert panel.spec["params"] == [{"name": "hidden", "value": []}]
            layers = [layer for layer in panel.spec["layer"] if "encoding" in layer]
            own = [one for one in layers if "label" in str(one["encoding"])]
            filters = [str(one.get("transform", panel.spec.get("transform"))) for one in own]
            assert filters
            assert all("hidden" in text for text in filters)


def test_switches_replace_what_a_specification_has(study: Charted) -> None:
    chart = study.charts["scaling"]
    assert [switch.name for switch in chart.switches] == ["Equal", "Loss in"]
    texts = {
        value
        for panel in chart.panels
        for part in parts(panel.spec)
        for value in part.values()
        if isinstance(value, str)
    }
    fields = {text.partition(":")[0] for text in texts}
    for switch in chart.switches:
        for option in switch.options:
            assert set(option.replaced) <= texts | fields


def test_steps_task_scaling_and_dials_are_valid_and_have_their_rows() -> None:
    common = {"size": "d32", "n_seeds": 2, "n_questions": 50, "chance": 0.25}
    frame = pd.DataFrame(
        [
            {
                **common,
                "variant": variant,
                "score": 0.5 + place / 10,
                "ci_low": 0.4,
                "ci_high": None if place else 0.6,
                "task": "chain_k1",
                "family": "chain",
                "steps": 2**place,
                "flops": 10.0 ** (12 + place),
                "x": 2.0**place,
                "nats_per_token": 3.0 + place,
                "nats_low": 2.9,
                "nats_high": 4.1,
                "difference": 0.1,
            }
            for place, variant in enumerate(["prenorm", "mhc", "mine"])
        ]
    )
    labels = ["prenorm", "mhc", "mine"]
    for chart in (
        steps_chart(frame, labels),
        task_scaling_chart(frame, labels),
        over_chart(frame, labels, "prenorm", "Blocks (log scale)", 3.0),
    ):
        for panel in chart.panels:
            alt.Chart.from_dict(panel.spec)
            drawn = [layer["mark"] for layer in panel.spec["layer"]]
            assert {"rule", "point", "line"} <= {mark["type"] for mark in drawn}
        (data,) = chart.data.values()
        assert data["label"] == labels
        assert data["ci_low"] == frame["ci_low"].tolist()
        assert data["ci_high"] == [0.6, None, None]


def test_without_one_ratio_of_bits_and_nats_there_is_no_switch() -> None:
    runs = pd.DataFrame({"nats_per_token": [3.0, 3.0], "bits_per_byte": [2.0, 2.1]})
    assert bits_per_nat(runs) is None
    assert bits_per_nat(runs.iloc[:1]) == pytest.approx(2 / 3)


def test_the_same_results_give_the_same_bytes(study: Charted) -> None:
    from attnres_eval.report.charts.depth import depth_chart

    labels = list(study.results.study.variants)
    size = study.charts["depth"].data["depth"]["size"][0]
    depth = study.tables["depth"][study.tables["depth"]["size"] == size]
    assert chart_json(depth_chart(depth, labels)) == chart_json(depth_chart(depth, labels))
    assert chart_json(depth_chart(depth, labels)) == chart_json(study.charts["depth"])


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.02, 30.0, [0.1, 1.0, 10.0]),
        (0.02, 0.05, [0.025, 0.032, 0.04]),
        (0.03, 0.03, [0.03]),
    ],
)
def test_an_axis_of_magnitudes_has_ticks_within_it(
    low: float, high: float, ticks: list[float]
) -> None:
    from attnres_eval.report.charts.depth import _ticks

    assert _ticks(low, high) == ticks
