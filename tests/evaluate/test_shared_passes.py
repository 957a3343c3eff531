"""Shared forward passes give what one forward pass a row gives, for every residual variant."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from attnres_eval.evaluate.decode import decode
from attnres_eval.evaluate.likelihood import log_likelihoods
from attnres_eval.evaluate.network import Network
from attnres_eval.model.hf import AttnResConfig, AttnResForCausalLM
from attnres_eval.model.initialise import initialise
from attnres_eval.shape import ModelShape
from attnres_eval.variants import VARIANTS, parse_options

VOCABULARY = 40
SIZES = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 128,
}


def ours(variant: str) -> Any:
    """A model of ours with every parameter away from its neutral start."""
    shape = ModelShape(
        d_model=16,
        n_layers=4,
        n_heads=2,
        n_kv_heads=2,
        head_dim=8,
        d_ff=24,
        vocab_size=VOCABULARY,
        context=128,
    )
    options = parse_options(variant, {}).model_dump(mode="json")
    model = AttnResForCausalLM(AttnResConfig.of(shape, variant, options, 0)).eval()
    initialise(model.model, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return model


def theirs(kind: type, config: Any) -> Any:
    torch.manual_seed(0)
    return kind(config).eval()


MODELS: dict[str, Callable[[], Any]] = {
    **{name: (lambda name=name: ours(name)) for name in VARIANTS},
    "llama": lambda: theirs(LlamaForCausalLM, LlamaConfig(**SIZES)),
    "windowed": lambda: theirs(MistralForCausalLM, MistralConfig(**SIZES, sliding_window=8)),
}


def questions() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Inputs and targets: choices on contexts on a common prefix, single texts, duplicates."""
    rng = np.random.default_rng(0)
    prefix = rng.integers(0, VOCABULARY, 40)
    inputs, targets = [], []

    def ask(context: np.ndarray, length: int) -> None:
        choice = rng.integers(0, VOCABULARY, length)
        inputs.append(np.concatenate([context, choice])[:-1])
        targets.append(choice)

    for question in range(6):
        context = np.concatenate([prefix, rng.integers(0, VOCABULARY, 12 + question)])
        for length in (1, 1, 3, 5):
            ask(context, length)
    for length in (2, 7, 30):
        ask(rng.integers(0, VOCABULARY, 3 + length), length)
    ask(rng.integers(0, VOCABULARY, 1), 1)
    for index in (0, 2):
        inputs.append(inputs[index])
        targets.append(targets[index])
    return inputs, targets


@torch.inference_mode()
def slowly(model: Any, row: np.ndarray, target: np.ndarray) -> tuple[float, bool]:
    logits = model(torch.from_numpy(row)[None]).logits[0, -len(target) :].double()
    wanted = torch.from_numpy(target)
    total = logits.log_softmax(-1).gather(1, wanted[:, None]).sum().item()
    return total, bool((logits.argmax(-1) == wanted).all())


@pytest.mark.parametrize("name", MODELS)
def test_log_likelihoods(name: str) -> None:
    model = MODELS[name]()
    network = Network(model)
    assert network.shares is (name != "windowed")
    inputs, targets = questions()
    expected = [slowly(model, *pair) for pair in zip(inputs, targets, strict=True)]
    for tokens in (1, 64, 4096):
        found = log_likelihoods(network, inputs, targets, tokens)
        assert [score for score, _ in found] == pytest.approx(
            [score for score, _ in expected], abs=1e-4
        )
        assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]


def test_sharing_computes_less(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ours("block_attnres")
    network = Network(model)
    assert network.shares
    inputs, targets = questions()
    computed = []
    forward = model.forward

    def counting(input_ids: torch.Tensor, **arguments: Any) -> Any:
        computed.append(input_ids.numel())
        return forward(input_ids=input_ids, **arguments)

    monkeypatch.setattr(model, "forward", counting)
    log_likelihoods(network, inputs, targets, 64)
    assert sum(computed) < 0.3 * sum(map(len, inputs))


@torch.inference_mode()
def greedily(
    model: Any, prompt: np.ndarray, room: int, finished: Callable[[list[int]], bool]
) -> list[int]:
    generated: list[int] = []
    while len(generated) < room and not (generated and finished(generated)):
        row = torch.tensor([[*prompt.tolist(), *generated]])
        generated.append(int(model(row).logits[0, -1].argmax()))
    return generated


@pytest.mark.parametrize("name", [*VARIANTS, "llama"])
def test_decoding(name: str) -> None:
    model = MODELS[name]()
    rng = np.random.default_rng(3)
    prefix = rng.integers(0, VOCABULARY, 40)
    prompts = [np.concatenate([prefix, rng.integers(0, VOCABULARY, n)]) for n in (1, 5, 2, 9, 5)]
    prompts += [rng.integers(0, VOCABULARY, n) for n in (1, 4, 17)]

    def finished(tokens: list[int]) -> bool:
        return tokens[-1] % 4 == 0

    found = decode(Network(model), prompts, 9, 3, finished)
    assert found == [greedily(model, prompt, 9, finished) for prompt in prompts]
    assert len({len(tokens) for tokens in found}) > 1
