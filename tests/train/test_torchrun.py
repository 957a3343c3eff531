"""A crash in a thread of gloo starts processes again; one of our own code does not."""

from pathlib import Path

import pytest
from torchrun import STARTS, torchrun

CRASHES = {
    "Python's thread": "libc.strlen(None)",
    "another": "libc.pthread_create(ctypes.byref(ctypes.c_ulong()), None, libc.strlen, None)",
}
PROGRAM = """\
import ctypes, sys, time
with open(sys.argv[1], "a") as file:
    file.write("started\\n")
libc = ctypes.CDLL(None)
{crash}
time.sleep(60)
"""


@pytest.mark.parametrize(("thread", "starts"), [("Python's thread", 1), ("another", STARTS)])
def test_a_crash_outside_python_starts_again(tmp_path: Path, thread: str, starts: int) -> None:
    program, log = tmp_path / "program.py", tmp_path / "log"
    program.write_text(PROGRAM.format(crash=CRASHES[thread]))
    assert "(SIGSEGV)" in torchrun(str(program), str(log), code=1, processes=1)
    assert log.read_text().split() == ["started"] * starts
