"""Tokens of requests are those that lm-eval's own backend would take."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lm_eval.models.huggingface import HFLM

from attnres_eval.evaluate.backend import AttnResLM
from attnres_eval.evaluate.models import load_model

PIECES = ["the cat", " sat", " ", "  ", "\n", "\n\n", "a", "A.", "1", "23", "'s", "é", "\t", "?"]
TEXT = st.lists(st.sampled_from([*PIECES, "<|endoftext|>"]), min_size=1, max_size=8).map("".join)


@pytest.fixture(scope="module")
def backends(llama: Path) -> tuple[AttnResLM, HFLM]:
    model = load_model(llama, device="cpu")
    return AttnResLM(model), HFLM(pretrained=model.model, tokenizer=model.tokenizer)


def test_this_tokenizer_is_cut_into_parts(backends: tuple[AttnResLM, HFLM]) -> None:
    assert backends[0]._encoder._cuts


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(TEXT, min_size=1, max_size=6))
def test_texts(backends: tuple[AttnResLM, HFLM], texts: list[str]) -> None:
    ours, _ = backends
    alike = [*texts, *(a + b for a in texts for b in texts)]
    found = ours._encoder.texts(alike)
    assert found == {text: ours.tok_encode(text) for text in alike}


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(TEXT, st.sampled_from([" mat", "mat", " the cat sat", "\n1", "B"]))
def test_pairs(backends: tuple[AttnResLM, HFLM], context: str, continuation: str) -> None:
    ours, theirs = backends
    if not context.strip():
        return
    ((before, after),) = ours._encoder.pairs([(context, continuation)])
    assert (before.tolist(), after.tolist()) == theirs._encode_pair(context, continuation)
