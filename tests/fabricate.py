"""Fabricates a results folder with a known truth, as if a study had been run. Trains nothing."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from attnres_eval.files import sha256_of_file
from attnres_eval.records import (
    Calibration,
    GeneratedRecord,
    InspectionRecord,
    Machine,
    Metrics,
    QuestionRecord,
    RunFolder,
    StepPair,
    Summary,
    TaskRecord,
    calibration_file,
    read_sealed,
    task_file,
    write_record,
    write_sealed,
)
from attnres_eval.study import RunConfig, Study

N_CHOICES = 4
BYTES_PER_TOKEN = 3


def make_study(
    labels: Sequence[str] = ("prenorm", "full_attnres", "block_attnres"),
    n_sizes: int = 3,
    seeds: Sequence[int] = (0, 1, 2),
    tasks: Sequence[str] = ("arc_easy",),
    limit: int | None = 60,
) -> Study:
    """A study of up to eight sizes; a label that is no variant stands for one with prenorm."""
    real = {"prenorm", "full_attnres", "block_attnres"}
    return Study.model_validate(
        {
            "name": "fabricated",
            "description": "Fabricated numbers for tests.",
            "variants": {x: {} if x in real else {"variant": "prenorm"} for x in labels},
            "baseline": labels[0],
            "sizes": {
                f"d{d}": {"d_model": d, "n_layers": 8, "n_heads": 2}
                for d in (32, 48, 64, 96, 128, 192, 256, 384)[:n_sizes]
            },
            "seeds": list(seeds),
            "data": {"vocab_size": 512},
            "evaluation": {"tasks": {task: {"limit": limit} for task in tasks}},
        }
    )


def fabricate(
    folder: Path,
    *,
    multipliers: Mapping[str, float] | None = None,
    study: Study | None = None,
    alpha: float = 0.06,
    a: float = 12.0,
    e: float = 0.0,
    seed_noise: float = 0.004,
    noise: float = 0.001,
    skill: Mapping[str, float] | None = None,
    generation: Sequence[str] = (),
    groups: Mapping[str, Sequence[str]] | None = None,
    missing: Sequence[str] = (),
    inspected: bool = True,
    step_times: Mapping[str, float] | None = None,
    random_seed: int = 0,
) -> Path:
    """Writes a whole results folder.

    A run's loss is L = e + a (m C)^-alpha times exp(seed part + own part): `m` the variant's
    multiplier, the seed part shared by all variants of a size and seed, so that pairing helps.

    Args:
        folder: where; made if absent.
        multipliers: true compute multiplier by label; 1 for those not named.
        study: `make_study()` by default.
        alpha: exponent.
        a: factor, nats per token at one FLOP.
        e: irreducible loss, nats per token.
        seed_noise: standard deviation of the shared part of log loss.
        noise: standard deviation of the own part of log loss.
        skill: probability by label of answering a question right; chance for those not named.
        generation: tasks of the study that generate text; the others are multiple choice.
        groups: subtasks by the group's name; the group is a task of the study.
        missing: runs that have not finished.
        inspected: whether the runs of the largest size have been inspected.
        step_times: time of a training step over the baseline's by label, 1 for those not named;
            by default times are not calibrated.
        random_seed: of all noise.
    """
    multipliers, skill = multipliers or {}, skill or {}
    groups = groups or {}
    study = study or make_study()
    random = np.random.default_rng(random_seed)
    shared = {
        (size, seed): random.normal(0, seed_noise) for size in study.sizes for seed in study.seeds
    }
    write_record(folder / "study.json", study)
    if step_times is not None:
        write_record(calibration_file(folder), calibration(study, step_times))
    for config in study.runs():
        compute = multipliers.get(config.label, 1.0) * config.training_flops
        deviation = shared[config.size, config.seed] + random.normal(0, noise)
        loss = (e + a * compute**-alpha) * math.exp(deviation)
        run = RunFolder(folder / "runs" / config.run)
        if config.run in missing:
            write_record(run.config, config)
            continue
        _write_run(run, config, loss)
        if inspected and config.size == study.largest_size:
            write_record(run.inspection, inspection(config))
        if config.size not in study.evaluated_sizes():
            continue
        for task, ask in study.evaluation.tasks.items():
            n = (ask.limit if ask else None) or 100
            records = [
                _task_record(
                    name,
                    n,
                    skill.get(config.label, 1 / N_CHOICES),
                    config,
                    random,
                    generated=task in generation,
                )
                for name in groups.get(task, [task])
            ]
            if task in groups:
                records.append(_group_record(task, records))
            for record in records:
                write_record(task_file(run.evaluation, record.task), record)
    return folder


def _write_run(run: RunFolder, config: RunConfig, loss: float) -> None:
    cost = config.cost()
    speed = 1e9 / cost.training_flops_per_token * (1.0 if config.label == "prenorm" else 0.8)
    write_record(run.config, config)
    write_sealed(run.cost, cost.as_dict())
    lines = [
        Metrics(
            step=step,
            tokens=config.tokens * part // 10,
            flops=config.training_flops * part / 10,
            loss=loss * (1 + 1 / part),
            learning_rate=1e-3 * part / 10,
            grad_norm=1.0,
            seconds=config.tokens * part / 10 / speed,
            tokens_per_second=speed,
        ).model_dump_json()
        for part, step in ((p, max(1, config.steps * p // 10)) for p in range(1, 11))
    ]
    run.metrics.write_text("\n".join(lines) + "\n")
    write_record(
        run.summary,
        Summary(
            validation_nats_per_token=loss,
            validation_bits_per_byte=loss / math.log(2) / BYTES_PER_TOKEN,
            validation_tokens=10_000,
            validation_bytes=10_000 * BYTES_PER_TOKEN,
            tokens=config.tokens,
            flops=config.training_flops,
            seconds=config.tokens / speed,
            tokens_per_second=speed,
            peak_memory_bytes=100_000_000,
            machine=MACHINE,
            data_sha256="f" * 64,
            files_sha256={run.metrics.name: sha256_of_file(run.metrics)},
        ),
    )


MACHINE = Machine(
    device="cpu",
    precision="fp32",
    threads=1,
    compiled=False,
    processor="Fabricated",
    torch="0.0",
)
ROUNDS = 11
ROUND_SPREAD = 0.01
"""Of the log ratios of a calibration's rounds: evenly spaced within it on both sides."""


def calibration(study: Study, step_times: Mapping[str, float]) -> Calibration:
    """Step times in proportion to the baseline's FLOPs, and `step_times` times that.

    The median ratio of a pair is exact; its interval leaves out a round at each end.
    """
    pairs = []
    for size in study.sizes:
        config = study.run(study.baseline, size, study.seeds[0])
        tokens = config.recipe.batch_sequences * config.recipe.context
        second = config.cost().training_flops_per_token * tokens / 1e9
        for label in study.variants:
            spread = np.exp(ROUND_SPREAD * np.linspace(-1, 1, ROUNDS))
            pair = StepPair(
                size=size,
                label=label,
                tokens=tokens,
                steps_a_turn=1,
                baseline_seconds=[second] * ROUNDS,
                seconds=[float(s) for s in second * step_times.get(label, 1.0) * spread],
                machine=MACHINE,
            )
            pairs.append(pair)
    return Calibration(study=study.model_dump(mode="json"), pairs=pairs)


def inspection(config: RunConfig) -> InspectionRecord:
    """Outputs that grow with depth and gradients that fall, faster for PreNorm than for others.

    A reader reads all sources with equal weights, PreNorm's with ones. A seed adds 1% to all.
    """
    n_sublayers = config.shape.n_sublayers
    plain, more = config.label == "prenorm", 1 + 0.01 * config.seed
    rate = 0.1 if plain else 0.02
    places = range(n_sublayers + 1)
    return InspectionRecord(
        model_sha256=config.run,
        data_sha256="f" * 64,
        limit=8192,
        tokens=8192,
        loss=3.0,
        mixing=[
            [more / (1 if plain else r + 1) if i <= r else 0.0 for r in places] for i in places
        ],
        output_rms=[more * math.exp(rate * i) for i in places],
        gradient_rms=[more * 0.01 * math.exp(-rate * i) for i in places],
        skip_loss_change=[more * 0.5 / (i + 1) - 0.05 for i in range(n_sublayers)],
    )


def _task_record(
    task: str,
    n: int,
    skill: float,
    config: RunConfig,
    random: np.random.Generator,
    *,
    generated: bool,
) -> TaskRecord:
    right = random.random(n) < skill
    golds = np.random.default_rng(len(task)).integers(0, N_CHOICES, n)
    questions: list[QuestionRecord | GeneratedRecord] = []
    for index, (correct, gold) in enumerate(zip(right, golds, strict=True)):
        key = f"{task}-{index}".encode().hex().zfill(64)
        if generated:
            questions.append(
                GeneratedRecord(
                    question_sha256=key,
                    answer_sha256=key,
                    scores={"exact_match": float(correct)},
                )
            )
            continue
        chosen = int(gold) if correct else int(gold + random.integers(1, N_CHOICES)) % N_CHOICES
        values = random.uniform(-30, -20, N_CHOICES)
        values[chosen] = random.uniform(-12, -8)
        questions.append(
            QuestionRecord(
                question_sha256=key,
                gold=int(gold),
                log_likelihoods=[float(v) for v in values],
                byte_lengths=[10 + index % 3] * N_CHOICES,
            )
        )
    return TaskRecord(
        task=task,
        n_questions=n,
        metrics={"exact_match" if generated else "acc": float(right.mean())},
        chance=None if generated else 1 / N_CHOICES,
        questions=questions,
        **_common(config.run, n),
    )


def _group_record(task: str, members: Sequence[TaskRecord]) -> TaskRecord:
    return TaskRecord(
        task=task,
        n_questions=sum(member.n_questions for member in members),
        metrics={},
        chance=members[0].chance,
        questions=[],
        subtasks=[member.task for member in members],
        **_common(members[0].model_sha256, members[0].limit),
    )


def _common(model: str, limit: int | None) -> dict[str, Any]:
    return {
        "task_version": "1.0",
        "lm_eval": "0.4.13",
        "num_fewshot": 0,
        "limit": limit,
        "model_sha256": model,
        "backend": "attnres",
    }


def rewrite(path: Path, **changes: Any) -> None:
    """Changes keys of a record as its writer would have: with the hash of what it then holds."""
    write_sealed(path, read_sealed(path) | changes)
