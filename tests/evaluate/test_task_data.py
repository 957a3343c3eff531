"""Tasks of lm-eval on data that need no hub: right schema, right splits, right words of refusal."""

import time
from pathlib import Path

import pytest
from huggingface_hub import constants

from attnres_eval.errors import UserError
from attnres_eval.evaluate import package as package_room
from attnres_eval.evaluate.hub import hub_is_reachable
from attnres_eval.evaluate.package import package_splits
from attnres_eval.evaluate.tasks import load_task

# Sizes of the published sets: questions scored, choices of the first question.
PACKAGED = {
    "arc_challenge": (1172, 4),
    "arc_easy": (2376, 4),
    "boolq": (3270, 2),
    "cb": (56, 3),
    "commonsense_qa": (1221, 5),
    "copa": (100, 2),
    "hellaswag": (10042, 4),
    "mmlu_anatomy": (135, 4),
    "openbookqa": (500, 4),
    "piqa": (1838, 2),
    "rte": (277, 2),
    "social_iqa": (1954, 3),
    "winogrande": (1267, 2),
}


@pytest.mark.parametrize("name", PACKAGED)
def test_requests_of_packaged_tasks(name: str, package: Path) -> None:
    (task,) = load_task(name, None, None).task_dict["tasks"].values()
    questions, choices = PACKAGED[name]
    assert len(task.eval_docs) == questions
    task.set_fewshot_seed(1234)
    task.build_all_requests(limit=3)
    first = [request for request in task.instances if request.doc_id == 0]
    assert len(first) == choices
    context, continuation = first[0].args
    assert context
    assert continuation.startswith(" ")


def test_a_prompt_is_lm_evals_own(package: Path) -> None:
    (task,) = load_task("arc_easy", None, None).task_dict["tasks"].values()
    doc = task.eval_docs[0]
    assert task.doc_to_text(doc) == f"Question: {doc['question']}\nAnswer:"
    assert set(task.aggregation()) == {"acc", "acc_norm"}


@pytest.mark.parametrize(
    ("folder", "task", "rebuild", "question"),
    [
        ("ai2_arc/ARC-Easy", "arc_easy", package_room._arc, "question"),
        ("ai2_arc/ARC-Challenge", "arc_challenge", package_room._arc, "question"),
        ("openbookqa/main", "openbookqa", package_room._openbookqa, "question_stem"),
    ],
)
def test_splits_rebuilt_from_requests_equal_the_published_ones(
    folder: str, task: str, rebuild: object, question: str, package: Path
) -> None:
    rebuilt = package_room._requests(package, task, rebuild)["validation"]()  # type: ignore[arg-type]
    published = package_room._arrow(package / "hf_datasets" / folder)["validation"]()
    assert len(rebuilt) == len(published)
    for ours, theirs in zip(rebuilt, published, strict=True):
        assert ours[question] == theirs[question]
        assert ours["choices"]["text"] == theirs["choices"]["text"]
        gold = theirs["choices"]["label"].index(theirs["answerKey"])
        assert ours["choices"]["label"].index(ours["answerKey"]) == gold


def test_boolq_is_super_glues_with_titles(package: Path) -> None:
    rebuilt = package_splits(package, "aps/super_glue", "boolq")["validation"]()
    published = package_room._arrow(package / "hf_datasets" / "boolq" / "none")["validation"]()
    for ours, theirs in zip(rebuilt, published, strict=True):
        assert ours["question"].strip() == theirs["question"].strip()
        assert ours["passage"].endswith(" -- " + theirs["passage"])
        assert ours["label"] == int(theirs["answer"])


@pytest.mark.parametrize(
    ("name", "shots", "split"), [("mmlu_anatomy", 5, "dev"), ("arc_easy", 3, "train")]
)
def test_worked_examples(name: str, shots: int, split: str, package: Path) -> None:
    (task,) = load_task(name, shots, None).task_dict["tasks"].values()
    task.set_fewshot_seed(1234)
    task.build_all_requests(limit=1)
    prompt = task.instances[0].args[0]
    examples = task.dataset[split]
    shown = [doc for doc in examples if doc["question"].strip() in prompt]
    assert len(shown) >= shots
    assert prompt.count("Answer:") == shots + 1


def test_a_group_expands_as_in_lm_eval(package: Path) -> None:
    loaded = load_task("mmlu", None, None)
    assert len(loaded.task_dict["tasks"]) == 57
    assert sum(len(task.eval_docs) for task in loaded.task_dict["tasks"].values()) == 14042
    assert {"mmlu", "mmlu_stem", "mmlu_humanities"} <= loaded.task_dict["groups"].keys()


def test_a_tag_expands_as_in_lm_eval(package: Path) -> None:
    assert load_task("ai2_arc", None, None).task_dict["tasks"].keys() == {
        "arc_easy",
        "arc_challenge",
    }


def test_data_folder(benchmarks: Path) -> None:
    bbh = load_task("bbh_zeroshot", None, benchmarks).task_dict["tasks"]
    assert len(bbh) == 27
    pro = load_task("mmlu_pro", 0, benchmarks).task_dict["tasks"]
    assert sum(len(task.eval_docs) for task in pro.values()) == 12032
    pro["mmlu_pro_law"].build_all_requests(limit=1)
    assert "Options:\nA. " in pro["mmlu_pro_law"].instances[0].args[0]


def refusal(name: str, shots: int | None, folder: Path | None) -> str:
    with pytest.raises(UserError) as caught:
        load_task(name, shots, folder)
    message = str(caught.value)
    assert "\n" not in message
    assert name.split("_")[0] in message
    return message


def test_missing_worked_examples_are_said_missing(benchmarks: Path) -> None:
    message = refusal("mmlu_pro", None, benchmarks)
    assert "mmlu_pro_validation.jsonl.gz" in message
    assert "--num-fewshot 0" in message
    assert "'train'" in refusal("hellaswag", 10, None)
    assert "hold 5" in refusal("mmlu_anatomy", 6, None)


def test_missing_questions_are_said_missing(package: Path) -> None:
    assert "'test'" in refusal("sciq", None, None)
    assert "EleutherAI/lambada_openai" in refusal("lambada_openai", None, None)
    assert "gpqa/dataset.zip" in refusal("gpqa_diamond_zeroshot", None, None)


def test_unknown_task() -> None:
    assert "did you mean arc_easy" in refusal("arc_eazy", None, None)


def test_missing_data_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no folder"):
        load_task("arc_easy", None, tmp_path / "absent")


def test_damaged_archive(tmp_path: Path) -> None:
    (tmp_path / "gpqa").mkdir()
    (tmp_path / "gpqa" / "dataset.zip").write_bytes(b"PK\x03\x04 and no more")
    assert "dataset.zip" in refusal("gpqa_diamond_zeroshot", None, tmp_path)


def test_a_hub_that_does_not_answer_costs_no_time(
    local_tasks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    hub_is_reachable.cache_clear()
    start = time.monotonic()
    try:
        message = refusal("local_away", None, None)
    finally:
        hub_is_reachable.cache_clear()
    assert time.monotonic() - start < 10
    assert "nobody/absent" in message
    assert "cannot be reached" in message
    assert constants.HF_HUB_OFFLINE is False
