"""A decoder with its optimiser, and what one step does to both."""

import contextlib

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from attnres_eval.model.initialise import initialise
from attnres_eval.model.kernels.switch import kernels
from attnres_eval.model.transformer import Transformer
from attnres_eval.records import Machine
from attnres_eval.study import RunConfig
from attnres_eval.train.allocator import keep_freed_memory
from attnres_eval.train.compiler import Loss, compile_sublayers, compiled
from attnres_eval.train.optimiser import Optimiser
from attnres_eval.train.parallel import micro_batches, replicate, shard
from attnres_eval.train.ranks import ALONE, Ranks


class Trainer:
    """Trains one run's model by the step; the loop, the calibration and the bench all use it."""

    def __init__(self, config: RunConfig, device: torch.device, ranks: Ranks = ALONE) -> None:
        """Makes the model as the run's seed says, and its optimiser, on the device.

        Args:
            config: the run.
            device: this process's.
            ranks: the processes that share the run; each makes a trainer.

        Raises:
            UserError: ranks or micro-batches do not divide the batch.
        """
        self.config, self.device, self.ranks = config, device, ranks
        self.micro_batches = micro_batches(config.recipe, ranks)
        self.model = Transformer(config.shape, config.variant, config.parsed_options)
        initialise(self.model, config.seed)
        self.model.activation_checkpointing = config.recipe.activation_checkpointing
        self._share()
        self.model.to(device).train()
        self.optimiser = Optimiser(self.model, config.recipe, config.learning_rate)

    def _share(self) -> None:
        """Keeps what this rank is to hold of the model, which is still on the processor."""
        if self.ranks.parallel == "fsdp":
            # Layers move to the device one by one: it never holds the whole model.
            shard(self.model, self.device, self.ranks)

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
        self.loss_of: Loss = self.model.loss
        if machine.compiled == "sublayer":
            compile_sublayers(self.model)
        elif machine.compiled:
            self.loss_of = compiled(self.model.loss)
        if self.ranks.parallel == "ddp":
            self.loss_of = replicate(self.model, self.loss_of)

    def kernels(self) -> contextlib.AbstractContextManager[None]:
        """Context of the kernels as the machine's record says: their use, and that of tiles."""
        ours = self.machine.kernels and self.device.type == "cpu"
        # A record of an earlier version does not say: it used none, unless it was asked to.
        return kernels(self.machine.kernels, bool(self.machine.tiles) if ours else None)

    def computing(self) -> contextlib.ExitStack:
        """Context of all that the model computes: precision and kernels of the machine's record."""
        stack = contextlib.ExitStack()
        stack.enter_context(self.kernels())
        if self.machine.precision == "bf16":
            # The cache would keep whole copies of parameters that FSDP has freed.
            cached = self.ranks.parallel != "fsdp"
            stack.enter_context(
                torch.autocast(self.device.type, dtype=torch.bfloat16, cache_enabled=cached)
            )
        return stack

    def gradients(self, tokens_BT: Tensor, weights_BT: Tensor | None = None) -> tuple[float, float]:
        """Computes a whole batch's gradients, each rank its rows, and clips them.

        Args:
            tokens_BT: token ids, (B, T + 1).
            weights_BT: of the targets, (B, T).

        Returns:
            The loss in nats per token and the norm of the gradients before clipping.

        Raises:
            ValueError: the batch has more sequences than the recipe's; no rank would compute them.
        """
        most = self.config.recipe.batch_sequences
        if len(tokens_BT) > most:
            raise ValueError(f"a batch of {len(tokens_BT)} sequences; the recipe's has {most}")
        loss = self._accumulate(tokens_BT, self._shares(tokens_BT, weights_BT))
        return self.ranks.total(loss).item() / self.ranks.copies, self._clip()

    def _accumulate(self, tokens_BT: Tensor, shares_BT: Tensor | None) -> Tensor:
        """Adds up this rank's gradients of a batch; the loss of its rows, by their shares."""
        loss = torch.zeros((), device=self.device)
        for rows in self.micro_batches:
            with self._alone_until_last(rows):
                tokens = tokens_BT[rows].to(self.device)
                shares = None if shares_BT is None else shares_BT[rows].to(self.device)
                with self.computing():
                    part = self.loss_of(tokens, shares)
                # Checkpointed layers compute again in here, by what computed them before.
                with self.kernels():
                    part.backward()
            loss += part.detach()
        return loss

    def _clip(self) -> float:
        """Clips the gradients by the norm of all of them, which it returns."""
        parameters = self.model.parameters()
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.config.recipe.grad_clip)
        return (norm.full_tensor() if isinstance(norm, DTensor) else norm).item()

    def _shares(self, tokens_BT: Tensor, weights_BT: Tensor | None) -> Tensor | None:
        """What each target's loss counts, (B, T); None for the mean of a batch computed at once.

        They sum to the number of copies of the model, whose gradients are then averaged.
        """
        if weights_BT is not None:
            shares_BT = weights_BT / weights_BT.sum()
        elif len(self.micro_batches) > 1 or self.ranks.parallel is not None:
            targets_BT = tokens_BT[:, 1:]
            shares_BT = torch.full(targets_BT.shape, 1 / targets_BT.numel())
        else:
            return None
        return shares_BT * self.ranks.copies

    def _alone_until_last(self, rows: slice) -> contextlib.AbstractContextManager[None]:
        """Keeps DDP from averaging gradients that more are still to be added to.

        FSDP adds up its slices: whole gradients would not fit where it is needed.
        """
        if isinstance(self.loss_of, DistributedDataParallel) and rows != self.micro_batches[-1]:
            return self.loss_of.no_sync()
        return contextlib.nullcontext()

    def tensors(self) -> dict[str, Tensor]:
        """Everything a checkpoint holds: weights as `model.<name>`, moments as `optimiser.<name>`.

        Changing them in place changes model and optimiser.
        """
        # The state dict, since FSDP may have left whole parameters in the model, under the names of
        # parameters: a tied head is one tensor under two names.
        state = self.model.state_dict()
        weights = {f"model.{name}": state[name] for name, _ in self.model.named_parameters()}
        moments = self.optimiser.tensors()
        return weights | {f"optimiser.{name}": value for name, value in moments.items()}

    def nats(self, tokens_BT: Tensor) -> float:
        """The summed next-token loss of tokens (B, T + 1); no gradients, no weights."""
        with self.computing():
            mean = self.model.loss(tokens_BT.to(self.device)).double().item()
        return mean * tokens_BT[:, 1:].numel()

    def step(self, tokens_BT: Tensor, factor: float = 1.0) -> float:
        """One whole step at `factor` times the peak rates; returns the loss."""
        loss, _ = self.gradients(tokens_BT)
        self.optimiser.step(factor)
        return loss
