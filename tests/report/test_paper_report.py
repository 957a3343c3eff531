import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attnres_eval.analysis.paper import CONVENTION_NOTE, paper_tables
from attnres_eval.cost import PFLOPS_DAY
from attnres_eval.report import paper
from attnres_eval.report.build import export_table
from attnres_eval.report.plot_scaling import draw_scaling
from attnres_eval.report.style import LIGHT


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("paper")
    assert paper.reproduce_paper(out) == out / "report.html"
    return out


def test_multipliers_file(folder: Path) -> None:
    with (folder / "tables" / "multipliers.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "variant",
        "target_compute_pflops_days",
        "multiplier",
        "ci_low",
        "ci_high",
        "source",
    ]
    at = [
        round(float(row["multiplier"]), 3)
        for row in rows
        if row["variant"] == "block_attnres" and row["target_compute_pflops_days"] == "5.6"
    ]
    assert at == [1.254, 1.256]


def test_every_table_and_figure_is_there(folder: Path) -> None:
    for name in ("multipliers", "scaling", "fits", "downstream", "ablation"):
        for suffix in ("csv", "md", "tex", "json"):
            assert (folder / "tables" / f"{name}.{suffix}").is_file()
    for name in ("scaling", "scaling_6nd", "multipliers", "downstream"):
        for suffix in (".svg", ".png", "-dark.svg", "-dark.png"):
            assert (folder / "figures" / f"{name}{suffix}").is_file()
    assert "1.254" in export_table(folder, "multipliers", "markdown")


def test_the_page_says_why_the_numbers_differ(folder: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert CONVENTION_NOTE in page
    assert "1.254 times the compute" in page
    assert "GPQA-Diamond has 198 questions" in page
    text = re.sub(r"data:image/svg\+xml;base64,[A-Za-z0-9+/=]+", "", page)
    assert not re.search(r"https?://", text)
    assert not re.search(r"\bnan\b", re.sub(r"<[^>]*>", " ", text), re.IGNORECASE)


def test_the_published_arrow_is_the_published_multiplier() -> None:
    scaling = paper._scaling(paper_tables(), printed=True)
    axes = draw_scaling(scaling, LIGHT).axes
    assert len(axes) == 1
    found: list[Any] = [text for text in axes[0].texts if text.get_gid() is None]
    (arrow,) = found
    assert arrow.xyann[0] == pytest.approx(5.6 * PFLOPS_DAY)
    assert arrow.xy[0] / arrow.xyann[0] == pytest.approx(1.254, abs=5e-4)
    assert arrow.xy[1] == pytest.approx(1.692, abs=1e-3)
    base = scaling.curves["prenorm"]
    assert float(base.loss(np.array(5.6 * PFLOPS_DAY))) == pytest.approx(1.714, abs=1e-3)


def test_every_way_has_a_short_name() -> None:
    sources = set(paper_tables()["multipliers"]["source"])
    assert {paper.short_way(source) for source in sources} == set(paper.WAYS.values())


def test_variants_keep_their_colours() -> None:
    for printed in (True, False):
        scaling = paper._scaling(paper_tables(), printed=printed)
        assert scaling.baseline in scaling.labels
        assert set(scaling.labels) == set(scaling.curves)
        assert not scaling.points.loc[scaling.points["label"].isin(scaling.labels)].empty
