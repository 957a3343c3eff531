"""An interrupt ends the process soon, whatever it is doing.

Python acts on Ctrl-C between two of its own instructions; a tokenizer that is being trained, or one
long operation of torch, may keep it from there for minutes. What is written here survives being
killed at any moment, so that a process which has not ended by itself may as well be ended.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

GRACE_SECONDS = 1.0
"""From an interrupt until the process is ended, where it has not ended by itself."""
INTERRUPTED = 130
"""Exit code, as shells have it: 128 and the number of the signal."""


@contextlib.contextmanager
def ending_on_interrupt() -> Iterator[None]:
    """While it lasts, an interrupt ends the process after `GRACE_SECONDS` at the latest.

    To be entered in the main thread. Where interrupts are ignored nothing changes.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader,), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writer)


def _watch(reader: int) -> None:
    """Reads the signals that arrive, until the other end is closed."""
    while (number := os.read(reader, 1)) and number[0] != signal.SIGINT:
        pass
    if number:
        time.sleep(GRACE_SECONDS)
        print("interrupted: run the same command again to go on", file=sys.stderr, flush=True)
        os._exit(INTERRUPTED)
