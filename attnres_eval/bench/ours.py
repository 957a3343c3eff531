"""Our training step as a study's run takes it, on made-up tokens."""

import torch
from torch import Tensor

from attnres_eval.bench.rounds import Turn
from attnres_eval.bench.sizes import TOKENS_A_STEP
from attnres_eval.model.kernels.switch import available, tiles_used
from attnres_eval.records import Machine
from attnres_eval.shape import ModelShape
from attnres_eval.study import Data, Recipe, RunConfig
from attnres_eval.train.device import describe_machine, multiplies_bf16, processor_name
from attnres_eval.train.trainer import Trainer
from attnres_eval.variants import parse_options

CPU = torch.device("cpu")


def batch(shape: ModelShape, tokens: int = TOKENS_A_STEP) -> Tensor:
    """Token ids (B, T + 1) of about `tokens` targets, the same for every contender."""
    generator = torch.Generator().manual_seed(0)
    sequences = max(1, tokens // shape.context)
    size = (sequences, shape.context + 1)
    return torch.randint(0, shape.vocab_size, size, generator=generator)


def run_config(
    shape: ModelShape,
    variant: str,
    options: dict[str, object] | None = None,
    tokens: int = TOKENS_A_STEP,
) -> RunConfig:
    """A run of one variant under the default recipe, whose batches have room for `tokens`."""
    usual = Recipe(context=shape.context)
    sequences = max(usual.batch_sequences, tokens // shape.context)
    parsed = parse_options(variant, options or {})
    parsed.check(shape)
    return RunConfig(
        study="bench",
        run=variant,
        label=variant,
        variant=variant,
        options=parsed.model_dump(mode="json"),
        size="bench",
        shape=shape,
        seed=0,
        data=Data(vocab_size=shape.vocab_size),
        recipe=usual.model_copy(update={"batch_sequences": sequences}),
        steps=1,
    )


def machine(precision: str, threads: int = 1, compiled: bool = False) -> Machine:
    """How a run computes on the processor: kernels where there are any, unless compiled."""
    ours = not compiled and available(CPU)
    return Machine(
        device="cpu",
        precision="bf16" if precision == "bf16" else "fp32",
        threads=threads,
        compiled=compiled,
        kernels=ours,
        tiles=tiles_used() if ours and precision == "bf16" else None,
        processor=processor_name(CPU),
        torch=torch.__version__,
    )


def default_precision(shape: ModelShape) -> str:
    """What a run of this width takes when its recipe leaves it open."""
    return describe_machine(run_config(shape, "prenorm"), CPU, seconds=0.0).precision


def precisions() -> list[str]:
    """Precisions worth a trial on this processor."""
    return ["fp32", "bf16"] if multiplies_bf16(CPU) else ["fp32"]


def our_trainer(
    shape: ModelShape,
    variant: str,
    how: Machine,
    options: dict[str, object] | None = None,
    tokens: int = TOKENS_A_STEP,
) -> Trainer:
    """A trainer of one variant that computes as told, on batches of up to `tokens` tokens."""
    trainer = Trainer(run_config(shape, variant, options, tokens), CPU)
    trainer.compute_as(how)
    return trainer


def our_step(
    shape: ModelShape,
    variant: str,
    precision: str,
    options: dict[str, object] | None = None,
    tokens: int = TOKENS_A_STEP,
) -> Turn:
    """One training step of ours on one thread: loss, gradients, clipping, AdamW."""
    trainer = our_trainer(shape, variant, machine(precision), options, tokens)
    tokens_BT = batch(shape, tokens)
    return lambda: trainer.step(tokens_BT)
