"""The smallest study that trains, and an executor that starts no processes for it."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from attnres_eval.study import Study
from attnres_eval.study_file import parse_study
from attnres_eval.sweep.executor import Job, Outcome, attempt


def tiny(corpus: Path, **changes: Any) -> Study:
    """Two runs of a dozen steps on a file of text; keywords replace keys of the study."""
    values = {
        "name": "tiny",
        "variants": {"prenorm": None, "full_attnres": None},
        "sizes": {"d16": {"d_model": 16, "n_layers": 2, "n_heads": 1}},
        "seeds": [0],
        "data": {"corpora": {f"file:{corpus}": 1.0}, "vocab_size": 300, "validation_tokens": 512},
        "recipe": {
            "context": 32,
            "batch_sequences": 2,
            "tokens_per_parameter": 0.1,
            "log_every": 1,
        },
        "evaluation": {"inspection_tokens": 0, "calibration_rounds": 0},
    }
    return parse_study(yaml.safe_dump(values | changes), "tiny.yaml")


class Here:
    """Runs jobs in this process, one after another."""

    elsewhere = False

    def execute(self, jobs: Sequence[Job], tick: Callable[[], None]) -> Iterator[Outcome]:
        for job in jobs:
            tick()
            yield Outcome(job.name, *attempt(job))
