"""Sweeps over one option are found by their labels' options, not by names."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sweeps import blocks_study, study_of

from attnres_eval.analysis.collect import collect
from attnres_eval.analysis.option_sweep import COLUMNS, option_sweep_table, swept_labels
from attnres_eval.analysis.pooled import differences_table
from attnres_eval.analysis.tables import displayed

Fabricated = Callable[..., Path]


def test_labels_that_differ_in_one_number_are_a_sweep() -> None:
    found = swept_labels(blocks_study())
    assert set(found["option"]) == {"num_blocks"}
    own = found[found["sweep"] == "block_attnres"].set_index("variant")["value"].to_dict()
    assert own == {"n1": 1, "n2": 2, "n4": 4, "block_attnres": 8}
    half = found[found["sweep"] == "block_attnres_x0.5"].set_index("variant")["value"].to_dict()
    assert half == {"h1": 1, "h2": 2, "h8": 8}


def test_two_values_or_a_second_difference_are_none() -> None:
    two = study_of(
        {"prenorm": {}, **{f"n{n}": {"variant": "block_attnres", "num_blocks": n} for n in (1, 2)}}
    )
    assert swept_labels(two).empty
    streams = {
        "a": {"variant": "hyper_connections", "streams": 2, "dynamic": True},
        "b": {"variant": "hyper_connections", "streams": 3, "dynamic": False},
        "c": {"variant": "hyper_connections", "streams": 4, "dynamic": True},
    }
    assert swept_labels(study_of({"prenorm": {}, **streams})).empty


def test_values_at_rates_of_their_own_are_a_sweep_beside_those_at_one_rate() -> None:
    rates = [1, {"d32": 0.5}]
    study = study_of(
        {
            "prenorm": {},
            **{
                f"n{n}": {
                    "variant": "block_attnres",
                    "num_blocks": n,
                    "learning_rate_scale": rates,
                }
                for n in (1, 2, 4)
            },
        }
    )
    found = swept_labels(study).groupby("sweep")["variant"].agg(list).to_dict()
    assert found == {
        "block_attnres": ["n1", "n2", "n4"],
        "block_attnres_own": ["n1_own", "n2_own", "n4_own"],
    }


def test_the_table_is_that_of_differences(fabricated: Fabricated) -> None:
    results = collect(fabricated(study=blocks_study()))
    differences = differences_table(results)
    table = option_sweep_table(results, differences)
    assert list(table.columns) == COLUMNS
    assert list(table.loc[table["sweep"] == "block_attnres", "value"]) == [1, 2, 4, 8]
    assert list(displayed(table)["value"].unique()) == ["1", "2", "4", "8"]
    known = differences.set_index("variant")
    means = results.runs.groupby("label")["loss"].mean()
    for _, row in table.iterrows():
        for column in ("difference", "ci_low", "ci_high"):
            assert row[column] == known.loc[row["variant"], column]
        assert row["nats_per_token"] == pytest.approx(means[row["variant"]])


def test_other_studies_have_none(fabricated: Fabricated) -> None:
    results = collect(fabricated())
    assert option_sweep_table(results, differences_table(results)).empty
