"""Studies over rates, shapes and options, for the tests of what is made of them."""

from collections.abc import Mapping
from typing import Any

from attnres_eval.study import Study

WIDTH_8 = {"d_model": 32, "n_layers": 8, "n_heads": 2}
# Of one budget: PreNorm's FLOPs are equal to 0.3%.
SHAPES = {
    "l16": {"d_model": 34, "n_layers": 16, "n_heads": 1, "tokens": 4_364_288},
    "l4": {"d_model": 68, "n_layers": 4, "n_heads": 2, "tokens": 5_148_672},
    "l8": {"d_model": 48, "n_layers": 8, "n_heads": 2, "tokens": 4_915_200},
    "l32": {"d_model": 24, "n_layers": 32, "n_heads": 1, "tokens": 3_930_112},
}


def study_of(
    variants: Mapping[str, Any],
    sizes: Mapping[str, Any] | None = None,
    seeds: tuple[int, ...] = (0, 1),
) -> Study:
    """A study without tasks."""
    return Study.model_validate(
        {
            "name": "swept",
            "variants": dict(variants),
            "sizes": dict(sizes or {"d32": WIDTH_8}),
            "seeds": list(seeds),
            "data": {"vocab_size": 512},
            "recipe": {"context": 256, "batch_sequences": 8},
            "evaluation": {"sizes": "none", "tasks": {}},
        }
    )


def rates_study(seeds: tuple[int, ...] = (0, 1)) -> Study:
    """PreNorm and Full AttnRes at five rates, mHC at three."""
    grid = [0.125, 0.25, 0.5, 1, 2]
    return study_of(
        {
            "prenorm": {"learning_rate_scale": grid},
            "full_attnres": {"learning_rate_scale": grid},
            "mhc": {"learning_rate_scale": [0.5, 1, 2]},
        },
        seeds=seeds,
    )


def shapes_study() -> Study:
    """Three variants at four depths, out of order."""
    return study_of(
        {"prenorm": {}, "full_attnres": {}, "block_attnres": {"num_blocks": 4}},
        SHAPES,
        (0, 1, 2),
    )


def shapes_study_at_own_rates() -> Study:
    """PreNorm and Full AttnRes at four depths, at one rate for all and at rates of their own."""
    rates = {"learning_rate_scale": [1, dict.fromkeys(SHAPES, 0.5)]}
    return study_of({"prenorm": rates, "full_attnres": rates, "mhc": {}}, SHAPES, (0, 1, 2))


def blocks_study() -> Study:
    """Block AttnRes with 1 to 8 blocks, at two rates."""
    named = {f"n{n}": {"variant": "block_attnres", "num_blocks": n} for n in (1, 2, 4)}
    half = {
        f"h{n}": {"variant": "block_attnres", "num_blocks": n, "learning_rate_scale": 0.5}
        for n in (1, 2, 8)
    }
    return study_of({"prenorm": {}, "block_attnres": {"num_blocks": 8}, **named, **half})
