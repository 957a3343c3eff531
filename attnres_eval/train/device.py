"""Where and how a run computes: device, precision, threads, compilation."""

import contextlib
import os
import resource
from pathlib import Path
from typing import Literal

import torch

from attnres_eval.errors import UserError
from attnres_eval.estimate import training_bytes
from attnres_eval.model.kernels.switch import available, tiles_used
from attnres_eval.model.residuals import flash
from attnres_eval.processor import cpu_multiplies_bf16, cpu_name
from attnres_eval.records import Machine
from attnres_eval.study import Recipe, RunConfig
from attnres_eval.train.ranks import Ranks

COMPILE_SECONDS = 120.0
"""What compiling a decoder is taken to cost on a processor: LOG.md measures 36 s for 8 PreNorm
blocks, and variants with a history take longer."""
COMPILE_GAIN = 1.13
"""By how much compilation speeds training up on a processor, as measured in LOG.md."""
ACCELERATOR_STEPS = 2000
"""From this many steps on, a run on an accelerator is taken to earn compilation back: eager code
there mostly waits for kernels to start. Chosen, not measured: no GPU was at hand."""
BF16_WIDTH = 128
"""From this d_model on, plain torch is faster in bf16 on processors that multiply it: it is not at
40, and is at 128, as measured in LOG.md."""


def pick_device() -> torch.device:
    """The accelerator if there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def multiplies_bf16(device: torch.device) -> bool:
    """Whether the device has matrix instructions for bf16."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.backends.cpu.get_cpu_capability().startswith("AVX512") and cpu_multiplies_bf16()


def processor_name(device: torch.device) -> str:
    """What the device calls itself."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return cpu_name()


def choose_precision(
    recipe: Recipe, d_model: int, device: torch.device, kernels: bool
) -> Literal["fp32", "bf16"]:
    """The recipe's precision; `auto` is bf16 where that is faster than fp32.

    Args:
        recipe: says which, or leaves it to this.
        d_model: width of the model.
        device: where it runs.
        kernels: whether ours run, to which bf16 is faster at every width.
    """
    if recipe.precision != "auto":
        return recipe.precision
    faster = device.type == "cuda" or kernels or d_model >= BF16_WIDTH
    return "bf16" if faster and multiplies_bf16(device) else "fp32"


def choose_compile(
    recipe: Recipe, steps: int, seconds: float, device: torch.device
) -> bool | Literal["sublayer"]:
    """Whether to compile; `auto` does where a run earns the compilation back.

    Where our kernels run it never does: they are faster, and ready at once.

    Args:
        recipe: says whether, or leaves it to this.
        steps: of the run.
        seconds: estimate of its time on a processor.
        device: where it runs.
    """
    if recipe.compile != "auto":
        return recipe.compile
    if device.type != "cpu":
        return steps >= ACCELERATOR_STEPS
    if available(device):
        return False
    return seconds * (1 - 1 / COMPILE_GAIN) > COMPILE_SECONDS


def memory_bytes(device: torch.device) -> int:
    """Memory of the accelerator, or of this machine."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def refuse_what_cannot_fit(config: RunConfig, device: torch.device, processes: int = 1) -> None:
    """Refuses a run of which weights, gradients and moments alone fill the memory.

    Args:
        config: the run.
        device: of this process.
        processes: among which they are shared out.

    Raises:
        UserError: it cannot fit. Nothing has been allocated.
    """
    needed, there = 16.0 * config.cost().parameters / processes, memory_bytes(device)
    if needed > there:
        raise UserError(
            f"run {config.run} cannot fit: {config.cost().parameters:.3g} parameters with their"
            f" gradients and moments take {needed / 2**30:,.1f} GiB, about"
            f" {training_bytes(config) / 2**30:,.1f} GiB with all else, and {device.type} has"
            f" {there / 2**30:,.1f} GiB; take a smaller size"
        )


def describe_machine(config: RunConfig, device: torch.device, seconds: float) -> Machine:
    """How a new run will compute. A resumed run takes what its first part recorded.

    Args:
        config: the run.
        device: where it runs.
        seconds: estimate of its training time without compilation.
    """
    compiled = choose_compile(config.recipe, config.steps, seconds, device)
    # Compiled code calls the package's kernels, and has no use for ours.
    ours = available(device) and not compiled
    precision = choose_precision(config.recipe, config.shape.d_model, device, ours)
    return Machine(
        device=device.type,
        precision=precision,
        threads=torch.get_num_threads(),
        compiled=compiled,
        kernels=flash.available(device) or ours,
        tiles=tiles_used() if ours and precision == "bf16" else None,
        processor=processor_name(device),
        torch=torch.__version__,
    )


def shared(machine: Machine, ranks: Ranks) -> Machine:
    """How the same run computes when these processes share it."""
    graphs = machine.compiled
    if graphs and ranks.parallel in ("fsdp", "pipeline"):
        graphs = "sublayer"
    update = {"compiled": graphs, "processes": ranks.size, "parallel": ranks.parallel}
    return machine.model_copy(update=update)


def reset_peak_memory(device: torch.device) -> None:
    """Starts `peak_memory` anew, where the system allows it: one process trains several runs."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes: the allocator's on an accelerator, else the whole process's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Not ru_maxrss where it can be had: a worker inherits that from the process that started it.
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
