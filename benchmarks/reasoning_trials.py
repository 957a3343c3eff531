"""Which families a small model learns: `python benchmarks/reasoning_trials.py s5 induction`.

Trains one PreNorm model on each family alone and prints its accuracy by number of steps, so that
dials, learning rate, batch and answer weight can be chosen by measurement.
"""

import tempfile
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from attnres_eval.analysis.benchmarks import benchmarks_table
from attnres_eval.analysis.collect import collect
from attnres_eval.analysis.paired import paired_table
from attnres_eval.analysis.questions import answers
from attnres_eval.analysis.steps import steps_table
from attnres_eval.reasoning import get_family
from attnres_eval.report.formats import format_table
from attnres_eval.study import Study
from attnres_eval.sweep.executor import LocalExecutor
from attnres_eval.sweep.run import run_study


def main(
    families: list[str],
    tokens: Annotated[float, typer.Option(help="Training tokens over matrix parameters.")] = 20,
    d_model: int = 32,
    n_layers: int = 8,
    n_heads: int = 2,
    rate: float = 0.004,
    answer_weight: float = 10,
    batch_sequences: int = 4,
    variant: str = "prenorm",
    seed: int = 0,
    limit: int = 250,
    workers: int = 2,
) -> None:
    """Trains and scores one run a family, in a folder that is deleted afterwards."""
    tables = []
    for name in families:
        get_family(name)
        study = Study.model_validate(
            {
                "name": "trial",
                "variants": {variant: {}},
                "baseline": variant,
                "sizes": {"d": {"d_model": d_model, "n_layers": n_layers, "n_heads": n_heads}},
                "seeds": [seed],
                "data": {
                    "corpora": {f"reasoning:{name}": 1},
                    "vocab_size": 320,
                    "reasoning_characters": 5_000_000,
                },
                "recipe": {
                    "batch_sequences": batch_sequences,
                    "tokens_per_parameter": tokens,
                    "learning_rate": rate,
                    "answer_weight": answer_weight,
                    "precision": "fp32",
                },
                "evaluation": {
                    "tasks": {f"reasoning_{name}": {"limit": limit}},
                    "inspection_tokens": 0,
                },
            }
        )
        with tempfile.TemporaryDirectory() as scratch:
            run_study(study, Path(scratch), LocalExecutor(workers), say=lambda _: None)
            results = collect(Path(scratch))
            answered = answers(results)
            table = steps_table(
                benchmarks_table(results, answered), paired_table(results, answered)
            )
        columns = ["family", "steps", "n_questions", "score", "ci_low", "ci_high", "chance"]
        tables.append(table[columns])
    print(format_table(pd.concat(tables), "markdown"))


if __name__ == "__main__":
    typer.run(main)
