"""ReZero (arXiv:2003.04887) and LayerScale (arXiv:2103.17239): learned scales on the outputs."""

import torch
from torch import Tensor, nn

from attnres_eval.model.residuals.stream import Stream
from attnres_eval.shape import ModelShape
from attnres_eval.variants import Options
from attnres_eval.variants.layerscale import LayerScaleOptions
from attnres_eval.variants.rezero import ReZeroOptions


class ReZero(Stream):
    """h[l+1] = h[l] + a_l F_l(h[l]), a scalar a_l for each sublayer, zero at the start."""

    def __init__(self, shape: ModelShape, options: Options) -> None:
        assert isinstance(options, ReZeroOptions)
        super().__init__(shape, options)
        self.sublayer_norms = options.pre_norm
        self.scale = nn.Parameter(torch.empty(shape.n_sublayers))

    def initialise(self, seed: int) -> None:
        nn.init.zeros_(self.scale)

    def write(self, state: Tensor, sublayer: int, output_BTD: Tensor) -> Tensor:
        return state + self.scale[sublayer] * output_BTD


class LayerScale(Stream):
    """h[l+1] = h[l] + diag(lambda_l) f_l(h[l]), a vector lambda_l (D,) for each sublayer."""

    def __init__(self, shape: ModelShape, options: Options) -> None:
        assert isinstance(options, LayerScaleOptions)
        super().__init__(shape, options)
        self.initial = options.starting_value(shape.n_layers)
        self.scale = nn.Parameter(torch.empty(shape.n_sublayers, shape.d_model))

    def initialise(self, seed: int) -> None:
        nn.init.constant_(self.scale, self.initial)

    def write(self, state: Tensor, sublayer: int, output_BTD: Tensor) -> Tensor:
        return state + self.scale[sublayer] * output_BTD
