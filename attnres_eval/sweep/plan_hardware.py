"""A study's runs on accelerators: hours, days and memory of each. Torch-free.

GPU hours are FLOPs over peak times utilisation: an assumption about the hardware, not a
measurement. Memory is that of `attnres_eval.memory` in plain torch under FSDP2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from attnres_eval.errors import UserError
from attnres_eval.hardware import DEVICES_A_NODE, Cluster
from attnres_eval.memory import StepMemory, step_memory
from attnres_eval.study import RunConfig, Study

UTILISATION = 0.4
"""Share of the peak that training is taken to reach where the caller says nothing: what public
reports of dense models on such hardware call good. Not measured here."""
GIB = 2.0**30


@dataclass(frozen=True)
class Fleet:
    """Hardware and how a study uses it."""

    cluster: Cluster
    utilisation: float
    """Training FLOP/s over the dense bf16 peak."""
    devices_a_run: int
    """FSDP2 divides one run over so many."""

    @property
    def slots(self) -> int:
        """Runs at a time."""
        return self.cluster.devices // self.devices_a_run

    def device_seconds(self, flops: float) -> float:
        """Seconds of one device for so many FLOPs."""
        return flops / (self.cluster.device.flops_per_second * self.utilisation)

    def run_seconds(self, flops: float) -> float:
        """Seconds of one run."""
        return self.device_seconds(flops) / self.devices_a_run


def fleet(
    study: Study,
    cluster: Cluster,
    *,
    utilisation: float = UTILISATION,
    devices_a_run: int | None = None,
) -> Fleet:
    """Checks how a study is to use the hardware.

    Args:
        study: what to run.
        cluster: the hardware.
        utilisation: share of the peak, above 0 and at most 1.
        devices_a_run: a node's devices where absent, or all if there are fewer.

    Raises:
        UserError: a value makes no sense, or a run's batch cannot be divided over its devices.
    """
    devices = devices_a_run or min(cluster.devices, DEVICES_A_NODE)
    if not 0 < utilisation <= 1:
        raise UserError(
            f"utilisation {utilisation:g}: give a share of the peak, above 0, at most 1"
        )
    if devices > cluster.devices:
        raise UserError(f"{devices} devices a run are more than the {cluster.devices} there are")
    if devices > DEVICES_A_NODE and devices % DEVICES_A_NODE:
        raise UserError(
            f"{devices} devices a run fill no whole nodes of {DEVICES_A_NODE}:"
            f" give {DEVICES_A_NODE} or fewer, or a multiple"
        )
    for name in study.sizes:
        recipe = study.recipe_of(name)
        sequences, micro = recipe.batch_sequences, recipe.micro_batch_sequences or 1
        if sequences % (devices * micro):
            raise UserError(
                f"size {name}: a batch of {sequences} sequences cannot be divided over {devices}"
                f" devices with {micro} at a time; give another --gpus-per-run, or change"
                " recipe.micro_batch_sequences"
            )
    return Fleet(cluster, utilisation, devices)


def run_memory(run: RunConfig, used: Fleet, *, activation_checkpointing: bool) -> StepMemory:
    """Memory of one run's step on each of its devices."""
    share = run.recipe.batch_sequences // used.devices_a_run
    micro = run.recipe.micro_batch_sequences or share
    return step_memory(
        run.shape,
        run.variant,
        run.parsed_options,
        tokens=micro * run.recipe.context,
        precision="fp32" if run.recipe.precision == "fp32" else "bf16",
        kernels=False,
        activation_checkpointing=activation_checkpointing,
        optimizer=run.recipe.optimizer,
        shards=used.devices_a_run,
        accumulating=share > micro,
    )


def checkpointed_flops(run: RunConfig) -> float:
    """FLOPs of a run that computes every block's forward pass twice."""
    return 4.0 * run.cost().forward_flops_per_token * run.tokens


def stored_flops(run: RunConfig) -> float:
    """FLOPs of a run that keeps all activations."""
    return 3.0 * run.cost().forward_flops_per_token * run.tokens


def fit(memory: float, used: Fleet) -> bool:
    """Whether the model's peak is below a device's memory."""
    return memory <= used.cluster.device.memory_bytes


def hardware_rows(study: Study, used: Fleet) -> list[dict[str, Any]]:
    """One row a run. Columns that end in `_ckpt` are with activation checkpointing."""
    rows = []
    for run in study.runs():
        row: dict[str, Any] = {
            "run": run.run,
            "parameters": run.cost().parameters,
            "tokens": run.tokens,
        }
        for end, flops, checkpointing in (
            ("", stored_flops(run), False),
            ("_ckpt", checkpointed_flops(run), True),
        ):
            memory = run_memory(run, used, activation_checkpointing=checkpointing).total
            row |= {
                f"flops{end}": flops,
                f"gpu_hours{end}": used.device_seconds(flops) / 3600,
                f"days{end}": used.run_seconds(flops) / 86400,
                f"gib_per_device{end}": memory / GIB,
                f"fits{end}": "yes" if fit(memory, used) else "no",
            }
        rows.append(row)
    return rows


def memory_rows(study: Study, used: Fleet) -> list[dict[str, Any]]:
    """The parts of each run's memory a device in GiB, with and without activation checkpointing."""
    return [
        {
            "run": run.run,
            "checkpointing": "yes" if checkpointing else "no",
            **{f"{part}_gib": value / GIB for part, value in memory.as_dict().items()},
        }
        for run in study.runs()
        for checkpointing in (False, True)
        for memory in (run_memory(run, used, activation_checkpointing=checkpointing),)
    ]


def training_flops(run: RunConfig, used: Fleet) -> float | None:
    """FLOPs of a run as it will have to be run; None where it does not fit at all.

    Activation checkpointing is what the recipe says, and is taken where nothing fits without.
    """
    if not run.recipe.activation_checkpointing and fit(
        run_memory(run, used, activation_checkpointing=False).total, used
    ):
        return stored_flops(run)
    if fit(run_memory(run, used, activation_checkpointing=True).total, used):
        return checkpointed_flops(run)
    return None


def wall_seconds(durations: Sequence[float], slots: int) -> float:
    """When the last of some jobs ends, if each free slot takes the longest job left."""
    ends = [0.0] * slots
    for seconds in sorted(durations, reverse=True):
        first = ends.index(min(ends))
        ends[first] += seconds
    return max(ends)
