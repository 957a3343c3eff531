"""Starts processes as torchrun does."""

import os
import subprocess
import sys

STARTS = 3
"""At most, where a thread of gloo ends a process."""


def torchrun(*arguments: str, code: int = 0, processes: int = 2, **environment: str) -> str:
    """Runs a program, or `-m MODULE`, by several processes; what they and it wrote to stderr."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    for _ in range(STARTS):
        done = subprocess.run(
            [*command, "--nproc-per-node", str(processes), *arguments],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1", **environment},
            capture_output=True,
            text=True,
        )
        if not _ended_by_gloo(done.stderr):
            break
    assert done.returncode == code, done.stderr
    return done.stderr


def _ended_by_gloo(said: str) -> bool:
    """Whether a process was ended by a thread that is none of Python's, so by none of our code.

    Kernels run on Python's thread here, where a process has one thread to compute with.
    On a busy machine torch 2.13's gloo did so in some one of twenty batteries, in malloc: a freed
    block of 24 bytes held a pointer to one of its buffers where malloc keeps its next.
    """
    return "(SIGSEGV)" in said and "Current thread" not in said
