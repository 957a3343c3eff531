"""README and figures out of rows, without measuring."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fabricate import make_study
from matplotlib.figure import Figure

from attnres_eval.bench.figures import growth_figure, worth_figure, worth_points
from attnres_eval.bench.growth import rows_of
from attnres_eval.bench.ladders import LADDERS
from attnres_eval.bench.names import TIME, WORTH
from attnres_eval.bench.plot_growth import draw_growth
from attnres_eval.bench.plot_worth import draw_worth
from attnres_eval.bench.readme import speed_part, with_part, write_readme
from attnres_eval.bench.rounds import Measured, once
from attnres_eval.bench.rows import Aim, Row, measured_row
from attnres_eval.files import write_json
from attnres_eval.report.style import LIGHT, styles

OTHER = "# Benchmarks\n\nWords.\n\n## Evaluation\n\nNumbers.\n"


def step_row(value: float) -> Row:
    measured = Measured(value, 0.01)
    row = measured_row("steps", "training step, a over b", "d128x12", measured, aim=Aim(1.05))
    return row.stamped("a processor", "2.9", "2026-01-02")


def test_the_part_is_put_before_the_others_and_replaced_alone() -> None:
    first = with_part(OTHER, speed_part([step_row(1.25)], []))
    assert first.startswith("# Benchmarks\n\nWords.\n\n## Speed\n")
    assert first.endswith("\n\n## Evaluation\n\nNumbers.\n")
    assert "1.250" in first
    second = with_part(first, speed_part([step_row(1.5)], []))
    assert "1.250" not in second
    assert second.count("## Speed") == 1
    assert with_part(second, speed_part([step_row(1.25)], [])) == first


def test_a_readme_is_made_where_there_is_none(tmp_path: Path) -> None:
    write_readme(tmp_path / "README.md", [step_row(1.25)], [])
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("# Benchmarks\n\n## Speed")
    assert "| training step, a over b | d128x12 (2.4M) | 1.250 | <= 1.05 | no |" in " ".join(
        text.split()
    )
    assert "a processor, torch 2.9, 2026-01-02" in text


def test_every_processor_has_a_table_the_latest_first() -> None:
    other = step_row(1.75).stamped("another one", "2.9", "2026-02-02")
    text = speed_part([step_row(1.25), other], [])
    places = [text.index(words) for words in ("1.750", "on another one", "1.250", "on a processor")]
    assert places == sorted(places)
    assert text.count("| training step, a over b") == 2


def test_growth_is_drawn_from_rows(tmp_path: Path) -> None:
    depth = LADDERS[0]
    x = np.array(depth.points, dtype=float)[:, None] * np.ones((1, 3))
    series = {"prenorm": x, "block_attnres": 2 * x, "full_attnres": x + x**2}
    rows = rows_of(depth, TIME, series, "fp32", 3)
    figure = growth_figure(rows, tmp_path)
    assert figure is not None
    assert {path.name for path in tmp_path.iterdir()} == {
        f"growth{theme}.{suffix}" for theme in ("", "-dark") for suffix in ("svg", "png")
    }
    part = speed_part(rows, [figure])
    assert 'srcset="figures/growth-dark.png"' in part
    assert "exponent over depth: milliseconds of a step, full_attnres less prenorm's" in part
    assert growth_figure([step_row(1.0)], tmp_path) is None


@pytest.mark.parametrize("values", [(81.0, 74.0), (3.1, 3.4), (11.0, 24.0), (1.5, 400.0)])
def test_every_panel_of_growth_has_numbers_on_its_axis(values: tuple[float, float]) -> None:
    rows = [
        measured_row("growth", "q", None, once(value), variant="prenorm", at=float(at))
        for at, value in enumerate(values, 1)
    ]
    (axes,) = draw_growth([[rows]], ["MiB"], ["blocks"], LIGHT).axes
    low, high = axes.get_ylim()
    assert sum(low <= tick <= high for tick in axes.get_yticks()) >= 2


def points(**changes: list[Any]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "variant": ["full_attnres", "mhc", "lime", "denseformer", "postnorm"],
            "family": ["attention", "several streams", "fixed", "fixed", "single stream"],
            "step_time": [1.2, 3.0, 1.1, 1.1, 1.0],
            "difference": [-0.02, 0.01, 0.02, 0.01, 1.5],
            "ci_low": [-0.05, -0.01, 0.0, 0.0, 1.4],
            "ci_high": [0.01, 0.03, 0.04, 0.02, 1.6],
        }
        | changes
    )


LABELS = ["prenorm", "mhc", "full_attnres", "postnorm", "lime", "denseformer"]


def drawn(figure: Figure, gid: str) -> Any:
    (line,) = [line for axes in figure.axes for line in axes.lines if line.get_gid() == gid]
    return line


def test_worth_is_drawn_where_it_was_measured() -> None:
    figure = draw_worth(points(), LABELS, "d128x12", LIGHT)
    line = drawn(figure, "worth-full_attnres")
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([1.2], [-0.02])
    assert line.get_color() == styles(["full_attnres"], LIGHT)["full_attnres"].colour
    assert list(drawn(figure, "interval-mhc").get_ydata()) == [-0.01, 0.03]
    assert drawn(figure, "far-postnorm").get_marker() == "^"
    names = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert names == {"Full AttnRes", "mHC", "LIMe", "DenseFormer", "PostNorm +1.50"}


def test_a_point_without_interval_is_open() -> None:
    table = points(ci_low=[float("nan")] * 5, ci_high=[float("nan")] * 5)
    figure = draw_worth(table, LABELS, "x", LIGHT)
    assert drawn(figure, "worth-mhc").get_markerfacecolor() == LIGHT.page


def test_losses_come_from_a_results_folder(tmp_path: Path) -> None:
    study = make_study(n_sizes=2)
    write_json(tmp_path / "study.json", study.model_dump(mode="json"))
    table = points().assign(size=study.largest_size)
    other = points().assign(size="d32", difference=9.0)
    (tmp_path / "tables").mkdir()
    pd.concat([other, table]).to_csv(tmp_path / "tables" / "differences.csv", index=False)
    named = [
        measured_row(
            "worth",
            WORTH,
            "d128x12",
            Measured(1.1, 0.0),
            variant=name,
            precision="fp32",
            note=str(tmp_path),
        )
        for name in ("full_attnres", "block_attnres")
    ]
    found = worth_points(named, tmp_path)
    assert list(found["variant"]) == ["full_attnres"]
    assert list(found["difference"]) == [-0.02]
    assert list(found["step_time"]) == [1.1]
    figure = worth_figure(named, tmp_path / "figures")
    assert figure is not None
    assert "d128x12 (2.4M)" in figure.caption
    assert worth_figure([step_row(1.0)], tmp_path) is None


@pytest.mark.parametrize("text", ["", "# Title\n", OTHER])
def test_whatever_else_is_written_stays(text: str) -> None:
    assert with_part(text, "## Speed\n\nx\n\n").replace("## Speed\n\nx\n\n", "").split() == (
        text.split()
    )
