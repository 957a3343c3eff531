"""Model FLOPs utilisation: what training gets out of the processor's matrix products.

FLOPs are 6 N D and causal attention by the convention of `attnres_eval.cost`, without the
residual's own work, over the best rate that a product of two squares reaches in the same rounds, on
as many threads and in the same precision. `torch.mm` multiplies them, and where they are faster our
own kernels: the rate is the processor's, whoever comes nearest to it.
"""

import torch

from attnres_eval.bench.ours import CPU, default_precision, our_step
from attnres_eval.bench.plan import Plan
from attnres_eval.bench.rounds import Measured, Turn, interleave, summary
from attnres_eval.bench.rows import Aim, Row, measured_row
from attnres_eval.bench.sizes import LARGE, MILLION, NARROW, TOKENS_A_STEP, bench_shape
from attnres_eval.cost import attention_flops, matrix_parameters
from attnres_eval.model.kernels import ops
from attnres_eval.model.kernels.switch import available
from attnres_eval.shape import ModelShape

AIMS = {LARGE: Aim(0.45, True), MILLION: Aim(0.30, True), NARROW: Aim(0.20, True)}
SQUARES = (512, 768, 1024, 1536, 2048)
BURST_FLOPS = 4e9
"""Products of one size are repeated up to this: a single small one is too short to time."""


def step_flops(shape: ModelShape, tokens: int = TOKENS_A_STEP) -> float:
    """FLOPs of a training step: three forward passes of matrices and causal attention."""
    forward = 2.0 * matrix_parameters(shape) + attention_flops(shape, (shape.context + 1) / 2)
    return 3 * forward * tokens


def products(side: int, precision: str) -> tuple[dict[str, Turn], float]:
    """Bursts of products of squares by who multiplies, and the FLOPs of a burst."""
    a, b = torch.randn(2, side, side).unbind()
    bf16 = precision == "bf16"
    few_a, few_b = (a.bfloat16(), b.bfloat16()) if bf16 else (a, b)
    out = torch.empty_like(few_a)
    times = max(1, round(BURST_FLOPS / (2 * side**3)))

    def of_torch() -> None:
        for _ in range(times):
            torch.mm(few_a, few_b, out=out)

    def of_ours() -> None:
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            for _ in range(times):
                ops.linear(few_a, None, b)

    bursts: dict[str, Turn] = {f"torch.mm {side}": of_torch}
    if available(CPU):
        bursts[f"our kernel {side}"] = of_ours
    return bursts, 2.0 * side**3 * times


def utilisation(
    shape: ModelShape,
    precision: str,
    rounds: int,
    variant: str = "prenorm",
    tokens: int = TOKENS_A_STEP,
    squares: tuple[int, ...] = SQUARES,
) -> tuple[Measured, Measured, str]:
    """Utilisation of a training step, the rate of the best product in FLOP/s, and its name."""
    turns = {"step": our_step(shape, variant, precision, tokens=tokens)}
    flops: dict[str, float] = {}
    for side in squares:
        bursts, amount = products(side, precision)
        turns |= bursts
        flops |= dict.fromkeys(bursts, amount)
    times = interleave(turns, rounds, warmups=2)
    rates = {name: summary([flops[name] / s for s in times[name]]) for name in flops}
    best = max(rates, key=lambda name: rates[name].value)
    work = step_flops(shape, tokens)
    shares = [
        work / step / (flops[best] / product)
        for step, product in zip(times["step"], times[best], strict=True)
    ]
    return summary(shares), rates[best], best


def measure(plan: Plan) -> list[Row]:
    """Rows of PreNorm at the sizes that have an aim, whatever sizes the call names."""
    rows = []
    for size, aim in AIMS.items():
        shape = bench_shape(size)
        precision = plan.precision or default_precision(shape)
        plan.say(f"utilisation: {size}, {precision}")
        share, rate, best = utilisation(shape, precision, plan.rounds)
        rows += [
            measured_row(
                "utilisation",
                "model FLOPs utilisation of prenorm",
                size,
                share,
                aim=aim,
                precision=precision,
                rounds=plan.rounds,
            ),
            measured_row(
                "utilisation",
                "best matrix product beside it, GFLOP/s",
                size,
                Measured(rate.value / 1e9, rate.spread / 1e9),
                precision=precision,
                rounds=plan.rounds,
                note=best,
            ),
        ]
    return rows
