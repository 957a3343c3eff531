"""Two lines for each run that is at work."""

from collections.abc import Sequence

from rich.text import Text

from attnres_eval.records import Metrics
from attnres_eval.watch.sparkline import curves
from attnres_eval.watch.state import RunState, State, Status
from attnres_eval.watch.symbols import Symbols
from attnres_eval.watch.words import duration, short

CURVE = 12
RECENT = 5
"""Lines of metrics behind the speed that is shown."""


def running_lines(
    runs: Sequence[RunState], state: State, width: int, room: int | None, symbols: Symbols
) -> list[Text]:
    """What the runs at work are doing.

    Args:
        runs: those at work.
        state: of the study.
        width: characters of a line.
        room: lines there are; None for as many as it takes.
        symbols: the terminal's.
    """
    baselines = {id(run): part.baseline for part in state.parts for run in part.runs}
    several = [part for part in state.parts if part.busy][1:]
    places = {id(run): f"{part.name} " for part in state.parts for run in part.runs if several}
    wanted = [
        _lines(run, baselines[id(run)], places.get(id(run), ""), width, symbols) for run in runs
    ]
    if room is None or sum(map(len, wanted)) <= room:
        return [line for lines in wanted for line in lines]
    # One line each where two are too many, and a count where even that is.
    shown = wanted[: len(wanted) if len(wanted) <= room else room - 1]
    lines = [lines[0] for lines in shown]
    if len(shown) < len(wanted):
        lines.append(Text(f"  and {len(wanted) - len(shown)} more at work"))
    return lines


def _lines(run: RunState, baseline: str, place: str, width: int, symbols: Symbols) -> list[Text]:
    head = Text(f"{symbols.of[run.status]} ", style="cyan")
    head.append(f"{place}{run.config.run}", style="bold")
    if run.status == Status.SCORING:
        head.append(f"  held-out loss {run.loss:.4f}, being scored or inspected")
        return [head]
    steps = run.config.steps
    if not run.curve:
        head.append(f"  0 of {steps} steps")
        return [head]
    last = run.curve[-1]
    head.append(f"  {last.step} of {steps} steps, {100 * last.step // steps}%")
    speed = _speed(run.curve)
    if speed:
        head.append(f", {duration((run.config.tokens - last.tokens) / speed)} left")
    own, other = curves([run.curve, _until(run.baseline, last.step)], steps, CURVE, symbols.levels)
    text = f"  {own} loss {last.loss:.3f}"
    beside = next((line for line in run.baseline if line.step == last.step), None)
    if beside is not None:
        text += f"  {other} {baseline} {beside.loss:.3f}"
    more = f", {short(speed)}/s" if speed else ""
    details = f"  {short(last.tokens)} tokens{more}"
    return [head, Text(text + details)] if len(text + details) <= width else [head, Text(text)]


def _until(curve: Sequence[Metrics], step: int) -> list[Metrics]:
    return [line for line in curve if line.step <= step]


def _speed(curve: Sequence[Metrics]) -> float | None:
    """Tokens a second over the last lines; over the whole run where there is one line."""
    first, last = curve[-RECENT:][0], curve[-1]
    seconds = last.seconds - first.seconds
    if seconds > 0:
        return (last.tokens - first.tokens) / seconds
    return last.tokens_per_second or None
