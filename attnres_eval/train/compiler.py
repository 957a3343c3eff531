"""torch.compile for training, with compiled code kept for every later run of the same shape."""

import hashlib
import os
import platform
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch._dynamo.config as dynamo
import torch._inductor.config as inductor
from torch import Tensor
from torch.fx import GraphModule

from attnres_eval.data.prepare import cache_folder
from attnres_eval.model.transformer import Layer, Transformer, attention_sublayer, mlp_sublayer
from attnres_eval.processor import cpu_flags

AUTOCAST = ("torch.amp.autocast_mode._enter_autocast", "torch.amp.autocast_mode._exit_autocast")
SHAPES = 256
"""How many shapes and variants one process may compile."""

Loss = Callable[[Tensor, Tensor | None], Tensor]
Backend = Callable[[GraphModule, list[Tensor]], Callable[..., Any]]


def keep_compiled_code() -> None:
    """Lets runs share compiled code: in this process and later ones, in all studies.

    It lies beside the prepared data, in a folder for each kind of processor, unless
    `$TORCHINDUCTOR_CACHE_DIR` names another place.
    """
    processor = " ".join((platform.machine(), *sorted(cpu_flags())))
    key = hashlib.sha256(processor.encode()).hexdigest()[:16]
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "compiled" / key))
    # Torch itself keeps no graph that leaves autocast for some of its products, as the scores of
    # attention over depth do. What these functions do is in their arguments, and so in the key.
    inductor.unsafe_marked_cacheable_functions = {
        **inductor.unsafe_marked_cacheable_functions,
        **dict.fromkeys(AUTOCAST, "1"),
    }
    # Beyond this number torch would go on without compilation, or, as here, end the run.
    dynamo.recompile_limit = max(dynamo.recompile_limit, SHAPES)


def compiled(loss: Loss) -> Loss:
    """A model's loss as one compiled function, of fixed shapes.

    Models of one shape share it, whatever their weights.
    """
    keep_compiled_code()
    return torch.compile(loss, fullgraph=True, dynamic=False)


def compile_sublayers(model: Transformer, backend: str | Backend = "inductor") -> None:
    """Lets a model compute each sublayer, with its residual's reading and writing, as one graph.

    Sublayers that differ in nothing but weights share one. What lies between layers stays as it
    is, so that FSDP can gather and free parameters there, which one graph of all would not allow.

    Args:
        model: all of a decoder, or a stage of it.
        backend: of torch.compile.
    """
    keep_compiled_code()
    # Torch's compiler looks there itself, at graphs that begin with what others computed.
    warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not", UserWarning)
    attend = torch.compile(attention_sublayer, fullgraph=True, dynamic=False, backend=backend)
    feed = torch.compile(mlp_sublayer, fullgraph=True, dynamic=False, backend=backend)
    for layer in model.layers:
        if isinstance(layer, Layer):
            layer.attend, layer.feed = attend, feed
