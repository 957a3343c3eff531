"""mHC and mHC-lite, apart from how the mixing matrix is made."""

from collections.abc import Callable

import torch
from net import Net
from torch import Tensor


def normed(streams: Tensor) -> Tensor:
    flat = torch.cat([streams[:, :, i] for i in range(streams.shape[2])], dim=-1)
    return flat / torch.sqrt((flat**2).mean(-1, keepdim=True) + 1e-6)


def run(
    net: Net,
    embedding: Tensor,
    p: dict[str, Tensor],
    n: int,
    mixing_of: Callable[[Tensor], Tensor],
) -> tuple[list[Tensor], Tensor]:
    """All sublayers' inputs, and the streams at last."""
    streams, inputs = torch.stack([embedding] * n, dim=2), []
    for index in range(net.shape.n_sublayers):
        z = normed(streams)
        if "gain" in p:
            z = z * p["gain"][index]

        def logits(name: str, z: Tensor = z, index: int = index) -> Tensor:
            projected = z @ p[f"phi_{name}"][index].T
            return p[f"a_{name}"][index] * projected + p[f"b_{name}"][index]

        pre, post = torch.sigmoid(logits("pre")), 2 * torch.sigmoid(logits("post"))
        mixing = mixing_of(logits("res"))
        u = torch.einsum("bts,btsd->btd", pre, streams)
        inputs.append(u)
        sources = torch.cat([streams, net.sublayer(index, u)[:, :, None]], dim=2)
        new = []
        for target in range(n):
            weights = torch.cat([mixing[:, :, target], post[..., target : target + 1]], dim=-1)
            new.append(torch.einsum("bts,btsd->btd", weights, sources))
        streams = torch.stack(new, dim=2)
    return inputs, streams
