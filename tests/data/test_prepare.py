import json
import subprocess
import sys

import numpy as np
import pytest

from attnres_eval.data import prepare as prepare_module
from attnres_eval.data.prepare import cache_folder, prepare
from attnres_eval.data.tokenizer import END_OF_TEXT, load_tokenizer
from attnres_eval.errors import UserError
from attnres_eval.files import sha256_of_file, sha256_of_json
from attnres_eval.study import Data


def data_of(*paths, shares=(1.0,), vocab_size=300, validation_tokens=10_000) -> Data:
    return Data(
        corpora={f"file:{path}": share for path, share in zip(paths, shares, strict=True)},
        vocab_size=vocab_size,
        validation_tokens=validation_tokens,
    )


def test_tokens_are_the_documents(tmp_path, text_file):
    path = text_file(documents=1500)
    said = []
    prepared = prepare(data_of(path), tmp_path / "cache", said.append)
    assert said
    assert prepared.folder.parent == tmp_path / "cache" / "data"
    tokenizer = load_tokenizer(prepared.tokenizer)
    manifest = prepared.manifest
    (corpus,) = manifest.corpora
    (tokens,) = prepared.train.values()

    training = tokenizer.decode(tokens.tolist(), skip_special_tokens=False).split(END_OF_TEXT)[:-1]
    out = tokenizer.decode(prepared.validation.tolist(), skip_special_tokens=False)
    held_out = out.split(END_OF_TEXT)[:-1]
    documents = [json.loads(line)["text"] for line in path.read_text().splitlines()]
    assert sorted(training + held_out) == sorted(documents)
    assert training != sorted(training, key=documents.index)
    assert corpus.training_documents == len(training)
    assert corpus.held_out_documents == len(held_out)
    assert corpus.training_tokens == len(tokens) == manifest.training_tokens
    assert corpus.training_bytes == sum(map(len, training))
    assert corpus.held_out_bytes == sum(map(len, held_out)) == manifest.validation_bytes
    assert corpus.counts[corpus.name]["documents"] == 1500
    assert manifest.tokenizer_sha256 == sha256_of_file(prepared.tokenizer / "tokenizer.json")


def test_bytes_of_any_span_are_the_sum_over_its_tokens(tmp_path, text_file):
    prepared = prepare(data_of(text_file()), tmp_path / "cache")
    tokenizer = load_tokenizer(prepared.tokenizer)
    for start, end in [(0, 50), (7, 131), (1, len(prepared.validation))]:
        span = prepared.validation[start:end]
        text = tokenizer.decode(span.tolist(), skip_special_tokens=True)
        assert prepared.byte_lengths[span].sum() == len(text.encode())
    assert prepared.byte_lengths.shape == (300,)


def test_validation_is_mixed_by_share_and_capped(tmp_path, text_file):
    first, second = text_file("a.jsonl", 5000), text_file("b.jsonl", 5000, salt="other ")
    prepared = prepare(
        data_of(first, second, shares=(3.0, 1.0), validation_tokens=800), tmp_path / "cache"
    )
    assert prepared.shares == {f"file:{first}": 0.75, f"file:{second}": 0.25}
    assert [corpus.validation_tokens for corpus in prepared.manifest.corpora] == [600, 200]
    assert len(prepared.validation) == prepared.manifest.validation_tokens == 800
    tokenizer = load_tokenizer(prepared.tokenizer)
    assert "other" not in tokenizer.decode(prepared.validation[:600].tolist())
    assert "other" in tokenizer.decode(prepared.validation[600:].tolist())


def test_a_small_held_out_part_bounds_the_validation_set(tmp_path, text_file):
    large, small = text_file("a.jsonl", 20_000), text_file("b.jsonl", 1000, salt="other ")
    prepared = prepare(data_of(large, small, shares=(1, 1)), tmp_path / "cache")
    a, b = prepared.manifest.corpora
    assert a.validation_tokens == b.validation_tokens == b.held_out_tokens
    assert a.held_out_tokens > 5 * a.validation_tokens


def test_reused_and_keyed_by_everything_that_matters(tmp_path, text_file, monkeypatch):
    path = text_file()
    first = prepare(data_of(path), tmp_path / "cache")
    said = []
    again = prepare(data_of(path), tmp_path / "cache", said.append)
    assert again.folder == first.folder
    assert again.manifest == first.manifest
    assert not said

    folders = {first.folder}
    folders.add(prepare(data_of(path, vocab_size=310), tmp_path / "cache").folder)
    folders.add(prepare(data_of(path, validation_tokens=50), tmp_path / "cache").folder)
    text_file(salt="changed ")
    folders.add(prepare(data_of(path), tmp_path / "cache").folder)
    monkeypatch.setattr(prepare_module, "FORMAT", 1_000)
    folders.add(prepare(data_of(path), tmp_path / "cache").folder)
    assert len(folders) == 5


def test_same_data_same_hash_wherever_it_lies(tmp_path, text_file):
    path = text_file()
    hashes = [
        prepare(data_of(path), tmp_path / name).manifest.data_sha256 for name in ("one", "two")
    ]
    assert hashes[0] == hashes[1]
    files = prepare(data_of(path), tmp_path / "one").manifest.files
    assert hashes[0] == sha256_of_json({name: record.sha256 for name, record in files.items()})
    text_file(salt="changed ")
    assert prepare(data_of(path), tmp_path / "one").manifest.data_sha256 != hashes[0]


@pytest.mark.parametrize(
    "name", ["train-00.bin", "validation.bin", "tokenizer/tokenizer.json", "byte_lengths.npy"]
)
@pytest.mark.parametrize("how", ["cut", "gone"])
def test_damaged_cache_is_rebuilt(tmp_path, text_file, name, how):
    data = data_of(text_file())
    first = prepare(data, tmp_path / "cache")
    before = (first.folder / name).read_bytes()
    if how == "cut":
        (first.folder / name).write_bytes(before[:-1])
    else:
        (first.folder / name).unlink()
    again = prepare(data, tmp_path / "cache")
    assert again.folder == first.folder
    assert (again.folder / name).read_bytes() == before
    assert again.manifest == first.manifest
    assert [path.name for path in again.folder.parent.iterdir()] == [again.folder.name]


@pytest.mark.parametrize("content", ["", "{", "{}", "[1]"])
def test_damaged_manifest_is_rebuilt(tmp_path, text_file, content):
    data = data_of(text_file())
    first = prepare(data, tmp_path / "cache")
    (first.folder / "manifest.json").write_text(content)
    assert prepare(data, tmp_path / "cache").manifest == first.manifest


def test_processes_may_prepare_at_once(tmp_path, text_file):
    code = (
        "import sys, pathlib\n"
        "from attnres_eval.data.prepare import prepare\n"
        "from attnres_eval.study import Data\n"
        "data = Data.model_validate_json(sys.argv[1])\n"
        "sys.stdin.readline()\n"
        "prepared = prepare(data, pathlib.Path(sys.argv[2]))\n"
        "print(prepared.folder, prepared.manifest.data_sha256, len(prepared.validation))\n"
    )
    command = [
        sys.executable,
        "-c",
        code,
        data_of(text_file()).model_dump_json(),
        str(tmp_path / "cache"),
    ]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    answers = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(set(answers)) == 1
    assert len(list((tmp_path / "cache" / "data").iterdir())) == 1


def test_the_slower_of_two_takes_what_the_faster_wrote(tmp_path, text_file, monkeypatch):
    data = data_of(text_file())
    build = prepare_module._build
    winners = []

    def build_slowly(*arguments):
        build(*arguments)
        monkeypatch.setattr(prepare_module, "_build", build)
        winners.append(prepare(data, tmp_path / "cache"))
        (winners[0].folder / "mark").touch()

    monkeypatch.setattr(prepare_module, "_build", build_slowly)
    loser = prepare(data, tmp_path / "cache")
    assert (loser.folder / "mark").exists()
    assert len(list(loser.folder.parent.iterdir())) == 1


def test_a_failed_build_leaves_nothing(tmp_path):
    path = tmp_path / "empty.txt"
    path.touch()
    with pytest.raises(UserError, match="is empty"):
        prepare(data_of(path), tmp_path / "cache")
    assert list((tmp_path / "cache" / "data").iterdir()) == []


def test_bad_input_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(UserError, match="there is no file"):
        prepare(data_of(tmp_path / "nowhere.txt"), tmp_path / "cache")
    with pytest.raises(UserError, match="unknown corpus"):
        prepare(Data(corpora={"nonsense": 1}), tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_cache_that_cannot_be_written(tmp_path, text_file):
    (tmp_path / "cache").write_text("a file is in the way")
    with pytest.raises(UserError, match="cannot be kept in"):
        prepare(data_of(text_file()), tmp_path / "cache")


def test_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ATTNRES_EVAL_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    monkeypatch.delenv("ATTNRES_EVAL_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "attnres-eval"


def test_commonsense(tmp_path, olmo_data):
    docs = [
        {"query": f"Question: {n} {n * 7}?\nAnswer:", "choices": ["a", f"b{n}"], "gold": 1}
        for n in range(300)
    ]
    olmo_data.write_train("csqa", docs)
    prepared = prepare(Data(vocab_size=260), tmp_path / "cache")
    (corpus,) = prepared.manifest.corpora
    assert corpus.name == "commonsense"
    assert corpus.counts["csqa"]["questions"] == 300
    assert corpus.training_documents + corpus.held_out_documents == 308
    assert np.all(prepared.train["commonsense"] < 260)


def test_the_room_needs_no_torch():
    code = (
        "import sys\n"
        "import attnres_eval.data.prepare, attnres_eval.data.batches\n"
        "print('torch' in sys.modules)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout == "False\n"
