"""One character for each status; none is told by its colour alone."""

from dataclasses import dataclass

from attnres_eval.watch import sparkline
from attnres_eval.watch.state import Status


@dataclass(frozen=True)
class Symbols:
    """The characters of a terminal."""

    of: dict[Status, str]
    levels: str
    more: str

    def legend(self) -> str:
        """All of them with their meaning."""
        return "  ".join(f"{symbol} {status}" for status, symbol in self.of.items())


SYMBOLS = Symbols(
    {
        Status.WAITING: "·",
        Status.RUNNING: "▶",
        Status.STOPPED: "‖",
        Status.FINISHED: "✓",
        Status.SCORING: "◐",
        Status.SCORED: "★",
        Status.FAILED: "✗",
    },
    sparkline.BLOCKS,
    "…",
)
ASCII = Symbols(
    {
        Status.WAITING: ".",
        Status.RUNNING: ">",
        Status.STOPPED: "=",
        Status.FINISHED: "+",
        Status.SCORING: "o",
        Status.SCORED: "*",
        Status.FAILED: "x",
    },
    sparkline.ASCII,
    "...",
)
