"""Training steps of many cases, by one process or as a program of torchrun by several.

`torchrun --nproc-per-node 2 tests/train/battery.py OUT` leaves each case's losses, norms and
gradients in OUT; the tests compare them with what one process gets. In the end one process fails.
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.tensor import DTensor

from attnres_eval.errors import UserError
from attnres_eval.records import Machine, Parallel
from attnres_eval.study import RunConfig, Study
from attnres_eval.train.pipeline import PipelineTrainer
from attnres_eval.train.ranks import Ranks, joined
from attnres_eval.train.trainer import Trainer
from attnres_eval.variants import VARIANTS

STEPS, BATCH, CONTEXT = 3, 6, 12


@dataclasses.dataclass(frozen=True)
class Case:
    """What is trained, and how."""

    variant: str
    parallel: Parallel
    options: tuple[tuple[str, Any], ...] = ()
    recipe: tuple[tuple[str, Any], ...] = ()
    machine: tuple[tuple[str, Any], ...] = ()
    weighted: bool = False
    tied: bool = True

    @property
    def name(self) -> str:
        parts = [f"{k}={v}" for k, v in (*self.options, *self.recipe, *self.machine)]
        flags = [flag for flag in ("weighted",) if self.weighted]
        return "-".join([self.parallel, self.variant, *parts, *flags, *["untied"][self.tied :]])


def pairs(**values: Any) -> tuple[tuple[str, Any], ...]:
    return tuple(values.items())


MICRO, AGAIN = pairs(micro_batch_sequences=1), pairs(activation_checkpointing=True)
BOTH: tuple[Parallel, Parallel] = ("ddp", "fsdp")
CASES = [
    *(Case(variant, way) for variant in VARIANTS for way in BOTH),
    # Without the compiled kernels autograd itself carries what sources owe their readers.
    *(Case(v, "fsdp", machine=pairs(kernels=False)) for v in VARIANTS),
    *(
        Case("block_attnres", way, recipe=recipe, weighted=weighted)
        for way in BOTH
        for recipe, weighted in ((MICRO, False), (AGAIN, False), (MICRO + AGAIN, True))
    ),
    *(Case("full_attnres", way, recipe=AGAIN) for way in BOTH),
    *(Case(variant, "pipeline") for variant in VARIANTS),
    *(Case(variant, "pipeline", machine=pairs(kernels=False)) for variant in VARIANTS),
    *(Case("block_attnres", "pipeline", options=pairs(num_blocks=n)) for n in (2, 3, 5)),
    Case("rms_block_attnres", "pipeline", options=pairs(num_blocks=2)),
    Case("block_attnres", "pipeline", recipe=MICRO + AGAIN, weighted=True),
    Case("block_attnres", "pipeline", tied=False),
    Case("block_attnres", "pipeline", machine=pairs(precision="bf16")),
    *(Case("block_attnres", way, tied=False) for way in BOTH),
    *(Case("full_attnres", way, recipe=pairs(optimizer="muon")) for way in BOTH),
    *(Case("block_attnres", way, machine=pairs(precision="bf16")) for way in BOTH),
]


def cases_of(processes: int) -> list[Case]:
    """Everything for two processes; of more, one of a kind."""
    if processes == 2:
        return CASES
    compiled = [
        Case("prenorm", way, recipe=recipe, machine=pairs(compiled=how, kernels=False))
        for way, how, recipe in (
            ("ddp", True, ()),
            ("fsdp", "sublayer", AGAIN),
            ("pipeline", "sublayer", ()),
        )
    ]
    one_of_a_kind = {(case.variant, case.parallel): case for case in reversed(CASES)}
    few = [case for case in one_of_a_kind.values() if case.variant.endswith("attnres")]
    return compiled + few


def config_of(case: Case) -> RunConfig:
    study = Study.model_validate(
        {
            "name": "battery",
            "variants": {"prenorm": None, case.variant: dict(case.options)},
            "sizes": {"d16": {"d_model": 16, "n_layers": 3, "n_heads": 2}},
            "seeds": [0],
            "data": {"vocab_size": 300},
            "model": {"tied_head": case.tied},
            "recipe": {"context": CONTEXT, "batch_sequences": BATCH, "learning_rate": 0.01}
            | dict(case.recipe),
        }
    )
    return study.run(case.variant, "d16", 0)


def computed(case: Case, ranks: Ranks) -> tuple[list[list[float]], dict[str, Tensor]]:
    """Losses and norms of some steps, nats of other tokens; first and last whole gradients."""
    machine = Machine(
        device="cpu",
        precision="fp32",
        threads=1,
        compiled=False,
        kernels=True,
        processor="",
        torch="",
    ).model_copy(update=dict(case.machine))
    kind = PipelineTrainer if case.parallel == "pipeline" and ranks.size > 1 else Trainer
    trainer = kind(config_of(case), torch.device("cpu"), ranks)
    trainer.compute_as(machine)
    generator = torch.Generator().manual_seed(1)
    numbers, gradients = [], {}
    for step in range(STEPS):
        tokens = torch.randint(300, (BATCH, CONTEXT + 1), generator=generator)
        weights = torch.rand(BATCH, CONTEXT, generator=generator) + 0.5
        numbers.append([*trainer.gradients(tokens, weights if case.weighted else None)])
        if step in (0, STEPS - 1):
            for name, parameter in trainer.model.named_parameters():
                gradient = parameter.grad
                if isinstance(gradient, DTensor):
                    gradient = gradient.full_tensor()
                assert gradient is not None
                gradients[f"{step}.{name}"] = gradient.clone()
        trainer.optimiser.step(1.0)
    if case.parallel == "fsdp" and ranks.size > 1:
        own = [one for one in trainer.model.parameters() if isinstance(one, DTensor)]
        held = sum(one.to_local().numel() for one in own)
        assert held < 0.7 * sum(one.numel() for one in own), "parameters are not spread"
    trainer.model.eval()
    with torch.no_grad():
        # More rows than a batch, and no multiple of it.
        held_out = torch.randint(300, (BATCH + 1, CONTEXT + 1), generator=generator)
        numbers.append([trainer.nats(held_out)] * 2)
    return numbers, gradients


def main(out: Path) -> None:
    """All cases; then one rank fails while the other waits for it."""
    with joined("ddp") as ranks:
        for case in cases_of(ranks.size):
            numbers, gradients = computed(case, dataclasses.replace(ranks, parallel=case.parallel))
            save_file(gradients, out / f"{case.name}.{ranks.rank}.safetensors")
            (out / f"{case.name}.{ranks.rank}.json").write_text(json.dumps(numbers))
        ranks.wait()
        if ranks.rank == 1:
            raise UserError("rank 1 fails")
        ranks.wait()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
