"""One model in stages, one a rank: layers stay where they are, and the history passes through.

`torch.distributed.pipelining` sends a stage's outputs on and gradients back, micro-batch by
micro-batch, one forward pass and one backward pass in turn (1F1B, arXiv:2104.04473). What a stage
hands on is all that later layers will read: the stream, or with attention over depth every source
so far. A stage computes each micro-batch once, so that there is nothing to cache across stages.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B

from attnres_eval.errors import UserError
from attnres_eval.model.transformer import Transformer, rotary_table
from attnres_eval.records import Machine
from attnres_eval.shape import ModelShape
from attnres_eval.train.ranks import Ranks
from attnres_eval.train.trainer import Trainer

TABLE = "embedding.weight"


def stage_layers(shape: ModelShape, ranks: Ranks) -> range:
    """The layers of this rank: consecutive, and as many as another's to within one.

    Raises:
        UserError: there are fewer layers than ranks.
    """
    if shape.n_layers < ranks.size:
        raise UserError(
            f"{shape.n_layers} transformer blocks make no pipeline of {ranks.size} stages;"
            " start fewer processes"
        )
    first, end = (shape.n_layers * rank // ranks.size for rank in (ranks.rank, ranks.rank + 1))
    return range(first, end)


def keep_stage(model: Transformer, layers: range) -> None:
    """Drops what other stages compute; parameters that stay keep their names.

    All keep the residual's parameters, which are stacked for all layers. A tied head is kept by the
    first stage, which embeds by it, and by the last.
    """
    is_first, is_last = layers.start == 0, layers.stop == len(model.layers)
    for index in range(len(model.layers)):
        if index not in layers:
            model.layers[index] = nn.Identity()
    if not is_first and not (is_last and model.shape.tied_head):
        model.embedding = nn.Identity()  # type: ignore[assignment]
    if not is_last:
        model.head, model.final_norm = nn.Identity(), nn.Identity()  # type: ignore[assignment]


class Stage(nn.Module):
    """What one rank computes of a micro-batch."""

    def __init__(
        self,
        model: Transformer,
        layers: range,
        computing: Callable[[], AbstractContextManager[object]],
    ) -> None:
        """Args: a model that `keep_stage` has cut, its layers, the context to compute in."""
        super().__init__()
        self.model, self.layers, self.computing = model, layers, computing

    def forward(
        self,
        *given: Tensor,
        targets_BT: Tensor | None = None,
        shares_BT: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, ...]:
        """The history after this stage's layers; of the last stage, the loss.

        Args:
            given: token ids (B, T) of the first stage, the packed history of all others.
            targets_BT: of the last stage.
            shares_BT: of the last stage, as of `Transformer.loss`.
        """
        model = self.model
        for tensor in given:
            if tensor.requires_grad:
                # What is sent back must be contiguous.
                tensor.register_hook(Tensor.contiguous)
        with self.computing():
            if self.layers.start == 0:
                (tokens_BT,) = given
                state, length = model.residual.start(model.embedding(tokens_BT)), given[0].shape[1]
            else:
                # A history begins with a tensor of the stream's shape, (B, T, ...).
                state, length = model.residual.unpack(given, self.layers.start), given[0].shape[1]
            positions_BT = torch.arange(length, device=given[0].device)[None]
            rotary = rotary_table(positions_BT, model.shape.head_dim)
            state = model.through(state, self.layers, rotary)
            if self.layers.stop == len(model.layers):
                assert targets_BT is not None
                return model.loss_of(model.residual.finish(state), targets_BT, shares_BT)
            return tuple(tensor.contiguous() for tensor in model.residual.pack(state))


class PipelineTrainer(Trainer):
    """Trains a model whose layers lie on several ranks; all see the same batches."""

    def _share(self) -> None:
        """Takes this rank's stage.

        Raises:
            UserError: there are too few layers, or too few micro-batches, for the stages.
        """
        ranks, shape = self.ranks, self.config.shape
        self.layers = stage_layers(shape, ranks)
        if len(self.micro_batches) < ranks.size:
            raise UserError(
                f"recipe.micro_batch_sequences leaves {len(self.micro_batches)} micro-batches of a"
                f" batch of {self.config.recipe.batch_sequences}, and {ranks.size} stages need at"
                " least as many as there are stages: make it smaller"
            )
        keep_stage(self.model, self.layers)
        # All ranks take part in making a group, whether or not they are in it.
        ends = dist.new_group([0, ranks.size - 1]) if shape.tied_head and ranks.size > 1 else None
        self.ends = ends if ranks.rank in (0, ranks.size - 1) else None

    def compute_as(self, machine: Machine) -> None:
        super().compute_as(machine)
        ranks = self.ranks
        module = Stage(self.model, self.layers, self.computing)
        stage = PipelineStage(module, ranks.rank, ranks.size, self.device)
        self.schedule = Schedule1F1B(
            stage, len(self.micro_batches), lambda loss, _: loss, scale_grads=False
        )

    def _accumulate(self, tokens_BT: Tensor, shares_BT: Tensor | None) -> Tensor:
        # Checkpointed layers compute again in the backward pass, by what computed them before.
        with self.kernels():
            loss = self._run(self.schedule.step, tokens_BT, shares_BT)
        self._add_copies()
        return loss

    def _run(
        self, run: Callable[..., object], tokens_BT: Tensor, shares_BT: Tensor | None
    ) -> Tensor:
        """Passes a batch through the stages; the loss on the last rank, zero on others."""
        losses: list[Tensor] = []
        inputs = [tokens_BT[:, :-1].to(self.device)] if self.layers.start == 0 else []
        if self.ranks.rank < self.ranks.size - 1:
            run(*inputs, return_outputs=False)
        else:
            assert shares_BT is not None, "a rank among others"
            targets_BT = tokens_BT[:, 1:].to(self.device)
            run(
                *inputs,
                # The stage has made the loss already.
                target=targets_BT,
                losses=losses,
                return_outputs=False,
                targets_BT=targets_BT,
                shares_BT=shares_BT.to(self.device),
            )
        return torch.stack(losses).sum().detach() if losses else torch.zeros((), device=self.device)

    def _add_copies(self) -> None:
        """Sums the gradients of parameters that several stages have, which keeps them alike."""
        copies = list(self.model.residual.parameters())
        # A stage has no gradient of what it does not read.
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in copies]
        if copies:
            total = self.ranks.total(torch.cat([gradient.flatten() for gradient in gradients]))
            parts = total.split([gradient.numel() for gradient in gradients])
            for parameter, part in zip(copies, parts, strict=True):
                parameter.grad = part.view_as(parameter)
        if self.ends is not None:
            dist.all_reduce(self.model.embedding.weight.grad, group=self.ends)

    def _clip(self) -> float:
        """Clips by the norm of all stages' gradients, where a parameter of several counts once."""
        named = dict(self.model.named_parameters())
        counted = [
            parameter.grad
            for name, parameter in named.items()
            if parameter.grad is not None
            and (self.ranks.first or not (name.startswith("residual.") or self._tied(name)))
        ]
        norm = torch.nn.utils.get_total_norm(counted) if counted else torch.zeros(())
        norm = self.ranks.total(norm.to(self.device).square()).sqrt()
        torch.nn.utils.clip_grads_with_norm_(named.values(), self.config.recipe.grad_clip, norm)
        return norm.item()

    def _tied(self, name: str) -> bool:
        return name == TABLE and self.config.shape.tied_head

    def nats(self, tokens_BT: Tensor) -> float:
        """As of `Trainer`; in batches of training's size, the last one filled up with copies."""
        nats = torch.zeros((), dtype=torch.float64, device=self.device)
        for batch in tokens_BT.split(self.config.recipe.batch_sequences):
            rows = torch.arange(self.config.recipe.batch_sequences)
            shares_BT = torch.full((len(rows), batch.shape[1] - 1), 1 / batch[:, 1:].numel())
            shares_BT[len(batch) :] = 0.0
            loss = self._run(self.schedule.eval, batch[rows % len(batch)], shares_BT)
            nats += loss.double() * batch[:, 1:].numel()
        return float(self.ranks.total(nats).item())
