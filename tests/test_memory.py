"""The memory model against torch's count of live bytes, and against what a process holds."""

import itertools
from typing import Any

import pytest

from attnres_eval.bench.child import ONE_THREAD, ask
from attnres_eval.bench.ours import CPU
from attnres_eval.bench.sizes import bench_shape
from attnres_eval.estimate import HELD_BACK, PROCESS_BYTES, training_bytes
from attnres_eval.kept import BF16, FP32, RULES, Kept, residual_kept
from attnres_eval.memory import Precision, StepMemory, step_memory
from attnres_eval.model.kernels.switch import available, multiplies_bf16
from attnres_eval.study_file import load_study
from attnres_eval.variants import VARIANTS, VariantSpec, parse_options
from tests.live_memory import live_peak

WITHIN = 0.15
PAPER = ("prenorm", "full_attnres", "block_attnres")
WAYS: list[tuple[Precision, bool, bool]] = list(
    itertools.product(("fp32", "bf16"), (True, False), (False, True))
)
"""Precision, kernels, activation checkpointing."""


def needs(precision: str, kernels: bool) -> None:
    if kernels and not available(CPU):
        pytest.skip("no compiled kernels here")
    if kernels and precision == "bf16" and not multiplies_bf16():
        pytest.skip("the kernels need a processor that multiplies bf16")


def model(
    size: str,
    variant: str,
    options: dict[str, Any],
    tokens: int,
    precision: Precision,
    kernels: bool,
    checkpointing: bool,
) -> float:
    return step_memory(
        bench_shape(size),
        variant,
        parse_options(variant, options),
        tokens=tokens,
        precision=precision,
        kernels=kernels,
        activation_checkpointing=checkpointing,
    ).total


def assert_live(
    size: str, variant: str, options: dict[str, Any], tokens: int, way: tuple[Precision, bool, bool]
) -> None:
    precision, kernels, checkpointing = way
    needs(precision, kernels)
    seen = live_peak(
        bench_shape(size),
        variant,
        options,
        tokens=tokens,
        precision=precision,
        kernels=kernels,
        activation_checkpointing=checkpointing,
    )
    wanted = model(size, variant, options, tokens, precision, kernels, checkpointing)
    assert wanted == pytest.approx(seen, rel=WITHIN), wanted / seen - 1


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant(variant: str) -> None:
    assert_live("d64x4", variant, {}, 512, WAYS[2])


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("variant", PAPER)
def test_every_way(variant: str, way: tuple[Precision, bool, bool]) -> None:
    assert_live("d64x4", variant, {}, 512, way)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["d64x6", "d128x4", "d32x14"])
@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_every_way(
    variant: str, way: tuple[Precision, bool, bool], size: str
) -> None:
    assert_live(size, variant, {}, 1024, way)


OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("block_attnres", {"num_blocks": 3}),
    ("full_attnres", {"window": 3}),
    ("mhc", {"streams": 2, "sinkhorn_iterations": 5}),
    ("hyper_connections", {"streams": 2}),
    ("gated_residual", {"streams": 2}),
    ("highway", {"gate": "scalar"}),
    ("rezero", {"pre_norm": True}),
    ("laurel", {"form": "rw+lr"}),
    ("delta_attnres", {"sources": "block", "num_blocks": 3}),
]


@pytest.mark.parametrize(("variant", "options"), OPTIONS)
def test_options(variant: str, options: dict[str, Any]) -> None:
    assert_live("d64x4", variant, options, 512, WAYS[0])


def resident(
    size: str, variant: str, tokens: int, way: tuple[Precision, bool, bool], keep: bool = False
) -> int:
    """Bytes that a step adds to a fresh process of one thread."""
    precision, kernels, checkpointing = way
    needs(precision, kernels)
    arguments = {
        "size": size,
        "variant": variant,
        "options": {},
        "precision": precision,
        "context": 256,
        "tokens": tokens,
        "activation_checkpointing": checkpointing,
    }
    environment = {
        **ONE_THREAD,
        "ATTNRES_EVAL_KERNELS": str(int(kernels)),
        "ATTNRES_EVAL_KEEP_MEMORY": str(int(keep)),
    }
    found = ask("resident", arguments, environment)
    if found is None:
        pytest.skip("this system does not say how much memory a process holds")
    return int(found)


@pytest.mark.parametrize(
    ("size", "variant", "way"),
    [
        ("d128x4", "prenorm", WAYS[0]),
        ("d128x4", "full_attnres", WAYS[3]),
        ("d128x4", "block_attnres", WAYS[6]),
    ],
    ids=str,
)
def test_fresh_process(size: str, variant: str, way: tuple[Precision, bool, bool]) -> None:
    seen = resident(size, variant, 2048, way)
    wanted = model(size, variant, {}, 2048, *way)
    assert wanted == pytest.approx(seen, rel=WITHIN), wanted / seen - 1


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("variant", PAPER)
def test_fresh_process_every_way(variant: str, way: tuple[Precision, bool, bool]) -> None:
    seen = resident("d128x8", variant, 8192, way)
    wanted = model("d128x8", variant, {}, 8192, *way)
    assert wanted == pytest.approx(seen, rel=WITHIN), wanted / seen - 1


def priced(**changes: Any) -> StepMemory:
    arguments: dict[str, Any] = {
        "tokens": 1024,
        "precision": "bf16",
        "kernels": False,
        "activation_checkpointing": False,
    }
    return step_memory(
        bench_shape("d64x4"), "prenorm", parse_options("prenorm", {}), **arguments | changes
    )


def test_shards_divide_what_they_can() -> None:
    whole, shared = priced(), priced(shards=4)
    assert shared.weights == whole.weights / 4
    assert shared.gradients == whole.gradients / 4
    assert shared.optimiser == whole.optimiser / 4
    assert shared.activations == whole.activations
    assert whole.unsharded == 0 < shared.unsharded
    # Four weights of each matrix of a block at most, twice those that are whole throughout.
    assert shared.unsharded < 2 * whole.weights


def test_parts_add_up_where_the_loss_is_the_worst_moment() -> None:
    one = priced()
    assert one.total == one.weights + one.optimiser + one.activations + one.logits
    again = priced(accumulating=True)
    assert again.total == one.total + one.gradients


def test_muon_has_one_moment_of_matrices() -> None:
    assert priced(optimizer="muon").optimiser < priced().optimiser
    assert priced(optimizer="muon").optimiser > priced().optimiser / 2


def test_every_variant_has_a_rule() -> None:
    assert set(RULES) == set(VARIANTS)


def test_copies_only_beside_narrow_originals() -> None:
    kept = Kept(wide=1, narrow=2, copies=3)
    assert kept.bytes(FP32) == 4 + 8
    assert kept.bytes(BF16) == 4 + 4 + 12


def test_a_variant_without_a_rule_has_its_traffic(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = bench_shape("d64x4")
    lime: VariantSpec = VARIANTS["lime"]
    monkeypatch.delitem(RULES, "lime")
    traffic = lime.cost(shape, lime.options()).traffic_elements_per_token
    found = residual_kept(shape, "lime", lime.options())
    assert found.plain.kept.wide == traffic - 3 * 64 * 8


def test_plan_of_a_worker_is_the_same_model() -> None:
    run = load_study("quick").runs()[0]
    needed = step_memory(
        run.shape,
        run.variant,
        run.parsed_options,
        tokens=8 * 256,
        precision="fp32",
        kernels=True,
        activation_checkpointing=False,
    )
    assert training_bytes(run) == PROCESS_BYTES + HELD_BACK * needed.total
