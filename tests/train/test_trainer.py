from collections.abc import Callable

import pytest
import torch

from attnres_eval.model.kernels import switch
from attnres_eval.model.kernels.switch import use_tiles
from attnres_eval.study import RunConfig
from attnres_eval.train.device import describe_machine
from attnres_eval.train.trainer import Trainer

CPU = torch.device("cpu")


@pytest.mark.parametrize("variant", ["prenorm", "full_attnres", "block_attnres"])
def test_checkpointed_layers_are_computed_again_as_the_record_says(
    variant: str, make_run: Callable[..., RunConfig]
) -> None:
    """In plain torch, though kernels are there: a run that began without them stays without."""
    gradients = []
    for again in (False, True):
        config = make_run(variant, activation_checkpointing=again)
        trainer = Trainer(config, CPU)
        machine = describe_machine(config, CPU, 1.0)
        trainer.compute_as(machine.model_copy(update={"kernels": False}))
        tokens = torch.arange(4 * 33).view(4, 33) % config.shape.vocab_size
        trainer.gradients(tokens)
        gradients.append([p.grad for p in trainer.model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_a_batch_that_no_rank_would_compute_whole_is_refused(
    make_run: Callable[..., RunConfig],
) -> None:
    config = make_run("prenorm")
    trainer = Trainer(config, CPU)
    trainer.compute_as(describe_machine(config, CPU, 1.0))
    sequences = config.recipe.batch_sequences
    with pytest.raises(ValueError, match=f"the recipe's has {sequences}"):
        trainer.gradients(torch.zeros(sequences + 1, 33, dtype=torch.long))


@pytest.mark.usefixtures("tiles")
def test_a_run_uses_tiles_as_its_record_says(make_run: Callable[..., RunConfig]) -> None:
    run = make_run("full_attnres", precision="bf16")
    # Wide enough for tiles to be used, and for their sums' order to show in the losses.
    wide = run.shape.model_copy(update={"d_model": 72, "head_dim": 36, "d_ff": 200})
    config = run.model_copy(update={"shape": wide})
    use_tiles(True)
    machine = describe_machine(config, CPU, 1.0)
    assert machine.tiles is True
    assert describe_machine(make_run(), CPU, 1.0).tiles is None

    def losses(tiles: bool | None) -> list[float]:
        trainer = Trainer(config, CPU)
        trainer.compute_as(machine.model_copy(update={"tiles": tiles}))
        tokens = torch.arange(4 * 33).view(4, 33) % config.shape.vocab_size
        return [trainer.step(tokens) for _ in range(4)]

    by_tiles = losses(True)
    use_tiles(False)
    assert describe_machine(config, CPU, 1.0).tiles is False
    assert losses(True) == by_tiles
    assert losses(False) == losses(None) != by_tiles
    assert losses(False) == pytest.approx(by_tiles, rel=1e-2)


def test_elsewhere_the_processors_kernels_are_not_asked_for(
    make_run: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would be compiled, on every rank of a run on accelerators."""
    config = make_run()
    trainer = Trainer(config, CPU)
    trainer.compute_as(describe_machine(config, CPU, 1.0))
    trainer.device = torch.device("cuda")
    monkeypatch.setattr(switch, "library", lambda: pytest.fail("compiled"))
    for tiles in (None, False, True):
        for kernels in (False, True):
            update = {"device": "cuda", "kernels": kernels, "tiles": tiles}
            trainer.machine = trainer.machine.model_copy(update=update)
            with trainer.kernels():
                pass
