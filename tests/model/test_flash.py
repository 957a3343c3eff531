"""Block AttnRes by the package flash-attn-res: on the GPU, or by Triton's interpreter without one.

Neither the package nor Triton is among what the tests install. Where they are, this runs:
`pip install triton flash-attn-res`.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from cases import SHAPE, build
from torch import Tensor

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
try:
    import flash_attn_res
    import triton.language as tl
except (ImportError, ValueError) as error:
    pytest.skip(f"no flash-attn-res that fits the Triton here: {error}", allow_module_level=True)
if not torch.cuda.is_available() and "Interpreted" not in type(tl.sum).__name__:
    pytest.skip("Triton was loaded without its interpreter before", allow_module_level=True)

from attnres_eval.model.residuals import flash
from attnres_eval.model.residuals.base import NORM_EPSILON

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
KERNELS = [
    flash_attn_res.phase_1_batched_attention_forward_kernel,
    flash_attn_res.phase_1_batched_attention_backward_kernel,
    flash_attn_res.phase_2_online_softmax_merge_forward_kernel,
    flash_attn_res.phase_2_online_softmax_merge_backward_kernel,
    flash_attn_res.reduce_grad_queries_kernel,
]


@pytest.fixture(autouse=True)
def on_this_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(flash, "package", flash_attn_res)
    monkeypatch.setattr(flash, "DEVICE", DEVICE)
    monkeypatch.setattr("attnres_eval.model.kernels.switch.library", lambda: None)
    before = [kernel.configs for kernel in KERNELS]
    if DEVICE == "cpu":  # the interpreter has no clock to tune by
        for kernel in KERNELS:
            flash_attn_res.set_autotune_configs(kernel, kernel.configs[:1])
    yield
    for kernel, configs in zip(KERNELS, before, strict=True):
        flash_attn_res.set_autotune_configs(kernel, configs)


def random(*size: int, seed: int = 0) -> Tensor:
    """Numbers that bf16 holds."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(size, generator=generator).bfloat16().float()
    return drawn.to(DEVICE).requires_grad_()


def score(values: Tensor, query: Tensor) -> Tensor:
    normed = torch.nn.functional.rms_norm(values, values.shape[-1:], eps=NORM_EPSILON)
    return normed @ query


def assert_same(
    ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...], inputs: tuple[Tensor, ...]
) -> None:
    """Values to the last bit of bf16, gradients much closer."""
    directions = [random(*t.shape, seed=5 + i).detach() for i, t in enumerate(theirs)]
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.float(), other, rtol=2**-7, atol=1e-5)
    gradients = [
        torch.autograd.grad(
            outputs, inputs, [d.to(o.dtype) for d, o in zip(directions, outputs, strict=True)]
        )
        for outputs in (ours, theirs)
    ]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("sources", "readers"), [(1, 1), (3, 2), (9, 1)])
def test_first_phase_is_the_softmax_mix(sources: int, readers: int) -> None:
    values, query = random(sources, 2, 3, 16), random(readers, 16, seed=1)
    logits = torch.stack([score(values, one) for one in query])
    mixed = torch.einsum("rsbt,sbtd->rbtd", logits.softmax(1), values)
    expected = mixed, logits.logsumexp(1)[..., None]
    assert_same(flash.first_phase(values, query), expected, (values, query))


def test_merge_adds_one_source() -> None:
    mixed, partial, query = random(2, 3, 16), random(2, 3, 16, seed=1), random(16, seed=2)
    logsumexp = random(2, 3, 1, seed=3)
    weight = (score(partial, query)[..., None] - logsumexp).sigmoid()
    expected = mixed + weight * (partial - mixed)
    half = mixed.bfloat16()
    merged = flash.merge(half, logsumexp, partial, query)
    assert merged.dtype == torch.bfloat16
    assert_same((merged,), (expected,), (logsumexp, partial, query))


CASES: list[tuple[str, dict[str, Any]]] = [
    ("block_attnres", {"num_blocks": 3}),
    ("block_attnres", {"num_blocks": 8}),
    ("block_attnres", {"num_blocks": 1, "logit_scale": 0.5}),
    ("block_attnres", {"num_blocks": 2, "two_phase": True}),
    ("rms_block_attnres", {"num_blocks": 3}),
]


Step = tuple[Tensor, Tensor]
"""Loss, and all gradients one after another."""


def step(
    name: str,
    options: dict[str, Any],
    precision: torch.dtype,
    compile: Callable[..., Any] = lambda loss: loss,
) -> Step:
    """A training step: by the package if autocast is to bf16."""
    model = build(name, options, SHAPE).to(DEVICE)
    tokens = torch.randint(96, (2, 9), generator=torch.Generator().manual_seed(0)).to(DEVICE)
    with torch.autocast(DEVICE, dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
        loss = compile(model.loss)(tokens)
    loss.backward()
    return loss.detach(), torch.cat([p.grad.flatten() for p in model.parameters()])


def errors(one: Step, other: Step) -> list[float]:
    """Relative to the length of each part."""
    return [((a - b).norm() / b.norm()).item() for a, b in zip(one, other, strict=True)]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_step_is_as_exact_as_by_plain_torch(
    name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = step(name, options, torch.float32)
    ours = errors(step(name, options, torch.bfloat16), exact)
    monkeypatch.setattr(flash, "package", None)
    plain = errors(step(name, options, torch.bfloat16), exact)
    assert ours[0] < 1e-3
    assert ours[1] < 2 * plain[1]


def test_the_package_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = {"first_phase": 0, "merge": 0}
    for name in calls:
        plain = getattr(flash, name)

        def counted(*arguments: Tensor, name: str = name, plain: Any = plain) -> Any:
            calls[name] += 1
            return plain(*arguments)

        monkeypatch.setattr(flash, name, counted)
    step("block_attnres", {"num_blocks": 2}, torch.bfloat16)
    # Two blocks of four sublayers and the output; all but a block's first sublayer merge.
    assert calls == {"first_phase": 3, "merge": 6}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("full_attnres", {}),
        ("block_attnres", {"key_norm": False}),
        ("block_attnres", {"window": 2}),
        ("block_attnres", {"heads": 2}),
        ("block_attnres", {"mixing": "sigmoid"}),
    ],
)
def test_other_ways_to_mix_are_left_to_torch(
    name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(flash, "first_phase")
    step(name, options, torch.bfloat16)


@pytest.mark.skipif(DEVICE == "cpu", reason="the interpreter cannot compute without data")
def test_a_compiler_sees_one_graph() -> None:
    torch.compiler.reset()

    def compile(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return torch.compile(loss, fullgraph=True)

    case = "block_attnres", {"num_blocks": 2}, torch.bfloat16
    assert max(errors(step(*case, compile), step(*case))) < 0.02


def test_what_the_package_does_not_take() -> None:
    values = torch.zeros(2, 16, device=DEVICE)
    assert not flash.takes(values)
    with torch.autocast(DEVICE, dtype=torch.bfloat16):
        assert flash.takes(values)
        assert not flash.takes(torch.zeros(2, 24, device=DEVICE))
        assert not flash.takes(torch.zeros(2, 16, device="meta"))
