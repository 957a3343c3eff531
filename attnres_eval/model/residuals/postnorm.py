"""PostNorm (arXiv:1706.03762) and DeepNorm (arXiv:2203.00555): norms on the stream itself."""

import torch
from torch import Tensor, nn

from attnres_eval.model.residuals.stream import Stream
from attnres_eval.shape import ModelShape
from attnres_eval.variants import Options
from attnres_eval.variants.deepnorm import DeepNormOptions


class PostNorm(Stream):
    """h[l+1] = N_l(h[l] + F_l(h[l])); F_l has no norm, and N_L is the norm before the head."""

    sublayer_norms = False
    final_norm = False

    def __init__(self, shape: ModelShape, options: Options) -> None:
        super().__init__(shape, options)
        self.gain = nn.Parameter(torch.empty(shape.n_sublayers, shape.d_model))

    def initialise(self, seed: int) -> None:
        nn.init.ones_(self.gain)

    def write(self, state: Tensor, sublayer: int, output_BTD: Tensor) -> Tensor:
        return self.normalise(state + output_BTD, self.gain[sublayer])


class DeepNorm(PostNorm):
    """h[l+1] = N_l(alpha h[l] + F_l(h[l])), with alpha and beta of the decoder-only case."""

    def __init__(self, shape: ModelShape, options: Options) -> None:
        assert isinstance(options, DeepNormOptions)
        super().__init__(shape, options)
        self.centred = options.norm == "layernorm"
        self.alpha = (2 * shape.n_layers) ** 0.25
        self.beta = (8 * shape.n_layers) ** -0.25

    def adapt(self, layers: nn.ModuleList) -> None:
        """Scales the MLP, attention's values and its output by beta; queries and keys stay.

        Of SwiGLU's two input matrices the activated one alone, as torchscale does: its output is
        then scaled by beta squared, like that of the paper's MLP of two matrices.
        """
        undo_depth = self.shape.n_sublayers**0.5  # their starting weights were divided by it
        values = self.shape.n_kv_heads * self.shape.head_dim
        for name, weight in layers.named_parameters():
            if name.endswith(("attention.out.weight", "mlp.down.weight")):
                weight.mul_(self.beta * undo_depth)
            elif name.endswith("mlp.gate_up.weight"):
                weight[: self.shape.d_ff].mul_(self.beta)
            elif name.endswith("attention.qkv.weight"):
                weight[-values:].mul_(self.beta)

    def write(self, state: Tensor, sublayer: int, output_BTD: Tensor) -> Tensor:
        joined_BTD = self.alpha * state + output_BTD
        if self.centred:
            joined_BTD = joined_BTD - joined_BTD.mean(-1, keepdim=True)
        return self.normalise(joined_BTD, self.gain[sublayer])
