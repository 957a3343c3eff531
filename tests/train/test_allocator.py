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
faults(), faults()
print(faults())
"""


def faults_of_a_step(setting: str) -> int:
    """Page faults of allocating and freeing 160 MB for the third time, in a fresh process."""
    code = STEP.format(setting=setting)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_freed_memory_is_not_faulted_in_again() -> None:
    kept = faults_of_a_step(
        "from attnres_eval.train.allocator import keep_freed_memory; keep_freed_memory()"
    )
    assert kept < 1000
    assert faults_of_a_step("") > 10 * kept
