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


def cpu_name() -> str:
    """The processor's name."""
    return _listed("model name") or platform.processor() or platform.machine()


def cpu_multiplies_bf16() -> bool:
    """Whether the processor has matrix instructions for bf16."""
    return not cpu_flags().isdisjoint({"avx512_bf16", "amx_bf16"})
