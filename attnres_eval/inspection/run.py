"""Which checkpoint is inspected on which text."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attnres_eval.data.prepare import prepare
from attnres_eval.data.tokenizer import load_tokenizer
from attnres_eval.data.tokens import token_dtype
from attnres_eval.errors import UserError
from attnres_eval.files import read_json, sha256_of_file
from attnres_eval.inspection.measure import inspect_checkpoint
from attnres_eval.records import InspectionRecord, RunFolder, read_record, write_record
from attnres_eval.study import RunConfig


@dataclass(frozen=True)
class Inspected:
    """An inspection and whose it is."""

    label: str
    size: str
    record: InspectionRecord


def inspect_run(folder: RunFolder, tokens: int) -> InspectionRecord:
    """Inspects a finished run on its own held-out text and writes `inspection.json`.

    Args:
        folder: the run.
        tokens: held-out tokens to score, the first, at most.

    Raises:
        UserError: the run has no checkpoint or a damaged one, or its corpora are missing.
    """
    config = read_record(folder.config, RunConfig)
    record = _on_held_out_text(folder.checkpoint, config, tokens)
    write_record(folder.inspection, record)
    return record


def inspect_path(path: Path, tokens: int, text: Path | None = None) -> Inspected:
    """Inspects a run's folder, or a checkpoint's, and writes nothing.

    Args:
        path: a run's folder, or a checkpoint folder.
        tokens: tokens to score, the first, at most.
        text: a file of plain text; the run's held-out text where absent.

    Raises:
        UserError: there is no checkpoint of ours, or there is neither a text nor a run to take
            one from.
    """
    if not path.is_dir():
        raise UserError(f"{path}: there is no such folder")
    run = RunFolder(path if (path / "checkpoint").is_dir() else path.parent)
    checkpoint = run.checkpoint if run.path == path else path
    config = None
    if checkpoint == run.checkpoint and run.config.is_file():
        config = read_record(run.config, RunConfig)
    if text is not None:
        record = _on_file(checkpoint, text, tokens)
    elif config is not None:
        record = _on_held_out_text(checkpoint, config, tokens)
    else:
        raise UserError(
            f"{path}: is not the folder of a run or its checkpoint, so that there is no held-out"
            " text; give --text FILE"
        )
    if config is not None:
        return Inspected(config.label, config.size, record)
    stored = read_json(checkpoint / "config.json")
    return Inspected(stored["variant"], f"d{stored['d_model']}", record)


def _on_held_out_text(checkpoint: Path, config: RunConfig, tokens: int) -> InspectionRecord:
    data = prepare(config.data)
    return inspect_checkpoint(checkpoint, data.validation, tokens, data.manifest.data_sha256)


def _on_file(checkpoint: Path, text: Path, tokens: int) -> InspectionRecord:
    try:
        content = text.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--text {text}: cannot be read as text: {error}") from None
    if not (checkpoint / "config.json").is_file():
        raise UserError(f"{checkpoint}: this folder is no checkpoint, it has no config.json")
    tokenizer = load_tokenizer(checkpoint)
    ids = tokenizer.encode(content, add_special_tokens=False).ids
    dtype = token_dtype(tokenizer.get_vocab_size())
    return inspect_checkpoint(checkpoint, np.asarray(ids, dtype), tokens, sha256_of_file(text))
