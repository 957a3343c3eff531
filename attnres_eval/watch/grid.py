"""All runs of a part: a row a label, a column a size, a symbol a seed."""

import statistics

from rich.table import Table
from rich.text import Text

from attnres_eval.watch.state import AT_WORK, PartState, RunState, Status
from attnres_eval.watch.symbols import Symbols

MOST_SYMBOLS = 6
"""Seeds of a cell that have a symbol each; more are counted."""
GAP = 2
NUMBER = "held-out loss"
"""What the number of a cell is: the mean over its runs that have one, nats per token."""
COLOURS = {Status.RUNNING: "cyan", Status.SCORING: "cyan", Status.FAILED: "red"}


def grid(part: PartState, width: int, room: int | None, symbols: Symbols) -> list[Table | Text]:
    """The runs of a part, with the mean held-out loss of those that have ended.

    Args:
        part: what to show.
        width: characters of a line.
        room: lines there are; None for as many as it takes. Rows of runs that are at work or have
            failed go before others then.
        symbols: the terminal's.
    """
    cells: dict[str, dict[str, list[RunState]]] = {}
    for run in part.runs:
        cells.setdefault(run.config.label, {}).setdefault(run.config.size, []).append(run)
    sizes = list(dict.fromkeys(run.config.size for run in part.runs))
    texts = {
        label: {size: _cell(runs, symbols) for size, runs in row.items()}
        for label, row in cells.items()
    }
    labels = list(cells)
    chosen = labels if room is None else _rows(cells, room - 2)
    shown, dropped = _columns(texts, sizes, cells, width)
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), show_header=True)
    table.add_column(NUMBER, no_wrap=True, header_style="dim")
    for size in shown:
        table.add_column(size, no_wrap=True, header_style="dim")
    for label in chosen:
        table.add_row(label, *(texts[label].get(size, Text("")) for size in shown))
    last = []
    if len(chosen) < len(labels):
        last.append(f"{len(labels) - len(chosen)} labels more")
    if dropped:
        last.append(f"{dropped} sizes more")
    note = f"{symbols.more} {' and '.join(last)}: --once shows all" if last else symbols.legend()
    if room is not None and room < 3:
        return []
    return [table, Text(note[:width], style="dim")]


def _cell(runs: list[RunState], symbols: Symbols) -> Text:
    losses = [run.loss for run in runs if run.loss is not None]
    text = Text(f"{statistics.fmean(losses):.4f} " if losses else "")
    if len(runs) <= MOST_SYMBOLS:
        for run in runs:
            text.append(symbols.of[run.status], style=COLOURS.get(run.status, ""))
        return text
    for status, symbol in symbols.of.items():
        number = sum(run.status == status for run in runs)
        if number:
            text.append(f"{number}{symbol}", style=COLOURS.get(status, ""))
    return text


def _urgent(runs: list[RunState]) -> bool:
    return any(run.status in (*AT_WORK, Status.FAILED) for run in runs)


def _rows(cells: dict[str, dict[str, list[RunState]]], room: int) -> list[str]:
    """The labels for which there is room, in their order."""

    def rank(label: str) -> int:
        runs = [run for row in cells[label].values() for run in row]
        if _urgent(runs):
            return 0
        return 1 if any(run.loss is not None for run in runs) else 2

    first = sorted(cells, key=rank)[: max(0, room)]
    return [label for label in cells if label in first]


def _columns(
    texts: dict[str, dict[str, Text]],
    sizes: list[str],
    cells: dict[str, dict[str, list[RunState]]],
    width: int,
) -> tuple[list[str], int]:
    """The sizes for which there is room, those with runs at work first, and how many have none."""
    room = width - max(map(len, (NUMBER, *texts))) - GAP
    widths = {
        size: GAP + max(len(size), *(row[size].cell_len for row in texts.values() if size in row))
        for size in sizes
    }
    urgent = {size for row in cells.values() for size, runs in row.items() if _urgent(runs)}
    shown: set[str] = set()
    for size in sorted(sizes, key=lambda size: size not in urgent):
        if widths[size] <= room:
            shown.add(size)
            room -= widths[size]
    return [size for size in sizes if size in shown], len(sizes) - len(shown)
