"""What the benchmarks say, in sentences."""

import pandas as pd

from attnres_eval.analysis.collect import Results
from attnres_eval.analysis.questions import ACCURACY
from attnres_eval.report.style import label_title
from attnres_eval.report.wording import counted, listed
from attnres_eval.report.words import MOST_NAMED, by_luck, interval

LEARNT_TASKS = (
    "arc_challenge",
    "arc_easy",
    "boolq",
    "commonsense_qa",
    "hellaswag",
    "openbookqa",
    "piqa",
    "social_iqa",
    "siqa",
    "winogrande",
)
"""Benchmarks whose train splits are in the corpus `commonsense`."""


def score_sentences(results: Results, benchmarks: pd.DataFrame) -> list[str]:
    """Which scores differ from chance, and how many would by luck alone."""
    if benchmarks.empty:
        return ["No benchmark was scored."]
    return [
        *_in_distribution(results, benchmarks),
        *_sizes_and_limits(benchmarks),
        _against_chance(benchmarks),
    ]


def _in_distribution(results: Results, benchmarks: pd.DataFrame) -> list[str]:
    tasks = [task for task in dict.fromkeys(benchmarks["task"]) if task in LEARNT_TASKS]
    if "commonsense" not in results.study.data.corpora or not tasks:
        return []
    return [
        f"The corpus commonsense holds the train splits of {listed(tasks)}: scores there are"
        " in-distribution, not zero-shot."
    ]


def _sizes_and_limits(benchmarks: pd.DataFrame) -> list[str]:
    limited = benchmarks.dropna(subset=["limit"]).drop_duplicates("task")
    sizes = listed(list(dict.fromkeys(benchmarks["size"])))
    sentences = [f"Scored at size {sizes}."]
    if len(limited):
        parts = [
            f"{task} (first {int(limit):,} asked for, {count:,} scored)"
            for task, limit, count in zip(
                limited["task"], limited["limit"], limited["n_questions"], strict=True
            )
        ]
        if len(parts) <= MOST_NAMED:
            sentences.append(f"A limit cut these short: {listed(parts)}.")
        else:
            sentences.append(f"A limit cut {len(parts)} tasks short; the table has them.")
    return [" ".join(sentences)]


def _against_chance(benchmarks: pd.DataFrame) -> str:
    accuracy = benchmarks["metric"].isin(ACCURACY)
    judged = benchmarks[accuracy & benchmarks["differs_from_chance"].notna()]
    if judged.empty:
        return "No score has both a chance level and an interval to judge by."
    differ = judged[judged["differs_from_chance"].astype(bool)]
    text = (
        f"{len(differ)} of {counted(len(judged), 'score')} with a chance level"
        f" {'differs' if len(differ) == 1 else 'differ'} from it at 95%; {by_luck(len(judged))}."
    )
    parts = [
        f"{_place(row)} {row['score']:.3f} ({interval(row, 3)}; chance {row['chance']:.3f})"
        for _, row in differ.iterrows()
    ]
    return text + _named(parts)


def _named(parts: list[str]) -> str:
    if not parts:
        return ""
    if len(parts) > MOST_NAMED:
        return " The table names them."
    return f" {'It is' if len(parts) == 1 else 'They are'}: {'; '.join(parts)}."


def _place(row: pd.Series) -> str:
    return f"{label_title(row['variant'])} on {row['task']} ({row['metric']}, size {row['size']})"
