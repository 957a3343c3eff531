"""Hyper-Connections and Frac-Connections."""

import torch
from torch import Tensor, nn

from attnres_eval.model.kernels.streams import Gate, GateKind
from attnres_eval.model.residuals.streams import (
    SCALE_IS_NORMED_AWAY,
    Streams,
    Weights,
    normed_projection,
    rows,
)
from attnres_eval.shape import ModelShape
from attnres_eval.variants import Options
from attnres_eval.variants.frac_connections import FracConnectionsOptions
from attnres_eval.variants.hyper_connections import HyperConnectionsOptions

DYNAMIC_SCALE = 0.01


class LearnedMixing(Streams):
    """Weights of what a stream gives: [A_m, A_r, B] + scale * tanh(norm(H) W), by stream.

    Parameters, for R reads of N streams of width D: read (L, N, R), mixing (L, N, N), write
    (L, N); the matrices of the dynamic part have the same names, output dimension first, and one
    scale serves reads and mixing (alpha), another the write (beta).
    """

    dynamic: bool
    tanh: bool
    centred = False
    """Whether the dynamic part's norm is a LayerNorm."""

    def __init__(
        self, shape: ModelShape, options: Options, reads: int, streams: int, width: int
    ) -> None:
        super().__init__(shape, options, streams)
        self.reads = reads
        sublayers = shape.n_sublayers
        self.read_weight = nn.Parameter(torch.empty(sublayers, streams, reads))
        self.mixing = nn.Parameter(torch.empty(sublayers, streams, streams))
        self.write_weight = nn.Parameter(torch.empty(sublayers, streams))
        if self.dynamic:
            self.dynamic_read = nn.Parameter(torch.empty(sublayers, reads, width))
            self.dynamic_mixing = nn.Parameter(torch.empty(sublayers, streams, width))
            self.dynamic_write = nn.Parameter(torch.empty(sublayers, 1, width))
            self.alpha_scale = nn.Parameter(torch.empty(sublayers))
            self.beta_scale = nn.Parameter(torch.empty(sublayers))

    def initialise(self, seed: int) -> None:
        """Identity mixing, full writes, no dynamic part."""
        self.mixing.copy_(torch.eye(self.streams))
        nn.init.ones_(self.write_weight)
        if self.dynamic:
            for parameter in (self.dynamic_read, self.dynamic_mixing, self.dynamic_write):
                nn.init.zeros_(parameter)
            for scale in (self.alpha_scale, self.beta_scale):
                nn.init.constant_(scale, DYNAMIC_SCALE)

    def projection(self, sublayer: int) -> Tensor:
        """Weights of the dynamic part, with the norm's gain if it has one: (R + N + 1, D)."""
        dynamic = (self.dynamic_read, self.dynamic_mixing, self.dynamic_write)
        return torch.cat([parameter[sublayer] for parameter in dynamic])

    def weights(self, streams_BTND: Tensor, sublayer: int) -> Weights:
        read_NR, mixing_NN = self.read_weight[sublayer].float(), self.mixing[sublayer].float()
        write_N = self.write_weight[sublayer].float()
        if self.dynamic:
            change = normed_projection(
                streams_BTND, self.projection(sublayer), centred=self.centred
            )
            if self.tanh:
                change = change.tanh()
            of_read, of_mixing, of_write = change.split([read_NR.shape[-1], self.streams, 1], -1)
            alpha, beta = self.alpha_scale[sublayer].float(), self.beta_scale[sublayer].float()
            read_NR = read_NR + alpha * of_read
            mixing_NN = mixing_NN + alpha * of_mixing
            write_N = write_N + beta * of_write.squeeze(-1)
        return Weights(read_NR.mT, mixing_NN.mT, write_N)

    def gate(self, sublayer: int) -> Gate | None:
        if not self.dynamic:
            return None
        alpha, beta = self.alpha_scale[sublayer], self.beta_scale[sublayer]
        scale_O = torch.cat([alpha.expand(self.reads + self.streams), beta.view(1)])
        read_NR, write_N1 = self.read_weight[sublayer], self.write_weight[sublayer].unsqueeze(-1)
        return Gate(
            GateKind.LEARNED,
            self.projection(sublayer),
            scale_O,
            torch.cat([read_NR, self.mixing[sublayer], write_N1], dim=-1),
            setting=int(self.tanh),
            centred=self.centred,
        )

    def gradient_free(self) -> dict[str, str]:
        names = ["read_weight", "dynamic_read"] if self.dynamic else ["read_weight"]
        return rows(names, self.without_effect_on_reads(), SCALE_IS_NORMED_AWAY)


class HyperConnections(LearnedMixing):
    """u = A_m^T H;  H' = A_r^T H + B f(u)^T (arXiv:2409.19606). The state is H, (B, T, N, D)."""

    centred = True

    def __init__(self, shape: ModelShape, options: Options) -> None:
        assert isinstance(options, HyperConnectionsOptions)
        self.dynamic, self.tanh = options.dynamic, options.tanh
        super().__init__(shape, options, 1, options.streams, shape.d_model)

    def initialise(self, seed: int) -> None:
        """Sublayer l reads stream l mod n alone."""
        super().initialise(seed)
        nn.init.zeros_(self.read_weight)
        for sublayer in range(self.shape.n_sublayers):
            self.read_weight[sublayer, sublayer % self.streams] = 1


class FracConnections(LearnedMixing):
    """u = cat(Y^T H);  H' = A^T H + diag(B) f(u) over M fractions of the width.

    Source: arXiv:2503.14125. The state is the stream cut in fractions, (B, T, M, D / M).
    """

    tanh = True

    def __init__(self, shape: ModelShape, options: Options) -> None:
        assert isinstance(options, FracConnectionsOptions)
        self.dynamic = options.dynamic
        fractions = options.fractions
        width = shape.d_model // fractions
        super().__init__(shape, options, fractions, fractions, width)
        if self.dynamic:
            self.gain = nn.Parameter(torch.empty(shape.n_sublayers, width))

    def initialise(self, seed: int) -> None:
        """Each fraction reads, and keeps, itself."""
        super().initialise(seed)
        self.read_weight.copy_(torch.eye(self.streams))
        if self.dynamic:
            nn.init.ones_(self.gain)

    def projection(self, sublayer: int) -> Tensor:
        return super().projection(sublayer) * self.gain[sublayer]

    def start(self, embedding_BTD: Tensor) -> Tensor:
        return embedding_BTD.unflatten(-1, (self.streams, -1))

    def finish(self, state: Tensor) -> Tensor:
        return state.flatten(-2)

    def without_effect_on_reads(self) -> range:
        # Fractions differ from the start; only a single one is read as a multiple of itself.
        return range(self.shape.n_sublayers if self.streams == 1 else 0)
