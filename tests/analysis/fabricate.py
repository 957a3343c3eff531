"""Results folders without training: a study's records drawn from a known truth."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from attnres_eval.records import (
    Machine,
    Metrics,
    QuestionRecord,
    RunFolder,
    Summary,
    TaskRecord,
    task_file,
    write_record,
)
from attnres_eval.study import RunConfig, Study

BYTES_PER_TOKEN = 3.7


@dataclass(frozen=True)
class Truth:
    """What the fabricated runs are drawn from."""

    multipliers: dict[str, float] = field(default_factory=lambda: {"block_attnres": 1.25})
    """By label; 1 where absent."""
    alpha: float = 0.09
    a: float = 4.0
    """Baseline's loss at 1e14 FLOPs, nats per token."""
    own_noise: float = 0.002
    """Of one run's log loss."""
    common_noise: float = 0.004
    """Of log loss, common to the runs of one seed and size."""
    accuracy: dict[str, float] = field(default_factory=dict)
    """Chance that a question is answered rightly, by label; 0.35 where absent."""
    relative_speed: dict[str, float] = field(default_factory=lambda: {"full_attnres": 0.5})


def study(**changes: object) -> Study:
    """A small study of three variants, three sizes and three seeds."""
    values: dict[str, object] = {
        "name": "fabricated",
        "description": "Drawn from a known truth; nothing was trained.",
        "variants": {"prenorm": None, "full_attnres": None, "block_attnres": {"num_blocks": 4}},
        "sizes": {
            "d32": {"d_model": 32, "n_layers": 8, "n_heads": 2},
            "d64": {"d_model": 64, "n_layers": 8, "n_heads": 2},
            "d128": {"d_model": 128, "n_layers": 8, "n_heads": 4},
        },
        "seeds": [0, 1, 2],
        "evaluation": {"tasks": {"arc_easy": {"limit": 200}, "mmlu_abstract_algebra": None}},
    }
    return Study.model_validate({**values, **changes})


def expected_log_loss(config: RunConfig, truth: Truth) -> float:
    """The truth: a variant's run is as good as a baseline run of M times its compute."""
    multiplier = truth.multipliers.get(config.label, 1.0)
    compute = config.training_flops * multiplier / 1e14
    return math.log(truth.a) - truth.alpha * math.log(compute)


def fabricate(
    results: Path,
    study: Study,
    truth: Truth | None = None,
    *,
    missing: frozenset[str] = frozenset(),
    questions: int = 200,
) -> Path:
    """Writes the folder; runs named in `missing` are planned but have not finished."""
    truth = truth or Truth()
    results.mkdir(parents=True, exist_ok=True)
    (results / "study.json").write_text(json.dumps(study.model_dump(mode="json")))
    for number, config in enumerate(study.runs()):
        size = list(study.sizes).index(config.size)
        common = np.random.default_rng([7, size, config.seed]).standard_normal()
        random = np.random.default_rng([11, number])
        log_loss = (
            expected_log_loss(config, truth)
            + truth.common_noise * common
            + truth.own_noise * random.standard_normal()
        )
        if config.run in missing:
            continue
        folder = RunFolder(results / "runs" / config.run)
        folder.path.mkdir(parents=True)
        folder.config.write_text(json.dumps(config.model_dump(mode="json")))
        folder.cost.write_text(json.dumps(config.cost().as_dict()))
        _write_metrics(folder, config, math.exp(log_loss), random)
        _write_summary(folder, config, math.exp(log_loss), truth)
        if config.size in study.evaluated_sizes():
            for task in study.evaluation.tasks:
                record = task_record(task, config, truth, questions)
                write_record(task_file(folder.evaluation, task), record)
    return results


def _write_metrics(
    folder: RunFolder, config: RunConfig, loss: float, random: np.random.Generator
) -> None:
    steps = np.unique(np.linspace(1, config.steps, 60).astype(int))
    per_step = config.recipe.batch_sequences * config.recipe.context
    lines = []
    for step in steps:
        share = step / config.steps
        line = Metrics(
            step=int(step),
            tokens=int(step) * per_step,
            flops=config.training_flops * share,
            loss=loss * (1 + 0.9 * (1 - share) ** 4) + 0.03 * random.standard_normal(),
            learning_rate=config.recipe.learning_rate * (1 - 0.9 * share),
            grad_norm=1.0,
            seconds=10.0 * share,
            tokens_per_second=20_000.0,
        )
        lines.append(line.model_dump_json() + "\n")
    folder.metrics.write_text("".join(lines))


def _write_summary(folder: RunFolder, config: RunConfig, loss: float, truth: Truth) -> None:
    speed = 20_000.0 * truth.relative_speed.get(config.label, 1.0)
    summary = Summary(
        validation_nats_per_token=loss,
        validation_bits_per_byte=loss / math.log(2) / BYTES_PER_TOKEN,
        validation_tokens=65_536,
        validation_bytes=round(65_536 * BYTES_PER_TOKEN),
        tokens=config.tokens,
        flops=config.training_flops,
        seconds=config.tokens / speed,
        tokens_per_second=speed,
        peak_memory_bytes=600 * 2**20,
        machine=Machine(
            device="cpu",
            precision="fp32",
            threads=1,
            compiled=False,
            processor="Fabricated Processor 1",
            torch="2.13.0",
        ),
        data_sha256="d" * 64,
    )
    write_record(folder.summary, summary)


def task_record(
    task: str, config: RunConfig, truth: Truth, n_questions: int, n_choices: int = 4
) -> TaskRecord:
    """Choices of equal length, the gold one likeliest with the label's accuracy."""
    accuracy = truth.accuracy.get(config.label, 0.35)
    shared = np.random.default_rng([13, len(task)])
    difficulty = shared.random(n_questions)
    random = np.random.default_rng([17, len(task), config.seed, len(config.label)])
    records = []
    for number in range(n_questions):
        gold = number % n_choices
        # Two thirds of a question's luck is its own, so that variants' answers go together.
        luck = difficulty[number] if random.random() < 2 / 3 else random.random()
        best = gold if luck < accuracy else (gold + 1) % n_choices
        likelihoods = -20.0 - random.random(n_choices)
        likelihoods[best] += 3.0
        records.append(
            QuestionRecord(
                question_sha256=f"{task}-{number}",
                gold=gold,
                log_likelihoods=[float(value) for value in likelihoods],
                byte_lengths=[10] * n_choices,
            )
        )
    return TaskRecord(
        task=task,
        task_version="1.0",
        lm_eval="0.4.13",
        num_fewshot=0,
        limit=200,
        n_questions=n_questions,
        model_sha256="e" * 64,
        backend="attnres",
        metrics={"acc": accuracy, "acc_norm": accuracy},
        chance=1 / n_choices,
        questions=records,
    )
