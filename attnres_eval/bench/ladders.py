"""Along what the growth of a residual's cost is measured, and what theory expects there."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from attnres_eval.cost import model_cost
from attnres_eval.variants import parse_options


@dataclass(frozen=True)
class Setting:
    """One point: a decoder, the tokens of a step, and options by variant."""

    size: str
    context: int
    tokens: int
    options: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Ladder:
    """A row of settings that differ in one number."""

    name: str
    axis: str
    points: tuple[int, ...]
    setting: Callable[[int], Setting]
    theory: dict[str, float]
    """By variant, the power of the number in the residual's arithmetic of a step: Full AttnRes
    does L^2 d a token, Block AttnRes L N d (arXiv:2603.15031)."""

    @property
    def variants(self) -> tuple[str, ...]:
        """The variants that are measured beside PreNorm."""
        return tuple(self.theory)

    def up_to(self, point: int) -> "Ladder":
        """The ladder without its points beyond one."""
        return replace(self, points=tuple(at for at in self.points if at <= point))

    def counted(self, variant: str, point: int) -> float:
        """The residual's forward FLOPs of a step by `attnres_eval.cost`."""
        from attnres_eval.bench.sizes import bench_shape

        setting = self.setting(point)
        options = parse_options(variant, setting.options.get(variant, {}))
        shape = bench_shape(setting.size, setting.context)
        return model_cost(shape, variant, options).residual_flops_per_token * setting.tokens


BLOCKS = {"block_attnres": {"num_blocks": 8}}
LADDERS = (
    Ladder(
        name="depth",
        axis="Transformer blocks",
        points=(4, 8, 16, 32, 64),
        setting=lambda n_layers: Setting(f"d64x{n_layers}", 256, 1024, BLOCKS),
        theory={"block_attnres": 1.0, "full_attnres": 2.0},
    ),
    Ladder(
        name="sequence length",
        axis="Tokens of a sequence",
        points=(128, 256, 512, 1024, 2048, 4096),
        setting=lambda context: Setting("d64x8", context, 4 * context, BLOCKS),
        theory={"block_attnres": 1.0, "full_attnres": 1.0},
    ),
    Ladder(
        name="sources",
        axis="Number of blocks N",
        points=(1, 2, 4, 8, 16, 32),
        setting=lambda blocks: Setting(
            "d64x16", 256, 2048, {"block_attnres": {"num_blocks": blocks}}
        ),
        theory={"block_attnres": 1.0},
    ),
)
