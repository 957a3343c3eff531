"""Draws a state for a terminal of any size, or as plain text."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from attnres_eval.watch.grid import grid
from attnres_eval.watch.running import running_lines
from attnres_eval.watch.state import AT_WORK, PartState, State, Status
from attnres_eval.watch.symbols import ASCII, SYMBOLS, Symbols
from attnres_eval.watch.time_left import time_left
from attnres_eval.watch.words import counted, duration, headline

BAR = 24
FAILURES = 3
"""Failed runs that are told of where there is no room for all."""


@dataclass(frozen=True)
class View:
    """A state that rich can print."""

    state: State
    height: int | None = None
    """Lines there are; None for as many as it takes."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        symbols = ASCII if options.ascii_only else SYMBOLS
        lines = self._lines(console, options, symbols)
        for line in islice(lines, self.height):
            yield from line
            yield Segment.line()

    def _lines(
        self, console: Console, options: ConsoleOptions, symbols: Symbols
    ) -> list[list[Segment]]:
        """What matters most comes first; the grids take what room is left."""
        width = options.max_width

        def drawn(*renderables: Text | Table) -> list[list[Segment]]:
            return [
                line
                for renderable in renderables
                for line in console.render_lines(renderable, options, pad=False)
            ]

        def one_line(text: Text) -> Text:
            text.truncate(width, overflow="crop" if options.ascii_only else "ellipsis")
            return text

        lines = drawn(*map(one_line, self._head()), *self._progress())
        at_work = [run for run in self.state.runs if run.status in AT_WORK]
        room = None if self.height is None else max(2, (self.height - len(lines)) // 2)
        running = running_lines(at_work, self.state, width, room, symbols)
        lines += drawn(*map(one_line, [Text(""), *running] if running else []))
        failures = self._failures(symbols)
        lines += drawn(*(failures if self.height is None else map(one_line, failures)))
        parts = self.state.parts
        shown = parts if self.height is None else self._active(parts)
        for part in parts:
            title = [Text(""), one_line(_title(part))]
            if part not in shown and self.height is not None:
                title = title[1:]
            lines += drawn(*title)
            if part in shown and part.runs:
                rest = sum(other not in shown for other in parts[parts.index(part) + 1 :])
                room = None if self.height is None else self.height - len(lines) - rest
                lines += drawn(*grid(part, width, room, symbols))
        return lines

    def _head(self) -> list[Text]:
        return [Text(headline(self.state), style="bold")]

    def _progress(self) -> list[Table | Text]:
        state = self.state
        left = time_left(state)
        flops = sum(run.flops for run in state.runs)
        row = Table.grid(padding=(0, 1))
        row.add_row(
            ProgressBar(
                total=1.0,
                completed=state.fraction,
                width=BAR,
                complete_style="cyan",
                finished_style="cyan",
            ),
            f"{int(100 * state.fraction)}% of {flops:.3g} training FLOPs",
        )
        when = "unknown" if left.seconds is None else duration(left.seconds)
        text = f"time left to train: {when} ({left.basis})"
        unknown = [part.name for part in state.parts if not part.begun]
        if unknown and unknown != [""]:
            text += f"; without {', '.join(unknown)}, not begun"
        to_score = sum(part.to_score for part in state.parts)
        if to_score and left.seconds == 0:
            text += f"; {to_score} runs to score"
        return [row, Text(text)]

    def _failures(self, symbols: Symbols) -> list[Text]:
        failed = [run for run in self.state.runs if run.status == Status.FAILED]
        shown = failed if self.height is None else failed[:FAILURES]
        lines = [
            Text(f"{symbols.of[Status.FAILED]} {run.config.run}: {run.why}", style="red")
            for run in shown
        ]
        if len(failed) > len(shown):
            lines.append(Text(f"  and {len(failed) - len(shown)} more failed", style="red"))
        return [Text(""), *lines] if lines else []

    def _active(self, parts: Sequence[PartState]) -> list[PartState]:
        """The parts to show run by run where room is short: those at work, or the last begun."""
        begun = [part for part in parts if part.begun]
        return [part for part in begun if part.busy] or begun[-1:]


def _title(part: PartState) -> Text:
    name = f"{part.name}: " if part.name else ""
    return Text(f"{name}{counted(part) if part.begun else 'not begun'}", style="bold")
