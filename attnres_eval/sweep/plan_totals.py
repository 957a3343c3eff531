"""What a whole study takes on accelerators: hours, days, storage, evaluation. Torch-free."""

from typing import Any

from attnres_eval.cost import PFLOPS_DAY, attention_flops
from attnres_eval.evaluate.suites import SUITES
from attnres_eval.study import RunConfig, Study, Task
from attnres_eval.sweep.plan_hardware import (
    Fleet,
    stored_flops,
    training_flops,
    wall_seconds,
)

EXAMPLE_TOKENS = 128
"""Of a question with one answer, and of each worked example before it. Assumed."""
GENERATED_TOKENS = 256
"""Of an answer that the model writes. Assumed."""
UNKNOWN_QUESTIONS = 1000
UNKNOWN_CHOICES = 4
"""Of a task that no suite lists. Assumed."""
EVALUATION_UTILISATION = 0.1
"""Share of the peak that scoring is taken to reach: short, padded sequences. Assumed."""
METRICS_LINE_BYTES = 216
QUESTION_RECORD_BYTES = 389
"""As measured on results/reasoning: 25,164 questions, one run's metrics."""


def task_requests(name: str, task: Task) -> tuple[int, int, int]:
    """What scoring one task takes.

    Returns:
        Questions, sequences that the model sees of each, and tokens of one, worked examples
        included. Sizes are those of the suites, or assumed where none lists the task.
    """
    rows = [row for suite in SUITES.values() for row in suite if row.task == name]
    questions = rows[0].questions if rows else UNKNOWN_QUESTIONS
    chance = rows[0].chance if rows else 1 / UNKNOWN_CHOICES
    shots = rows[0].shots if rows else 0
    if task.limit is not None:
        questions = min(questions, task.limit)
    if task.num_fewshot is not None:
        shots = task.num_fewshot
    tokens = (shots + 1) * EXAMPLE_TOKENS
    if not chance:
        return questions, 1, tokens + GENERATED_TOKENS
    return questions, round(1 / chance), tokens


def evaluation_flops(study: Study, run: RunConfig) -> float:
    """FLOPs of scoring one run's checkpoint on the study's tasks, choice by choice."""
    cost, flops = run.cost(), 0.0
    for name, task in study.evaluation.tasks.items():
        questions, sequences, tokens = task_requests(name, task or Task())
        tokens = min(tokens, run.recipe.context)
        per_token = cost.forward_flops_per_token - cost.attention_flops_per_token
        per_token += attention_flops(run.shape, (tokens + 1) / 2)
        flops += questions * sequences * tokens * per_token
    return flops


def total_rows(study: Study, used: Fleet) -> list[dict[str, Any]]:
    """Rows of quantity, value, unit and basis. A value is missing where some run does not fit."""
    runs = study.runs()
    training = [training_flops(run, used) for run in runs]
    fitting = [flops for flops in training if flops is not None]
    complete = len(fitting) == len(runs)
    rows: list[dict[str, Any]] = []

    def add(quantity: str, value: float | None, unit: str, basis: str) -> None:
        rows.append({"quantity": quantity, "value": value, "unit": unit, "basis": basis})

    cluster = used.cluster
    peak = f"{cluster.device.flops_per_second / 1e12:,.4g} TFLOP/s dense bf16"
    rate = f"FLOPs / ({peak} x {used.utilisation:g}), an assumption"
    recomputing = sum(
        flops is not None and flops > stored_flops(run)
        for run, flops in zip(runs, training, strict=True)
    )
    counted = f"attnres_eval/cost.py; {recomputing} runs with activation checkpointing"
    if not complete:
        counted += f"; {len(runs) - len(fitting)} runs do not fit"
    add("runs", len(runs), "runs", f"{used.devices_a_run} devices a run, {used.slots} at a time")
    add("training", sum(fitting) if complete else None, "FLOPs", counted)
    add("training", sum(fitting) / PFLOPS_DAY if complete else None, "PFLOP/s-days", "the same")
    hours = used.device_seconds(sum(fitting)) / 3600
    add("training", hours if complete else None, "GPU hours", rate)
    days = wall_seconds([used.run_seconds(flops) for flops in fitting], used.slots) / 86400
    add("training", days if complete else None, "days", "longest run first; no queue, no failures")

    scored = [run for run in runs if run.size in study.evaluated_sizes()]
    flops = sum(evaluation_flops(study, run) for run in scored)
    assumed = f"{EXAMPLE_TOKENS} tokens an example, each choice a sequence of its own, assumed"
    add("evaluation", flops, "FLOPs", f"{len(scored)} checkpoints; {assumed}")
    scoring = flops / (cluster.device.flops_per_second * EVALUATION_UTILISATION) / 3600
    basis = f"at {EVALUATION_UTILISATION:g} of the peak, an assumption; benchmarks not downloaded"
    add("evaluation", scoring, "GPU hours", basis)

    for quantity, size, basis in storage(study, used):
        add(quantity, size / 1e9, "GB", basis)
    return rows


def storage(study: Study, used: Fleet) -> list[tuple[str, float, str]]:
    """Bytes by what takes them, each with its basis."""
    runs = study.runs()
    width = 2 if study.data.vocab_size <= 1 << 16 else 4
    longest = max(run.tokens for run in runs)
    hub = [name for name in study.data.corpora if name.startswith("hf:")]
    parameters = [run.cost().parameters for run in runs]
    lines = sum(-(-run.steps // run.recipe.log_every) for run in runs)
    questions = sum(
        task_requests(name, task or Task())[0] for name, task in study.evaluation.tasks.items()
    )
    scored = sum(run.size in study.evaluated_sizes() for run in runs)
    resumed = sorted(parameters, reverse=True)[: used.slots]
    records = lines * METRICS_LINE_BYTES + scored * questions * QUESTION_RECORD_BYTES
    return [
        ("token files", width * longest, f"one pass of the longest run, {width} bytes a token"),
        (
            "text in memory while data are prepared",
            float(len(hub) * study.data.hub_characters),
            f"hub_characters of {len(hub)} hub corpora, at a byte a character, on one node",
        ),
        ("finished checkpoints", 4.0 * sum(parameters), "fp32 weights of every run"),
        (
            "checkpoints to resume from",
            2 * 12.0 * sum(resumed),
            "weights and two moments of the runs in flight, and the next one while it is written",
        ),
        ("records", float(records), "a line of metrics, a record a question"),
    ]
