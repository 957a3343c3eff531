"""Training step of every variant and of a named peer, interleaved in one run: `make bench`.

Ratios of medians over rounds in which each contender takes one step, so that a slow moment of the
machine hits all alike; the spread is the interquartile range of the per-round ratios. The peer is
transformers' `LlamaForCausalLM` of the same shape under the same optimiser.
"""

import statistics
import time
from collections.abc import Callable
from typing import Annotated

import torch
import typer
from transformers import LlamaConfig, LlamaForCausalLM

from attnres_eval.cost import model_cost
from attnres_eval.model.initialise import initialise
from attnres_eval.model.transformer import Transformer
from attnres_eval.report.formats import format_table
from attnres_eval.shape import ModelShape, default_d_ff
from attnres_eval.study import Recipe
from attnres_eval.train.optimiser import Optimiser
from attnres_eval.variants import VARIANTS, parse_options

Step = Callable[[torch.Tensor], None]


def our_step(shape: ModelShape, variant: str) -> Step:
    """One training step of ours, as the loop takes it."""
    model = Transformer(shape, variant, parse_options(variant, {}))
    initialise(model, seed=0)
    optimiser = Optimiser(model, Recipe(), 1e-3)

    def step(tokens: torch.Tensor) -> None:
        model.loss(tokens).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step(1.0)

    return step


def llama_step(shape: ModelShape) -> Step:
    """One training step of transformers' Llama."""
    config = LlamaConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.d_model,
        intermediate_size=shape.d_ff,
        num_hidden_layers=shape.n_layers,
        num_attention_heads=shape.n_heads,
        num_key_value_heads=shape.n_kv_heads,
        max_position_embeddings=shape.context,
        tie_word_embeddings=shape.tied_head,
    )
    model = LlamaForCausalLM(config)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def step(tokens: torch.Tensor) -> None:
        model(tokens, labels=tokens).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()

    return step


def main(
    d_model: int = 128,
    n_layers: int = 8,
    n_heads: int = 4,
    context: int = 256,
    sequences: int = 8,
    rounds: Annotated[int, typer.Option(min=3)] = 15,
    threads: int = 1,
    format: str = "markdown",
) -> None:
    """Prints each contender's step time over PreNorm's."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    shape = ModelShape(
        d_model=d_model,
        n_layers=n_layers,
        n_heads=n_heads,
        n_kv_heads=n_heads,
        head_dim=d_model // n_heads,
        d_ff=default_d_ff(d_model),
        vocab_size=512,
        context=context,
    )
    steps = {name: our_step(shape, name) for name in VARIANTS}
    steps["transformers Llama (peer)"] = llama_step(shape)
    times: dict[str, list[float]] = {name: [] for name in steps}
    tokens = torch.randint(0, shape.vocab_size, (sequences, context + 1))
    for step in steps.values():
        step(tokens)
    for _ in range(rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            step(tokens)
            times[name].append(time.perf_counter() - start)
    base = model_cost(shape, "prenorm", parse_options("prenorm", {}))
    rows = []
    for name, seconds in times.items():
        ratios = [ours / plain for ours, plain in zip(seconds, times["prenorm"], strict=True)]
        quartiles = statistics.quantiles(ratios, n=4)
        cost = base
        if name in VARIANTS:
            cost = model_cost(shape, name, parse_options(name, {}))
        rows.append(
            {
                "contender": name,
                "step_ms": 1e3 * statistics.median(seconds),
                "time_over_prenorm": statistics.median(ratios),
                "spread": quartiles[2] - quartiles[0],
                "flops_over_prenorm": cost.training_flops_per_token / base.training_flops_per_token,
                "tokens_per_second": sequences * context / statistics.median(seconds),
            }
        )
    print(f"{n_layers} blocks x {d_model}, {threads} threads, {sequences} x {context} tokens, fp32")
    print(format_table(rows, format))


if __name__ == "__main__":
    typer.run(main)
