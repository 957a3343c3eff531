"""Requests a second of the `attnres` backend over lm-eval's `hf`, interleaved in one run.

`python benchmarks/evaluation.py [CHECKPOINT]`. Both score the same checkpoint on the same requests
with one thread. Each backend runs at each batch size in every round; its best median counts. Time
is what passes inside the backend, tokenisation included, and ours forgets its tokens before each
round.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from attnres_eval.data.prepare import prepare
from attnres_eval.evaluate import encode
from attnres_eval.evaluate.backend import AttnResLM
from attnres_eval.evaluate.models import LoadedModel, load_model
from attnres_eval.evaluate.run import score
from attnres_eval.evaluate.tasks import load_task
from attnres_eval.model.initialise import initialise
from attnres_eval.model.transformer import Transformer
from attnres_eval.report.formats import format_table
from attnres_eval.study import Study
from attnres_eval.train.checkpoint import save_checkpoint

SETS: dict[str, tuple[list[str], int, int]] = {
    "HellaSwag": (["hellaswag"], 0, 60),
    "ARC (easy, challenge)": (["arc_easy", "arc_challenge"], 0, 60),
    "MMLU, 5-shot": (["mmlu_anatomy", "mmlu_astronomy", "mmlu_virology"], 5, 20),
}
"""By name: lm-eval's tasks, worked examples, questions of each task."""
NEW_TOKENS = 48
BATCH_SIZES = (1, 8, 32)


def requests_of(names: list[str], shots: int, limit: int, lm: AttnResLM) -> list[Instance]:
    """What lm-eval asks a model for."""
    asked: list[Instance] = []
    answer = lm.loglikelihood

    def keep(requests: Any, disable_tqdm: bool = True) -> Any:
        asked.extend(requests)
        return answer(requests)

    lm.loglikelihood = keep  # type: ignore[method-assign]
    for name in names:
        score(load_task(name, shots, None), limit, lm)
    del lm.loglikelihood
    return asked


def generations(asked: list[Instance]) -> list[Instance]:
    """The contexts of requests, each once, to be continued for `NEW_TOKENS` tokens."""
    arguments = {"until": ["\n\n\n"], "max_gen_toks": NEW_TOKENS, "do_sample": False}
    return [
        Instance("generate_until", {}, (context, dict(arguments)), index)
        for index, context in enumerate(dict.fromkeys(one.args[0] for one in asked))
    ]


def seconds(model: LoadedModel, backend: str, batch_size: int, asked: list[Instance]) -> float:
    """Time inside a backend for all requests."""
    encode._kept.clear()
    lm: Any
    if backend == "attnres":
        lm = AttnResLM(model, batch_size=batch_size)
    else:
        lm = HFLM(pretrained=model.model, tokenizer=model.tokenizer, batch_size=batch_size)
    start = time.perf_counter()
    getattr(lm, asked[0].request_type)(asked, disable_tqdm=True)
    return time.perf_counter() - start


def row(name: str, model: LoadedModel, asked: list[Instance], rounds: int) -> dict[str, Any]:
    """One line of the table."""
    times: dict[tuple[str, int], list[float]] = {}
    for _ in range(rounds):
        for batch_size in BATCH_SIZES:
            for backend in ("hf", "attnres"):
                taken = seconds(model, backend, batch_size, asked)
                times.setdefault((backend, batch_size), []).append(taken)
    cells: dict[str, Any] = {"tasks": name, "requests": len(asked)}
    best = {}
    for backend in ("hf", "attnres"):
        medians = {size: statistics.median(times[backend, size]) for size in BATCH_SIZES}
        size = min(medians, key=lambda size: medians[size])
        best[backend] = medians[size]
        cells[f"{backend} requests/s"] = len(asked) / medians[size]
        cells[f"{backend} batch"] = size
    cells["ratio"] = best["hf"] / best["attnres"]
    return cells


def untrained(folder: Path, vocab_size: int) -> Path:
    """A PreNorm decoder of random weights (d_model 256, 8 blocks) and a tokenizer of its own."""
    study = Study.model_validate(
        {
            "name": "speed",
            "variants": {"prenorm": {}},
            "sizes": {"d256": {"d_model": 256, "n_layers": 8, "n_heads": 4}},
            "seeds": [0],
            "data": {"vocab_size": vocab_size},
            "recipe": {"context": 2048},
        }
    )
    run = study.runs()[0]
    model = Transformer(run.shape, run.variant, run.parsed_options)
    initialise(model, run.seed)
    save_checkpoint(folder, model, run, prepare(study.data).tokenizer)
    return folder


def main(
    model: Annotated[
        Path | None, typer.Argument(help="Checkpoint folder; an untrained model where absent.")
    ] = None,
    vocab_size: Annotated[int, typer.Option(help="Of the untrained model.")] = 8192,
    rounds: Annotated[int, typer.Option(help="Interleaved rounds.")] = 3,
) -> None:
    """Prints the table."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = model or untrained(Path(scratch) / "checkpoint", vocab_size)
        loaded = load_model(checkpoint, device="cpu")
    rows = []
    for name, (tasks, shots, limit) in SETS.items():
        asked = requests_of(tasks, shots, limit, AttnResLM(loaded))
        rows.append(row(name, loaded, asked, rounds))
        if name.startswith("ARC"):
            continued = generations(asked)
            rows.append(row(f"ARC, {NEW_TOKENS} tokens generated", loaded, continued, rounds))
    print(format_table(rows, "markdown"))


if __name__ == "__main__":
    typer.run(main)
