"""Random starting values that depend on the run's seed and the tensor's name alone."""

import hashlib

import torch
from torch import Tensor


def generator_for(seed: int, name: str) -> torch.Generator:
    """A generator that depends on the seed and the name alone."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def normal(parameter: Tensor, std: float, seed: int, name: str) -> None:
    """Fills a tensor from N(0, std^2). Drawn on the CPU, so that all devices start alike."""
    drawn = torch.empty(parameter.shape).normal_(0, std, generator=generator_for(seed, name))
    parameter.copy_(drawn)


def uniform(parameter: Tensor, bound: float, seed: int, name: str) -> None:
    """Fills a tensor uniformly from [-bound, bound]. Drawn on the CPU."""
    generator = generator_for(seed, name)
    parameter.copy_(torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator))
