"""Results behind an fsspec URL, such as `s3://bucket/prefix`, and their copies at work.

Everything that reads or writes results does so in a folder. Where results are to lie behind a URL,
that folder is a mirror: filled before work starts, and copied back when something is finished. The
controller's mirror lies in the cache and holds all but weights and checkpoints; a run's lies on the
node that works on it, for as long as it does, and holds all of that run.

Objects are replaced whole, by the drivers. What consists of several files ends with one that makes
it whole, which is written after the others and deleted before them: `state.json` of a checkpoint
to resume from, `summary.json` of a run. A reader takes no notice of the rest without it.
"""

import contextlib
import hashlib
import os
import shutil
import socket
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from attnres_eval.data.prepare import cache_folder
from attnres_eval.errors import UserError
from attnres_eval.files import read_json, write_json

CHECKPOINT_END, RUN_END = "state.json", "summary.json"
OURS = (
    *("study.json", "origin.json", "protocol.md", "calibration.json", "runs", "tables", "figures"),
    *("report.html", "report.md", "tracking"),
)
"""What lies at the top of results; whatever else does is left alone."""


class Wanted(Protocol):
    """Which files a mirror holds."""

    def __call__(self, name: str, there: Collection[str]) -> bool:
        """Whether a file is to be fetched, given all names behind the URL."""


def records(name: str, there: Collection[str]) -> bool:
    """What a study's controller wants: all of a study but weights and checkpoints."""
    parts = name.split("/")
    return parts[0] in OURS and not (
        parts[0] == "runs" and {"checkpoint", "resume"} & {*parts[2:3]}
    )


def whole(name: str, there: Collection[str]) -> bool:
    """What the worker on a run wants: all but what is not, or not yet, whole."""
    parts = PurePosixPath(name).parts
    if parts[0] == "resume":
        return "/".join([*parts[:2], CHECKPOINT_END]) in there
    return parts[0] != "checkpoint" or RUN_END in there


@dataclass(frozen=True)
class _Copy:
    """A file as it was when it was last the same on both sides."""

    there: str
    """Hash of what the driver says of it; empty where it has not been asked since."""
    size: int
    mtime_ns: int

    def is_still(self, path: Path) -> bool:
        """Whether the local file has not been written or deleted since."""
        try:
            found = path.stat()
        except OSError:
            return False
        return (found.st_size, found.st_mtime_ns) == (self.size, self.mtime_ns)


class Mirror:
    """A local copy of what lies behind a URL. One process at a time works with it."""

    def __init__(self, url: str, folder: Path, wanted: Wanted) -> None:
        """Makes the folder; nothing is fetched yet.

        Args:
            url: fsspec's, with its driver's name in front.
            folder: what becomes the copy, and holds nothing else.
            wanted: which files.

        Raises:
            UserError: no driver can open the URL, or the folder cannot be made.
        """
        self.url, self.folder = url.rstrip("/"), folder
        self._wanted, self._index = wanted, folder.with_name(f"{folder.name}.index.json")
        with _clearly(self.url, "opened"):
            import fsspec

            self._driver, root = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        self._root = root.rstrip("/")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{folder}, the copy of {url}, cannot be made: {error}") from None
        self._copies = self._read_index()

    def refuse_others(self) -> None:
        """Refuses a place that holds something, and nothing of a study.

        Raises:
            UserError: it does, or it cannot be read.
        """
        with _clearly(self.url, "read"):
            try:
                paths = self._driver.ls(self._root, detail=False)
            except FileNotFoundError:
                # No such folder, which is well, or no such bucket, which writing then says.
                return
            names = {path.removeprefix(self._root).strip("/") for path in paths}
        if names and not names & {*OURS}:
            raise UserError(
                f"{self.url} holds other things ({min(names) or 'it is a file'}) and no study;"
                " add a folder's name to it"
            )

    def pull(self, below: str = "", name: str = "") -> None:
        """Fetches what has changed behind the URL, over what is here.

        Without arguments, what is gone there goes here too.

        Args:
            below: only files below this folder.
            name: only files of this name.

        Raises:
            UserError: it cannot be read.
        """
        with _clearly(self.url, "read"):
            there = self._listing(below)
            stale = [
                file
                for file, found in there.items()
                if self._wanted(file, there)
                and (not name or PurePosixPath(file).name == name)
                and not self._has(file, found)
            ]
            for file in stale:
                (self.folder / file).parent.mkdir(parents=True, exist_ok=True)
            if stale:
                self._driver.get(
                    [f"{self._root}/{file}" for file in stale],
                    [str(self.folder / file) for file in stale],
                )
        for file in stale:
            self._note(file, there[file])
        if not below and not name:
            for file in set(self._here()) - there.keys():
                (self.folder / file).unlink()
                self._copies.pop(file, None)
            _drop_empty(self.folder)
        self._write_index()

    def push(self) -> None:
        """Copies back what has changed here, and deletes behind the URL what has been deleted here.

        Raises:
            UserError: it cannot be written.
        """
        here = self._here()
        gone = sorted(self._copies.keys() - here, key=_order, reverse=True)
        changed = [file for file in here if not self._has(file)]
        with _clearly(self.url, "written"):
            # Before the study that no longer has them is written.
            gone = self._delete_runs(gone)
            for rank in sorted({_order(file) for file in changed}):
                group = [file for file in changed if _order(file) == rank]
                before = {file: (self.folder / file).stat() for file in group}
                self._driver.put(
                    [str(self.folder / file) for file in group],
                    [f"{self._root}/{file}" for file in group],
                )
                for file, found in before.items():
                    self._copies[file] = _Copy("", found.st_size, found.st_mtime_ns)
            for file in gone:
                with contextlib.suppress(FileNotFoundError):
                    self._driver.rm_file(f"{self._root}/{file}")
                del self._copies[file]
        self._write_index()

    def _delete_runs(self, gone: list[str]) -> list[str]:
        """Deletes runs that are gone here altogether, with the weights that never were here.

        Returns:
            The other files that are gone.
        """
        runs = {"/".join(file.split("/")[:2]) for file in gone if file.startswith("runs/")}
        for run in sorted(run for run in runs if not (self.folder / run).exists()):
            for path, recursive in ((f"{run}/{RUN_END}", False), (run, True)):
                with contextlib.suppress(FileNotFoundError):
                    self._driver.rm(f"{self._root}/{path}", recursive=recursive)
            for file in [file for file in self._copies if file.startswith(f"{run}/")]:
                del self._copies[file]
        return [file for file in gone if file in self._copies]

    def _listing(self, below: str) -> dict[str, str]:
        """Names below the URL, with a hash of what the driver says of each."""
        prefix = f"{self._root}/{below}".rstrip("/")
        found: dict[str, dict[str, Any]] = self._driver.find(prefix, detail=True)
        names = {}
        for path, info in found.items():
            name = path.removeprefix(self._root).strip("/")
            # Hidden are also names that climb out of the folder: `..`.
            if name and not _hidden(name):
                names[name] = hashlib.sha256(repr(sorted(info.items())).encode()).hexdigest()
        return names

    def _here(self) -> list[str]:
        names = (
            path.relative_to(self.folder).as_posix()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        )
        return [name for name in names if not _hidden(name)]

    def _has(self, file: str, there: str | None = None) -> bool:
        copy = self._copies.get(file)
        same = copy is not None and copy.is_still(self.folder / file)
        return same and (there is None or (copy is not None and copy.there == there))

    def _note(self, file: str, there: str) -> None:
        found = (self.folder / file).stat()
        self._copies[file] = _Copy(there, found.st_size, found.st_mtime_ns)

    def _read_index(self) -> dict[str, _Copy]:
        """What an earlier process noted; all is fetched anew where that cannot be read."""
        try:
            return {file: _Copy(*copy) for file, copy in read_json(self._index).items()}
        except (UserError, AttributeError, TypeError):
            return {}

    def _write_index(self) -> None:
        values = {f: [c.there, c.size, c.mtime_ns] for f, c in self._copies.items()}
        write_json(self._index, values)


def is_url(where: str) -> bool:
    """Whether results lie behind a URL, not in a folder."""
    return "://" in where


def mirror_folder(url: str) -> Path:
    """Where this machine's copy of the results behind a URL is, if it has any."""
    name = hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:16]
    return cache_folder() / "mirrors" / name


@contextlib.contextmanager
def results_folder(where: str) -> Iterator[tuple[Path, Mirror | None]]:
    """Opens results, wherever they lie, as a folder; what the body changes is kept.

    Args:
        where: a path, or fsspec's URL.

    Yields:
        The folder; and what it mirrors, or None where it is the results' own.

    Raises:
        UserError: the URL cannot be opened, read or written; or the body's own, in which a file of
            the mirror is called by its URL.
    """
    if not is_url(where):
        yield Path(where), None
        return
    mirror = Mirror(where, mirror_folder(where), records)
    mirror.refuse_others()
    mirror.pull()
    try:
        yield mirror.folder, mirror
    except UserError as error:
        raise UserError(str(error).replace(str(mirror.folder), mirror.url)) from None
    mirror.push()


@contextlib.contextmanager
def run_mirror(url: str, run: str) -> Iterator[Mirror]:
    """A copy of one run, for the time that the body works on it; copied back at its end.

    Raises:
        UserError: as `results_folder`.
    """
    scratch = cache_folder() / "scratch"
    host = socket.gethostname()
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        _drop_orphans(scratch, host)
        parent = Path(tempfile.mkdtemp(dir=scratch, prefix=f"{host}.{os.getpid()}."))
    except OSError as error:
        raise UserError(f"{scratch} cannot be written: {error}") from None
    try:
        mirror = Mirror(f"{url.rstrip('/')}/runs/{run}", parent / run, whole)
        mirror.pull()
        try:
            yield mirror
        except UserError as error:
            # What it wrote until then shows why.
            mirror.push()
            raise UserError(str(error).replace(str(mirror.folder), mirror.url)) from None
        mirror.push()
    finally:
        shutil.rmtree(parent, ignore_errors=True)


def _drop_orphans(scratch: Path, host: str) -> None:
    """Deletes the copies of this machine's processes that were killed."""
    for folder in scratch.glob(f"{host}.*"):
        pid = folder.name.removeprefix(f"{host}.").split(".")[0]
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (ValueError, PermissionError):
            continue


def _drop_empty(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            with contextlib.suppress(OSError):
                path.rmdir()


def _hidden(name: str) -> bool:
    """Whether a file is nobody else's business: temporary files and locks."""
    return any(part.startswith(".") for part in name.split("/"))


def _order(name: str) -> int:
    """Place among the files that are written together."""
    return {CHECKPOINT_END: 1, RUN_END: 2}.get(PurePosixPath(name).name, 0)


@contextlib.contextmanager
def _clearly(url: str, done: str) -> Iterator[None]:
    """Makes whatever goes wrong with a URL one line.

    Each driver raises exceptions of its own, and of the libraries under it, for a bucket that is
    not there, for missing rights or credentials, and for a network that is down.
    """
    try:
        yield
    except (UserError, MemoryError):
        raise
    except ImportError as error:
        scheme = url.split(":", 1)[0]
        extra = " (pip install 'attnres-eval[s3]')" if scheme in ("s3", "s3a") else ""
        raise UserError(f"{url} cannot be {done}: {_line(error)}{extra}") from None
    except Exception as error:
        raise UserError(f"{url} cannot be {done}: {_line(error)}") from None


def _line(error: Exception) -> str:
    text = " ".join(str(error).split()) or "no reason given"
    return f"{text} ({type(error).__name__})"
