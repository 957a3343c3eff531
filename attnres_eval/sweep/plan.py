"""A study's runs with their price, before anything is spent. Torch-free."""

from typing import Any

from attnres_eval.cost import PFLOPS_DAY
from attnres_eval.estimate import training_bytes, training_seconds
from attnres_eval.study import RunConfig, Study


def plan_rows(study: Study) -> list[dict[str, Any]]:
    """One row a run: parameters, tokens, FLOPs, and estimates of time and memory."""
    return [_row(run) for run in study.runs()]


def _row(run: RunConfig) -> dict[str, Any]:
    cost = run.cost()
    return {
        "run": run.run,
        "variant": run.variant,
        "parameters": cost.parameters,
        "tokens": run.tokens,
        "tokens_per_parameter": round(run.tokens / cost.parameters, 2),
        "steps": run.steps,
        "flops": run.training_flops,
        "pflops_days": run.training_flops / PFLOPS_DAY,
        "estimated_seconds": round(training_seconds(run), 1),
        "estimated_mib": round(training_bytes(run) / 2**20),
    }


def total_seconds(study: Study, workers: int) -> float:
    """Estimate of the whole study's training time on so many one-thread workers."""
    seconds = [training_seconds(run) for run in study.runs()]
    return max(sum(seconds) / workers, max(seconds))
