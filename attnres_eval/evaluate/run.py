"""Scores a model on lm-eval's tasks through lm-eval's evaluator."""

import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import lm_eval.evaluator
import numpy as np
import torch
from lm_eval.loggers import EvaluationTracker
from lm_eval.loggers.utils import add_tokenizer_info
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import normalize_gen_kwargs

from attnres_eval.errors import UserError
from attnres_eval.evaluate.backend import AttnResLM
from attnres_eval.evaluate.models import DTYPES, LoadedModel, Precision, load_model
from attnres_eval.evaluate.quiet import quiet
from attnres_eval.evaluate.scores import task_records
from attnres_eval.evaluate.tasks import RUNS_CODE, LoadedTask, code_allowed, load_task
from attnres_eval.records import TaskRecord, task_file, write_record
from attnres_eval.study import Task

Backend = Literal["attnres", "hf"]
BACKENDS: tuple[Backend, ...] = ("attnres", "hf")

logger = logging.getLogger(__name__)

SEED = 1234
"""lm-eval's default seed of worked examples, numpy and torch."""
PYTHON_SEED = 0
"""lm-eval's default seed of the global generator."""
BOOTSTRAP_ITERATIONS = 1000
"""For the standard errors of metrics that are not means."""


def evaluate(
    model: str | Path,
    tasks: Sequence[str] | Mapping[str, Task | None],
    *,
    backend: Backend = "attnres",
    num_fewshot: int | None = None,
    limit: int | None = None,
    batch_size: int = 32,
    data_dir: Path | None = None,
    output_path: Path | None = None,
    records: Path | None = None,
    precision: Precision = "fp32",
    device: str | None = None,
    progress: bool = False,
    confirm_run_unsafe_code: bool = False,
    leave_out: Callable[[str], None] | None = None,
) -> list[TaskRecord]:
    """Scores one model. Tasks are loaded once per process, whatever the number of models.

    No score depends on the order of the tasks, or on which tasks are scored together: each is
    evaluated by itself from the same seeds.

    Args:
        model: a checkpoint folder, a `.gguf` file, or a name on the model hub.
        tasks: names of tasks, groups or tags; or a limit and a number of worked examples for
            each. A group's limit holds for each of its tasks.
        backend: ours, or lm-eval's own for transformers.
        num_fewshot: worked examples of tasks given by name alone.
        limit: questions of tasks given by name alone.
        batch_size: sequences a forward pass.
        data_dir: the user's folder of benchmarks (gpqa/, mmlu_pro/, bbh/).
        output_path: folder for lm-eval's own files, samples included, GPQA's excepted.
        records: folder for `<task>.json`, which hold no benchmark text.
        precision: of weights and activations.
        device: a torch device; the accelerator where there is one by default.
        progress: whether to draw progress bars.
        confirm_run_unsafe_code: whether tasks may run code that the model writes.
        leave_out: called with one line for each task that this model cannot be scored on, which
            is then left out instead of stopping everything.

    Returns:
        A record for each task and group, in the order asked for.

    Raises:
        UserError: an unknown task, backend or precision, data that are nowhere, a damaged model,
            or a task that this model cannot be scored on.
    """
    if backend not in BACKENDS:
        raise UserError(f"unknown backend {backend!r}; there are {' and '.join(BACKENDS)}")
    if precision not in DTYPES:
        raise UserError(f"unknown precision {precision!r}; there are {' and '.join(DTYPES)}")
    if (limit is not None and limit < 1) or (num_fewshot or 0) < 0 or batch_size < 1:
        raise UserError("limit and batch size must be positive, num_fewshot not negative")
    if isinstance(tasks, Mapping):
        asked = {name: ask or Task() for name, ask in tasks.items()}
    else:
        asked = {name: Task(limit=limit, num_fewshot=num_fewshot) for name in tasks}
    if not asked:
        raise UserError("no task is named; give at least one, such as arc_easy")
    # All tasks first: a name that is wrong should not cost the time of those before it.
    loaded = [
        (load_task(name, ask.num_fewshot, data_dir, allow_code=confirm_run_unsafe_code), ask)
        for name, ask in asked.items()
    ]
    network = load_model(model, precision=precision, device=device)
    with quiet(progress=progress), code_allowed(confirm_run_unsafe_code):
        lm = _backend(backend, network, batch_size)
        done: list[TaskRecord] = []
        results: list[dict[str, Any]] = []
        fitting = []
        for task, ask in loaded:
            try:
                _check(task, lm, confirm_run_unsafe_code)
            except UserError as error:
                if leave_out is None:
                    raise
                leave_out(str(error))
            else:
                fitting.append((task, ask))
        for task, ask in fitting:
            try:
                result = score(task, ask.limit, lm, allow_code=confirm_run_unsafe_code)
            except UserError as error:
                if leave_out is None:
                    raise UserError(f"task {task.name}: {error}") from None
                leave_out(f"task {task.name}: {error}")
                continue
            results.append(result)
            scored = task_records(
                task, result, limit=ask.limit, model_sha256=network.sha256, backend=backend
            )
            done += scored
            if records is not None:
                for record in scored:
                    write_record(task_file(records, record.task), record)
        if backend == "attnres" and lm.cut:
            logger.warning(
                "%s: %d of %d requests are longer than its context of %d tokens; their left ends"
                " were cut, as lm-eval does",
                network.name,
                lm.cut,
                lm.scored,
                lm.max_length,
            )
        if output_path is not None and results:
            private = frozenset[str]().union(*(task.private for task, _ in loaded))
            config = {
                "model": backend,
                "model_args": {"pretrained": network.name, "precision": precision},
                "model_num_parameters": network.model.num_parameters(),
                "model_sha": network.sha256,
                "batch_size": batch_size,
                "device": str(lm.device),
                "limit": {name: ask.limit for name, ask in asked.items()},
                "bootstrap_iters": BOOTSTRAP_ITERATIONS,
                "random_seed": PYTHON_SEED,
                "numpy_seed": SEED,
                "torch_seed": SEED,
                "fewshot_seed": SEED,
            }
            _write_lm_eval_files(output_path, _merged(results), config, lm, private)
    return done


def _backend(backend: Backend, network: LoadedModel, batch_size: int) -> Any:
    if backend == "attnres":
        return AttnResLM(network, batch_size=batch_size)
    return HFLM(pretrained=network.model, tokenizer=network.tokenizer, batch_size=batch_size)


def _check(task: LoadedTask, lm: Any, allow_code: bool) -> None:
    """Refuses tasks that lm-eval would stop at, in one line."""
    for name, leaf in task.task_dict["tasks"].items():
        if getattr(leaf, "UNSAFE_CODE", False) and not allow_code:
            raise UserError(f"task {name} {RUNS_CODE}")
        if getattr(leaf, "MULTIMODAL", False):
            raise UserError(f"task {name} needs a model that reads images or sound")
        if leaf.OUTPUT_TYPE == "generate_until":
            arguments = leaf.config.generation_kwargs or {}
            room = normalize_gen_kwargs(arguments, lm.max_gen_toks)["max_gen_toks"]
            if room >= lm.max_length:
                raise UserError(
                    f"task {name} generates up to {room} tokens, which leaves no room for the"
                    f" question in the model's context of {lm.max_length}"
                )


def score(
    task: LoadedTask, limit: int | None, lm: Any, *, allow_code: bool = False
) -> dict[str, Any]:
    """One call of lm-eval's evaluator, from the seeds that its command sets.

    Args:
        task: what to score.
        limit: questions of each leaf task; all where None.
        lm: an LM of lm-eval.
        allow_code: whether the task may run code that the model writes.

    Returns:
        lm-eval's results, samples included.
    """
    random.seed(PYTHON_SEED)
    np.random.seed(SEED)  # noqa: NPY002  (tasks of lm-eval use the global generator)
    torch.manual_seed(SEED)
    for leaf in task.task_dict["tasks"].values():
        leaf.set_fewshot_seed(seed=SEED)
    results = lm_eval.evaluator.evaluate(
        lm=lm,
        task_dict=task.task_dict,
        limit=limit,
        bootstrap_iters=BOOTSTRAP_ITERATIONS,
        log_samples=True,
        confirm_run_unsafe_code=allow_code,
    )
    return dict(results)


def _merged(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The results of several calls as if they had been one."""
    merged: dict[str, Any] = {}
    for result in results:
        for key, values in result.items():
            merged.setdefault(key, {}).update(values)
    return merged


def _write_lm_eval_files(
    folder: Path, results: dict[str, Any], config: dict[str, Any], lm: Any, private: frozenset[str]
) -> None:
    """Writes `results_*.json`, and `samples_*.jsonl` of the tasks that are not private."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output-path {folder}: {error.strerror}") from None
    samples = results.pop("samples")
    results |= {"config": config, "date": time.time()}
    add_tokenizer_info(results, lm)
    tracker = EvaluationTracker(output_path=str(folder))
    tracker.general_config_tracker.log_experiment_args(
        model_source=config["model"],
        model_args=config["model_args"],
        system_instruction=None,
        chat_template=None,
        fewshot_as_multiturn=False,
    )
    tracker.save_results_aggregated(results=results, samples=samples)
    for name in samples.keys() - private:
        tracker.save_results_samples(task_name=name, samples=samples[name])
