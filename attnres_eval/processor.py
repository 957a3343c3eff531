"""What the processor calls itself and what it can do, as the kernel of the system lists it."""

import platform
from pathlib import Path


def _listed(key: str) -> str:
    """The first entry of a key; empty where the system lists none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    values = (line.split(":", 1)[1].strip() for line in lines if line.startswith(key))
    return next(values, "")


def cpu_flags() -> set[str]:
    """The processor's flags; none where the system does not list them."""
    return set(_listed("flags").split())


def _instructions(flags: set[str]) -> list[str]:
    """What decides a processor's speed here: its widest vectors, and its products of bf16."""
    vectors = "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else None
    by_flag = {"avx512_bf16": "bf16", "amx_bf16": "AMX"}
    return ([vectors] if vectors else []) + [by_flag[flag] for flag in by_flag if flag in flags]


def cpu_name() -> str:
    """The processor's name, and the instructions by which its generations differ.

    Machines for rent leave the generation out of the name: one "AMD EPYC" has products of bf16,
    another does not have vectors of 512 bits.
    """
    name = _listed("model name") or platform.processor() or platform.machine()
    instructions = _instructions(cpu_flags())
    return f"{name} with {', '.join(instructions)}" if instructions else name


def cpu_multiplies_bf16() -> bool:
    """Whether the processor has matrix instructions for bf16."""
    return not cpu_flags().isdisjoint({"avx512_bf16", "amx_bf16"})
