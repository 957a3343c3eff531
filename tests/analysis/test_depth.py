import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fabricate import inspection, make_study, rewrite

from attnres_eval.analysis.collect import collect
from attnres_eval.analysis.depth import (
    DEPTH_COLUMNS,
    MEASURES,
    MIXING_COLUMNS,
    depth_rows,
    depth_table,
    kind,
    mixing_rows,
    mixing_table,
)
from attnres_eval.analysis.intervals import t_interval
from attnres_eval.errors import UserError

L = 16


def test_tables_hold_the_largest_size_in_the_studys_order(fabricated: Callable[..., Path]) -> None:
    results = collect(fabricated())
    depth, mixing = depth_table(results), mixing_table(results)
    assert list(depth.columns) == DEPTH_COLUMNS
    assert list(mixing.columns) == MIXING_COLUMNS
    assert set(depth["size"]) == set(mixing["size"]) == {"d64"}
    assert list(dict.fromkeys(depth["variant"])) == list(results.study.variants)
    assert len(depth) == 3 * (L + 1)
    assert len(mixing) == 3 * (L + 1) * (L + 2) // 2
    assert set(depth["n_seeds"]) == {3}
    first = depth[:4]
    assert list(first["sublayer"]) == [0, 1, 2, 3]
    assert list(first["kind"]) == ["embedding", "attention", "mlp", "attention"]


def test_numbers_are_means_over_seeds_with_their_intervals(
    fabricated: Callable[..., Path],
) -> None:
    table = depth_table(collect(fabricated()))
    row = table[(table["variant"] == "prenorm") & (table["sublayer"] == 5)].iloc[0]
    by_seed = [math.exp(0.5) * (1 + 0.01 * seed) for seed in (0, 1, 2)]
    assert row["output_rms"] == pytest.approx(np.mean(by_seed))
    assert (row["output_rms_low"], row["output_rms_high"]) == pytest.approx(t_interval(by_seed))
    # Sublayer 5 is the fifth to be skipped; the embedding never is.
    assert row["skip_loss_change"] == pytest.approx(1.01 * 0.5 / 5 - 0.05)
    assert table[table["sublayer"] == 0]["skip_loss_change"].isna().all()
    assert table[table["sublayer"] > 0]["skip_loss_change"].notna().all()


def test_readers_read_what_lies_before_them(fabricated: Callable[..., Path]) -> None:
    table = mixing_table(collect(fabricated()))
    assert (table["source"] < table["reader"]).all()
    own = table[(table["variant"] == "full_attnres") & (table["reader"] == 4)]
    np.testing.assert_allclose(own["weight"], 1.01 / 4)
    assert set(own["reader_kind"]) == {"mlp"}
    assert list(own["source_kind"]) == ["embedding", "attention", "mlp", "attention"]
    assert set(table[table["reader"] == L + 1]["reader_kind"]) == {"output"}


def test_one_seed_has_no_interval(fabricated: Callable[..., Path]) -> None:
    table = depth_table(collect(fabricated(study=make_study(seeds=[0]))))
    for measure in MEASURES:
        assert table[f"{measure}_low"].isna().all()
        assert table[f"{measure}_high"].isna().all()
    assert table["output_rms"].notna().all()


def test_rows_of_a_seed_that_is_missing_are_of_the_others(fabricated: Callable[..., Path]) -> None:
    folder = fabricated(missing=["prenorm-d64-s0"])
    (folder / "runs" / "prenorm-d64-s1" / "inspection.json").unlink()
    table = depth_table(collect(folder))
    assert set(table[table["variant"] == "prenorm"]["n_seeds"]) == {1}
    assert set(table[table["variant"] != "prenorm"]["n_seeds"]) == {3}


def test_without_inspections_the_tables_are_empty(fabricated: Callable[..., Path]) -> None:
    results = collect(fabricated(inspected=False))
    assert results.inspections == {}
    assert depth_table(results).empty
    assert list(depth_table(results).columns) == DEPTH_COLUMNS
    assert list(mixing_table(results).columns) == MIXING_COLUMNS


def test_a_source_of_zeros_has_no_weight() -> None:
    config = make_study().runs()[0]
    record = inspection(config)
    silent = record.model_copy(update={"mixing": [[None] * (L + 1), *record.mixing[1:]]})
    table = mixing_rows("prenorm", "d", [record, silent])
    assert table[table["source"] == 0]["weight"].isna().all()
    assert table[table["source"] > 0]["weight"].notna().all()
    assert len(depth_rows("prenorm", "d", [silent])) == L + 1


def test_a_damaged_record_is_one_line(fabricated: Callable[..., Path]) -> None:
    folder = fabricated()
    path = folder / "runs" / "prenorm-d64-s0" / "inspection.json"
    rewrite(path, output_rms=[1.0])
    with pytest.raises(UserError, match=r"is no InspectionRecord: .*differ in depth"):
        collect(folder)


def test_kinds_follow_from_the_place() -> None:
    assert [kind(place, 4) for place in range(6)] == [
        "embedding",
        "attention",
        "mlp",
        "attention",
        "mlp",
        "output",
    ]
