"""Families: right, disjoint, balanced, and the same every time."""

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterable
from random import Random

import pytest
from solvers import SOLVERS

from attnres_eval.errors import UserError
from attnres_eval.reasoning import FAMILIES, GYM_FAMILIES, get_family
from attnres_eval.reasoning.family import Family
from attnres_eval.reasoning.stream import documents, draw_steps, evaluation_items

ALL = [*FAMILIES.values(), *GYM_FAMILIES.values()]
each = pytest.mark.parametrize("family", ALL, ids=lambda family: family.name)
own = pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)


def test_there_is_a_solver_for_each() -> None:
    assert SOLVERS.keys() == FAMILIES.keys()


@own
def test_answers_are_those_of_another_solver(family: Family) -> None:
    for k in family.steps:
        for item in evaluation_items(family, k):
            assert SOLVERS[family.name](item.prompt) == item.choices[item.gold]


@own
def test_training_answers_are_right_too(family: Family) -> None:
    """Each question of a document, put alone behind the document's table."""
    checked = 0
    for text in documents(family, 20_000, training=True):
        if family.shared_table:
            table, questions = split_document(text)
        else:
            table, questions = family.letter, split_standing(text)
        for question, answer in questions:
            assert SOLVERS[family.name](f"{table} {question} =") == answer
            checked += 1
    assert checked > 200


def split_standing(text: str) -> list[tuple[str, str]]:
    """Questions that stand alone end in one symbol behind `=`."""
    symbols, questions, start = text.split()[1:], [], 0
    for at, symbol in enumerate(symbols):
        if symbol == "=":
            questions.append((" ".join(symbols[start:at]), symbols[at + 1]))
            start = at + 2
    return questions


def split_document(text: str) -> tuple[str, list[tuple[str, str]]]:
    """The table ends where the first question begins: one or two symbols before its `=`."""
    symbols = text.split()
    width = 2 if symbols[0] in "DI" else 1
    first = symbols.index("=") - width
    questions, at = [], first
    while at < len(symbols):
        end = at + width + 1
        stop = symbols.index(".", end) + 1 if symbols[0] == "B" else end + 1
        questions.append((" ".join(symbols[at : at + width]), " ".join(symbols[end:stop])))
        at = stop
    return " ".join(symbols[:first]), questions


@each
def test_the_same_every_time(family: Family) -> None:
    evaluation_items.cache_clear()
    first = [evaluation_items(family, k, 20) for k in family.steps]
    texts = list(documents(family, 3000, training=True))
    evaluation_items.cache_clear()
    assert [evaluation_items(family, k, 20) for k in family.steps] == first
    assert list(documents(family, 3000, training=True)) == texts
    assert texts != list(documents(family, 3000, training=False))


def test_text_is_that_of_the_version() -> None:
    """Whoever changes what a seed gives raises the family's version, and this hash."""
    text = "\n".join(
        [
            *itertools.chain(*(documents(f, 2000, training=True) for f in FAMILIES.values())),
            *(repr(evaluation_items(f, f.steps[-1], 5)) for f in FAMILIES.values()),
        ]
    )
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "f5a7d74f77f9cf94"


@each
def test_more_text_begins_with_less(family: Family) -> None:
    few = list(documents(family, 2000, training=True))
    assert list(documents(family, 6000, training=True))[: len(few)] == few


@each
def test_nothing_evaluated_is_trained_on(family: Family) -> None:
    """By the keys of questions drawn afresh, and by the texts that are written."""
    rng = Random(0)
    seen = {True: 0, False: 0}
    for _ in range(200):
        for question in family.scene(rng, [rng.choice(family.steps)]).questions:
            seen[family.for_evaluation(question.key)] += 1
    assert seen[True]
    assert seen[False]
    trained = subjects(family, documents(family, 60_000, training=True))
    for k in family.steps:
        for item in evaluation_items(family, k, 100):
            assert not trained & subjects(family, [f"{item.prompt} {item.choices[item.gold]}"])


def subjects(family: Family, texts: Iterable[str]) -> set[str]:
    """What the questions of some documents are about, read off the text."""
    if family.name in GYM_FAMILIES:
        lines = itertools.chain(*(text.split("\n") for text in texts))
        return {line for line in lines if line.startswith("Question:")}
    if family.shared_table:
        return {split_document(text)[0] for text in texts}
    return {question for text in texts for question, _ in split_standing(text)}


@own
def test_held_out_text_is_about_other_things(family: Family) -> None:
    sides = [subjects(family, documents(family, 20_000, training=side)) for side in (True, False)]
    assert not sides[0] & sides[1]


@each
def test_choices_are_different_and_hold_the_answer(family: Family) -> None:
    for k in family.steps:
        for item in evaluation_items(family, k):
            assert len(set(item.choices)) == len(item.choices)
            assert 1 / len(item.choices) == pytest.approx(family.chance(k))
            assert len(item.choices[item.gold].split()) == family.answer_symbols(k)


@each
def test_no_place_and_no_answer_is_a_good_guess(family: Family) -> None:
    """Guessing the commonest place, or the commonest answer, is within 4 standard errors of luck.

    Of small families the evaluated questions are all there are, and what is common among them
    cannot be known from training.
    """
    rng = Random(3)
    for k in family.steps:
        chance, n = family.chance(k), 2000 if family.name in FAMILIES else 1000
        places: Counter[int] = Counter()
        answers: Counter[str] = Counter()
        offered: Counter[str] = Counter()
        for _ in range(n):
            (question,) = family.scene(rng, [k]).questions
            places[question.gold] += 1
            answers[question.answer] += 1
            offered.update(question.choices)
        error = (chance * (1 - chance) / n) ** 0.5
        assert max(places.values()) / n < chance + 4.5 * error
        if family.name == "brevo" and k > 1:
            continue  # letters that ascend are a better guess, as its text says
        common, _ = answers.most_common(1)[0]
        error = (chance * (1 - chance) / offered[common]) ** 0.5
        assert answers[common] / offered[common] < chance + 4.5 * error


@each
def test_questions_differ(family: Family) -> None:
    for k in family.steps:
        items = evaluation_items(family, k)
        assert len({item.prompt for item in items}) == len(items) > 30


def test_easy_questions_are_taught_more_often() -> None:
    rng, family = Random(0), FAMILIES["induction"]
    counts = Counter(draw_steps(rng, family) for _ in range(4000))
    assert [k for k, _ in counts.most_common()] == [1, 2, 3, 4]
    assert counts[1] / 4000 == pytest.approx(25 / 48, abs=0.03)


def test_unknown_names_and_steps() -> None:
    with pytest.raises(UserError, match="did you mean depo"):
        get_family("deppo")
    with pytest.raises(UserError, match="there are brevo"):
        get_family("zzzz")
    with pytest.raises(ValueError, match="k 99"):
        evaluation_items(FAMILIES["s5"], 99)


def test_a_missing_package_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from attnres_eval.reasoning import gym

    gym._dataset.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "reasoning_gym", None)
    with pytest.raises(UserError, match=r"attnres-eval\[gym\]"):
        GYM_FAMILIES["gym_chain_sum"].scene(Random(0), [3])
    gym._dataset.cache_clear()
