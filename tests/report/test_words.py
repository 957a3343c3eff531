import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from attnres_eval.analysis.multiplier import BOTH_OWN, SHARED
from attnres_eval.report import words
from attnres_eval.report.wording import listed
from attnres_eval.report.words_published import published_comparison
from attnres_eval.report.words_scores import score_sentences

TRUTH = {"block_attnres": 1.4, "full_attnres": 0.7}


def multiplier_row(**changes: Any) -> pd.DataFrame:
    row: dict[str, Any] = {
        "variant": "block_attnres",
        "model": SHARED,
        "target_compute_flops": 8.64e15,
        "target_compute_pflops_days": 1e-4,
        "multiplier": 1.1,
        "ci_low": 1.05,
        "ci_high": 1.2,
        "n_seeds": 2,
        "n_sizes": 3,
        "coverage": 0.947,
        "extrapolated": False,
        "note": "",
    }
    return pd.DataFrame([{**row, **changes}])


@pytest.mark.parametrize(
    ("low", "high", "verdict", "side"),
    [
        (1.05, 1.2, "saves compute", "excludes 1"),
        (0.8, 0.99, "costs compute", "excludes 1"),
        (0.9, 1.2, "cannot be told", "contains 1"),
    ],
)
def test_the_verdict_follows_the_interval(
    low: float, high: float, verdict: str, side: str, analysed: Callable[..., Any]
) -> None:
    results = analysed().results
    table = multiplier_row(ci_low=low, ci_high=high)
    (sentence,) = words.multiplier_sentences(results, table)
    assert verdict in sentence
    assert side in sentence
    assert "94.7%" in sentence
    assert verdict in words.headline(results, table, "block_attnres")


def test_without_an_interval_nothing_is_found(analysed: Callable[..., Any]) -> None:
    made = analysed({"seeds": [0]}, multipliers=TRUTH)
    table = made.tables["multipliers"]
    sentences = words.multiplier_sentences(made.results, table)
    assert len(sentences) == 2
    for text in (*sentences, words.headline(made.results, table, "block_attnres")):
        assert "one seed" in text
        assert "saves" not in text
        assert "costs" not in text
        assert "95%" not in text
    assert any("one seed" in text.lower() for text in words.run_sentences(made.results))


def test_truth_is_told(analysed: Callable[..., Any]) -> None:
    made = analysed(multipliers=TRUTH)
    full, block, luck = words.multiplier_sentences(made.results, made.tables["multipliers"])
    assert "Full AttnRes costs compute" in full
    assert "Block AttnRes saves compute" in block
    assert luck.startswith("2 of 2 intervals exclude 1; about 0.1 of 2")


def test_no_multiplier_at_one_size(analysed: Callable[..., Any]) -> None:
    made = analysed({"n_sizes": 1})
    text = words.headline(made.results, made.tables["multipliers"], None)
    assert "No compute multiplier" in text
    sentences = words.multiplier_sentences(made.results, made.tables["multipliers"])
    assert all("no multiplier" in sentence for sentence in sentences)
    assert published_comparison(made.tables["multipliers"]) == ""


@pytest.mark.parametrize(
    ("low", "high", "place", "outcome"),
    [
        (1.2, 1.3, "contains", "reproduced"),
        (1.3, 1.4, "lies above", "a saving of another size"),
        (1.05, 1.2, "lies below", "a saving of another size"),
        (1.0, 1.2, "lies below", "not reproduced at this scale"),
        (0.8, 0.9, "lies below", "not reproduced at this scale, a loss"),
        (0.9, 1.3, "contains", "cannot be told from 1 or from 1.25 at this scale"),
    ],
)
def test_comparison_with_the_published_number(
    low: float, high: float, place: str, outcome: str
) -> None:
    text = published_comparison(multiplier_row(ci_low=low, ci_high=high))
    assert f"found here {place} it: {outcome}. " in text
    assert "56,000 times the compute" in text
    assert "refut" not in text


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ((1.02, 1.3), "1.10 times (95% interval 1.02 to 1.30), which saves compute too."),
        ((0.7, 0.9), "which costs compute: the learning rate decides."),
        ((0.9, 1.3), "which cannot be told from the baseline: the learning rate decides."),
        ((np.nan, np.nan), "1.10 times (no interval)."),
    ],
)
def test_own_rate_stands_beside_the_headline(
    ends: tuple[float, float], said: str, analysed: Callable[..., Any]
) -> None:
    own = multiplier_row(variant="block_attnres_own", ci_low=ends[0], ci_high=ends[1])
    table = pd.concat([multiplier_row(), own])
    text = words.headline(analysed().results, table, "block_attnres")
    assert text.startswith("Block AttnRes saves compute here")
    assert f" Block AttnRes at its own rate: {'1.10 times' if said[0] != '1' else ''}" in text
    assert text.endswith(said)
    fair = multiplier_row(
        variant="block_attnres_own", model=BOTH_OWN, multiplier=1.02, ci_low=0.9, ci_high=1.2
    )
    whole = words.headline(analysed().results, pd.concat([table, fair]), "block_attnres")
    assert whole == (
        f"{text} Over the baseline at its own rate too: 1.02 times (95% interval 0.90 to 1.20),"
        " which cannot be told from the baseline."
    )
    several = pd.concat([table, multiplier_row(variant="block_attnres_x2")])
    assert "own rate" not in words.headline(analysed().results, several, "block_attnres")
    if not np.isnan(ends[0]):
        assert published_comparison(table).count(" found here ") == 2


def test_published_number_without_an_interval_here() -> None:
    text = published_comparison(multiplier_row(ci_low=np.nan, ci_high=np.nan))
    assert "1.25" in text
    assert "interval" not in text


def test_what_was_run(analysed: Callable[..., Any]) -> None:
    results = analysed({"seeds": [0, 1]}, missing=["prenorm-d32-s1"]).results
    text = " ".join(words.run_sentences(results))
    assert "3 variants (PreNorm, Full AttnRes and Block AttnRes) at 3 sizes with 2 seeds" in text
    assert "17 of 18 planned runs have finished" in text
    assert "Fabricated numbers for tests." in text
    assert "512 entries, context 256" in text
    assert "learning rate 0.003" in text
    assert "prenorm-d32-s1" in words.missing_sentences(results)[0]


def test_sizes_with_their_own_recipe_are_told(analysed: Callable[..., Any]) -> None:
    results = analysed().results
    study = results.study
    own = {
        name: size.model_copy(
            update={"tokens": 10_000 * size.d_model, "batch_sequences": 4, "learning_rate": 0.5}
        )
        for name, size in study.sizes.items()
    }
    changed = dataclasses.replace(results, study=study.model_copy(update={"sizes": own}))
    text = " ".join(words.run_sentences(changed))
    first = next(iter(own))
    assert f"{first} (4 sequences a step, peak rate 0.5)" in text
    assert "of the size: 20." not in text
    assert " to " in text.partition("model of the size: ")[2].partition(". ")[0]
    assert "has its own batch" not in " ".join(words.run_sentences(results))


def test_nothing_is_said_of_holes_where_there_are_none(analysed: Callable[..., Any]) -> None:
    assert words.missing_sentences(analysed().results) == []


def test_scores_that_differ_are_counted_and_named(analysed: Callable[..., Any]) -> None:
    made = analysed({"tasks": ["arc_easy", "mmlu_x"]}, skill={"block_attnres": 0.9})
    scores = made.tables["benchmarks"]
    text = " ".join(score_sentences(made.results, scores))
    table = scores[scores["metric"] == "acc"]
    judged = table["differs_from_chance"].notna().sum()
    differ = table["differs_from_chance"].eq(True).sum()
    assert f"{differ} of {judged} scores" in text
    assert f"about {0.05 * judged:.2g} of {judged} would by luck alone" in text
    assert "Block AttnRes on arc_easy (acc, size d64)" in text
    assert "first 60 asked for, 60 scored" in text
    assert "train splits of arc_easy: scores there are in-distribution" in text
    assert "mmlu_x: scores there" not in text


def test_in_distribution_is_said_of_the_default_corpus_alone(
    fabricated: Callable[..., Any], analysed: Callable[..., Any]
) -> None:
    made = analysed()
    study = made.results.study
    data = study.data.model_copy(update={"corpora": {"file:other.txt": 1.0}})
    changed = study.model_copy(update={"data": data})
    results = type(made.results)(**{**vars(made.results), "study": changed})
    assert "in-distribution" not in " ".join(score_sentences(results, made.tables["benchmarks"]))


def test_no_benchmark(analysed: Callable[..., Any]) -> None:
    made = analysed({"tasks": []})
    assert score_sentences(made.results, made.tables["benchmarks"]) == ["No benchmark was scored."]


@pytest.mark.parametrize(
    ("items", "text"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (list("abc"), "a, b and c")],
)
def test_lists(items: list[str], text: str) -> None:
    assert listed(items) == text


def test_powers_of_ten() -> None:
    assert words.power_of_ten(5.984e14) == "5.98×10¹⁴"
    assert words.compute(8.64e12) == "8.64×10¹² FLOPs (1.00×10⁻⁷ PFLOP/s-days)"


def test_a_learning_rate_that_depends_on_the_width(analysed: Callable[..., Any]) -> None:
    results = analysed().results
    recipe = results.study.recipe.model_copy(update={"learning_rate_width": 32})
    study = results.study.model_copy(update={"recipe": recipe})
    changed = type(results)(**{**vars(results), "study": study})
    assert "0.003 at d_model 32, falling as 1 / d_model" in " ".join(words.run_sentences(changed))
