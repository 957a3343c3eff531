"""What a killed run continues from: a folder that is either whole or not there.

`resume/<step>/` holds `model.safetensors`, `optimiser.safetensors` and `state.json` (step, clock,
machine, checksums). A new one is written under a temporary name and renamed; then older ones go.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from attnres_eval.errors import UserError
from attnres_eval.files import sha256_of_file, writing
from attnres_eval.records import Machine, Record, read_record, write_record

Tensors = dict[str, torch.Tensor]
WEIGHTS = "model.safetensors"
OPTIMISER = "optimiser.safetensors"


class ResumeState(Record):
    """The part of a checkpoint that is not tensors."""

    step: PositiveInt
    """Steps done."""
    seconds: NonNegativeFloat
    peak_memory_bytes: PositiveInt
    machine: Machine
    config_sha256: str
    data_sha256: str
    metrics_bytes: NonNegativeInt
    """Length of metrics.jsonl so far."""
    metrics_sha256: str
    """Hash of so much of it."""
    checksums: dict[str, str]


@contextlib.contextmanager
def writing_tensors(folder: Path, temporary: Path) -> Iterator[None]:
    """As `writing`, for a folder of tensors under a temporary name, which goes where that fails.

    Raises:
        UserError: the disk is full, or the folder may not be written.
    """
    try:
        with writing(folder):
            yield
    except SafetensorError as error:
        raise UserError(
            f"{folder} cannot be written ({error}); make room, then run the same command again"
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def save_state(folder: Path, state: ResumeState, model: Tensors, optimiser: Tensors) -> None:
    """Writes a checkpoint, then removes older ones. `state.checksums` is filled in here."""
    final = folder / f"{state.step:08d}"
    temporary = folder / f".{final.name}.tmp"
    with writing_tensors(final, temporary):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for name, tensors in ((WEIGHTS, model), (OPTIMISER, optimiser)):
            save_file({key: value.contiguous() for key, value in tensors.items()}, temporary / name)
        checksums = {name: sha256_of_file(temporary / name) for name in (WEIGHTS, OPTIMISER)}
        write_record(temporary / "state.json", state.model_copy(update={"checksums": checksums}))
        _sync(temporary)
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
    for other in folder.iterdir():
        if other != final:
            shutil.rmtree(other)


def load_state(folder: Path) -> tuple[ResumeState, Tensors, Tensors] | None:
    """The newest whole checkpoint of a run, or None where there is none.

    Raises:
        UserError: the checkpoint was damaged after it was written.
    """
    steps = sorted(path for path in folder.glob("[0-9]*") if path.is_dir())
    if not steps:
        return None
    newest = steps[-1]
    state = read_record(newest / "state.json", ResumeState)
    tensors = {}
    for name in (WEIGHTS, OPTIMISER):
        file = newest / name
        if not file.is_file() or sha256_of_file(file) != state.checksums.get(name):
            raise UserError(f"{file} is damaged; delete {newest} to train this run anew")
        try:
            tensors[name] = load_file(file)
        except SafetensorError as error:
            raise UserError(f"{file} cannot be read ({error}); delete {newest}") from None
    return state, tensors[WEIGHTS], tensors[OPTIMISER]


def _sync(folder: Path) -> None:
    """Flushes a folder's files to disk, so that a rename never outruns them."""
    for file in folder.iterdir():
        handle = os.open(file, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
