"""A decoder with its optimiser, and what one step does to both."""

import contextlib

import torch
from torch import Tensor

from attnres_eval.model.initialise import initialise
from attnres_eval.model.kernels.switch import kernels
from attnres_eval.model.transformer import Transformer
from attnres_eval.records import Machine
from attnres_eval.study import RunConfig
from attnres_eval.train.allocator import keep_freed_memory
from attnres_eval.train.compiler import compiled
from attnres_eval.train.optimiser import Optimiser


class Trainer:
    """Trains one run's model by the step; the loop, the calibration and the bench all use it."""

    def __init__(self, config: RunConfig, device: torch.device) -> None:
        """Makes the model as the run's seed says, and its optimiser, on the device."""
        self.config, self.device = config, device
        self.model = Transformer(config.shape, config.variant, config.parsed_options)
        initialise(self.model, config.seed)
        self.model.activation_checkpointing = config.recipe.activation_checkpointing
        self.model.to(device).train()
        self.optimiser = Optimiser(self.model, config.recipe, config.learning_rate)

    def compute_as(self, machine: Machine) -> None:
        """Fixes threads, precision, kernels and compilation; to be called before a step.

        Products of fp32 are products of fp32, without TF32, on every device: `auto` takes bf16
        where speed matters, and scores over depth keep the precision that they are given.
        """
        self.machine = machine
        torch.set_num_threads(machine.threads)
        torch.set_float32_matmul_precision("highest")
        if self.device.type == "cpu":
            keep_freed_memory()
        self.loss_of = compiled(self.model.loss) if machine.compiled else self.model.loss

    def computing(self) -> contextlib.ExitStack:
        """Context of all that the model computes: precision and kernels of the machine's record."""
        stack = contextlib.ExitStack()
        stack.enter_context(kernels(self.machine.kernels))
        if self.machine.precision == "bf16":
            stack.enter_context(torch.autocast(self.device.type, dtype=torch.bfloat16))
        return stack

    def gradients(self, tokens_BT: Tensor, weights_BT: Tensor | None = None) -> tuple[float, float]:
        """Computes this batch's gradients and clips them.

        Args:
            tokens_BT: token ids, (B, T + 1).
            weights_BT: of the targets, (B, T).

        Returns:
            The loss in nats per token and the norm of the gradients before clipping.
        """
        with self.computing():
            loss = self.loss_of(tokens_BT, weights_BT)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.recipe.grad_clip)
        return loss.item(), norm.item()

    def step(self, tokens_BT: Tensor, factor: float = 1.0) -> float:
        """One whole step at `factor` times the peak rates; returns the loss."""
        loss, _ = self.gradients(tokens_BT)
        self.optimiser.step(factor)
        return loss
