"""The one exception that a user is meant to read, and what of the system's own is put into it."""

import errno

UNWRITABLE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "make it writable, or name another"),
    errno.EIO: "look after the disk",
}
"""What keeps a file from being written through no fault of this package, and what to do."""


class UserError(Exception):
    """Bad input. Its message is one line: what is wrong, where, and what to do.

    The command line prints it without a traceback and exits with code 2. What is quoted in it may
    come from anyone's file: what cannot be printed in a line, such as what would move a terminal's
    cursor, is a blank.
    """

    def __init__(self, message: str) -> None:
        super().__init__("".join(c if c.isprintable() else " " for c in message))


def cannot_be_written(path: object, error: OSError) -> str:
    """One line for a file that the system does not let be written; no file is half there."""
    todo = UNWRITABLE.get(error.errno or 0, "see to that")
    reason = error.strerror or " ".join(str(error).split())[:200]
    return f"{path} cannot be written ({reason}); {todo}, then run the same command again"


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory is used up; torch has RuntimeErrors of its own."""
    text = str(error).lower()
    says = "out of memory" in text or "can't allocate memory" in text
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and says)
