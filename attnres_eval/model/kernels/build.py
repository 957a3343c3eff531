"""Compiles the kernels once for a processor and keeps the library with the user's caches."""

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from attnres_eval.data.prepare import cache_folder
from attnres_eval.files import replacing

SOURCES = Path(__file__).parent / "cpp"
FLAGS = (
    *("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-ffp-contract=fast"),
    *("-fno-trapping-math", "-fPIC", "-shared", "-w"),
)
COMPILE_SECONDS = 600


def compiler() -> list[str] | None:
    """The C++ compiler's command: `$CXX`, else the first that is installed; None without one."""
    named = os.environ.get("CXX")
    for name in [named] if named else ["c++", "g++", "clang++"]:
        command = shlex.split(name)
        if command and shutil.which(command[0]):
            return command
    return None


def _processor() -> str:
    """What decides which instructions `-march=native` takes."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    wanted = ("model name", "flags", "Features", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels; None where they cannot be compiled.

    They are optional: everything has the same meaning in plain torch. `ATTNRES_EVAL_KERNELS=0`
    leaves them out, `ATTNRES_EVAL_TILES=0` their use of the processor's matrix tiles.
    """
    command = compiler()
    if command is None or os.environ.get("ATTNRES_EVAL_KERNELS") == "0":
        return None
    parts = [path.read_text(encoding="utf-8") for path in sorted(SOURCES.iterdir())]
    parts += [" ".join((*command, *FLAGS)), _processor(), platform.machine()]
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    path = cache_folder() / "kernels" / f"{key}.so"
    try:
        with contextlib.suppress(OSError):
            if path.is_file():
                return _load(path)
        # Not there yet, or damaged.
        return _built(command, path)
    except (OSError, subprocess.SubprocessError) as error:
        _tell(error)
        return None


def _tell(error: Exception) -> None:
    """Says in a line that there are none: a study would be slow for no visible reason."""
    why = str(error)
    if isinstance(error, subprocess.CalledProcessError):
        lines = error.stderr.decode(errors="replace").splitlines()
        why = next((line for line in lines if "error" in line), f"exit code {error.returncode}")
    print(
        f"the compiled kernels could not be built ({why}); plain torch is used, several times"
        " slower. $CXX names another compiler, $ATTNRES_EVAL_CACHE another folder for them;"
        " ATTNRES_EVAL_KERNELS=0 asks for plain torch",
        file=sys.stderr,
    )


def _load(path: Path) -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(path))
    loaded.use_tiles(int(os.environ.get("ATTNRES_EVAL_TILES") != "0"))
    return loaded


def _built(command: list[str], path: Path) -> ctypes.CDLL:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as new:
        _compile(command, new)
    return _load(path)


def _compile(command: list[str], target: Path) -> None:
    """With threads where the compiler has them, without where not."""
    arguments = [*command, *FLAGS, str(SOURCES / "kernels.cpp"), "-o", str(target)]
    for extra in (["-fopenmp"], []):
        ended = subprocess.run(
            [*arguments, *extra], capture_output=True, timeout=COMPILE_SECONDS, check=False
        )
        if ended.returncode == 0:
            return
    ended.check_returncode()
