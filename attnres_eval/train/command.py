"""What stands behind `attnres-eval train`."""

import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from attnres_eval.data.prepare import prepare
from attnres_eval.errors import UserError
from attnres_eval.lock import holding
from attnres_eval.records import RunFolder
from attnres_eval.study import RunConfig, Study
from attnres_eval.train.loop import train


def chosen_run(study: Study, label: str, size: str, seed: int | None) -> RunConfig:
    """One run of a study, of its first seed where none is given.

    Raises:
        UserError: the study has no such label or size.
    """
    if label not in study.variants:
        raise UserError(f"study {study.name} has no variant {label}: {', '.join(study.variants)}")
    if size not in study.sizes:
        raise UserError(f"study {study.name} has no size {size}: {', '.join(study.sizes)}")
    return study.run(label, size, study.seeds[0] if seed is None else seed)


def train_one(
    study: Study, label: str, size: str, seed: int | None, folder: Path
) -> dict[str, Any]:
    """Trains one run of a study with a progress bar.

    Returns:
        A row for a table: the run and its summary.

    Raises:
        UserError: the study has no such label or size, or training failed.
    """
    config = chosen_run(study, label, size, seed)
    with holding(folder), Progress(console=Console(file=sys.stderr)) as bar:
        data = prepare(study.data, progress=bar.console.print)
        task = bar.add_task(config.run, total=config.steps)
        summary = train(
            config, RunFolder(folder), data, lambda done: bar.update(task, completed=done)
        )
    return {
        "run": config.run,
        "validation_nats_per_token": summary.validation_nats_per_token,
        "validation_bits_per_byte": summary.validation_bits_per_byte,
        "tokens": summary.tokens,
        "flops": summary.flops,
        "seconds": summary.seconds,
        "tokens_per_second": summary.tokens_per_second,
    }
