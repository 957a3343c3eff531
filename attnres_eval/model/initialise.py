"""Starting weights, in one place and complete: a parameter that nobody sets is an error.

Every tensor has a generator of its own, seeded by the run's seed and the tensor's name. So models
of one seed start from the same body whatever their residual, and however many numbers that
residual draws.
"""

import math

import torch
from torch import Tensor, nn

from attnres_eval.model.draw import normal
from attnres_eval.model.transformer import Transformer

RESIDUAL_OUTPUTS = ("attention.out.weight", "mlp.down.weight")


def initialise(model: Transformer, seed: int) -> None:
    """Sets every parameter of the model.

    Matrices are normal with variance 1 / fan_in; those that write to the residual (attention's
    output, the MLP's down projection) are divided by sqrt(n_sublayers), as in GPT-2, which keeps
    a plain sum's variance independent of depth. The embedding is normal with variance
    1 / d_model, so that a tied head starts with logits of unit variance. Gains are one. The
    residual sets its own parameters, and may then adapt the body's.

    Raises:
        RuntimeError: a parameter was left unset.
    """
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(math.nan)
        model.residual.initialise(seed)
        for name, parameter in model.named_parameters():
            if name.startswith("residual."):
                continue
            if parameter.ndim == 1:
                nn.init.ones_(parameter)
            else:
                _normal(parameter, seed, name, model.shape.n_sublayers)
        model.residual.adapt(model.layers)
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise RuntimeError(f"nobody initialised parameter {name}")


def _normal(parameter: Tensor, seed: int, name: str, n_sublayers: int) -> None:
    # Both Linear (out, in) and Embedding (V, D) keep the width that they are summed over last.
    std = parameter.shape[-1] ** -0.5
    if name.endswith(RESIDUAL_OUTPUTS):
        std *= n_sublayers**-0.5
    normal(parameter, std, seed, name)
