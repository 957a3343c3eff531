"""What a training step needs, by torch's own count of live bytes."""

from typing import Any

from torch.profiler import ProfilerActivity, profile

from attnres_eval.bench.ours import CPU, batch, machine, run_config
from attnres_eval.model.kernels import switch
from attnres_eval.shape import ModelShape
from attnres_eval.train.trainer import Trainer


def live_peak(
    shape: ModelShape,
    variant: str,
    options: dict[str, Any],
    *,
    tokens: int,
    precision: str,
    kernels: bool,
    activation_checkpointing: bool,
) -> int:
    """Bytes of weights, two moments, and the most that is allocated beside them during a step.

    The kernels' own scratch memory, a few tiles, is not seen.
    """
    trainer = Trainer(run_config(shape, variant, options), CPU)
    trainer.model.activation_checkpointing = activation_checkpointing
    trainer.compute_as(machine(precision).model_copy(update={"kernels": kernels}))
    tokens_BT = batch(shape, tokens)
    with switch.kernels(kernels):
        trainer.step(tokens_BT)
    with (
        # Around the backward pass too, in which checkpointing computes anew.
        switch.kernels(kernels),
        profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as seen,
    ):
        trainer.step(tokens_BT)
    assert seen.profiler is not None
    assert seen.profiler.kineto_results is not None
    events = seen.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    live = most = 0
    for _, change in changes:
        live += change
        most = max(most, live)
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    return 3 * 4 * parameters + most
