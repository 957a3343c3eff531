"""Which parameters decay, and which optimiser trains which."""

from collections.abc import Iterator

import torch
from torch import nn

from attnres_eval.model.transformer import Transformer
from attnres_eval.study import Recipe

Groups = dict[str, list[nn.Parameter]]


def parameter_groups(model: Transformer) -> Groups:
    """Sorts parameters into `body` matrices, `tables` (embedding and head), and `plain`.

    Plain are norms and all of the residual's parameters: they take no weight decay. Parameters
    with a learning rate of their own are left out.
    """
    groups: Groups = {"body": [], "tables": [], "plain": []}
    apart = {id(parameter) for parameter, _ in slowed_parameters(model)}
    for name, parameter in model.named_parameters():
        if id(parameter) in apart:
            continue
        if name.startswith("residual.") or parameter.ndim < 2:
            groups["plain"].append(parameter)
        elif name.startswith("layers."):
            groups["body"].append(parameter)
        else:
            groups["tables"].append(parameter)
    return groups


def slowed_parameters(model: Transformer) -> list[tuple[nn.Parameter, float]]:
    """The residual's parameters that train at the recipe's learning rate times a factor."""
    factors = model.residual.learning_rate_factors()
    named = dict(model.residual.named_parameters())
    return [(named[name], factor) for name, factor in factors.items()]


class Optimiser:
    """One or two torch optimisers that step together."""

    def __init__(self, model: Transformer, recipe: Recipe, learning_rate: float) -> None:
        groups = parameter_groups(model)
        self.names = {parameter: name for name, parameter in model.named_parameters()}
        adamw_decayed = groups["tables"]
        self.parts: dict[str, torch.optim.Optimizer] = {}
        if recipe.optimizer == "muon":
            self.parts["muon"] = torch.optim.Muon(
                groups["body"],
                lr=recipe.muon_learning_rate,
                weight_decay=recipe.weight_decay,
            )
        else:
            adamw_decayed = groups["body"] + adamw_decayed
        self.parts["adamw"] = torch.optim.AdamW(
            [
                {"params": adamw_decayed, "weight_decay": recipe.weight_decay},
                {"params": groups["plain"], "weight_decay": 0.0},
                *(
                    {"params": [parameter], "weight_decay": 0.0, "factor": factor}
                    for parameter, factor in slowed_parameters(model)
                ),
            ],
            lr=learning_rate,
            betas=recipe.betas,
            fused=True,
        )
        self.peaks = {
            "muon": recipe.muon_learning_rate,
            "adamw": learning_rate,
        }

    def step(self, factor: float) -> None:
        """Updates all parameters at `factor` times the peak rates, then clears their gradients."""
        for name, part in self.parts.items():
            for group in part.param_groups:
                group["lr"] = self.peaks[name] * factor * group.get("factor", 1.0)
            part.step()
            part.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, torch.Tensor]:
        """All state tensors by parameter, as `layers.0.mlp.down.weight.exp_avg`."""
        return {
            f"{name}.{key}": value
            for part in self.parts.values()
            for name, parameter in self._named(part)
            for key, value in part.state.get(parameter, {}).items()
        }

    def make_tensors(self) -> None:
        """Makes all state tensors before a first step, for a checkpoint to be read into."""
        for part in self.parts.values():
            for group in part.param_groups:
                group["lr"] = 0.0
                for parameter in group["params"]:
                    parameter.grad = torch.zeros_like(parameter)
            part.step()
            part.zero_grad(set_to_none=True)

    def _named(self, part: torch.optim.Optimizer) -> Iterator[tuple[str, nn.Parameter]]:
        for group in part.param_groups:
            for parameter in group["params"]:
                yield self.names[parameter], parameter
