"""Sweeps the learning rate of one run of a study: `python benchmarks/learning_rate.py quick`.

Prints held-out loss by rate and seed, and the mean's best. A best rate at the edge of the grid
means that the grid was too short: give more `--rates`.
"""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from attnres_eval.records import RunFolder, Summary, read_record
from attnres_eval.report.formats import format_table
from attnres_eval.study import Study
from attnres_eval.study_file import load_study
from attnres_eval.sweep.executor import Job, LocalExecutor
from attnres_eval.sweep.jobs import in_folder, train_run


def main(
    study: str,
    label: str = "prenorm",
    size: Annotated[str | None, typer.Option(help="The study's first by default.")] = None,
    rates: str = "0.002,0.004,0.008,0.016,0.032",
    workers: int = 2,
) -> None:
    """Trains one run for each rate and seed, in a folder that is deleted afterwards."""
    loaded = load_study(study)
    size = size or next(iter(loaded.sizes))
    grid = [float(rate) for rate in rates.split(",")]
    losses: dict[tuple[float, int], float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        jobs = [
            _job(loaded, label, size, seed, rate, Path(scratch))
            for rate in grid
            for seed in loaded.seeds
        ]
        for outcome in LocalExecutor(workers).execute(jobs, lambda: None):
            named_rate, seed = outcome.name.split()
            if outcome.failure is None:
                summary = read_record(RunFolder(Path(scratch) / outcome.name).summary, Summary)
                losses[float(named_rate), int(seed)] = summary.validation_nats_per_token
    rows = []
    for rate in grid:
        found = [losses[rate, seed] for seed in loaded.seeds if (rate, seed) in losses]
        rows.append(
            {"learning_rate": rate}
            | {f"seed {seed}": losses.get((rate, seed)) for seed in loaded.seeds}
            | {"mean": sum(found) / len(found) if len(found) == len(loaded.seeds) else None}
        )
    print(f"{label} at {size}: held-out nats per token")
    print(format_table(rows, "markdown"))
    means = {row["learning_rate"]: row["mean"] for row in rows if row["mean"] is not None}
    best = min(means, key=lambda rate: means[rate])
    edge = " (the edge of the grid: extend it)" if best in (min(grid), max(grid)) else ""
    print(f"best mean at {best}{edge}")


def _job(study: Study, label: str, size: str, seed: int, rate: float, scratch: Path) -> Job:
    # The grid is of rates at this very size.
    recipe = study.recipe.model_copy(update={"learning_rate": rate, "learning_rate_width": None})
    run = study.model_copy(update={"recipe": recipe}).run(label, size, seed)
    return Job(f"{rate} {seed}", in_folder, (scratch / f"{rate} {seed}", train_run, (run,)))


if __name__ == "__main__":
    typer.run(main)
