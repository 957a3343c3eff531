"""Measurements that need a process of their own: `python -m attnres_eval.bench.NAME JSON`."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from attnres_eval.errors import UserError

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
ONE_THREAD = dict.fromkeys(THREADS, "1")


def ask(module: str, arguments: dict[str, Any], environment: Mapping[str, str] = ONE_THREAD) -> Any:
    """What a module of this room answers in a fresh process of one thread.

    Args:
        module: its name; its main part calls `answer`.
        arguments: JSON values.
        environment: set on top of this process's.

    Raises:
        UserError: the process failed.
    """
    ended = subprocess.run(
        [sys.executable, "-m", f"attnres_eval.bench.{module}", json.dumps(arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        last = ended.stderr.strip().splitlines() or ["no message"]
        raise UserError(f"bench {module} {arguments}: its process failed: {last[-1]}")
    return json.loads(ended.stdout.splitlines()[-1])


def answer(function: Callable[..., Any]) -> None:
    """Calls a function with the JSON object of the command line and prints what it returns."""
    print(json.dumps(function(**json.loads(sys.argv[1]))))
