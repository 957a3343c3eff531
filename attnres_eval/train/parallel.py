"""One model on several ranks: copied to all (DDP), or its parameters shared out (FSDP2)."""

import warnings

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.nn.parallel import DistributedDataParallel

from attnres_eval.errors import UserError
from attnres_eval.model.transformer import Transformer
from attnres_eval.study import Recipe
from attnres_eval.train.compiler import Loss
from attnres_eval.train.ranks import Ranks


def micro_batches(recipe: Recipe, ranks: Ranks) -> list[slice]:
    """The rows of a batch that this rank computes, those that it computes at once together.

    Raises:
        UserError: ranks or micro-batches do not divide the batch.
    """
    batch, copies = recipe.batch_sequences, ranks.copies
    if batch % copies:
        raise UserError(
            f"recipe.batch_sequences {batch} does not divide among {copies} processes;"
            " take a number of processes that divides it"
        )
    own = batch // copies
    # Stages work side by side only on several micro-batches.
    micro = recipe.micro_batch_sequences or max(1, own // (ranks.size // copies))
    if own % micro:
        raise UserError(
            f"{micro} sequences of a micro-batch do not divide the {own} that each of {copies}"
            f" processes has of a batch of {batch}: change recipe.micro_batch_sequences"
        )
    first = own * ranks.rank if copies > 1 else 0
    return [slice(start, start + micro) for start in range(first, first + own, micro)]


def shard(model: Transformer, device: torch.device, ranks: Ranks) -> None:
    """Spreads parameters, gradients and moments over the ranks (FSDP2), each layer by itself.

    Embedding, head and the residual's parameters, which are stacked for all layers, are one more
    group, whole from the start of the forward pass to the end of the backward pass. Inside both
    every layer sees plain whole tensors: a history that crosses layers needs nothing of its own.
    """
    # Verbs of a residual change no tensor in place, which views among a layer's outputs would mind.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view", UserWarning)
    mesh = init_device_mesh(device.type, (ranks.size,))
    for layer in model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    register_fsdp_forward_method(model, "loss")


class _Module(nn.Module):
    """A model's loss as the forward pass of a module, which DDP wants."""

    def __init__(self, model: Transformer, loss: Loss) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, tokens_BT: Tensor, shares_BT: Tensor | None) -> Tensor:
        return self.loss(tokens_BT, shares_BT)


def replicate(model: Transformer, loss: Loss) -> DistributedDataParallel:
    """The loss of a model that is whole on every rank; its backward pass averages gradients."""
    return DistributedDataParallel(_Module(model, loss), gradient_as_bucket_view=True)
