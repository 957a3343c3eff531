import os
import platform
import subprocess
import sys

import pytest

STEP = """
import resource, torch
{setting}
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    kept = [torch.ones(1_000_000) for _ in range(40)]
    del kept
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults(), faults())
"""


GIVES_BACK = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
"""glibc's first thresholds, held there: left alone it moves them by what was freed, and then keeps
what happens to lie below a later allocation, which differs from process to process."""


def faults_of_steps(setting: str) -> list[int]:
    """Page faults of allocating and freeing 160 MB the second and the third time, in a process."""
    code = STEP.format(setting=setting)
    environment = os.environ | GIVES_BACK
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    return [int(word) for word in done.stdout.split()]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_freed_memory_is_not_faulted_in_again() -> None:
    kept = faults_of_steps(
        "from attnres_eval.train.allocator import keep_freed_memory; keep_freed_memory()"
    )
    given_back = faults_of_steps("")
    # A block or two for which the kept memory has no room in one piece may be new at every step.
    assert given_back[-1] > 10 * kept[-1]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_freed_memory_is_given_back_where_the_environment_says_so() -> None:
    """Blocks below the 32 MiB from which glibc maps each by itself anyway."""
    code = """
import os, pathlib, torch
from attnres_eval.train.allocator import keep_freed_memory

def resident():
    pages = pathlib.Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")

for keep in "01":
    os.environ["ATTNRES_EVAL_KEEP_MEMORY"] = keep
    keep_freed_memory()
    before = resident()
    blocks = [torch.ones(250_000) for _ in range(100)]
    del blocks[:-1]
    print(resident() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    given_back, kept = map(int, done.stdout.split())
    assert given_back < 10 * 2**20
    assert kept > 80 * 2**20
