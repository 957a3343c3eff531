"""What is looked at in a checkpoint folder before transformers opens it, whoever made it."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attnres_eval.errors import UserError
from attnres_eval.files import read_json

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
INDEX = "model.safetensors.index.json"
LONGEST_HEADER = 100_000_000
"""Bytes, as the format has it."""
PACKED = 4
"""Weights that one stored byte may stand for: quantised ones are packed."""


def refuse_untrusted(folder: Path) -> None:
    """Refuses pickles, paths that lead out of a folder, and sizes that its weights cannot have.

    Nothing is loaded, and nothing of a size that the folder's files only claim is allocated.

    Raises:
        UserError: says which file, and what is wrong with it.
    """
    weights = sorted(folder.glob("*.safetensors"))
    pickles = [file.name for pattern in PICKLES for file in sorted(folder.glob(pattern))]
    if pickles and not weights:
        raise UserError(
            f"{folder / pickles[0]}: is a pickle, which can run code when it is opened; save the"
            " model as safetensors"
        )
    _refuse_ways_out(folder)
    if weights:
        config = _object(folder / "config.json")
        _refuse_absurd(folder, config, [_header(file) for file in weights])


def _refuse_ways_out(folder: Path) -> None:
    root = folder.resolve()
    # The hub's cache keeps files in blobs/ and links to them from snapshots/REVISION/.
    homes = [root, root.parent.parent / "blobs"] if root.parent.name == "snapshots" else [root]
    for file in sorted(folder.iterdir()):
        if not any(file.resolve().is_relative_to(home) for home in homes):
            raise UserError(f"{file}: leads out of its folder, to {file.resolve()}; copy it there")
    named: dict[Path, Iterator[str]] = {folder / INDEX: _shards(folder / INDEX)}
    for name in ("config.json", "tokenizer_config.json"):
        named[folder / name] = _file_names(_object(folder / name))
    for source, names in named.items():
        for name in names:
            if not (root / name).resolve().is_relative_to(root):
                raise UserError(f"{source}: names the file {name!r}, outside of its folder")


def _object(path: Path) -> dict[str, Any]:
    """A JSON object; an empty one where there is no such file."""
    value = read_json(path) if path.is_file() else {}
    if not isinstance(value, dict):
        raise UserError(f"{path}: holds no JSON object")
    return value


def _shards(path: Path) -> Iterator[str]:
    shards = _object(path).get("weight_map", {})
    if not isinstance(shards, dict):
        raise UserError(f"{path}: weight_map is no JSON object")
    return (name for name in shards.values() if isinstance(name, str))


def _file_names(config: dict[str, Any]) -> Iterator[str]:
    return (
        value
        for key, value in config.items()
        if key.endswith("_file") and isinstance(value, str) and value
    )


def _header(file: Path) -> dict[str, Any]:
    """The header of a safetensors file: dtype, shape and place of each tensor."""
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > min(LONGEST_HEADER, file.stat().st_size - 8):
                raise ValueError(f"its header of {length} bytes is longer than the file")
            header = json.loads(stream.read(length))
    except (OSError, ValueError, RecursionError, struct.error) as error:
        raise UserError(f"{file}: is no whole safetensors file ({error})") from None
    if not isinstance(header, dict):
        raise UserError(f"{file}: is no whole safetensors file (its header is no JSON object)")
    return {name: entry for name, entry in header.items() if name != "__metadata__"}


def _refuse_absurd(folder: Path, config: dict[str, Any], headers: list[dict[str, Any]]) -> None:
    """Holds a configuration's sizes against the weights, before a model of these sizes is made."""
    stored = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    n_tensors = sum(len(header) for header in headers)
    sizes = {key: value for key, value in _numbers(config) if value > 1}
    layers = max(sizes.get(key, 1) for key in ("n_layers", "num_hidden_layers", "n_layer"))
    widths = [sizes.get(key, 1) for key in ("d_model", "hidden_size", "n_embd")]
    heights = [sizes.get(key, 1) for key in ("vocab_size", "d_ff", "intermediate_size", "n_inner")]
    if layers > n_tensors or max(widths) * max(heights) > PACKED * stored:
        raise UserError(
            f"{folder / 'config.json'}: asks for {layers:,} layers of width {max(widths):,} with"
            f" up to {max(heights):,} rows, which {n_tensors:,} tensors in {stored:,} bytes cannot"
            " hold; it is not of these weights"
        )


def _numbers(config: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """The integers of a configuration, those of its parts (`text_config`) included."""
    for key, value in config.items():
        if isinstance(value, int):
            yield key, value
        elif isinstance(value, dict):
            yield from _numbers(value)
