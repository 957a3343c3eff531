"""From lm-eval's results to records that hold no benchmark text."""

import importlib.metadata
import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from attnres_eval.evaluate.tasks import LoadedTask
from attnres_eval.files import sha256_of_json
from attnres_eval.records import GeneratedRecord, QuestionRecord, TaskRecord

_LABELS = frozenset({"name", "alias", "sample_len", "sample_count"})
_PASSAGES = ("passage", "article", "story", "context")
"""Fields in which lm-eval's tasks hold what several questions are about."""


def task_records(
    task: LoadedTask,
    results: Mapping[str, Any],
    *,
    limit: int | None,
    model_sha256: str,
    backend: Literal["attnres", "hf"],
) -> list[TaskRecord]:
    """One record for each task, then one for each group, from one call of lm-eval's evaluator.

    Args:
        task: what was scored.
        results: what lm-eval's `evaluate` returned, samples included.
        limit: questions asked for.
        model_sha256: hash of the weights.
        backend: which backend scored them.
    """
    common: dict[str, Any] = {
        "lm_eval": importlib.metadata.version("lm_eval"),
        "limit": limit,
        "model_sha256": model_sha256,
        "backend": backend,
    }
    leaves = {}
    for name, leaf in task.task_dict["tasks"].items():
        documents: dict[int, list[dict[str, Any]]] = {}
        for sample in results["samples"][name]:
            documents.setdefault(sample["doc_id"], []).append(sample)
        questions = [_question(leaf, samples) for _, samples in sorted(documents.items())]
        leaves[name] = TaskRecord(
            task=name,
            task_version=str(results["versions"].get(name)),
            num_fewshot=results["n-shot"].get(name) or 0,
            n_questions=len(questions),
            metrics=_metrics(results["results"][name]),
            chance=_chance(questions),
            questions=questions,
            **common,
        )
    groups = []
    for name, group in task.task_dict.get("groups", {}).items():
        members = [leaves[leaf.task_name] for leaf in group.get_all_tasks()]
        n_questions = sum(member.n_questions for member in members)
        chances = [(member.chance, member.n_questions) for member in members]
        known = [chance * n for chance, n in chances if chance is not None]
        groups.append(
            TaskRecord(
                task=name,
                task_version=str(results["versions"].get(name)),
                num_fewshot=max(member.num_fewshot for member in members),
                n_questions=n_questions,
                metrics=_metrics(results["results"].get(name, {})),
                chance=sum(known) / n_questions if len(known) == len(members) else None,
                questions=[],
                subtasks=[member.task for member in members],
                **common,
            )
        )
    return [*leaves.values(), *groups]


def _metrics(scores: Mapping[str, Any]) -> dict[str, float]:
    """lm-eval's `acc,none` as `acc`, `exact_match,strict` as it is; standard errors too."""
    return {
        key.removesuffix(",none"): float(value)
        for key, value in scores.items()
        if key not in _LABELS and _is_number(value)
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and math.isfinite(value)


def _chance(questions: Sequence[QuestionRecord | GeneratedRecord]) -> float | None:
    choices = [len(q.log_likelihoods) for q in questions if isinstance(q, QuestionRecord)]
    if not choices or len(choices) < len(questions):
        return None
    return sum(1 / n for n in choices) / len(choices)


def _question(task: Any, samples: list[dict[str, Any]]) -> QuestionRecord | GeneratedRecord:
    """One question; `samples` are its answers by lm-eval's filters, one each."""
    first = samples[0]
    if task.OUTPUT_TYPE == "multiple_choice":
        record = _choices(task, first)
        if record is not None:
            return record
    scores = {}
    for sample in samples:
        for metric in sample["metrics"]:
            if _is_number(sample[metric]):
                key = metric if sample["filter"] == "none" else f"{metric},{sample['filter']}"
                scores[key] = float(sample[metric])
    return GeneratedRecord(
        question_sha256=sha256_of_json([arguments[0] for arguments in first["arguments"]]),
        answer_sha256=sha256_of_json(first["resps"]),
        scores=scores,
        cluster=_passage(first["doc"]),
    )


def _passage(doc: Mapping[str, Any]) -> str | None:
    """The hash of what a question is about; None where it stands by itself."""
    text = next((doc[name] for name in _PASSAGES if isinstance(doc.get(name), str)), None)
    return None if text is None else sha256_of_json(text)


def _choices(task: Any, sample: dict[str, Any]) -> QuestionRecord | None:
    """A question with one right choice; None where lm-eval counts several as right."""
    doc = sample["doc"]
    choices = task.doc_to_choice(doc)
    gold = task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)
    if isinstance(gold, str):
        gold = choices.index(gold) if gold in choices else None
    if not isinstance(gold, int) or not 0 <= gold < len(choices):
        return None
    # Where the choice stands in the context, what is scored is the text that follows it.
    scored = [str(task.doc_to_target(doc))] * len(choices) if task.multiple_input else choices
    asked = sample["arguments"][: len(choices)]
    return QuestionRecord(
        question_sha256=sha256_of_json([list(arguments) for arguments in asked]),
        gold=gold,
        log_likelihoods=[float(answers[0][0]) for answers in sample["resps"][: len(choices)]],
        byte_lengths=[len(text.encode()) for text in scored],
        cluster=_passage(doc),
    )
