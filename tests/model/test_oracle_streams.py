"""Several streams against public implementations, which run with our parameters copied in."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from cases import SHAPE, build
from net import Net, drive
from torch import Tensor, nn

from attnres_eval.model.residuals.base import Residual
from attnres_eval.model.residuals.mhc import sinkhorn

N, D = 4, SHAPE.d_model
NORM = {"rms_norm_eps": 1e-6, "hidden_size": D}


def embedding() -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, 3, D, generator=generator).requires_grad_()


def compare(residual: Residual, x: Tensor, theirs: list[Tensor], expected: Tensor) -> None:
    """All sublayers' inputs, the output, and the gradient of that by the embedding."""
    ours, output = drive(residual, Net(SHAPE), x)
    for one, other in zip([*ours, output], [*theirs, expected], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    direction = torch.randn(output.shape, generator=torch.Generator().manual_seed(5))
    gradients = [
        torch.autograd.grad((result * direction).sum(), x)[0] for result in (output, expected)
    ]
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"dynamic": False}, {"tanh": False}])
def test_hyper_connections(options: dict[str, Any]) -> None:
    """PyPI's hyper-connections; its RMSNorm is swapped for the paper's LayerNorm."""
    package = pytest.importorskip("hyper_connections")
    residual = build("hyper_connections", options).residual
    p, net, x = dict(residual.named_parameters()), Net(SHAPE), embedding()
    streams, theirs = x[:, None].expand(-1, N, -1, -1).flatten(0, 1), []  # (B N, T, D)
    for index in range(SHAPE.n_sublayers):
        module = package.HyperConnections(N, dim=D, layer_index=index, tanh=residual.options.tanh)
        module.norm = nn.LayerNorm(D, eps=1e-6, elementwise_affine=False)
        with torch.no_grad():
            read, mixing = p["read_weight"][index], p["mixing"][index]
            module.static_alpha.copy_(torch.cat([read, mixing], dim=1))
            module.static_beta.copy_(p["write_weight"][index])
            if residual.options.dynamic:
                alpha = torch.cat([p["dynamic_read"][index], p["dynamic_mixing"][index]])
                module.dynamic_alpha_fn.copy_(alpha.T)
                module.dynamic_beta_fn.copy_(p["dynamic_write"][index][0])
                module.dynamic_alpha_scale.fill_(p["alpha_scale"][index])
                module.dynamic_beta_scale.fill_(p["beta_scale"][index])
        u, add = module(streams)
        theirs.append(u)
        streams = add(net.sublayer(index, u))
    compare(residual, x, theirs, streams.unflatten(0, (-1, N)).sum(1))


def test_sinkhorn() -> None:
    """PyPI's hyper-connections normalises columns first, then rows, as we do."""
    pytest.importorskip("hyper_connections")
    from hyper_connections.manifold_constrained_hyper_connections import sinkhorn_knopps

    logits = 2 * torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(3))
    for iterations in (1, 2, 20):
        theirs = sinkhorn_knopps(logits, iterations)
        torch.testing.assert_close(sinkhorn(logits, iterations), theirs, rtol=1e-4, atol=1e-6)


def test_mhc() -> None:
    """DeepSeek-V4 in transformers, read-out included.

    Its matrix is our H_res transposed, from transposed logits; its small constant added to gates
    and denominators is set to zero.
    """
    name = "transformers.models.deepseek_v4.modeling_deepseek_v4"
    package = pytest.importorskip(name)
    residual = build("mhc", {}).residual
    p, net, x = dict(residual.named_parameters()), Net(SHAPE), embedding()
    config = SimpleNamespace(hc_mult=N, hc_sinkhorn_iters=20, hc_eps=0.0, **NORM)
    streams, theirs = torch.stack([x] * N, dim=2), []
    for index in range(SHAPE.n_sublayers):
        module = package.DeepseekV4HyperConnection(config)
        with torch.no_grad():
            res = p["phi_res"][index].unflatten(0, (N, N)).transpose(0, 1).flatten(0, 1)
            b_res = p["b_res"][index].unflatten(0, (N, N)).T.flatten()
            module.fn.copy_(torch.cat([p["phi_pre"][index], p["phi_post"][index], res]))
            module.base.copy_(torch.cat([p["b_pre"][index], p["b_post"][index], b_res]))
            scales = [p[key][index] for key in ("a_pre", "a_post", "a_res")]
            module.scale.copy_(torch.stack(scales))
        post, mixing, u = module(streams)
        theirs.append(u)
        output = net.sublayer(index, u)
        streams = post[..., None] * output[..., None, :] + mixing.mT @ streams
    head = package.DeepseekV4HyperHead(config)
    with torch.no_grad():
        head.hc_fn.copy_(p["phi_head"])
        head.hc_base.copy_(p["b_head"])
        head.hc_scale.copy_(p["a_head"])
    compare(residual, x, theirs, head(streams))


def test_gated_residual() -> None:
    """qwen4_exp in transformers, the read in place of the final norm included."""
    package = pytest.importorskip("transformers.models.qwen4_exp.modeling_qwen4_exp")
    residual = build("gated_residual", {"rank": 5}).residual
    p, net, x = dict(residual.named_parameters()), Net(SHAPE), embedding()
    config = SimpleNamespace(hc_count=N, hc_lowrank=5, **NORM)

    def module_of(index: int, write: bool) -> nn.Module:
        module = package.Qwen4ExpTextGatedResidual(config, use_combine=write)
        with torch.no_grad():
            module.hc_norm.weight.copy_(p["norm"][index].flatten())
            module.input_mix_weight_down.weight.copy_(p["down"][index])
            module.input_mix_weight_up.weight.copy_(p["up"][index])
            if write:
                module.block_inject_weight.weight.copy_(p["write_weight"][index])
        return module

    flat, theirs = x.repeat(1, 1, N), []
    for index in range(SHAPE.n_sublayers):
        u, flat, write = module_of(index, write=True)(flat)
        theirs.append(u)
        output = net.sublayer(index, u)
        flat = flat + (output[..., None, :] * write[..., None]).flatten(-2)
    compare(residual, x, theirs, module_of(SHAPE.n_sublayers, write=False)(flat))
