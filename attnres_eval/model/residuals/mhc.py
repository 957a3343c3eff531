"""mHC and mHC-lite: streams mixed by doubly stochastic matrices."""

from itertools import permutations
from typing import Any

import torch
from torch import Tensor, nn

from attnres_eval.model.draw import normal
from attnres_eval.model.kernels import streams as fused
from attnres_eval.model.kernels.streams import Gate, GateKind
from attnres_eval.model.residuals.streams import (
    MIXING_BEFORE_SUM,
    MIXING_OF_EQUALS,
    SCALE_IS_NORMED_AWAY,
    Streams,
    Weights,
    combine,
    full_precision,
    normed_projection,
    rows,
)
from attnres_eval.shape import ModelShape
from attnres_eval.variants import Options
from attnres_eval.variants.mhc import MHCOptions
from attnres_eval.variants.mhc_lite import MHCLiteOptions

GATE_SCALE = 0.01
FAR_BELOW = -8.0
SMALLEST_ENTRY = 1e-30
PHI_STD = 0.02
MIXING_PARAMETERS = ("phi_res", "b_res", "a_res")


def sinkhorn(logits_BTNN: Tensor, iterations: int) -> Tensor:
    """exp(logits), its columns and then its rows divided by their sums, `iterations` times."""
    # With tokens innermost, sums over N run over long vectors: five times as fast on a CPU.
    matrix_NNX = logits_BTNN.flatten(0, 1).permute(1, 2, 0).contiguous()
    # A factor on a column does not outlast the first division.
    matrix_NNX = (matrix_NNX - matrix_NNX.amax(0)).exp().clamp_min(SMALLEST_ENTRY)
    for _ in range(iterations):
        matrix_NNX = matrix_NNX / matrix_NNX.sum(0, keepdim=True)
        matrix_NNX = matrix_NNX / matrix_NNX.sum(1, keepdim=True)
    return matrix_NNX.permute(2, 0, 1).reshape(logits_BTNN.shape)


class DoublyStochastic(Streams):
    """u = H_pre H;  H' = H_res H + H_post^T f(u), all three computed from z = norm(vec(H)).

    H_pre = sigmoid(a_pre z Phi_pre^T + b_pre), H_post = 2 sigmoid(..), H_res from its logits by
    `doubly_stochastic`. Parameters are stacked (L, ...), the output dimension of Phi first.
    """

    def __init__(self, shape: ModelShape, options: Options, streams: int, logits: int) -> None:
        super().__init__(shape, options, streams)
        sublayers, width = shape.n_sublayers, streams * shape.d_model
        self.phi_pre = nn.Parameter(torch.empty(sublayers, streams, width))
        self.phi_post = nn.Parameter(torch.empty(sublayers, streams, width))
        self.phi_res = nn.Parameter(torch.empty(sublayers, logits, width))
        self.b_pre = nn.Parameter(torch.empty(sublayers, streams))
        self.b_post = nn.Parameter(torch.empty(sublayers, streams))
        self.b_res = nn.Parameter(torch.empty(sublayers, logits))
        self.a_pre = nn.Parameter(torch.empty(sublayers))
        self.a_post = nn.Parameter(torch.empty(sublayers))
        self.a_res = nn.Parameter(torch.empty(sublayers))

    def initialise(self, seed: int) -> None:
        """Nearly unmixed streams: sublayer l favours stream l mod n."""
        for phi in (self.phi_pre, self.phi_post, self.phi_res):
            nn.init.zeros_(phi)
        for gate in (self.b_pre, self.b_post):
            nn.init.constant_(gate, -1)
            for sublayer in range(self.shape.n_sublayers):
                gate[sublayer, sublayer % self.streams] = 1
        for scale in (self.a_pre, self.a_post, self.a_res):
            nn.init.constant_(scale, GATE_SCALE)

    def phi(self, sublayer: int) -> Tensor:
        """All projections of a sublayer, (2 N + logits, N D)."""
        return torch.cat([phi[sublayer] for phi in (self.phi_pre, self.phi_post, self.phi_res)])

    def doubly_stochastic(self, logits_BTK: Tensor) -> Tensor:
        """H_res (B, T, N, N) from its logits."""
        raise TypeError(f"{type(self).__name__} must define doubly_stochastic")

    def weights(self, streams_BTND: Tensor, sublayer: int) -> Weights:
        logits = self.b_res.shape[-1]
        projected = normed_projection(streams_BTND.flatten(-2), self.phi(sublayer))
        pre, post, res = projected.split([self.streams, self.streams, logits], dim=-1)
        read_BTN = (self.a_pre[sublayer] * pre + self.b_pre[sublayer]).sigmoid()
        write_BTN = 2 * (self.a_post[sublayer] * post + self.b_post[sublayer]).sigmoid()
        mixing_BTNN = self.doubly_stochastic(self.a_res[sublayer] * res + self.b_res[sublayer])
        return Weights(read_BTN.unsqueeze(-2), mixing_BTNN, write_BTN)

    def sigmoid_gate(self, sublayer: int, kind: GateKind, **how: Any) -> Gate:
        """The kernels' gate, given how the mixing comes of its logits."""
        logits = self.b_res.shape[-1]
        scales = (self.a_pre, self.streams), (self.a_post, self.streams), (self.a_res, logits)
        scale_O = torch.cat([scale[sublayer].expand(count) for scale, count in scales])
        offset_O = torch.cat([b[sublayer] for b in (self.b_pre, self.b_post, self.b_res)])
        return Gate(kind, self.phi(sublayer), scale_O, offset_O, **how)

    def gradient_free(self) -> dict[str, str]:
        alike = self.without_effect_on_reads()
        return {
            **rows(("phi_pre", "b_pre", "a_pre"), alike, SCALE_IS_NORMED_AWAY),
            **rows(MIXING_PARAMETERS, alike, MIXING_OF_EQUALS),
        }


class MHC(DoublyStochastic):
    """H_res = Sinkhorn(exp(logits)) (arXiv:2512.24880). The state is H, (B, T, N, D)."""

    def __init__(self, shape: ModelShape, options: Options) -> None:
        assert isinstance(options, MHCOptions)
        n = options.streams
        super().__init__(shape, options, n, n * n)
        self.iterations, self.init = options.sinkhorn_iterations, options.init
        self.head = options.read_out == "head"
        if self.head:
            self.phi_head = nn.Parameter(torch.empty(n, n * shape.d_model))
            self.b_head = nn.Parameter(torch.empty(n))
            self.a_head = nn.Parameter(torch.empty(1))

    def initialise(self, seed: int) -> None:
        super().initialise(seed)
        self.b_res.copy_(FAR_BELOW * (1 - torch.eye(self.streams)).flatten())
        if self.head:
            nn.init.zeros_(self.phi_head)
            nn.init.zeros_(self.b_head)
            nn.init.constant_(self.a_head, GATE_SCALE)
        if self.init == "uniform":
            for name, parameter in self.named_parameters():
                if name.startswith("phi_"):
                    normal(parameter, PHI_STD, seed, f"residual.{name}")
                elif name.startswith("b_"):
                    nn.init.zeros_(parameter)

    def doubly_stochastic(self, logits_BTK: Tensor) -> Tensor:
        n = self.streams
        return sinkhorn(logits_BTK.unflatten(-1, (n, n)), self.iterations)

    def gate(self, sublayer: int) -> Gate:
        return self.sigmoid_gate(sublayer, GateKind.SINKHORN, setting=self.iterations)

    def finish(self, state: Tensor) -> Tensor:
        if not self.head:
            return super().finish(state)
        if not self.frozen and fused.takes(state):
            scale_N = self.a_head.expand(self.streams)
            gate = Gate(GateKind.READ, self.phi_head, scale_N, self.b_head)
            if (reading := fused.read(state, gate, 1)) is not None:
                return reading[1]
        projected = normed_projection(state.flatten(-2), self.phi_head)
        weights_BTN = self.coefficient((self.a_head * projected + self.b_head).sigmoid())
        return combine(weights_BTN.unsqueeze(-2), state).squeeze(-2)

    def gradient_free(self) -> dict[str, str]:
        free = super().gradient_free()
        if self.head and self.streams == 1:
            for name in ("phi_head", "b_head", "a_head"):
                free[name] = "the final norm removes the factor on the only stream"
        return free


class MHCLite(DoublyStochastic):
    """H_res = sum_k softmax(logits)_k P_k over all permutations of the streams.

    Source: arXiv:2601.05732. The state is H, (B, T, N, D).
    """

    def __init__(self, shape: ModelShape, options: Options) -> None:
        assert isinstance(options, MHCLiteOptions)
        n = options.streams
        # Identity first. A list, since a buffer would be lost where weights are loaded lazily.
        self.permutations = list(permutations(range(n)))
        super().__init__(shape, options, n, len(self.permutations))
        self.gain = nn.Parameter(torch.empty(shape.n_sublayers, n * shape.d_model))

    def initialise(self, seed: int) -> None:
        super().initialise(seed)
        nn.init.constant_(self.b_res, FAR_BELOW)
        self.b_res[:, 0] = 0
        nn.init.ones_(self.gain)

    def phi(self, sublayer: int) -> Tensor:
        return super().phi(sublayer) * self.gain[sublayer]

    def doubly_stochastic(self, logits_BTK: Tensor) -> Tensor:
        weights_BTK = logits_BTK.softmax(-1)
        with full_precision(logits_BTK):
            return torch.einsum("btk,kij->btij", weights_BTK, self.matrices(logits_BTK.device))

    def matrices(self, device: torch.device) -> Tensor:
        """All permutation matrices, (K, N, N)."""
        order_KN = torch.tensor(self.permutations, device=device)
        return torch.eye(self.streams, device=device)[order_KN]

    def gate(self, sublayer: int) -> Gate:
        matrices = self.matrices(self.gain.device)
        return self.sigmoid_gate(sublayer, GateKind.PERMUTATIONS, permutations_FNN=matrices)

    def gradient_free(self) -> dict[str, str]:
        last = [self.shape.n_sublayers - 1]
        return {**super().gradient_free(), **rows(MIXING_PARAMETERS, last, MIXING_BEFORE_SUM)}
