"""Questions and scoring of the tasks `reasoning_*`."""

from typing import Any

from datasets import Dataset, DatasetDict

from attnres_eval.reasoning import get_family
from attnres_eval.reasoning.stream import evaluation_items


def questions(family: str, k: int, **_: Any) -> DatasetDict:
    """The evaluation questions of one family and number of steps, from the YAML's metadata."""
    rows = [
        {"prompt": item.prompt, "choices": list(item.choices), "gold": item.gold}
        for item in evaluation_items(get_family(family), k)
    ]
    return DatasetDict({"test": Dataset.from_list(rows)})


def process_results(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Scores one generated answer: 1 if it begins with the right symbols."""
    wanted = doc["choices"][doc["gold"]].split()
    return {"exact_match": float(results[0].split()[: len(wanted)] == wanted)}
