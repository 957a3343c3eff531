from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from lm_eval.tasks import TaskManager
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from attnres_eval.data.offline import offline_folder
from attnres_eval.errors import UserError
from attnres_eval.evaluate import tasks
from attnres_eval.model.hf import AttnResConfig, AttnResForCausalLM
from attnres_eval.model.initialise import initialise
from attnres_eval.shape import ModelShape

CONTEXT = 96

LOCAL_TASKS = {
    "pairs.yaml": """
task: local_pairs
output_type: multiple_choice
custom_dataset: !function local.pairs
test_split: test
fewshot_split: train
doc_to_text: "{{question}}"
doc_to_target: gold
doc_to_choice: choices
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
metadata: {version: 7}
""",
    "words.yaml": """
task: local_words
output_type: generate_until
custom_dataset: !function local.words
test_split: test
doc_to_text: "{{question}}"
doc_to_target: answer
generation_kwargs: {until: ["e"], max_gen_toks: 12, do_sample: false}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
metadata: {version: 1}
""",
    "text.yaml": """
task: local_text
output_type: loglikelihood_rolling
custom_dataset: !function local.texts
test_split: test
doc_to_text: ""
doc_to_target: text
metric_list: [{metric: bits_per_byte}]
metadata: {version: 1}
""",
    "long.yaml": """
include: words.yaml
task: local_long
generation_kwargs: {until: ["e"], max_gen_toks: 4096, do_sample: false}
""",
    "code.yaml": """
include: words.yaml
task: local_code
unsafe_code: true
""",
    "away.yaml": """
task: local_away
dataset_path: nobody/absent
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_target: gold
doc_to_choice: choices
""",
    "group.yaml": """
group: local_group
task: [local_pairs, local_text]
aggregate_metric_list: [{metric: acc}]
""",
    "local.py": """
from datasets import Dataset

TEXT = "the cat sat on the mat and what is the answer to this question"


def pairs(**_):
    choices = [" mat", " the cat sat", " an answer"]
    rows = [
        {
            "question": TEXT[: 7 * n + 5],
            "choices": choices,
            "gold": n % 3,
            "passage": TEXT[n // 4 :],
        }
        for n in range(12)
    ]
    return {"test": Dataset.from_list(rows), "train": Dataset.from_list(rows[:4])}


def words(**_):
    rows = [{"question": TEXT[: 5 * n + 3], "answer": "cat"} for n in range(9)]
    return {"test": Dataset.from_list(rows)}


def texts(**_):
    return {"test": Dataset.from_list([{"text": TEXT * n} for n in (1, 3, 20)])}
""",
}


@pytest.fixture(scope="session", autouse=True)
def _one_thread_and_no_hub() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def package() -> Path:
    """The data folder of the offline package."""
    try:
        return offline_folder()
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def benchmarks(shared: Path) -> Path:
    return shared / "benchmarks"


def save_tokenizer(folder: Path) -> int:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    text = "the cat sat on the mat and what is the answer to this question "
    tokenizer.train_from_iterator([text * 3], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|endoftext|>", bos_token="<|endoftext|>"
    )
    fast.save_pretrained(folder)
    return len(fast)


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder of somebody else's tiny model."""
    folder = tmp_path_factory.mktemp("llama")
    config = LlamaConfig(
        vocab_size=save_tokenizer(folder),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=CONTEXT,
        bos_token_id=0,
        eos_token_id=0,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder of a tiny model of ours."""
    folder = tmp_path_factory.mktemp("ours")
    shape = ModelShape(
        d_model=32,
        n_layers=4,
        n_heads=2,
        n_kv_heads=2,
        head_dim=16,
        d_ff=64,
        vocab_size=save_tokenizer(folder),
        context=CONTEXT,
    )
    model = AttnResForCausalLM(AttnResConfig.of(shape, "block_attnres", {"num_blocks": 4}, 0))
    initialise(model.model, seed=0)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def local_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """YAML files of made-up tasks."""
    folder = tmp_path_factory.mktemp("tasks")
    for name, text in LOCAL_TASKS.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def local_tasks(local_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index of made-up tasks alone."""
    manager = TaskManager(include_defaults=False, include_path=str(local_folder))
    monkeypatch.setattr(tasks, "task_index", lambda: manager)
    tasks._load_task.cache_clear()
