"""Several streams: public residuals around our own sublayers, so that only the residual differs."""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from attnres_eval.bench.public.peer import LossOf, package
from attnres_eval.model.initialise import initialise
from attnres_eval.model.residuals.base import Residual
from attnres_eval.model.transformer import Transformer
from attnres_eval.shape import ModelShape
from attnres_eval.variants import parse_options

STREAMS = 4
SINKHORN_ITERATIONS = 20


class HyperConnectionsPackage(Residual):
    """The package hyper-connections: a module a sublayer, streams beside the batch."""

    def __init__(self, shape: ModelShape, make: Any) -> None:
        super().__init__(shape, parse_options("prenorm", {}))
        connect, self.expand, self.reduce = make(STREAMS, dim=shape.d_model)
        self.modules_L = nn.ModuleList(
            connect(layer_index=index) for index in range(shape.n_sublayers)
        )

    def start(self, embedding_BTD: Tensor) -> Any:
        return self.expand(embedding_BTD), None

    def read(self, state: Any, sublayer: int) -> tuple[Any, Tensor]:
        read_BTD, add = self.modules_L[sublayer](state[0])
        return (None, add), read_BTD

    def write(self, state: Any, sublayer: int, output_BTD: Tensor) -> Any:
        return state[1](output_BTD), None

    def finish(self, state: Any) -> Tensor:
        return self.reduce(state[0])


class DeepseekV4(Residual):
    """transformers' DeepSeek-V4: its mHC module a sublayer and its read-out."""

    def __init__(self, shape: ModelShape, modeling: Any) -> None:
        super().__init__(shape, parse_options("prenorm", {}))
        config = SimpleNamespace(
            hc_mult=STREAMS,
            hc_sinkhorn_iters=SINKHORN_ITERATIONS,
            hc_eps=1e-6,
            rms_norm_eps=1e-6,
            hidden_size=shape.d_model,
        )
        self.modules_L = nn.ModuleList(
            modeling.DeepseekV4HyperConnection(config) for _ in range(shape.n_sublayers)
        )
        self.head = modeling.DeepseekV4HyperHead(config)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.normal_(std=0.02)

    def start(self, embedding_BTD: Tensor) -> Any:
        return embedding_BTD[:, :, None].expand(-1, -1, STREAMS, -1).contiguous(), None

    def read(self, state: Any, sublayer: int) -> tuple[Any, Tensor]:
        post, mixing, read_BTD = self.modules_L[sublayer](state[0])
        return (state[0], (post, mixing)), read_BTD

    def write(self, state: Any, sublayer: int, output_BTD: Tensor) -> Any:
        streams, (post, mixing) = state
        # As its decoder layer does it.
        mixed = torch.matmul(mixing.to(streams.dtype).transpose(-1, -2), streams)
        return post.to(streams.dtype)[..., None] * output_BTD[..., None, :] + mixed, None

    def finish(self, state: Any) -> Tensor:
        return self.head(state[0])


def build_hyper_connections(shape: ModelShape, attention: str) -> tuple[nn.Module, LossOf]:
    """hyper-connections' dynamic HC."""
    make = package("hyper_connections").get_init_and_expand_reduce_stream_functions
    return _around(shape, HyperConnectionsPackage(shape, make))


def build_hyper_connections_mhc(shape: ModelShape, attention: str) -> tuple[nn.Module, LossOf]:
    """hyper-connections' mHC."""
    make = package("hyper_connections").mc_get_init_and_expand_reduce_stream_functions
    return _around(shape, HyperConnectionsPackage(shape, make))


def build_deepseek_v4(shape: ModelShape, attention: str) -> tuple[nn.Module, LossOf]:
    """The mHC of DeepSeek-V4 in transformers."""
    modeling = package("transformers.models.deepseek_v4.modeling_deepseek_v4")
    return _around(shape, DeepseekV4(shape, modeling))


def _around(shape: ModelShape, residual: Residual) -> tuple[nn.Module, LossOf]:
    model = Transformer(shape, "prenorm", parse_options("prenorm", {}))
    initialise(model, seed=0)
    model.residual = residual
    return model.train(), model.loss
