"""What lm-eval and the Hugging Face libraries print, kept to what a user can act on."""

import contextlib
import importlib
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import datasets
import transformers
from tqdm import tqdm  # type: ignore[import-untyped]

_NOISE = (
    # lm-eval, on how this package calls it
    "Custom kwargs can be passed",
    "`pretrained` model kwarg is not of type `str`",
    "Passed an already-initialized model",
    "HF model type is neither marked",
    "Overwriting default num_fewshot",
    "num_fewshot > 0 but fewshot_split is None",
    "overrides existing task",
    # lm-eval, on its own YAML files
    "is defined, but aggregation is not",
    "is defined, but higher_is_better is not",
    "Duplicate task name",
    # transformers, on texts that are cut to the context later
    "Token indices sequence length is longer",
)

_ONCE = ("Combined length of context", "Left truncation applied")
"""lm-eval on prompts longer than the context, once a prompt."""


class _WorthReading(logging.Filter):
    """Passes what is neither chatter nor known noise, and the first of what repeats."""

    def __init__(self) -> None:
        super().__init__()
        self.first: dict[str, logging.LogRecord] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if record.levelno < logging.WARNING or any(text in message for text in _NOISE):
            return False
        # A record is asked about twice, by its logger and by a handler.
        return all(
            self.first.setdefault(text, record) is record for text in _ONCE if text in message
        )


_BARS = (
    "lm_eval.api.task",
    "lm_eval.api.model",
    "lm_eval.models.huggingface",
    "transformers.modeling_gguf_pytorch_utils",
)
"""Modules that draw bars whatever they are told."""


class _NoBar(tqdm):  # type: ignore[misc]
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **(options | {"disable": True}))


@contextlib.contextmanager
def quiet(*, progress: bool = False) -> Iterator[None]:
    """Holds back known noise, and progress bars unless they are wanted, while its body runs."""
    modules = [importlib.import_module(name) for name in _BARS]
    bars = [module.tqdm for module in modules]
    handlers = logging.getLogger().handlers + logging.getLogger("transformers").handlers
    loggers = [logging.getLogger(name) for name in list(logging.root.manager.loggerDict)]
    noisy = [x for x in loggers if x.name.split(".")[0] in ("lm_eval", "transformers", "datasets")]
    hub_bars = transformers.utils.logging.is_progress_bar_enabled()
    data_bars = datasets.are_progress_bars_disabled()
    worth_reading = _WorthReading()
    for target in [*handlers, *noisy]:
        target.addFilter(worth_reading)
    if not progress:
        for module in modules:
            module.tqdm = _NoBar  # type: ignore[attr-defined]
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    try:
        with warnings.catch_warnings():
            for category in (DeprecationWarning, FutureWarning):
                warnings.simplefilter("ignore", category)
            yield
    finally:
        for target in [*handlers, *noisy]:
            target.removeFilter(worth_reading)
        for module, bar in zip(modules, bars, strict=True):
            module.tqdm = bar  # type: ignore[attr-defined]
        if hub_bars:
            transformers.utils.logging.enable_progress_bar()
        if not data_bars:
            datasets.enable_progress_bars()
