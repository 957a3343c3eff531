"""Study files: YAML in, studies out.

A study of several parts, such as a sweep of learning rates and the ladder that follows it, has the
key `parts`: a mapping of names to what the part has instead of, or beside, the rest of the file.
`variants`, `sizes` and `seeds` of a part stand in the place of the file's; of the mappings
`data`, `model`, `recipe` and `evaluation` only the keys that it gives. Each part is a study of its
own, called `NAME:PART` on the command line.

Two more keys say what no run depends on: `headline`, the part that a page over all parts opens
with, and `protocol`, a file of Markdown, from the study file's folder, that says why the study is
what it is.
"""

import hashlib
import re
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from attnres_eval.errors import UserError
from attnres_eval.study import Study

LARGEST_STUDY = 1_000_000
"""Characters; more would be read for minutes."""
LARGEST_PROTOCOL = 200_000
"""Characters; the page holds all of them."""

PARTS, HEADLINE, PROTOCOL = "parts", "headline", "protocol"
WHOLE = ""
"""Name of the one part of a study without parts."""

PART_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
"""A part's name is that of its folder too."""

MERGED = ("data", "model", "recipe", "evaluation")
"""Mappings of which a part may change single keys."""


@dataclass(frozen=True)
class StudyFile:
    """What a study file says."""

    parts: dict[str, Study]
    """By name; one called `WHOLE` where the study has none."""
    headline: str | None = None
    """The part that a page over all of them opens with, where the file names one."""
    protocol: str | None = None
    """The protocol's file, from the study file's folder, where the study has one."""


@dataclass(frozen=True)
class Source:
    """Where a study comes from, to be kept beside its results."""

    name: str
    """By which `--study` finds it: a bundled study's, or its file's; with a part's behind it."""
    sha256: str
    """Of the study file."""
    protocol: str | None
    """The protocol's text."""


class _Loader(yaml.SafeLoader):
    """Plain values only. A few lines of aliases can stand for more than fits into memory."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.YAMLError(f"line {mark.line + 1}: aliases (*name) are not allowed")
        return super().compose_node(parent, index)


def parse_parts(text: str, source: str) -> dict[str, Study]:
    """The studies of `parse_study_file`, by name; one called `WHOLE` where there are no parts."""
    return parse_study_file(text, source).parts


def parse_study_file(text: str, source: str) -> StudyFile:
    """Reads a study from YAML, part by part.

    Args:
        text: the YAML.
        source: what to call it in messages, usually the file's name.

    Raises:
        UserError: not YAML, an unknown key, or a value that makes no sense.
    """
    if len(text) > LARGEST_STUDY:
        raise UserError(f"{source}: is larger than any study, {LARGEST_STUDY:,} characters")
    try:
        values = yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError(f"{source}: a study is a mapping of keys to values")
    headline = None if values.get(HEADLINE) is None else str(values[HEADLINE])
    protocol = values.get(PROTOCOL)
    if protocol is not None and not (isinstance(protocol, str) and protocol):
        raise UserError(f"{source}: protocol: the name of a file is wanted")
    about = {PARTS, HEADLINE, PROTOCOL}
    shared = {key: value for key, value in values.items() if key not in about}
    if PARTS not in values:
        if headline is not None:
            raise UserError(f"{source}: headline: it names a part, and this study has none")
        return StudyFile({WHOLE: _validated(shared, source)}, None, protocol)
    given = values[PARTS]
    if not isinstance(given, dict) or not given:
        raise UserError(f"{source}: parts: a mapping of names to keys is wanted")
    parts = {
        str(name): _validated(_part(shared, str(name), own, source), f"{source}: part {name}")
        for name, own in given.items()
    }
    if headline is not None and headline not in parts:
        known = ", ".join(parts)
        raise UserError(f"{source}: headline: there is no part {headline!r}; there is {known}")
    return StudyFile(parts, headline, protocol)


def _part(shared: dict[str, Any], name: str, own: Any, source: str) -> dict[str, Any]:
    """The keys of one part."""
    if not PART_NAME.fullmatch(name):
        raise UserError(
            f"{source}: parts.{name}: a name of small letters, digits, _ and - is wanted"
        )
    if not isinstance(own, dict):
        raise UserError(f"{source}: parts.{name}: a mapping of keys to values is wanted")
    if "name" in own:
        raise UserError(f"{source}: parts.{name}: its name is its key; it takes no other")
    merged = {**shared, **own, "name": f"{shared.get('name')}-{name}"}
    for key in MERGED:
        ours, theirs = shared.get(key), own.get(key)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            merged[key] = {**ours, **theirs}
    return merged


def _validated(values: dict[str, Any], source: str) -> Study:
    try:
        return Study.model_validate(values)
    except ValidationError as error:
        raise UserError(_describe(error, source)) from None


def _describe(error: ValidationError, source: str) -> str:
    """One line for the first of pydantic's complaints."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "unknown key"
    more = f" (and {len(error.errors()) - 1} more)" if len(error.errors()) > 1 else ""
    return f"{source}: {key + ': ' if key else ''}{message}{more}"


def parse_study(text: str, source: str) -> Study:
    """Reads a study without parts from YAML. Raises UserError as `parse_parts`, or it has parts."""
    return _the_one(parse_parts(text, source), source)


def _the_one(parts: dict[str, Study], source: str) -> Study:
    if WHOLE not in parts:
        names = ", ".join(f"{source}:{name}" for name in parts)
        raise UserError(f"{source} has parts: name one of {names}")
    return parts[WHOLE]


def bundled_folder(name: str) -> Path:
    """A folder that ships with the package: beside it in a checkout, inside it in a wheel."""
    inside = Path(str(resources.files("attnres_eval"))) / name
    return inside if inside.is_dir() else inside.parent.parent / name


def study_file(name_or_path: str) -> Path:
    """The file of a study, given by its path or by the name of one that ships with the package.

    Raises:
        UserError: there is no such study.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path
    bundled = bundled_folder("studies")
    path = bundled / f"{name_or_path}.yaml"
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in bundled.glob("*.yaml")))
        raise UserError(f"no study {name_or_path!r}: give a YAML file or one of {names}")
    return path


def split_part(name_or_path: str) -> tuple[str, str]:
    """A study's name or path, and which part of it is meant: `WHOLE` where none is named."""
    name, colon, part = name_or_path.rpartition(":")
    if not colon or Path(name_or_path).is_file():
        return name_or_path, WHOLE
    return name, part


def load_study_file(name_or_path: str) -> tuple[StudyFile, Source]:
    """Loads a study, of which `STUDY:PART` keeps one part, with what is known of its origin.

    Raises:
        UserError: there is no such study or part, its file is wrong, or its protocol cannot be
            read.
    """
    name, part = split_part(name_or_path)
    path = study_file(name)
    content = _read(path)
    file = parse_study_file(content, str(path))
    if part not in {WHOLE, *file.parts}:
        known = ", ".join(file.parts) if WHOLE not in file.parts else "none"
        raise UserError(f"{path} has no part {part!r}; there is {known}")
    if part != WHOLE:
        file = replace(file, parts={part: file.parts[part]})
    bundled = path.resolve().parent == bundled_folder("studies").resolve()
    return file, Source(
        name=(path.stem if bundled else path.name) + (f":{part}" if part else ""),
        sha256=hashlib.sha256(content.encode()).hexdigest(),
        protocol=None if file.protocol is None else _protocol(path, file.protocol),
    )


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None


def _protocol(study: Path, name: str) -> str:
    path = study.parent / name
    if not path.is_file():
        raise UserError(f"{study}: protocol: there is no file {path}")
    text = _read(path)
    if len(text) > LARGEST_PROTOCOL:
        raise UserError(f"{path}: is larger than any protocol, {LARGEST_PROTOCOL:,} characters")
    return text


def load_parts(name_or_path: str) -> dict[str, Study]:
    """Loads all parts of a study, or the one that is asked for by `STUDY:PART`.

    Raises:
        UserError: as `load_study_file`.
    """
    return load_study_file(name_or_path)[0].parts


def load_study(name_or_path: str) -> Study:
    """Loads a study, or one part of it by `STUDY:PART`.

    Raises:
        UserError: there is no such study, it has parts of which none is named, or its file is
            wrong.
    """
    parts = load_parts(name_or_path)
    named = split_part(name_or_path)[1] != WHOLE
    return next(iter(parts.values())) if named else _the_one(parts, name_or_path)
