"""What is said of differences follows their intervals."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from attnres_eval.report.figures import draw_figures
from attnres_eval.report.study_page import study_page
from attnres_eval.report.words_differences import difference_headline, difference_sentences


def differences(**changes: Any) -> pd.DataFrame:
    """Three variants at the fabricated study's largest size: below, within one's own, above."""
    values: dict[str, Any] = {
        "variant": ["full_attnres", "block_attnres", "third"],
        "size": "d64",
        "difference": [-0.05, -0.02, 0.04],
        "ci_low": [-0.06, -0.03, 0.03],
        "ci_high": [-0.04, -0.01, 0.05],
        "ci_low_all": [-0.07, -0.045, 0.02],
        "ci_high_all": [-0.03, 0.005, 0.06],
        "pooled_sd": 0.004,
        "df": 6,
        "note": "",
    }
    return pd.DataFrame({**values, **changes})


def no_intervals() -> dict[str, float]:
    return dict.fromkeys(["ci_low", "ci_high", "ci_low_all", "ci_high_all"], np.nan)


def test_both_kinds_of_interval_are_counted(analysed: Callable[..., Any]) -> None:
    results = analysed().results
    text = " ".join(difference_sentences(results, differences()))
    assert "noise 0.004 nats per token, estimated with 6 degrees of freedom" in text
    assert "2 of 3 variants lie below PreNorm and 1 above" in text
    assert "about 0.15 of 3 would by luck alone" in text
    assert "Full AttnRes (-0.050, -0.070 to -0.030) lies below and third" in text
    assert "Block AttnRes (" not in text
    assert "learning rate" in text
    headline = difference_headline(results, differences())
    assert "1 of 3 variants reach a lower loss than PreNorm and 1 a higher one" in headline
    assert "the lowest is Full AttnRes, -0.050 nats per token (-0.070 to -0.030)" in headline


def test_where_none_differs_it_is_said(analysed: Callable[..., Any]) -> None:
    table = differences(ci_low_all=-1.0, ci_high_all=1.0)
    text = " ".join(difference_sentences(analysed().results, table))
    assert "By the interval that holds for all at once, none differs." in text


def test_without_intervals_nothing_is_found(analysed: Callable[..., Any]) -> None:
    results = analysed().results
    text = " ".join(difference_sentences(results, differences(**no_intervals())))
    assert "the runs bear no interval, so no difference from PreNorm is found" in text
    assert "below" not in text
    assert difference_headline(results, differences(**no_intervals())) == ""
    assert difference_sentences(results, differences(difference=np.nan, **no_intervals())) == []


def test_one_variant_needs_no_second_interval(analysed: Callable[..., Any]) -> None:
    text = " ".join(difference_sentences(analysed().results, differences()[:1]))
    assert "Full AttnRes -0.050 (-0.060 to -0.040); the interval excludes 0." in text
    assert "for all at once," not in text


def test_a_noisy_variant_is_named(analysed: Callable[..., Any]) -> None:
    note = "its seeds differ 30.0 times as much as the others' (pooled sd without it 0.004)"
    table = differences(note=["", "", note])
    (found,) = [s for s in difference_sentences(analysed().results, table) if "30.0" in s]
    assert found.startswith("third at size d64: its seeds differ 30.0 times")


def test_many_variants_are_counted_and_not_named(analysed: Callable[..., Any]) -> None:
    many = pd.concat([differences()] * 4, ignore_index=True)
    many["variant"] = [f"v{i}" for i in range(12)]
    text = " ".join(difference_sentences(analysed().results, many.assign(ci_high_all=-0.001)))
    assert "12 lie below" in text
    assert "v3" not in text


def test_a_study_of_one_size_opens_with_its_differences(analysed: Callable[..., Any]) -> None:
    made = analysed({"n_sizes": 1}, multipliers={"block_attnres": 3.0, "full_attnres": 0.3})
    figures = draw_figures(made.results, made.tables, made.folder / "figures")
    page = study_page(made.results, made.tables, figures)
    assert page.headline.startswith(
        "At size d32, 1 of 2 variants reach a lower loss than PreNorm and 1"
    )
    assert page.lead is not None
    assert page.lead.name == "differences"
    shown = [figure.name for section in page.sections for figure in section.figures]
    assert sorted(shown) == sorted(set(shown))
    assert "scaling" in shown
