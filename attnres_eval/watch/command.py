"""What stands behind `attnres-eval watch`."""

import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.live import Live

from attnres_eval.errors import UserError
from attnres_eval.sweep.storage import is_url, mirror_folder
from attnres_eval.watch.look import Watched
from attnres_eval.watch.view import View

Clock = Callable[[], float]
Sleep = Callable[[float], None]


def watch(
    where: str,
    interval: float,
    *,
    once: bool = False,
    console: Console | None = None,
    clock: Clock = time.time,
    sleep: Sleep = time.sleep,
) -> None:
    """Shows what a results folder holds until nothing is left and nobody works; only reads.

    In a terminal the view is drawn anew each time; elsewhere it is printed whenever a run's status
    or a whole percent has changed.

    Args:
        where: the folder, or the URL of a study that this machine runs.
        interval: seconds between two looks.
        once: print one view, and end.
        console: where to; standard output by default.
        clock: seconds since the epoch.
        sleep: waits for so many seconds.

    Raises:
        UserError: it is no results folder.
    """
    console = console or Console(highlight=False)
    watched = Watched(_folder(where))
    if once:
        console.print(View(watched.look(clock())))
    elif console.is_terminal:
        _draw(watched, interval, console, clock, sleep)
    else:
        _print(watched, interval, console, clock, sleep)


def _folder(where: str) -> Path:
    """The results folder: of a URL, the copy that the study's own process keeps.

    Raises:
        UserError: this machine has no copy of the URL.
    """
    if not is_url(where):
        return Path(where)
    folder = mirror_folder(where)
    if not (folder / "study.json").is_file():
        raise UserError(
            f"{where} is not at work here: run watch on the machine of `attnres-eval reproduce`,"
            " whose copy of the results it reads"
        )
    return folder


def _draw(watched: Watched, interval: float, console: Console, clock: Clock, sleep: Sleep) -> None:
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            state = watched.look(clock())
            # The last line of a terminal stays empty, so that nothing scrolls.
            live.update(View(state, console.height - 1), refresh=True)
            if state.ended:
                return
            sleep(interval)


def _print(watched: Watched, interval: float, console: Console, clock: Clock, sleep: Sleep) -> None:
    told: object = None
    while True:
        state = watched.look(clock())
        if state.changes() != told:
            if told is not None:
                console.print()
            console.print(View(state))
            console.file.flush()
            told = state.changes()
        if state.ended:
            return
        sleep(interval)
