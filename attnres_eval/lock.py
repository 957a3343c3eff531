"""One process at a time works in a folder; the next one is told which.

The lock is the operating system's (flock, through `filelock`), so that a process that dies, however
it dies, holds nothing any more. Beside it lies a record of the holder, which the holder touches
every few seconds. On a shared file system that does not pass locks on to other machines, a record
of another machine that was touched within `DEAD_AFTER` counts as a lock; one that was not is a
dead process's. Assumed is that machines which share a folder see a file's new time within that
span. Times are compared with the file system's own clock, not with this machine's.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from attnres_eval.errors import UserError
from attnres_eval.files import write_json, writing
from attnres_eval.records import Record, read_record

LOCK, HOLDER = ".lock", ".holder.json"
BEAT_SECONDS = 5.0
DEAD_AFTER = 60.0
"""Seconds without a touch after which another machine's process counts as dead."""


class Holder(Record):
    """Who works in a folder."""

    pid: int
    host: str
    since: str
    """Local time."""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


@contextlib.contextmanager
def holding(folder: Path, wait: float = 0.0) -> Iterator[None]:
    """Holds a folder while the body runs, and makes it where it is not there.

    Args:
        folder: what nobody else may work in.
        wait: seconds to wait for a holder to end.

    Raises:
        UserError: another process holds it, or it cannot be written.
    """
    lock = FileLock(folder / LOCK, timeout=wait)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout:
            raise UserError(_taken(folder, holder_of(folder))) from None
    try:
        deadline = time.monotonic() + wait
        while (found := holder_of(folder)) and _lives_elsewhere(found, folder):
            if time.monotonic() >= deadline:
                raise UserError(_taken(folder, found))
            time.sleep(1)
        now = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        holder = Holder(pid=os.getpid(), host=socket.gethostname(), since=now)
        write_json(folder / HOLDER, holder.model_dump())
        stop = threading.Event()
        threading.Thread(target=_beat, args=(folder / HOLDER, stop), daemon=True).start()
        try:
            yield
        finally:
            stop.set()
            (folder / HOLDER).unlink(missing_ok=True)
    finally:
        # Still held: who opened this file meanwhile finds it without a name, and opens a new one.
        (folder / LOCK).unlink(missing_ok=True)
        lock.release()


def holder_of(folder: Path) -> Holder | None:
    """Who last said to hold a folder; None where nobody did, or the record cannot be read."""
    try:
        return read_record(folder / HOLDER, Holder)
    except UserError:
        return None


def _taken(folder: Path, holder: Holder | None) -> str:
    who = holder or "another process"
    return f"{folder} is being worked on by {who}; wait for it, end it, or name another folder"


def _lives_elsewhere(holder: Holder, folder: Path) -> bool:
    """Whether a holder is on another machine and touched its record lately."""
    if holder.host == socket.gethostname():
        return False  # The lock would not have been had.
    (folder / LOCK).touch()
    age = (folder / LOCK).stat().st_mtime - (folder / HOLDER).stat().st_mtime
    return age < DEAD_AFTER


def _beat(path: Path, stop: threading.Event) -> None:
    while not stop.wait(BEAT_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(path)
