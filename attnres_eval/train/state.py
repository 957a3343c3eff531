"""What a killed run continues from: a folder that is either whole or not there.

`resume/<step>/` holds safetensors files, one of each process that wrote it, with weights and the
optimiser's moments, and `state.json` (step, clock, machine, checksums). A new one is written under
a temporary name and renamed; then older ones go. `torch.distributed.checkpoint` cuts the tensors up
and puts them together again, so that another number of processes can go on from it.
"""

import contextlib
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from attnres_eval.errors import UserError
from attnres_eval.files import sha256_of_file, writing
from attnres_eval.model.transformer import Transformer
from attnres_eval.records import Machine, Record, read_record, write_record
from attnres_eval.study import RunConfig
from attnres_eval.train.ranks import Ranks

SUFFIX = ".safetensors"


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
    """SHA-256 of each safetensors file."""


@contextlib.contextmanager
def writing_tensors(folder: Path, temporary: Path | None) -> Iterator[None]:
    """As `writing`, for a folder of tensors.

    Args:
        folder: its name.
        temporary: the name that it has meanwhile, under which nothing stays if that fails; None
            where another process sees to that.

    Raises:
        UserError: the disk is full, or the folder may not be written.
    """
    try:
        with writing(folder):
            yield
    except (SafetensorError, CheckpointException) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{folder} cannot be written ({reason}); make room, then run the same command again"
        ) from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def save_state(folder: Path, state: ResumeState, tensors: dict[str, Tensor], ranks: Ranks) -> None:
    """Writes a checkpoint, then removes older ones; all ranks call it.

    Args:
        folder: `resume` of the run, which all ranks see.
        state: `checksums` are filled in here.
        tensors: by name, plain or spread over the ranks.
        ranks: this process and the others.

    Raises:
        UserError: the disk is full, or the folder may not be written.
    """
    final = folder / f"{state.step:08d}"
    temporary = folder / f".{final.name}.tmp"
    with writing_tensors(final, temporary if ranks.first else None):
        if ranks.first:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
        ranks.wait()
        checksums = ranks.all_of(_write_own(temporary, tensors, ranks))
        if ranks.first:
            whole = state.model_copy(update={"checksums": checksums})
            write_record(temporary / "state.json", whole)
            _sync(temporary)
            shutil.rmtree(final, ignore_errors=True)
            temporary.rename(final)
    if ranks.first:
        for other in folder.iterdir():
            if other != final:
                shutil.rmtree(other)
    ranks.wait()


def _write_own(folder: Path, tensors: dict[str, Tensor], ranks: Ranks) -> dict[str, str]:
    """Writes this rank's tensors; its file's name and hash, or nothing where it has none."""
    own = folder / f"shard-{ranks.rank + 1:05d}-model-00001-of-00001{SUFFIX}"
    if ranks.parallel is None:
        # The same file as below without the planning, which takes longer than the writing.
        save_file({name: value.contiguous() for name, value in tensors.items()}, own)
    else:
        save(tensors, storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True))
    return {own.name: sha256_of_file(own)} if own.is_file() else {}


def newest_state(folder: Path) -> tuple[Path, ResumeState] | None:
    """The newest whole checkpoint of a run, or None where there is none.

    Raises:
        UserError: its state is damaged.
    """
    steps = sorted(path for path in folder.glob("[0-9]*") if path.is_dir())
    if not steps:
        return None
    return steps[-1], read_record(steps[-1] / "state.json", ResumeState)


def load_tensors(
    checkpoint: Path, state: ResumeState, into: dict[str, Tensor], ranks: Ranks
) -> None:
    """Reads a checkpoint's tensors into those of the same names; all ranks call it.

    Raises:
        UserError: the checkpoint was damaged after it was written, or is of another model.
    """
    names = sorted(state.checksums)
    # Each rank reads some of the files for the sake of their checksums, and all hear of all.
    found = {
        name: (checkpoint / name).is_file() and sha256_of_file(checkpoint / name)
        for name in names[ranks.rank :: ranks.size]
        if Path(name).name == name
    }
    found = ranks.all_of(found)
    strays = {file.name for file in checkpoint.glob(f"*{SUFFIX}")} - set(names)
    for name in (*names, *sorted(strays)):
        if found.get(name) != state.checksums.get(name, ""):
            raise UserError(
                f"{checkpoint / name} is damaged; delete {checkpoint} to train this run anew"
            )
    reader = HuggingFaceStorageReader(str(checkpoint))
    with _reading(checkpoint):
        sizes = _sizes(reader.read_metadata())
    # Stages of a pipeline have tensors of their own.
    if sizes != ranks.all_of({name: tuple(tensor.shape) for name, tensor in into.items()}):
        raise UserError(
            f"{checkpoint} holds other tensors than this run's; delete it to train this run anew"
        )
    with _reading(checkpoint):
        _read(reader, into, alone=ranks.parallel is None)


@contextlib.contextmanager
def _reading(checkpoint: Path) -> Iterator[None]:
    """Says in one line what torch raises at files that it did not write, whatever that is."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{checkpoint} cannot be read ({reason}); delete it to train this run anew"
        ) from None


def whole_model(folder: Path, config: RunConfig) -> Transformer:
    """The model of a run's newest checkpoint, on the processor, whatever number of ranks wrote it.

    Args:
        folder: `resume` of the run, where this process has just seen a checkpoint written.
        config: the run.
    """
    found = newest_state(folder)
    assert found is not None, "the caller has written one"
    model = Transformer(config.shape, config.variant, config.parsed_options)
    weights = {f"model.{name}": value.detach() for name, value in model.named_parameters()}
    _read(HuggingFaceStorageReader(str(found[0])), weights, alone=True)
    return model


def _read(reader: HuggingFaceStorageReader, into: dict[str, Tensor], alone: bool) -> None:
    with warnings.catch_warnings():
        # That a process alone is a process alone, and that stages have tensors of their own.
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
        warnings.filterwarnings("ignore", "Detected mismatched keys", UserWarning)
        load(into, storage_reader=reader, no_dist=alone)


def _sizes(metadata: Metadata) -> Mapping[str, tuple[int, ...]]:
    return {
        name: tuple(tensor.size)
        for name, tensor in metadata.state_dict_metadata.items()
        if isinstance(tensor, TensorStorageMetadata)
    }


def _sync(folder: Path) -> None:
    """Flushes a folder's files to disk, so that a rename never outruns them."""
    for file in folder.iterdir():
        handle = os.open(file, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
