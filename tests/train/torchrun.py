"""Starts processes as torchrun does."""

import os
import subprocess
import sys


def torchrun(*arguments: str, code: int = 0, processes: int = 2, **environment: str) -> str:
    """Runs a program, or `-m MODULE`, by several processes; what they and it wrote to stderr."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*command, "--nproc-per-node", str(processes), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr
    return done.stderr
