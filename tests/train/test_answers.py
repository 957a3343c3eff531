"""Answers weigh more in training, and nothing else changes."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from cases import SHAPE

from attnres_eval.data.batches import Batches
from attnres_eval.data.prepare import prepare
from attnres_eval.data.tokenizer import save_tokenizer, train_tokenizer
from attnres_eval.errors import UserError
from attnres_eval.model.initialise import initialise
from attnres_eval.model.transformer import Transformer
from attnres_eval.records import Metrics, RunFolder, read_records
from attnres_eval.study import Study
from attnres_eval.train.answers import AnswerWeights
from attnres_eval.train.loop import train
from attnres_eval.variants import parse_options


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(train_tokenizer(["M 1 + 2 = 3 4 * 2 = 3"] * 20, 300), folder)
    return folder


def test_tokens_behind_the_mark_weigh_more(tokenizer: Path) -> None:
    weights_of = AnswerWeights(7.0, tokenizer)
    assert weights_of.mark is not None
    tokens = torch.full((2, 5), weights_of.mark + 1)
    tokens[0, 2] = weights_of.mark
    tokens[1, 4] = weights_of.mark
    weights = weights_of(tokens)
    assert weights is not None
    expected = torch.ones(2, 4)
    expected[0, 2] = 7.0
    assert torch.equal(weights, expected)


def test_no_weights_without_a_weight(tokenizer: Path) -> None:
    assert AnswerWeights(1.0, tokenizer)(torch.zeros(1, 3, dtype=torch.long)) is None


def test_a_mark_of_several_tokens_is_refused(tmp_path: Path) -> None:
    save_tokenizer(train_tokenizer(["plain words only"] * 20, 260), tmp_path)
    with pytest.raises(UserError, match="answer_weight is 3"):
        AnswerWeights(3.0, tmp_path)


def test_weighted_loss_is_the_weighted_mean() -> None:
    model = Transformer(SHAPE, "prenorm", parse_options("prenorm", {}))
    initialise(model, 0)
    tokens = torch.randint(0, 20, (3, 9), generator=torch.Generator().manual_seed(0))
    weights = torch.rand(3, 8, generator=torch.Generator().manual_seed(1)) + 0.5
    total = torch.zeros(())
    for row in range(3):
        logits = model(tokens[row : row + 1, :-1])[0]
        for place in range(8):
            target = tokens[row, place + 1]
            total = total - weights[row, place] * F.log_softmax(logits[place], -1)[target]
    torch.testing.assert_close(model.loss(tokens, weights / weights.sum()), total / weights.sum())
    torch.testing.assert_close(model.loss(tokens, torch.full((3, 8), 1 / 24)), model.loss(tokens))


def test_the_weight_reaches_training_and_not_the_held_out_loss(tmp_path: Path) -> None:
    study = Study.model_validate(
        {
            "name": "weighted",
            "variants": {"prenorm": None},
            "sizes": {"d16": {"d_model": 16, "n_layers": 2, "n_heads": 2}},
            "seeds": [0],
            "data": {
                "corpora": {"reasoning:mano": 1.0},
                "vocab_size": 300,
                "validation_tokens": 512,
                "reasoning_characters": 60_000,
            },
            "recipe": {
                "context": 32,
                "batch_sequences": 4,
                "tokens_per_parameter": 0.05,
                "log_every": 1,
                "precision": "fp32",
            },
        }
    )
    data = prepare(study.data, tmp_path / "cache")
    first = {}
    for weight in (1.0, 50.0):
        recipe = study.recipe.model_copy(update={"answer_weight": weight, "learning_rate": 1e-30})
        config = study.model_copy(update={"recipe": recipe}).runs()[0]
        folder = RunFolder(tmp_path / str(weight))
        summary = train(config, folder, data)
        line = read_records(folder.metrics, Metrics)[0]
        first[weight] = line.loss, summary.validation_nats_per_token
        batches = Batches(
            data.train, config.data.corpora, context=32, batch_sequences=4, steps=1, seed=0
        )
        batch = torch.from_numpy(batches.batch(0))
        model = Transformer(config.shape, "prenorm", config.parsed_options)
        initialise(model, 0)
        weights = AnswerWeights(weight, data.tokenizer)(batch)
        shares = None if weights is None else weights / weights.sum()
        expected = model.loss(batch, shares)
        assert line.loss == pytest.approx(expected.item(), rel=1e-5)
    # At a rate of nothing both are the same untrained model.
    assert first[1.0][0] != pytest.approx(first[50.0][0], rel=1e-4)
    assert first[1.0][1] == pytest.approx(first[50.0][1], rel=1e-6)
