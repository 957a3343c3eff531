"""Keeps freed memory with a training process, which asks for the same sizes at every step.

That is faster, and holds back a part of what was used: `$ATTNRES_EVAL_KEEP_MEMORY=0` gives every
tensor of 64 KiB or more back to the system as soon as it is freed.
"""

import contextlib
import ctypes
import os

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
"""Numbers of glibc's mallopt for what they are named after (malloc.h)."""


def keep_freed_memory() -> None:
    """Stops glibc from giving memory back to the system between steps, to be faulted in again.

    Blocks up to its largest threshold, 32 MiB, come from a heap that does not shrink; or, where
    the environment says so, blocks from 64 KiB on are mapped one by one. Other C libraries are
    left as they are.
    """
    keep = os.environ.get("ATTNRES_EVAL_KEEP_MEMORY") != "0"
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(MMAP_THRESHOLD, 32 * 2**20 if keep else 64 * 2**10)
        mallopt(TRIM_THRESHOLD, 2**31 - 1 if keep else 128 * 2**10)
