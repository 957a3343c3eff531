"""Every measurement at a size that takes a moment."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from attnres_eval.bench import decoding, startup, steps, tiles, utilisation
from attnres_eval.bench.child import ask
from attnres_eval.bench.decoding import decoding_pairs
from attnres_eval.bench.ours import CPU, batch, machine, our_step, run_config
from attnres_eval.bench.plan import Plan
from attnres_eval.bench.resident import added_bytes
from attnres_eval.bench.rounds import interleave, ratio
from attnres_eval.bench.sizes import bench_shape, size_title
from attnres_eval.bench.steps import step_pairs, step_times
from attnres_eval.bench.throughput import throughput
from attnres_eval.bench.worth import labels_of
from attnres_eval.cost import model_cost
from attnres_eval.errors import UserError
from attnres_eval.study import Study
from attnres_eval.train.device import describe_machine
from attnres_eval.variants import parse_options

TINY = bench_shape("d16x4", context=16)
TOKENS = 64


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_computes_as_a_run_would(precision: str) -> None:
    config = run_config(TINY, "block_attnres")
    recipe = config.recipe.model_copy(update={"precision": precision})
    a_run = describe_machine(config.model_copy(update={"recipe": recipe}), CPU, seconds=0.0)
    assert machine(precision, torch.get_num_threads()) == a_run


def test_a_step_over_itself_is_about_one() -> None:
    shape = bench_shape("d32x4", context=64)
    turns = {name: our_step(shape, "prenorm", "fp32", tokens=256) for name in ("one", "other")}
    times = interleave(turns, 15, warmups=2)
    assert 0.5 < ratio(times, "other", "one").value < 2


def test_step_times_of_labels() -> None:
    times = step_times(TINY, {"two": ("block_attnres", {"num_blocks": 2})}, "fp32", 2, TOKENS)
    assert {name: len(seconds) for name, seconds in times.items()} == {"prenorm": 2, "two": 2}
    pairs = step_pairs(TINY, {"two": ("block_attnres", {"num_blocks": 2})}, "fp32", 2, TOKENS)
    assert {name: (len(pair.own), len(pair.other)) for name, pair in pairs.items()} == {
        "two": (2, 2)
    }


def test_prenorm_alone_is_held_against_a_copy_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (steps, decoding):
        monkeypatch.setattr(module, "bench_shape", lambda size: TINY)
    monkeypatch.setattr(decoding, "NEW", 2)
    plan = Plan(lambda _: None, ("prenorm",), ("d16x4",), 2, "fp32")
    over, rate = steps.measure(plan)
    assert over.quantity == "training step, prenorm over prenorm"
    assert (over.rounds, rate.rounds) == (2, 2)
    quantities = [row.quantity for row in decoding.measure(plan)]
    assert len(quantities) == 2 * len(decoding.BATCHES)
    assert "cached decoding, batch 1, prenorm over prenorm" in quantities


def test_a_step_trains() -> None:
    step = our_step(TINY, "block_attnres", "fp32", tokens=TOKENS)
    losses = [float(step()) for _ in range(20)]  # type: ignore[arg-type]
    assert losses[-1] < losses[0]
    assert batch(TINY, TOKENS).shape == (4, 17)


@pytest.mark.usefixtures("tiles")
def test_a_step_with_tiles_and_without(monkeypatch: pytest.MonkeyPatch) -> None:
    times = tiles.tiled_times(TINY, "block_attnres", 2, TOKENS)
    assert {name: len(seconds) for name, seconds in times.items()} == {
        tiles.WITH: 2,
        tiles.WITHOUT: 2,
    }
    monkeypatch.setattr(tiles, "bench_shape", lambda size: TINY)
    rows = tiles.measure(Plan(lambda _: None, ("prenorm", "mhc"), ("d16x4",), 2))
    assert [row.quantity for row in rows] == [
        "training step of prenorm, with matrix tiles over without",
        "training step of mhc, with matrix tiles over without",
    ]


def test_no_tiles_no_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "tiles_used", lambda: False)
    said: list[str] = []
    assert tiles.measure(Plan(said.append)) == []
    assert said == ["tiles: this processor has none"]


def test_decoding_is_timed_next_to_prenorm() -> None:
    pairs = decoding_pairs(TINY, ("prenorm", "block_attnres"), 2, 2, prompt=4, new=2)
    (pair,) = pairs.values()
    assert set(pairs) == {"block_attnres"}
    assert len(pair.own) == len(pair.other) == 2
    assert all(seconds > 0 for seconds in pair.own + pair.other)


def test_utilisation_counts_what_cost_counts_without_the_residual(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(utilisation, "BURST_FLOPS", 1e7)
    cost = model_cost(TINY, "full_attnres", parse_options("full_attnres", {}))
    forward = cost.forward_flops_per_token - cost.residual_flops_per_token
    assert utilisation.step_flops(TINY, TOKENS) == pytest.approx(3 * forward * TOKENS)
    share, rate, best = utilisation.utilisation(TINY, "fp32", 2, tokens=TOKENS, squares=(32, 64))
    assert 0 < share.value < 1
    assert rate.value > 1e8
    assert best.split()[-1] in ("32", "64")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not say")
def test_more_tokens_take_more_memory() -> None:
    shape = bench_shape("d64x4")
    few, many = (added_bytes(shape, "prenorm", {}, "fp32", tokens) for tokens in (256, 4096))
    assert few is not None
    assert many is not None
    # Logits, four hidden states of each layer and more, in fp32, of 3,840 tokens.
    assert many - few > 3840 * 4 * (64 * 4 * 4)


def test_throughput_of_one_process_over_one_is_about_one() -> None:
    measured = throughput("d16x4", "fp32", 2, 1, seconds=0.05, tokens=TOKENS)
    assert 0.2 < measured.value < 5


def test_a_process_of_its_own_answers_or_fails_in_a_line() -> None:
    arguments: dict[str, Any] = {"size": "d16x4", "variant": "prenorm", "compiled": False}
    assert 0 < ask("first_step", arguments) < 10
    with pytest.raises(UserError, match=r"bench first_step .* failed: .*d16"):
        ask("first_step", {**arguments, "size": "d16"})


def test_help_and_first_step_are_timed_as_processes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    times = startup.help_times(1)
    assert set(times) == {startup.HELP, startup.IMPORTS}
    asked: list[dict[str, Any]] = []

    def record(module: str, arguments: dict[str, Any], environment: dict[str, str]) -> float:
        asked.append({"module": module, **arguments, **environment})
        return 1.0

    monkeypatch.setattr(startup, "ask", record)
    assert startup.first_step_seconds("d16x4", "prenorm", True, tmp_path) < 1
    assert asked[0]["compiled"] is True
    assert asked[0]["TORCHINDUCTOR_CACHE_DIR"].startswith(str(tmp_path))


def test_labels_of_a_study_keep_their_options() -> None:
    study = Study.model_validate(
        {
            "name": "s",
            "variants": {"prenorm": {}, "two": {"variant": "block_attnres", "num_blocks": 2}},
            "sizes": {"d16": {"d_model": 16, "n_layers": 4, "n_heads": 1}},
            "seeds": [0],
        }
    )
    labels = labels_of(study, TINY)
    assert list(labels) == ["two"]
    assert labels["two"][0] == "block_attnres"
    assert labels["two"][1]["num_blocks"] == 2


@pytest.mark.parametrize(
    ("name", "heads", "head_dim"),
    [("d64x8", 2, 32), ("d128x12", 4, 32), ("d320x8", 5, 64), ("d48x2", 1, 48)],
)
def test_sizes_are_read_from_their_names(name: str, heads: int, head_dim: int) -> None:
    shape = bench_shape(name)
    assert (shape.n_heads, shape.head_dim) == (heads, head_dim)


def test_the_title_of_a_size_has_its_parameters() -> None:
    assert size_title("d320x8") == "d320x8 (10.0M)"


@pytest.mark.parametrize("name", ["d15x2", "128x12", "d128", "d0x3", "dx", ""])
def test_other_names_are_no_sizes(name: str) -> None:
    with pytest.raises(UserError, match="size"):
        bench_shape(name)
