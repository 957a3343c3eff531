"""Starting weights, in one place and complete: a parameter that nobody sets is an error.

Every tensor has a generator of its own, seeded by the run's seed and the tensor's name. So models
of one seed start from the same body whatever their residual, and however many numbers that
residual draws.
"""

import hashlib
import math

import torch
from torch import Tensor, nn

from attnres_eval.model.transformer import Transformer

RESIDUAL_OUTPUTS = ("attention.out.weight", "mlp.down.weight")


def generator_for(seed: int, name: str) -> torch.Generator:
    """A generator that depends on the seed and the name alone."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def initialise(model: Transformer, seed: int) -> None:
    """Sets every parameter of the model.

    Matrices are normal with variance 1 / fan_in; those that write to the residual (attention's
    output, the MLP's down projection) are divided by sqrt(n_sublayers), as in GPT-2, which keeps
    a plain sum's variance independent of depth. The embedding is normal with variance
    1 / d_model, so that a tied head starts with logits of unit variance. Gains are one.

    Raises:
        RuntimeError: a parameter was left unset.
    """
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(math.nan)
        model.residual.initialise()
        for name, parameter in model.named_parameters():
            if name.startswith("residual."):
                continue
            if parameter.ndim == 1:
                nn.init.ones_(parameter)
            else:
                _normal(parameter, seed, name, model.shape.n_sublayers)
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise RuntimeError(f"nobody initialised parameter {name}")


def _normal(parameter: Tensor, seed: int, name: str, n_sublayers: int) -> None:
    # Both Linear (out, in) and Embedding (V, D) keep the width that they are summed over last.
    std = parameter.shape[-1] ** -0.5
    if name.endswith(RESIDUAL_OUTPUTS):
        std *= n_sublayers**-0.5
    # Drawn on the CPU, so that all devices start alike.
    drawn = torch.empty(parameter.shape).normal_(0, std, generator=generator_for(seed, name))
    parameter.copy_(drawn)
