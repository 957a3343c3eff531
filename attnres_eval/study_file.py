"""Study files: YAML in, studies out.

A study of several parts, such as a sweep of learning rates and the ladder that follows it, has the
key `parts`: a mapping of names to what the part has instead of, or beside, the rest of the file.
`variants`, `sizes` and `seeds` of a part stand in the place of the file's; of the mappings
`data`, `model`, `recipe` and `evaluation` only the keys that it gives. Each part is a study of its
own, called `NAME:PART` on the command line.
"""

import re
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from attnres_eval.errors import UserError
from attnres_eval.study import Study

LARGEST_STUDY = 1_000_000
"""Characters; more would be read for minutes."""

PARTS = "parts"
WHOLE = ""
"""Name of the one part of a study without parts."""

PART_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
"""A part's name is that of its folder too."""

MERGED = ("data", "model", "recipe", "evaluation")
"""Mappings of which a part may change single keys."""


class _Loader(yaml.SafeLoader):
    """Plain values only. A few lines of aliases can stand for more than fits into memory."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.YAMLError(f"line {mark.line + 1}: aliases (*name) are not allowed")
        return super().compose_node(parent, index)


def parse_parts(text: str, source: str) -> dict[str, Study]:
    """Reads a study from YAML, part by part.

    Args:
        text: the YAML.
        source: what to call it in messages, usually the file's name.

    Returns:
        The parts by name; one called `WHOLE` where the study has none.

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
    if PARTS not in values:
        return {WHOLE: _validated(values, source)}
    shared = {key: value for key, value in values.items() if key != PARTS}
    parts = values[PARTS]
    if not isinstance(parts, dict) or not parts:
        raise UserError(f"{source}: parts: a mapping of names to keys is wanted")
    return {
        str(name): _validated(_part(shared, str(name), own, source), f"{source}: part {name}")
        for name, own in parts.items()
    }


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


def load_parts(name_or_path: str) -> dict[str, Study]:
    """Loads all parts of a study, or the one that is asked for by `STUDY:PART`.

    Raises:
        UserError: there is no such study or part, or its file is wrong.
    """
    name, part = split_part(name_or_path)
    path = study_file(name)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    parts = parse_parts(text, str(path))
    if part == WHOLE:
        return parts
    if part not in parts:
        known = ", ".join(parts) if WHOLE not in parts else "none"
        raise UserError(f"{path} has no part {part!r}; there is {known}")
    return {part: parts[part]}


def load_study(name_or_path: str) -> Study:
    """Loads a study, or one part of it by `STUDY:PART`.

    Raises:
        UserError: there is no such study, it has parts of which none is named, or its file is
            wrong.
    """
    parts = load_parts(name_or_path)
    named = split_part(name_or_path)[1] != WHOLE
    return next(iter(parts.values())) if named else _the_one(parts, name_or_path)
