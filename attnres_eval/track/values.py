"""What trackers are told of a run, under the names that they show."""

from typing import Any

from attnres_eval.errors import UserError
from attnres_eval.records import Metrics, RunFolder, Summary, TaskRecord, read_record
from attnres_eval.study import RunConfig
from attnres_eval.track.tracker import Setting


def curve_values(line: Metrics) -> dict[str, float]:
    """One point of every curve."""
    return {
        "train/loss": line.loss,
        "train/learning_rate": line.learning_rate,
        "train/grad_norm": line.grad_norm,
        "train/tokens": line.tokens,
        "train/flops": line.flops,
        "train/tokens_per_second": line.tokens_per_second,
    }


def final_values(summary: Summary) -> dict[str, float]:
    """What a run ends with."""
    return {
        "validation/nats_per_token": summary.validation_nats_per_token,
        "validation/bits_per_byte": summary.validation_bits_per_byte,
        "final/seconds": summary.seconds,
        "final/tokens_per_second": summary.tokens_per_second,
        "final/peak_memory_bytes": summary.peak_memory_bytes,
    }


def score_values(run: RunFolder) -> dict[str, float]:
    """All scores of a run: `scores/arc_easy/acc`. Damaged records are left out."""
    values: dict[str, float] = {}
    for path in sorted(run.evaluation.glob("*.json")):
        try:
            record = read_record(path, TaskRecord)
        except UserError:
            continue
        values |= {f"scores/{record.task}/{name}": x for name, x in record.metrics.items()}
    return values


def settings(config: RunConfig) -> dict[str, Setting]:
    """A run's configuration, flat, with what follows from it."""
    cost = config.cost()
    return {
        **_flat(config.model_dump(mode="json")),
        "parameters": cost.parameters,
        "training_flops": config.training_flops,
        "tokens": config.tokens,
        "peak_learning_rate": config.learning_rate,
    }


def _flat(value: Any, name: str = "") -> dict[str, Setting]:
    if isinstance(value, dict):
        below = f"{name}." if name else ""
        return {key: x for part in value for key, x in _flat(value[part], below + part).items()}
    if isinstance(value, str | int | float):
        return {name: value}
    return {} if value is None else {name: str(value)}
