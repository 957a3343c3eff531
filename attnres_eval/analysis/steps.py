"""Accuracy over the number of reasoning steps, for tasks named `reasoning_<family>_k<steps>`."""

import numpy as np
import pandas as pd

from attnres_eval.analysis.collect import STEPS
from attnres_eval.analysis.paired import ALL_TASKS
from attnres_eval.analysis.questions import ACCURACY

COLUMNS = [
    "family",
    "steps",
    "task",
    "variant",
    "size",
    "metric",
    "n_questions",
    "n_seeds",
    "score",
    "ci_low",
    "ci_high",
    "seed_sd",
    "chance",
    "beats_chance",
    "difference",
    "difference_low",
    "difference_high",
    "p",
]


def steps_table(benchmarks: pd.DataFrame, paired: pd.DataFrame) -> pd.DataFrame:
    """One row a family, number of steps, size and variant, with the task's accuracy.

    `ci_*` is over questions; `difference_*` is paired with the baseline and counts questions and
    seeds. `beats_chance` is true where the whole interval lies above chance.

    Args:
        benchmarks: `benchmarks_table`.
        paired: `paired_table`.
    """
    right = benchmarks[benchmarks["metric"].isin(["acc", "exact_match"])]
    rows = right[right["task"].map(lambda task: bool(STEPS.match(task))).astype(bool)].copy()
    parts = rows["task"].str.extract(STEPS.pattern)
    rows["family"], rows["steps"] = parts["family"], parts["steps"].astype(int)
    # Made-up answers cannot be guessed where they are generated: nothing right is chance there.
    chance = rows["chance"].astype(np.float64).fillna(0.0)
    rows["beats_chance"] = rows["ci_low"] > chance
    keys = ["task", "variant", "size", "metric"]
    differences = paired[(paired["task"] != ALL_TASKS) & paired["metric"].isin(ACCURACY)]
    differences = differences[[*keys, "difference", "ci_low", "ci_high", "p"]].rename(
        columns={"ci_low": "difference_low", "ci_high": "difference_high"}
    )
    rows = rows.merge(differences, on=keys, how="left")
    places = {task: place for place, task in enumerate(dict.fromkeys(right["task"]))}
    order = rows.assign(place=rows["task"].map(places)).sort_values(
        ["size", "family", "steps", "place"], kind="stable"
    )
    return order[COLUMNS].reset_index(drop=True)
