"""Whether the process that says to work in a folder still does."""

import os
import socket
from datetime import datetime
from pathlib import Path

from attnres_eval.lock import DEAD_AFTER, HOLDER, Holder, holder_of


def at_work(folder: Path, now: float) -> Holder | None:
    """Who works in a folder, told without touching its lock; None where nobody does.

    A holder touches its record every few seconds (`attnres_eval.lock`): one that has not for
    `DEAD_AFTER`, or that is of this machine and no process any more, is dead.

    Args:
        folder: a results folder, or a run's.
        now: seconds since the epoch.
    """
    try:
        age = now - (folder / HOLDER).stat().st_mtime
    except OSError:
        return None
    holder = holder_of(folder) if age < DEAD_AFTER else None
    if holder is None or (holder.host == socket.gethostname() and not _lives(holder.pid)):
        return None
    return holder


def since(holder: Holder) -> float:
    """When a holder began, in seconds since the epoch."""
    try:
        return datetime.fromisoformat(holder.since).timestamp()
    except ValueError:
        return 0.0


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True
