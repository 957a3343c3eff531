"""How long one waits: for `--help`, and for the first step of a run."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from attnres_eval.bench.child import ONE_THREAD, ask
from attnres_eval.bench.plan import Plan
from attnres_eval.bench.rounds import Times, interleave, once, ratio, summary
from attnres_eval.bench.rows import Aim, Row, measured_row
from attnres_eval.bench.sizes import MIDDLE

HELP_AIM = Aim(1.5)
START_AIM = Aim(10.0)
STARTED = ("prenorm", "block_attnres")
HELP = "--help"
IMPORTS = "importing typer and rich"


def help_times(rounds: int) -> Times:
    """Seconds of `attnres-eval --help` and of importing typer and rich, processes both."""
    commands = {
        HELP: [sys.executable, "-m", "attnres_eval", "--help"],
        IMPORTS: [sys.executable, "-c", "import typer, rich"],
    }

    def runner(command: list[str]) -> None:
        subprocess.run(command, check=True, capture_output=True)

    turns = {name: lambda command=command: runner(command) for name, command in commands.items()}
    return interleave(turns, rounds)


def first_step_seconds(size: str, variant: str, compiled: bool, cache: Path) -> float:
    """From the start of a process to the end of its first training step.

    Args:
        size: the decoder.
        variant: its residual.
        compiled: whether the loss is compiled; our kernels run where it is not.
        cache: where compiled code is kept from one process to the next.
    """
    start = time.perf_counter()
    caches = {
        "ATTNRES_EVAL_CACHE": str(cache),
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "compiled"),
    }
    ask(
        "first_step",
        {"size": size, "variant": variant, "compiled": compiled},
        {**ONE_THREAD, **caches},
    )
    return time.perf_counter() - start


def measure(plan: Plan) -> list[Row]:
    """A row for `--help`; rows for first, second and uncompiled starts of two variants."""
    plan.say("startup: --help")
    times = help_times(plan.rounds)
    rows = [
        measured_row(
            "startup",
            f"attnres-eval --help over {IMPORTS}",
            None,
            ratio(times, HELP, IMPORTS),
            aim=HELP_AIM,
            threads=None,
            rounds=plan.rounds,
        )
    ]
    for variant in STARTED:
        with tempfile.TemporaryDirectory() as scratch:
            cache = Path(scratch)
            plan.say(f"startup: {variant}, first run with compilation")
            first = first_step_seconds(MIDDLE, variant, True, cache)
            plan.say(f"startup: {variant}, later runs")
            second = [first_step_seconds(MIDDLE, variant, True, cache) for _ in range(3)]
            built = first_step_seconds(MIDDLE, variant, False, cache)
            kernels = [first_step_seconds(MIDDLE, variant, False, cache) for _ in range(3)]
        start = f"start of a run to its first step, {variant}"
        for what, measured, aim in (
            ("compiled, the first of its shape", once(first), None),
            ("compiled, the second of its shape", summary(second), START_AIM),
            ("with kernels, the first on a machine", once(built), None),
            ("with kernels", summary(kernels), None),
        ):
            rows.append(
                measured_row("startup", f"{start}, {what}, seconds", MIDDLE, measured, aim=aim)
            )
    return rows
