"""lm-eval's tasks by name, with data that need no hub.

Each task's own YAML is read through lm-eval's index, includes resolved, and handed on with one
change: `custom_dataset`, where the data are at hand. Prompt, choices, metrics, filters, the
split and sampler of worked examples stay lm-eval's. Groups and tags expand as in lm-eval.
"""

import contextlib
import dataclasses
import difflib
import functools
import os
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from attnres_eval.errors import UserError
from attnres_eval.evaluate.availability import Availability, availability
from attnres_eval.evaluate.folder import GPQA
from attnres_eval.evaluate.hub import hub_is_reachable, hub_offline_unless_reachable
from attnres_eval.evaluate.index import leaves
from attnres_eval.evaluate.quiet import quiet
from attnres_eval.evaluate.sources import Found, Needs, Sources
from attnres_eval.study_file import bundled_folder

CHOICE_SEED = 0
"""Seed of lm-eval's shuffled choices."""

RUNS_CODE = (
    "runs code that the model writes, on this machine: give --confirm-run-unsafe-code if you"
    " accept that"
)
"""What is said of a task, lm-eval's flag not given."""


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


def task_availability(
    name: str, num_fewshot: int | None, data_dir: Path | None, modules: Iterable[str] = ()
) -> Availability:
    """Says where a task's data are; see `availability`.

    Raises:
        UserError: there is no such task or folder.
    """
    return availability(name, num_fewshot, Sources(data_dir), _known(name).task_index, modules)


def _known(name: str) -> TaskManager:
    manager = task_index()
    if name not in manager.task_index:
        raise UserError(_unknown(name, manager.all_tasks))
    return manager


def load_task(
    name: str, num_fewshot: int | None, data_dir: Path | None, *, allow_code: bool = False
) -> LoadedTask:
    """Loads one task, group or tag with its data, once per process.

    Args:
        name: as in lm-eval.
        num_fewshot: worked examples; the task's own number where None.
        data_dir: the user's folder of benchmarks.
        allow_code: whether the user accepts that code which the model writes is run.

    Raises:
        UserError: there is no such task, its data are nowhere, or it runs code unallowed.
    """
    folder = data_dir.resolve() if data_dir else None
    return _load_task(name, num_fewshot, folder, allow_code)


@functools.cache
def _load_task(
    name: str, num_fewshot: int | None, data_dir: Path | None, allow_code: bool
) -> LoadedTask:
    manager = _known(name)
    sources = Sources(data_dir)
    original = dict(manager.task_index)
    found: dict[str, tuple[Needs, Found]] = {}
    for leaf in leaves(name, original):
        config = original[leaf].cfg or {}
        if config.get("unsafe_code") and not allow_code:
            raise UserError(f"task {leaf} {RUNS_CODE}")
        needs = Needs.of(config, num_fewshot)
        found[leaf] = needs, sources.look(needs)
        if found[leaf][1].where == "missing":
            raise UserError(f"task {leaf}: {found[leaf][1].lacks}")
    try:
        with quiet(), code_allowed(allow_code):
            tasks = _instantiate(manager, name, found, sources)
    finally:
        manager.task_index.clear()
        manager.task_index.update(original)
    for task in tasks["tasks"].values():
        _set_fewshot(task, num_fewshot)
    private = {leaf for leaf, task in tasks["tasks"].items() if task.DATASET_PATH == GPQA}
    return LoadedTask(name, tasks, frozenset(private))


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
    manager: TaskManager, name: str, found: dict[str, tuple[Needs, Found]], sources: Sources
) -> dict[str, Any]:
    hub = [leaf for leaf, (_, place) in found.items() if place.where == "hub"]
    try:
        with hub_offline_unless_reachable() if hub else contextlib.nullcontext():
            for leaf, (needs, place) in found.items():
                entry = manager.task_index[leaf]
                config = load_yaml(entry.yaml_path, resolve_func=True)
                data = sources.read(needs, place) if place.splits else None
                manager.task_index[leaf] = dataclasses.replace(
                    entry, yaml_path=None, cfg=_changed(config, data)
                )
            return dict(manager.load([name]))
    except UserError:
        raise
    except Exception as error:  # data sets and task code raise anything
        lacks = found[hub[0]][1].lacks if hub else None
        raise UserError(_failure(hub[0] if hub else name, lacks, error)) from None


def _failure(name: str, lacks: str | None, error: Exception) -> str:
    first = next((line for line in str(error).split("\n") if line.strip(" #")), "")[:200]
    if isinstance(error, ImportError):
        return f"task {name} needs another package: {first}"
    if lacks is None:
        return f"task {name} cannot be loaded: {type(error).__name__}: {first}"
    if not hub_is_reachable():
        reason = "the model hub cannot be reached: connect once, or leave this task out"
    elif "gated" in str(error).lower():
        reason = "the hub wants its terms accepted: do so there, then run `hf auth login`"
    else:
        reason = f"the hub answers {type(error).__name__}: {first}"
    return f"task {name}: {lacks}, and {reason}"


@contextlib.contextmanager
def code_allowed(allow: bool) -> Iterator[None]:
    """Tells `evaluate`'s metric that runs code, which asks for itself, what the user said."""
    before = os.environ.get("HF_ALLOW_CODE_EVAL")
    if allow:
        os.environ["HF_ALLOW_CODE_EVAL"] = "1"
    try:
        yield
    finally:
        if allow and before is None:
            del os.environ["HF_ALLOW_CODE_EVAL"]
        elif allow and before is not None:
            os.environ["HF_ALLOW_CODE_EVAL"] = before


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
    hint = (
        f"did you mean {' or '.join(near)}?"
        if near
        else "see `attnres-eval tasks` and `attnres-eval lm-eval ls tasks`"
    )
    return f"unknown task {name!r}; {hint}"
