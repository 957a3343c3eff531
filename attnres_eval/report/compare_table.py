"""Several studies as frames: what each found of each label, and how each was set up."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from attnres_eval.analysis.collect import Results
from attnres_eval.report.figures import Tables
from attnres_eval.report.page import Page
from attnres_eval.report.select import AT_EQUAL_TIME, SUMMARY_COLUMNS, of_model
from attnres_eval.report.style import label_title
from attnres_eval.report.wording import counted, listed
from attnres_eval.report.words_differences import at_largest_size

COLUMNS = [
    *("study", "variant", "baseline", "multiplier", "ci_low", "ci_high"),
    *("multiplier_time", "ci_low_time", "ci_high_time"),
    *("difference", "difference_low", "difference_high", "size"),
    *("n_seeds", "n_sizes", "learning_rate", "precision", "data_sha256"),
]

SHOWN_DIGITS = 12
"""Of a hash, where it is read and not compared by a program."""


@dataclass(frozen=True)
class Compared:
    """One of the studies, as its folder's own report shows it."""

    name: str
    """That of its folder, unlike the others'."""
    results: Results
    tables: Tables
    page: Page

    @property
    def data_sha256(self) -> str:
        """Of the tokenizer and the token files of all its runs."""
        return str(self.results.finished["data_sha256"].iloc[0])

    @property
    def precision(self) -> str:
        """Of its runs; more than one where they differ."""
        return listed(sorted({machine.precision for machine in self.results.machines.values()}))


def comparison_table(studies: Sequence[Compared]) -> pd.DataFrame:
    """One row a study and label, baselines left out.

    `multiplier` is the compute multiplier with one exponent for all labels, in columns ending in
    `_time` at equal time; `difference` is the loss minus the baseline's in nats per token at
    `size`, the largest that has one; `learning_rate` is the peak rate at that size. What a study
    has not measured is missing.
    """
    rows = [row for study in studies for row in _rows(study)]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return frame.astype({"n_seeds": "Int64", "n_sizes": "Int64"})


def _rows(study: Compared) -> list[dict[str, Any]]:
    results = study.results
    plan = results.study
    found = of_model(study.tables["multipliers"]).set_index("variant")
    timed = of_model(study.tables["time_multipliers"]).set_index("variant")
    differences = at_largest_size(results, study.tables["differences"]).set_index("variant")
    rows = []
    for label in plan.variants:
        if label == plan.baseline:
            continue
        own = results.finished[results.finished["label"] == label]
        row: dict[str, Any] = {
            "study": study.name,
            "variant": label,
            "baseline": plan.baseline,
            "n_seeds": own["seed"].nunique(),
            "n_sizes": own["size"].nunique(),
            "precision": study.precision,
            "data_sha256": study.data_sha256,
        }
        if label in found.index:
            row |= {key: found.loc[label, key] for key in SUMMARY_COLUMNS}
        if label in timed.index:
            row |= {f"{key}_time": timed.loc[label, key] for key in SUMMARY_COLUMNS}
        size = plan.largest_size
        if label in differences.index:
            there = differences.loc[label]
            size = str(there["size"])
            row |= {
                "difference": there["difference"],
                "difference_low": there["ci_low"],
                "difference_high": there["ci_high"],
                "size": size,
            }
        row["learning_rate"] = plan.run(label, size, plan.seeds[0]).learning_rate
        rows.append(row)
    return rows


def multiplier_rows_of(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a figure of all multipliers, as `plot_compare.draw_multipliers` takes them.

    Of each study and label the one at equal FLOPs, and below it the one at equal time.
    """
    rows: list[dict[str, Any]] = []
    for _, one in table.iterrows():
        for suffix in ("", "_time"):
            name = f"{one['study']}: {label_title(one['variant'])}"
            rows.append(
                {
                    "variant": one["variant"],
                    "row": AT_EQUAL_TIME if suffix else name,
                    "main": True,
                    **{key: one[f"{key}{suffix}"] for key in SUMMARY_COLUMNS},
                }
            )
    frame = pd.DataFrame(rows, columns=["variant", "row", "main", *SUMMARY_COLUMNS])
    return frame.astype(dict.fromkeys(SUMMARY_COLUMNS, float)).dropna(subset=["multiplier"])


def set_up_table(studies: Sequence[Compared]) -> pd.DataFrame:
    """How the studies were set up: a row a property, a column a study."""
    columns = {study.name: _set_up(study) for study in studies}
    properties = list(next(iter(columns.values())))
    return pd.DataFrame({"property": properties, **{n: [*v.values()] for n, v in columns.items()}})


def _set_up(study: Compared) -> dict[str, str]:
    results = study.results
    plan, machines = results.study, results.machines.values()
    recipe, data = plan.recipe, plan.data
    sizes = [
        f"{size} ({rows['n_layers'].iloc[0]} × {rows['d_model'].iloc[0]})"
        for size, rows in results.runs.groupby("size", sort=False)
    ]
    corpora = [f"{name} {share:g}" for name, share in data.corpora.items()]
    rate = f"{recipe.learning_rate:g}" + (
        f" at d_model {recipe.learning_rate_width}" if recipe.learning_rate_width else ""
    )
    return {
        "Baseline": label_title(plan.baseline),
        "Sizes (blocks × d_model)": listed(sizes),
        "Seeds": listed([str(seed) for seed in plan.seeds]),
        "Finished runs": f"{len(results.finished)} of {len(results.runs)}",
        "Tokens per matrix parameter": f"{recipe.tokens_per_parameter:g}",
        "Peak learning rate": rate,
        "Optimiser and schedule": f"{recipe.optimizer}, {recipe.schedule}",
        "Tokens a step": f"{recipe.batch_sequences * recipe.context:,}",
        "Corpora, with their shares": listed(corpora),
        "Vocabulary": f"{data.vocab_size:,}",
        "Held-out tokens, at most": f"{data.validation_tokens:,}",
        "Tokenizer and token files (SHA-256)": study.data_sha256[:SHOWN_DIGITS],
        "Precision": study.precision,
        "Processors": listed(sorted({machine.processor for machine in machines})),
        "Threads a run": listed(
            [counted(n, "thread") for n in sorted({machine.threads for machine in machines})]
        ),
    }
