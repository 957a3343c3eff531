"""Keeps freed memory with a training process, which asks for the same sizes at every step."""

import contextlib
import ctypes

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
"""Numbers of glibc's mallopt for what they are named after (malloc.h)."""


def keep_freed_memory() -> None:
    """Stops glibc from giving memory back to the system between steps, to be faulted in again.

    Blocks up to its largest threshold, 32 MiB, come from a heap that does not shrink. Other C
    libraries are left as they are.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(MMAP_THRESHOLD, 32 * 2**20)
        mallopt(TRIM_THRESHOLD, 2**31 - 1)
