from torch import Tensor


def rms_norm(x: Tensor) -> Tensor:
    """x over its root mean square, epsilon 1e-6 under the root, without gain."""
    return x / ((x * x).sum(-1, keepdim=True) / x.shape[-1] + 1e-6) ** 0.5
