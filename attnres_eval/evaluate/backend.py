"""The `attnres` backend of lm-eval: any causal language model of transformers, made fast.

It scores what lm-eval's own `hf` backend scores, the same tokens cut at the same place, so that
the two agree to rounding. Requests of one task never share a batch with another's: a score does
not depend on which tasks run together.

What requests of a task have in common is computed once: a question's context for all its choices,
worked examples for all questions, and each text's tokens for all models of a process with the same
tokenizer. A model that does not predict the same that way (see `Network.shares`: one with windowed
or recurrent layers, for instance) is scored in plain batches.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import (
    handle_stop_sequences,
    has_bos_prefix,
    normalize_gen_kwargs,
    resolve_max_length,
)
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from attnres_eval.errors import UserError
from attnres_eval.evaluate.encode import Encoder
from attnres_eval.evaluate.generate import generate
from attnres_eval.evaluate.likelihood import log_likelihoods
from attnres_eval.evaluate.models import LoadedModel, Precision, load_model
from attnres_eval.evaluate.network import Network

TokenRequest = tuple[Any, Any, Any]
"""The request's strings or None, context tokens, continuation tokens."""

SEQUENCE_TOKENS = 128
"""A forward pass that scores takes `batch_size` times as many tokens at most."""


@register_model("attnres")
class AttnResLM(TemplateLM):  # type: ignore[misc]
    """lm-eval's LM over a transformers model. Greedy generation only.

    Args:
        pretrained: a folder, a `.gguf` file or a hub name, or a model already loaded.
        batch_size: sequences a forward pass in generation; in scoring, where sequences differ
            widely in length, a pass takes 128 times as many tokens at most.
        precision: `fp32` or `bf16`; for a model already loaded, its own.
        device: a torch device.
        max_length: context in tokens; the model's own where None.
    """

    def __init__(
        self,
        pretrained: str | LoadedModel,
        *,
        batch_size: int | str = 32,
        precision: Precision = "fp32",
        device: str | None = None,
        max_length: int | None = None,
    ) -> None:
        super().__init__()
        if isinstance(pretrained, LoadedModel):
            loaded = pretrained
        else:
            loaded = load_model(pretrained, precision=precision, device=device)
        self.model = loaded.model
        self.tokenizer = loaded.tokenizer
        self.batch_size = _positive(batch_size)
        self._device = self.model.device
        self._network = Network(self.model)
        self._encoder = Encoder(self.tokenizer, self.tok_encode, self.prefix_token_id)
        self.max_length = max_length or resolve_max_length(self.model.config, self.tokenizer)
        self.scored = 0
        """Log-likelihoods given so far."""
        self.cut = 0
        """Those of them whose context was cut, being longer than the model's."""

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """The token that stands for an empty context."""
        begin = self.tokenizer.bos_token_id
        return self.eot_token_id if begin is None else int(begin)

    @property
    def max_gen_toks(self) -> int:
        """Tokens to generate where a task does not say."""
        return 256

    @property
    def tokenizer_name(self) -> str:
        """As lm-eval's caches name it."""
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Renders a conversation with the tokenizer's template."""
        return str(
            self.tokenizer.apply_chat_template(
                chat_history,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
            )
        )

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_: Any
    ) -> list[int]:
        """Tokens of a text, with the tokenizer's special tokens unless the text has them."""
        if add_special_tokens is None and has_bos_prefix(
            string, self.tokenizer.decode(self.prefix_token_id)
        ):
            add_special_tokens = False
        options = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
        return list(self.tokenizer.encode(string, **options))

    def loglikelihood(
        self, requests: Sequence[Any], disable_tqdm: bool = True
    ) -> list[tuple[float, bool]]:
        """Log-likelihood (nats) of each continuation, and whether greedy decoding gives it."""
        return _by_task(requests, self._loglikelihood)

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = True
    ) -> list[float]:
        """Log-likelihood (nats) of each text, in windows of the model's context."""
        return _by_task(requests, self._rolling)

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[str]:
        """The greedy continuation of each context, up to a stop sequence or the task's limit."""
        return _by_task(requests, self._generate)

    def _loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        encoded = self._encoder.pairs([request.args for request in requests])
        return self._loglikelihood_tokens([(None, *pair) for pair in encoded])

    def _rolling(self, requests: Sequence[Any]) -> list[float]:
        windows: list[TokenRequest] = []
        owners = []
        for index, request in enumerate(requests):
            parts = get_rolling_token_windows(
                token_list=self.tok_encode(request.args[0]),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
            for part in parts:
                windows.append((None, *make_disjoint_window(part)))
                owners.append(index)
        totals = [0.0] * len(requests)
        for owner, (score, _) in zip(owners, self._loglikelihood_tokens(windows), strict=True):
            totals[owner] += score
        return totals

    def _loglikelihood_tokens(
        self, requests: Sequence[TokenRequest], **_: Any
    ) -> list[tuple[float, bool]]:
        self.scored += len(requests)
        inputs = []
        for _, context, continuation in requests:
            if len(continuation) > self.max_length:
                raise UserError(
                    f"a choice of {len(continuation)} tokens does not fit into the model's"
                    f" context of {self.max_length}: this task needs another model"
                )
            self.cut += len(context) + len(continuation) > self.max_length + 1
            tokens = np.concatenate([context, continuation]).astype(np.int64)
            inputs.append(tokens[-(self.max_length + 1) :][:-1])
        targets = [np.asarray(continuation) for _, _, continuation in requests]
        return log_likelihoods(self._network, inputs, targets, self.batch_size * SEQUENCE_TOKENS)

    def _generate(self, requests: Sequence[Any]) -> list[str]:
        end = self.tokenizer.decode(self.eot_token_id, skip_special_tokens=False)
        contexts = self._encoder.texts(request.args[0] for request in requests)
        groups: dict[str, list[int]] = {}
        for index, request in enumerate(requests):
            groups.setdefault(repr(request.args[1]), []).append(index)
        texts = [""] * len(requests)
        for members in groups.values():
            options = requests[members[0]].args[1]
            room = self._room(options)
            stops = handle_stop_sequences(list(_stops(options)), eos=end)
            prompts = [
                np.array(
                    contexts[requests[index].args[0]][-(self.max_length - room) :]
                    or [self.prefix_token_id]
                )
                for index in members
            ]
            outputs = generate(self._network, self.tokenizer, prompts, room, stops, self.batch_size)
            for index, text in zip(members, outputs, strict=True):
                texts[index] = text
        return texts

    def _room(self, arguments: dict[str, Any]) -> int:
        """Tokens to generate for one request."""
        options = normalize_gen_kwargs(arguments, self.max_gen_toks)
        if options["do_sample"] or options.get("num_beams", 1) > 1:
            raise UserError(
                "the attnres backend decodes greedily, and this task samples or searches;"
                " use --backend hf"
            )
        return int(options["max_gen_toks"])


def _stops(arguments: dict[str, Any]) -> list[str]:
    stops = arguments.get("until") or []
    return [stops] if isinstance(stops, str) else list(stops)


def _by_task(requests: Sequence[Any], score: Any) -> list[Any]:
    """Scores each task's requests by themselves; results in the order of the requests."""
    order = sorted(range(len(requests)), key=lambda index: requests[index].task_name or "")
    results: list[Any] = [None] * len(requests)
    for _, group in itertools.groupby(order, key=lambda index: requests[index].task_name or ""):
        indices = list(group)
        for index, result in zip(indices, score([requests[i] for i in indices]), strict=True):
            results[index] = result
    return results


def _positive(batch_size: int | str) -> int:
    try:
        value = int(batch_size)
    except ValueError:
        raise UserError(
            f"batch size {batch_size!r} is no number; the attnres backend has no automatic one"
        ) from None
    if value < 1:
        raise UserError(f"batch size {value} is not positive")
    return value
