"""The `attnres` backend of lm-eval: any causal language model of transformers.

It scores what lm-eval's own `hf` backend scores, the same tokens cut at the same place, so that
the two agree to rounding. Requests of one task never share a batch with another's: a score does
not depend on which tasks run together.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import (
    handle_stop_sequences,
    has_bos_prefix,
    normalize_gen_kwargs,
    postprocess_generated_text,
    resolve_max_length,
)
from lm_eval.models.utils_hf import stop_sequences_criteria
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from torch import Tensor

from attnres_eval.errors import UserError
from attnres_eval.evaluate.models import LoadedModel, Precision, load_model

TokenRequest = tuple[Any, list[int], list[int]]
"""The request's strings or None, context tokens, continuation tokens."""


@register_model("attnres")
class AttnResLM(TemplateLM):  # type: ignore[misc]
    """lm-eval's LM over a transformers model. Greedy generation only.

    Args:
        pretrained: a folder, a `.gguf` file or a hub name, or a model already loaded.
        batch_size: sequences a forward pass.
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
        return _by_task(requests, lambda part: super(AttnResLM, self).loglikelihood(part, True))

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = True
    ) -> list[float]:
        """Log-likelihood (nats) of each text, in windows of the model's context."""
        return _by_task(requests, self._rolling)

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[str]:
        """The greedy continuation of each context, up to a stop sequence or the task's limit."""
        return _by_task(requests, self._generate)

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

    @torch.inference_mode()
    def _loglikelihood_tokens(
        self, requests: Sequence[TokenRequest], **_: Any
    ) -> list[tuple[float, bool]]:
        self.scored += len(requests)
        # Requests whose inputs are the same, such as one-token choices, share a row.
        rows: dict[tuple[int, ...], list[int]] = {}
        for index, (_, context, continuation) in enumerate(requests):
            if len(continuation) > self.max_length:
                raise UserError(
                    f"a choice of {len(continuation)} tokens does not fit into the model's"
                    f" context of {self.max_length}: this task needs another model"
                )
            tokens = context + continuation
            self.cut += len(tokens) > self.max_length + 1
            rows.setdefault(tuple(tokens[-(self.max_length + 1) :][:-1]), []).append(index)
        results: list[tuple[float, bool]] = [(0.0, False)] * len(requests)
        for batch in _batches(sorted(rows, key=lambda row: (-len(row), row)), self.batch_size):
            logits_BTV = self.model(_right_padded(batch).to(self._device)).logits
            for row, logits_TV in zip(batch, logits_BTV, strict=True):
                for index in rows[row]:
                    continuation = requests[index][2]
                    end = len(row)
                    scored = logits_TV[end - len(continuation) : end]
                    results[index] = _score(scored, continuation)
        return results

    @torch.inference_mode()
    def _generate(self, requests: Sequence[Any]) -> list[str]:
        end = self.tokenizer.decode(self.eot_token_id, skip_special_tokens=False)
        groups: dict[tuple[int, str], list[tuple[int, list[int]]]] = {}
        options: dict[str, dict[str, Any]] = {}
        for index, request in enumerate(requests):
            context, arguments = request.args
            tokens = self.tok_encode(context)[-(self.max_length - self._room(arguments)) :]
            options[repr(arguments)] = arguments
            groups.setdefault((len(tokens), repr(arguments)), []).append((index, tokens))
        texts = [""] * len(requests)
        for (length, key), members in sorted(groups.items(), reverse=True):
            stops = handle_stop_sequences(list(_stops(options[key])), eos=end)
            for batch in _batches(members, self.batch_size):
                inputs = torch.tensor([tokens for _, tokens in batch], device=self._device)
                outputs = self.model.generate(
                    input_ids=inputs,
                    attention_mask=torch.ones_like(inputs),
                    max_new_tokens=self._room(options[key]),
                    do_sample=False,
                    use_cache=True,
                    pad_token_id=self._pad_token_id,
                    stopping_criteria=stop_sequences_criteria(
                        self.tokenizer, stops, length, len(batch)
                    ),
                )
                for (index, _), tokens in zip(batch, outputs[:, length:].tolist(), strict=True):
                    text = self.tokenizer.decode(tokens, skip_special_tokens=True)
                    texts[index] = postprocess_generated_text(text, stops, None)
        return texts

    @property
    def _pad_token_id(self) -> int:
        pad = self.tokenizer.pad_token_id
        return self.eot_token_id if pad is None else int(pad)

    def _room(self, arguments: dict[str, Any]) -> int:
        """Tokens to generate for one request."""
        options = normalize_gen_kwargs(arguments, self.max_gen_toks)
        if options["do_sample"]:
            raise UserError(
                "the attnres backend decodes greedily, and this task samples; use --backend hf"
            )
        return int(options["max_gen_toks"])


def _stops(arguments: dict[str, Any]) -> list[str]:
    stops = arguments.get("until") or []
    return [stops] if isinstance(stops, str) else list(stops)


def _score(logits_TV: Tensor, continuation: list[int]) -> tuple[float, bool]:
    targets_T = torch.tensor(continuation, device=logits_TV.device)
    logs_TV = F.log_softmax(logits_TV.float(), dim=-1)
    total = logs_TV.gather(1, targets_T[:, None]).sum()
    return float(total), bool((logits_TV.argmax(dim=-1) == targets_T).all())


def _right_padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """(B, T) tokens. What stands right of a row's end cannot reach it, whatever it is."""
    width = max(len(row) for row in rows)
    return torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])


def _batches(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


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
