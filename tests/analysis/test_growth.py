"""Growth of outputs with depth, held to ratios taken one by one."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fabricate import inspection, make_study, rewrite

from attnres_eval.analysis.collect import collect
from attnres_eval.analysis.growth import COLUMNS, growth_table
from attnres_eval.analysis.intervals import t_interval


def grown(label: str, seed: int) -> float:
    """The growth of a run, made other by its seed: from the first MLP, sublayer 2, to the last."""
    return math.exp((1.4 if label == "prenorm" else 0.28) + 0.1 * seed * (1 + len(label) % 3))


def test_growth_and_its_ratio_are_geometric_means_over_seeds(
    fabricated: Callable[..., Path],
) -> None:
    study = make_study()
    folder = fabricated(study=study)
    for label in study.variants:
        for seed in study.seeds:
            config = study.run(label, study.largest_size, seed)
            outputs = [1.0] * 17
            outputs[16] = grown(label, seed)
            # Neither the embedding nor attention counts.
            outputs[0], outputs[1], outputs[15] = 50.0, 70.0, 90.0
            rewrite(folder / "runs" / config.run / "inspection.json", output_rms=outputs)
    table = growth_table(collect(folder))
    assert list(table.columns) == COLUMNS
    outputs_of = table[table["measure"] == "output_rms"].set_index("variant")
    for label in study.variants:
        logs = [math.log(grown(label, seed)) for seed in study.seeds]
        row = outputs_of.loc[label]
        assert row["n_seeds"] == 3
        assert row["growth"] == pytest.approx(math.exp(np.mean(logs)))
        low, high = t_interval(logs)
        assert row["growth_low"] == pytest.approx(math.exp(low))
        assert row["growth_high"] == pytest.approx(math.exp(high))
        if label == "prenorm":
            assert np.isnan(row["relative"])
            continue
        ratios = [math.log(grown(label, seed) / grown("prenorm", seed)) for seed in study.seeds]
        assert row["relative"] == pytest.approx(math.exp(np.mean(ratios)))
        low, high = t_interval(ratios)
        assert (row["relative_low"], row["relative_high"]) == pytest.approx(
            (math.exp(low), math.exp(high)), nan_ok=True
        )


def test_without_inspections_there_is_no_row(fabricated: Callable[..., Path]) -> None:
    assert growth_table(collect(fabricated(inspected=False))).empty


def test_what_has_no_growth_has_none(fabricated: Callable[..., Path]) -> None:
    study = make_study()
    folder = fabricated(study=study)
    config = study.run("full_attnres", study.largest_size, 0)
    outputs = list(inspection(config).output_rms)
    outputs[2] = 0.0
    rewrite(folder / "runs" / config.run / "inspection.json", output_rms=outputs)
    table = growth_table(collect(folder)).set_index(["measure", "variant"])
    assert table.loc[("output_rms", "full_attnres"), "n_seeds"] == 2
    assert table.loc[("gradient_rms", "full_attnres"), "n_seeds"] == 3
