"""The table of `attnres-eval tasks`: what can be scored, how much there is, and where it is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attnres_eval.evaluate.availability import Availability, availability
from attnres_eval.evaluate.index import Index, index_of, leaves, own_index, own_tasks
from attnres_eval.evaluate.sources import Sources
from attnres_eval.evaluate.suites import SUITES, Row, suite

OWN = "tasks/"
"""What the column `suite` says of tasks of our own that are in no suite."""


def task_rows(suite_name: str | None, data_dir: Path | None) -> list[dict[str, Any]]:
    """Lists the tasks of one suite; or of all suites, and our own that are in none.

    Asks no network: `hub` says that only the hub, or its cache on this machine, can have the
    data.

    Returns:
        Rows with the keys suite, benchmark, task, few_shot, chance, questions, availability and
        missing_offline; the last is None where everything is at hand.

    Raises:
        UserError: there is no such suite, or no such folder.
    """
    sources = Sources(data_dir)
    names = list(SUITES) if suite_name is None else [suite_name]
    chosen = [(name, row) for name in names for row in suite(name)]
    index = index_of(tuple(sorted({folder for _, row in chosen for folder in row.folders})))
    rows = [_suite_row(name, row, sources, index) for name, row in chosen]
    if suite_name is None:
        listed = {row.task for _, row in chosen}
        rows += [_own_row(name, sources) for name in own_tasks() if name not in listed]
    return rows


def missing_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """One line for each row that lacks something offline, for a reader of the short table."""
    lines = {}
    for row in rows:
        if row["missing_offline"] is not None:
            hub = "; the model hub has it" if row["availability"].startswith("hub") else ""
            lines[row["task"]] = f"{row['benchmark']}: {row['missing_offline']}{hub}"
    return list(lines.values())


def _suite_row(name: str, row: Row, sources: Sources, index: Index) -> dict[str, Any]:
    found = availability(row.task, row.shots, sources, index, row.modules)
    return {
        "suite": name,
        "benchmark": row.title,
        "task": row.task,
        "few_shot": row.shots,
        "chance": row.chance,
        "questions": row.questions,
        **_columns(found),
    }


def _own_row(name: str, sources: Sources) -> dict[str, Any]:
    """A task of ours. Chance and size are in the metadata of its YAML, or of its members'."""
    index = own_index()
    configs = [index[leaf].cfg or {} for leaf in dict.fromkeys(leaves(name, index))]
    shots = {config.get("num_fewshot") or 0 for config in configs}
    stated = [config.get("metadata") or {} for config in configs]
    sizes = [values["questions"] for values in stated if "questions" in values]
    questions = sum(sizes) if len(sizes) == len(stated) else None
    chance = None
    if questions and all("chance" in values for values in stated):
        chance = sum(values["chance"] * values["questions"] for values in stated) / questions
    return {
        "suite": OWN,
        "benchmark": name,
        "task": name,
        "few_shot": shots.pop() if len(shots) == 1 else None,
        "chance": chance,
        "questions": questions,
        **_columns(availability(name, None, sources, index)),
    }


def _columns(found: Availability) -> dict[str, Any]:
    where = f"{found.where}; runs code" if found.runs_code else found.where
    return {"availability": where, "missing_offline": found.lacks}
