"""What doubling a study's largest size does to FLOPs, hours and memory. Torch-free."""

from typing import Any

from attnres_eval.study import RunConfig, Study
from attnres_eval.sweep.plan_hardware import GIB, Fleet, run_memory, stored_flops

DOUBLINGS = ("none", "d_model", "n_layers", "tokens", "context")


def doubled(run: RunConfig, what: str) -> RunConfig:
    """The run with one of its numbers doubled.

    `d_model` doubles the number of heads and d_ff with it; `context` keeps the tokens of a step
    and of the run, in half as many sequences.
    """
    shape, recipe = run.shape, run.recipe
    if what == "d_model":
        names = ("d_model", "n_heads", "n_kv_heads", "d_ff")
        changes = {"shape": shape.model_copy(update={n: 2 * getattr(shape, n) for n in names})}
    elif what == "n_layers":
        changes = {"shape": shape.model_copy(update={"n_layers": 2 * shape.n_layers})}
    elif what == "tokens":
        return run.model_copy(update={"steps": 2 * run.steps})
    elif what == "context":
        sequences = max(1, recipe.batch_sequences // 2)
        return run.model_copy(
            update={
                "shape": shape.model_copy(update={"context": 2 * shape.context}),
                "recipe": recipe.model_copy(
                    update={"context": 2 * recipe.context, "batch_sequences": sequences}
                ),
            }
        )
    else:
        return run
    return run.model_copy(update=changes)


def growth_rows(study: Study, used: Fleet) -> list[dict[str, Any]]:
    """One row for each variant of the largest size and each doubling.

    Ratios are to the size as it is; GPU hours grow with FLOPs.
    """
    rows = []
    for label in study.variants:
        run = study.run(label, study.largest_size, study.seeds[0])
        base: dict[str, float] = {}
        for what in DOUBLINGS:
            priced = _priced(doubled(run, what), used)
            base = base or priced
            ratios = {f"{name}_ratio": value / base[name] for name, value in priced.items()}
            rows.append({"variant": label, "size": run.size, "doubled": what, **priced, **ratios})
    return rows


def _priced(run: RunConfig, used: Fleet) -> dict[str, float]:
    memory, checkpointed = (
        run_memory(run, used, activation_checkpointing=checkpointing).total / GIB
        for checkpointing in (False, True)
    )
    return {
        "gpu_hours": used.device_seconds(stored_flops(run)) / 3600,
        "gib_per_device": memory,
        "gib_per_device_ckpt": checkpointed,
    }
