"""A finished model as a transformers folder: config.json, model.safetensors, tokenizer files."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from transformers.utils import logging

from attnres_eval.data.tokenizer import END_OF_TEXT_ID
from attnres_eval.model.hf import AttnResConfig, AttnResForCausalLM
from attnres_eval.model.transformer import Transformer
from attnres_eval.study import RunConfig
from attnres_eval.train.state import writing_tensors


def save_checkpoint(folder: Path, model: Transformer, config: RunConfig, tokenizer: Path) -> None:
    """Writes the folder under a temporary name, then renames it.

    Args:
        folder: the checkpoint's folder; replaced where it exists.
        model: the trained decoder.
        config: its run.
        tokenizer: folder with the tokenizer's files.

    Raises:
        UserError: the disk is full, or the folder may not be written.
    """
    temporary = folder.with_name(f".{folder.name}.tmp")
    hf_config = AttnResConfig.of(
        config.shape, config.variant, config.options, end_of_text=END_OF_TEXT_ID
    )
    wrapped = AttnResForCausalLM(hf_config)
    wrapped.model.load_state_dict(model.state_dict())
    with writing_tensors(folder, temporary):
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.copytree(tokenizer, temporary)
        with without_progress_bars():
            wrapped.save_pretrained(temporary)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)


@contextlib.contextmanager
def without_progress_bars() -> Iterator[None]:
    """Keeps transformers from drawing bars of its own into a study's display."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
