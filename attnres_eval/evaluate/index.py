"""Entries of lm-eval's task index: the tasks behind a name, and an index of a few folders.

lm-eval indexes all of its 14,000 YAML files in about ten seconds. A listing needs a few folders.
"""

import functools
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lm_eval.tasks._index import Entry, Kind, TaskIndex

from attnres_eval.study_file import bundled_folder

Index = Mapping[str, Entry]

_DATA_KEYS = frozenset(
    {"custom_dataset", "dataset_path", "dataset_name", "dataset_kwargs", "process_docs"}
    | {f"{kind}_split" for kind in ("training", "validation", "test", "fewshot")}
)


def leaves(name: str, index: Index) -> Iterator[str]:
    """The tasks with a YAML of their own behind a task, group or tag; some may come twice."""
    entry = index[name]
    if entry.kind is Kind.TASK and entry.yaml_path is not None:
        yield name
    elif entry.kind is Kind.TAG:
        for child in sorted(entry.tags):
            yield from leaves(child, index)
    elif entry.kind is Kind.GROUP:
        yield from _members((entry.cfg or {}).get("task"), index)


def _members(items: Any, index: Index) -> Iterator[str]:
    for item in items if isinstance(items, list) else []:
        if isinstance(item, str):
            child = item
        elif "group" in item:
            child = item["group"]
            if child not in index:
                yield from _members(item.get("task"), index)
        else:
            child = item["task"]
        # A member may be defined in its group alone, or ask for other data than its own YAML.
        if child in index and not (isinstance(item, dict) and item.keys() & _DATA_KEYS):
            yield from leaves(child, index)


@functools.cache
def index_of(folders: tuple[str, ...]) -> Index:
    """The index of some of lm-eval's folders and of our own tasks, in about a second.

    Args:
        folders: below lm-eval's folder of tasks, such as `mmlu/default`.
    """
    spec = importlib.util.find_spec("lm_eval.tasks")
    home = Path(next(iter((spec and spec.submodule_search_locations) or [])))
    paths = [home / folder for folder in folders]
    index: dict[str, Entry] = {}
    for path in (*paths, bundled_folder("tasks")):
        for name, entry in TaskIndex.build([path]).items():
            known = index.setdefault(name, entry)
            if known.kind is Kind.TAG:
                known.tags.update(entry.tags)
    return index


@functools.cache
def own_index() -> Index:
    """The index of our own tasks alone."""
    return dict(TaskIndex.build([bundled_folder("tasks")]))


def own_tasks() -> list[str]:
    """Names of our own groups, and of our own tasks that belong to none of them."""
    index = own_index()
    grouped = {
        leaf
        for name, entry in index.items()
        if entry.kind is Kind.GROUP
        for leaf in leaves(name, index)
    }
    kinds = (Kind.GROUP, Kind.TASK)
    return sorted(
        name for name, entry in index.items() if entry.kind in kinds and name not in grouped
    )
