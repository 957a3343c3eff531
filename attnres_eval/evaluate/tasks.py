"""lm-eval's tasks by name, with data that need no hub.

Each task's own YAML is read through lm-eval's index, includes resolved, and handed on with one
change: `custom_dataset`, where the data are at hand. Prompt, choices, metrics, filters, the
split and sampler of worked examples stay lm-eval's. Groups and tags expand as in lm-eval.
"""

import contextlib
import dataclasses
import difflib
import functools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict
from lm_eval.tasks import TaskManager
from lm_eval.tasks._index import Kind
from lm_eval.tasks._yaml_loader import load_yaml

from attnres_eval.errors import UserError
from attnres_eval.evaluate.folder import GPQA
from attnres_eval.evaluate.hub import hub_is_reachable, hub_offline_unless_reachable
from attnres_eval.evaluate.quiet import quiet
from attnres_eval.evaluate.sources import Needs, Sources
from attnres_eval.study import bundled_folder

CHOICE_SEED = 0
"""Seed of lm-eval's shuffled choices."""

_FILES = frozenset({"arrow", "csv", "json", "parquet", "text"})
"""`dataset_path` of tasks that read local files."""

_DATA_KEYS = frozenset(
    {"custom_dataset", "dataset_path", "dataset_name", "dataset_kwargs", "process_docs"}
    | {f"{kind}_split" for kind in ("training", "validation", "test", "fewshot")}
)


@dataclass(frozen=True)
class LoadedTask:
    """A requested name, ready to be scored again and again."""

    name: str
    task_dict: dict[str, Any]
    """What lm-eval's TaskManager.load returns: `tasks`, `groups`, `group_map`."""
    private: frozenset[str]
    """Leaf tasks whose text must not be written anywhere."""


@functools.cache
def task_index() -> TaskManager:
    """lm-eval's index of its own tasks and ours. Takes seconds, so it is built once."""
    folder = bundled_folder("tasks")
    with quiet():
        return TaskManager(include_path=str(folder) if folder.is_dir() else None)


def load_task(name: str, num_fewshot: int | None, data_dir: Path | None) -> LoadedTask:
    """Loads one task, group or tag with its data, once per process.

    Args:
        name: as in lm-eval.
        num_fewshot: worked examples; the task's own number where None.
        data_dir: the user's folder of benchmarks.

    Raises:
        UserError: there is no such task, or its data are nowhere.
    """
    return _load_task(name, num_fewshot, data_dir.resolve() if data_dir else None)


@functools.cache
def _load_task(name: str, num_fewshot: int | None, data_dir: Path | None) -> LoadedTask:
    manager = task_index()
    if name not in manager.task_index:
        raise UserError(_unknown(name, manager.all_tasks))
    sources = Sources(data_dir)
    original = dict(manager.task_index)
    hub: list[Needs] = []
    try:
        with quiet():
            for leaf in dict.fromkeys(_leaves(name, original)):
                entry = original[leaf]
                config = load_yaml(entry.yaml_path, resolve_func=True)
                needs = Needs.of(config, num_fewshot)
                data = None
                if "custom_dataset" not in config and needs.dataset not in _FILES:
                    data = sources.find(needs)
                    hub += [needs] if data is None else []
                manager.task_index[leaf] = dataclasses.replace(
                    entry, yaml_path=None, cfg=_changed(config, data)
                )
            tasks = _instantiate(manager, name, hub, sources)
    finally:
        manager.task_index.clear()
        manager.task_index.update(original)
    for task in tasks["tasks"].values():
        _set_fewshot(task, num_fewshot)
    private = {leaf for leaf, task in tasks["tasks"].items() if task.DATASET_PATH == GPQA}
    return LoadedTask(name, tasks, frozenset(private))


def _leaves(name: str, index: dict[str, Any]) -> Iterator[str]:
    """The tasks with a YAML of their own behind a task, group or tag."""
    entry = index[name]
    if entry.kind is Kind.TASK and entry.yaml_path is not None:
        yield name
    elif entry.kind is Kind.TAG:
        for child in sorted(entry.tags):
            yield from _leaves(child, index)
    elif entry.kind is Kind.GROUP:
        yield from _members(entry.cfg.get("task"), index)


def _members(items: Any, index: dict[str, Any]) -> Iterator[str]:
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
            yield from _leaves(child, index)


def _changed(config: dict[str, Any], data: DatasetDict | None) -> dict[str, Any]:
    config = dict(config)
    if data is not None:

        def custom_dataset(**_: Any) -> DatasetDict:
            return data

        config["custom_dataset"] = custom_dataset
    if config.get("process_docs") is not None:
        config["process_docs"] = reseeded(config["process_docs"])
    return config


def reseeded(process_docs: Callable[[Dataset], Dataset]) -> Callable[[Dataset], Dataset]:
    """Seeds the random generators that `process_docs` may use before each of its calls.

    lm-eval calls it when it builds requests and again when it scores them, so a shuffle of the
    choices would change between the two, and from model to model. The global generator's state
    is put back after each call.
    """
    function = process_docs.func if isinstance(process_docs, functools.partial) else process_docs
    own = [x for x in function.__globals__.values() if isinstance(x, random.Random)]

    def process(dataset: Dataset) -> Dataset:
        state = random.getstate()
        random.seed(CHOICE_SEED)
        for generator in own:
            generator.seed(CHOICE_SEED)
        try:
            return process_docs(dataset)
        finally:
            random.setstate(state)

    return process


def _instantiate(
    manager: TaskManager, name: str, hub: list[Needs], sources: Sources
) -> dict[str, Any]:
    try:
        with hub_offline_unless_reachable() if hub else contextlib.nullcontext():
            return dict(manager.load([name]))
    except UserError:
        raise
    except Exception as error:  # data sets and task code raise anything
        raise UserError(_failure(name, hub, sources, error)) from None


def _failure(name: str, hub: list[Needs], sources: Sources, error: Exception) -> str:
    first = str(error).split("\n")[0][:200]
    if isinstance(error, ImportError):
        return f"task {name} needs another package: {first}"
    if not hub:
        return f"task {name} cannot be loaded: {type(error).__name__}: {first}"
    if not hub_is_reachable():
        reason = "the model hub cannot be reached: connect once, or leave this task out"
    elif "gated" in str(error).lower():
        reason = "the hub wants its terms accepted: do so there, then run `hf auth login`"
    else:
        reason = f"the hub answers {type(error).__name__}: {first}"
    return sources.why_not(hub[0], reason)


def _set_fewshot(task: Any, num_fewshot: int | None) -> None:
    """Sets the number of worked examples by lm-eval's rules, and checks that there are so many."""
    default = task.get_config("num_fewshot")
    shots = default if num_fewshot is None or default == 0 else num_fewshot
    task.set_config("num_fewshot", shots or 0)
    sampler = getattr(task, "sampler", None)
    held = len(sampler.df) if sampler is not None else 0
    if shots and held < shots:
        raise UserError(
            f"task {task.task_name}: asked for {shots} worked examples, but its data hold {held}"
        )


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}?" if near else "see `attnres-eval lm-eval ls tasks`"
    return f"unknown task {name!r}; {hint}"
