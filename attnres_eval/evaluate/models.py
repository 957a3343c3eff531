"""Models to score: a checkpoint folder of ours or of anyone, a GGUF file, or a name on the hub.

Weights are safetensors or GGUF: a pickle, which can run code when it is opened, never is.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import cached_file

import attnres_eval.model.hf  # noqa: F401  (registers our models with the Auto classes)
from attnres_eval.errors import UserError
from attnres_eval.evaluate.hub import hub_is_reachable, hub_offline_unless_reachable
from attnres_eval.evaluate.quiet import quiet
from attnres_eval.evaluate.trust import refuse_untrusted
from attnres_eval.files import sha256_of_file, sha256_of_json

Precision = Literal["fp32", "bf16"]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class LoadedModel:
    """A model with its tokenizer, ready to be scored."""

    name: str
    """As the user gave it."""
    model: Any
    tokenizer: Any
    sha256: str
    """Hash of the weights' file, or of the names and hashes of several."""


def usable_device(wanted: str | None) -> str:
    """The device asked for, the accelerator where None; the processor where there is no other."""
    if wanted is None or wanted.startswith("cuda"):
        return (wanted or "cuda") if torch.cuda.is_available() else "cpu"
    return wanted


def load_model(
    model: str | Path, *, precision: Precision = "fp32", device: str | None = None
) -> LoadedModel:
    """Loads a causal language model and its tokenizer. Code from the hub is never run.

    Args:
        model: a folder as transformers writes it, a `.gguf` file, or a name on the hub.
        precision: of weights and activations.
        device: a torch device; see `usable_device`.

    Raises:
        UserError: there is no such model, a file of it is missing, damaged or not to be trusted,
            or weights are missing in it.
    """
    path = Path(model)
    local = path.exists()
    source: dict[str, Any] = {"pretrained_model_name_or_path": str(model)}
    if path.suffix == ".gguf":
        source = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    if not local and not _is_hub_name(str(model)):
        raise UserError(f"model {model}: there is no such file or folder")
    if path.is_dir() and not (path / "config.json").is_file():
        raise UserError(f"model {model}: this folder is no checkpoint, it has no config.json")
    if path.is_dir():
        refuse_untrusted(path)
    try:
        with quiet(), hub_offline_unless_reachable(local=local), _errors_only():
            network, report = AutoModelForCausalLM.from_pretrained(
                **source,
                dtype=DTYPES[precision],
                output_loading_info=True,
                # Reported below, in one line, and not raised as a table.
                ignore_mismatched_sizes=True,
                trust_remote_code=False,
                use_safetensors=True,
            )
            tokenizer = AutoTokenizer.from_pretrained(**source, trust_remote_code=False)
            sha256 = _weights_sha256(path if local else _hub_folder(str(model)))
    except Exception as error:  # each loader of transformers raises its own kinds
        raise UserError(_failure(str(model), local, error)) from None
    wrong = sorted(report["missing_keys"]) + [str(key) for key in report["mismatched_keys"]]
    if wrong:
        raise UserError(
            f"model {model}: {len(wrong)} weights are missing or of another shape than its"
            f" config.json says, {wrong[0]} first; save it again"
        )
    network.eval().requires_grad_(False).to(usable_device(device))
    return LoadedModel(str(model), network, tokenizer, sha256)


@contextlib.contextmanager
def _errors_only() -> Iterator[None]:
    """While it lasts, transformers prints errors only: what it warns of is checked here."""
    before = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers.utils.logging.set_verbosity(before)


def _is_hub_name(model: str) -> bool:
    return not Path(model).is_absolute() and model.count("/") <= 1 and not model.startswith(".")


def _hub_folder(name: str) -> Path:
    return Path(cached_file(name, "config.json")).parent


def _weights_sha256(path: Path) -> str:
    if path.is_file():
        return sha256_of_file(path)
    files = sorted(path.glob("*.safetensors"))
    if len(files) == 1:
        return sha256_of_file(files[0])
    return sha256_of_json({file.name: sha256_of_file(file) for file in files})


def _failure(model: str, local: bool, error: Exception) -> str:
    if not local and not hub_is_reachable():
        return (
            f"model {model}: no folder of that name is here, and the model hub, which may have it,"
            " cannot be reached"
        )
    first = next((line for line in str(error).split("\n") if line.strip()), "")[:300]
    what = "cannot be loaded; is it complete?" if local else "the hub does not give it"
    return f"model {model}: {what} ({type(error).__name__}: {first})"
