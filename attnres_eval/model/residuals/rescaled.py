"""The running mean of the embedding and all outputs: Full AttnRes with queries at zero."""

import torch
from torch import Tensor

from attnres_eval.model.residuals.stream import Stream


class Rescaled(Stream):
    """h[l+1] = l/(l+1) h[l] + 1/(l+1) f_l(h[l]), where l = 1..L is the `sublayer` plus one."""

    def write(self, state: Tensor, sublayer: int, output_BTD: Tensor) -> Tensor:
        return torch.lerp(state, output_BTD.to(state.dtype), 1 / (sublayer + 2))
