"""Compilation for training: every variant is one graph, which later runs of its shape share."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters
from torch._functorch._aot_autograd.autograd_cache import check_cacheable
from torch.fx import GraphModule

from attnres_eval.files import write_json
from attnres_eval.model.initialise import initialise
from attnres_eval.model.kernels.switch import kernels
from attnres_eval.model.transformer import Transformer
from attnres_eval.study import RunConfig
from attnres_eval.train.compiler import compile_sublayers, keep_compiled_code
from attnres_eval.variants import VARIANTS

MakeRun = Callable[..., RunConfig]
SLOW = pytest.mark.slow
TOKENS = torch.arange(66).view(2, 33)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The user's own cache is neither read nor filled; settings of torch do not outlive a test."""
    monkeypatch.setenv("ATTNRES_EVAL_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    torch.compiler.reset()
    counters.clear()
    with (
        torch._dynamo.config.patch(recompile_limit=8),
        torch._inductor.config.patch(unsafe_marked_cacheable_functions={}),
    ):
        keep_compiled_code()
        yield


def model_of(run: RunConfig) -> Transformer:
    model = Transformer(run.shape, run.variant, run.parsed_options)
    initialise(model, run.seed)
    return model.train()


def captured(graph: GraphModule, _: list[Tensor]) -> GraphModule:
    """A compiler that only checks whether torch could keep its result."""
    check_cacheable(graph)
    return graph


def traced(model: Transformer) -> Tensor:
    """The loss as torch.compile captures it."""
    loss = torch.compile(model.loss, fullgraph=True, dynamic=False, backend=captured)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return loss(TOKENS, None)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_one_graph_that_torch_can_keep(variant: str, make_run: MakeRun) -> None:
    traced(model_of(make_run(variant))).backward()
    assert counters["stats"]["unique_graphs"] == 1


@pytest.mark.parametrize(
    "variant",
    [
        name if name in {"block_attnres", "value_residual"} else pytest.param(name, marks=SLOW)
        for name in VARIANTS
    ],
)
def test_sublayers_of_every_variant_are_graphs_of_their_own(
    variant: str, make_run: MakeRun
) -> None:
    eager, compiled = (model_of(make_run(variant)) for _ in range(2))
    compile_sublayers(compiled, backend=captured)
    with kernels(False):
        losses = [model.loss(TOKENS) for model in (eager, compiled)]
    for loss in losses:
        loss.backward()
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-6)
    assert 2 <= counters["stats"]["unique_graphs"] <= 8
    for (name, one), (_, other) in zip(
        eager.named_parameters(), compiled.named_parameters(), strict=True
    ):
        assert one.grad is not None
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_sublayers_that_differ_in_weights_share_a_graph(make_run: MakeRun) -> None:
    model = model_of(make_run())
    compile_sublayers(model, backend=captured)
    with kernels(False):
        model.loss(TOKENS)
    assert counters["stats"]["unique_graphs"] == 2


def test_a_graph_with_activation_checkpointing_can_be_kept(make_run: MakeRun) -> None:
    model = model_of(make_run("block_attnres"))
    model.activation_checkpointing = True
    traced(model).backward()


def test_the_test_of_keeping_can_fail(make_run: MakeRun) -> None:
    torch._inductor.config.unsafe_marked_cacheable_functions = {}
    with pytest.raises(Exception, match="_enter_autocast"):
        traced(model_of(make_run("block_attnres")))


def test_models_of_one_shape_share_a_graph(make_run: MakeRun) -> None:
    runs = [make_run("full_attnres", seed) for seed in range(2)]
    losses = [traced(model_of(run)).item() for run in runs]
    assert counters["stats"]["unique_graphs"] == 1
    with torch.autocast("cpu", dtype=torch.bfloat16):
        eager = [model_of(run).loss(TOKENS).item() for run in runs]
    assert losses[0] != losses[1]
    assert losses == pytest.approx(eager, rel=1e-3)


def test_one_process_compiles_many_shapes(make_run: MakeRun) -> None:
    run = make_run()
    for width in range(8, 28, 2):
        shape = run.shape.model_copy(update={"d_ff": width, "n_layers": 1})
        traced(model_of(run.model_copy(update={"shape": shape})))
    assert counters["stats"]["unique_graphs"] == 10


STEP = """
import json, sys, torch
from pathlib import Path
from torch._dynamo.utils import counters
from attnres_eval.records import Machine
from attnres_eval.train.loop import read_run_config
from attnres_eval.train.trainer import Trainer

trainer = Trainer(read_run_config(Path(sys.argv[1])), torch.device("cpu"))
trainer.compute_as(
    Machine(device="cpu", precision="bf16", threads=1, compiled=True, processor="", torch="")
)
trainer.step(torch.arange(66).view(2, 33))
print(json.dumps({k: v for k, v in counters["aot_autograd"].items() if k.startswith("autograd")}))
"""


@pytest.mark.slow
def test_a_second_process_compiles_nothing(make_run: MakeRun, tmp_path: Path) -> None:
    counted = []
    for seed in range(2):
        config = tmp_path / f"{seed}.json"
        write_json(config, make_run("block_attnres", seed).model_dump(mode="json"))
        command = [sys.executable, "-c", STEP, str(config)]
        done = subprocess.run(command, capture_output=True, check=True, env=os.environ)
        counted.append(json.loads(done.stdout.splitlines()[-1]))
    assert counted[0] == {"autograd_cache_miss": 1, "autograd_cache_saved": 1}
    assert counted[1] == {"autograd_cache_hit": 1}
    assert list(tmp_path.glob("compiled/*/aotautograd"))
