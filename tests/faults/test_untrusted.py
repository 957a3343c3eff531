"""Files of strangers: nothing in them is run, and nothing of a size they only claim is made."""

import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fabricate import fabricate, make_study
from safetensors.torch import save_file

from attnres_eval.data.prepare import prepare
from attnres_eval.errors import UserError
from attnres_eval.evaluate.models import load_model
from attnres_eval.records import RunFolder, TaskRecord, read_record, task_file, write_record
from attnres_eval.report.build import build_report
from attnres_eval.study import Study
from attnres_eval.study_file import parse_study
from attnres_eval.train.loop import train

PLAIN = "name: x\nvariants: {prenorm: }\nsizes: {d16: {d_model: 16, n_layers: 2, n_heads: 1}}\n"


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, corpus: Path, cache: Path) -> Path:
    """A checkpoint of ours."""
    text = PLAIN + "seeds: [0]\n"
    values = f"data: {{corpora: {{'file:{corpus}': 1}}, vocab_size: 300, validation_tokens: 512}}\n"
    recipe = "recipe: {context: 32, batch_sequences: 2, tokens_per_parameter: 0.01}\n"
    config = parse_study(text + values + recipe, "x").runs()[0]
    folder = RunFolder(tmp_path_factory.mktemp("model") / "run")
    train(config, folder, prepare(config.data))
    return folder.checkpoint


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    return shutil.copytree(model, tmp_path / "model")


def refused(folder: Path) -> str:
    start = time.monotonic()
    with pytest.raises(UserError) as error:
        load_model(folder)
    assert "\n" not in str(error.value)
    assert time.monotonic() - start < 20
    return str(error.value)


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt"])
def test_a_pickle_is_never_opened(name: str, copy: Path, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    (copy / "model.safetensors").unlink()
    (copy / name).write_bytes(pickle.dumps(Trap(trap)))
    assert f"{name}: is a pickle" in refused(copy)
    assert not trap.exists()
    pickle.loads((copy / name).read_bytes())
    assert trap.exists(), "the trap works"


def test_a_pickle_beside_safetensors_is_left_alone(copy: Path, tmp_path: Path) -> None:
    (copy / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    load_model(copy)
    assert not (tmp_path / "sprung").exists()


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.mark.parametrize(
    "values",
    [
        {"n_layers": 10**12},
        {"n_layers": 4000},
        {"d_model": 10**12, "head_dim": 10**12},
        {"vocab_size": 10**12},
        {"d_ff": 10**11},
        {"d_model": -16},
        {"d_model": "wide"},
        {"variant": "none such"},
        {"residual_options": {"x": 10**12}},
    ],
)
def test_absurd_shapes_are_refused_before_they_are_made(values: dict[str, Any], copy: Path) -> None:
    change(copy / "config.json", **values)
    line = refused(copy)
    assert str(copy) in line


@pytest.mark.parametrize("length", [2**63, 10**9, 3])
def test_a_lying_safetensors_header_is_refused(length: int, copy: Path) -> None:
    weights = copy / "model.safetensors"
    weights.write_bytes(struct.pack("<Q", length) + weights.read_bytes()[8:])
    assert "safetensors" in refused(copy)


def test_tensors_that_claim_more_than_the_file_holds_are_refused(copy: Path) -> None:
    entry = {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]}
    header = json.dumps({"model.embedding.weight": entry}).encode()
    content = struct.pack("<Q", len(header)) + header + b"\0" * 64
    (copy / "model.safetensors").write_bytes(content)
    refused(copy)


def test_paths_that_lead_out_of_the_folder_are_refused(copy: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.safetensors"
    save_file({"x": torch.zeros(1)}, outside)
    index = copy / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": {"x": "../outside.safetensors"}}))
    assert "names the file '../outside.safetensors'" in refused(copy)
    index.unlink()
    change(copy / "tokenizer_config.json", tokenizer_file=str(outside))
    assert "outside.safetensors', outside of its folder" in refused(copy)


def test_links_out_of_the_folder_are_refused_but_not_those_of_the_hubs_cache(
    copy: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "tokenizer.json"
    (copy / "tokenizer.json").rename(outside)
    (copy / "tokenizer.json").symlink_to(outside)
    assert "leads out of its folder" in refused(copy)
    cached = tmp_path / "models--x" / "snapshots" / "f00d"
    blobs = tmp_path / "models--x" / "blobs"
    shutil.copytree(copy, cached)
    blobs.mkdir()
    (cached / "tokenizer.json").rename(blobs / "abc")
    (cached / "tokenizer.json").symlink_to(Path("../../blobs/abc"))
    load_model(cached)


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.mkdir [/tmp/never]",
        "name: !!python/name:os.system x",
        "name: !new x",
        "x: &a [1]\ny: *a",
        "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
        + "".join(
            f"{y}: &{y} [{','.join([f'*{x}'] * 9)}]\n"
            for x, y in zip("bcdefgh", "cdefghi", strict=True)
        ),
        "[" * 100_000,
        "name: " + "9" * 10_000,
        "x" * 2_000_000,
        PLAIN + "seeds: [.inf]",
        PLAIN + "seeds: [0]\nrecipe: {learning_rate: .inf}",
        PLAIN + "seeds: [0]\nrecipe: {tokens_per_parameter: 1.0e+300}",
        PLAIN + "seeds: [0]\nrecipe: {context: 2001-99-99}",
        "\ud800",
        "",
    ],
)
def test_a_study_is_plain_values(text: str) -> None:
    start = time.monotonic()
    with pytest.raises(UserError) as error:
        parse_study(text, "strange.yaml")
    assert str(error.value).startswith("strange.yaml: ")
    assert "\n" not in str(error.value)
    assert time.monotonic() - start < 5


def test_a_study_of_an_absurd_size_is_refused_at_once() -> None:
    text = PLAIN.replace("d_model: 16", "d_model: 1000000000000") + "seeds: [0]\n"
    with pytest.raises(UserError, match=r"sizes.d16.d_model: .* less than or equal to 1048576"):
        parse_study(text, "huge.yaml")


def test_the_largest_study_is_priced_and_its_training_refused(
    tiny: Callable[..., Study], tmp_path: Path
) -> None:
    from attnres_eval.sweep.plan import plan_rows, total_seconds

    huge = {"d_model": 2**20, "n_layers": 4096, "n_heads": 2**10}
    study = tiny(sizes={"huge": huge}, recipe={"tokens_per_parameter": 1e6})
    start = time.monotonic()
    rows = plan_rows(study)
    assert rows[0]["parameters"] > 5e16
    assert total_seconds(study, 2) > 1e20
    assert time.monotonic() - start < 10
    config = study.runs()[0]
    with pytest.raises(UserError, match=r"run .*-huge-s0 cannot fit: .* parameters .* GiB"):
        train(config, RunFolder(tmp_path / "run"), prepare(config.data))
    assert time.monotonic() - start < 20


HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)> $\\frac{$ **b** | `c`'


def test_names_in_records_are_text_wherever_the_report_shows_them(tmp_path: Path) -> None:
    tasks = ("arc_easy", "piqa")
    study = make_study(("prenorm", "full_attnres"), n_sizes=3, seeds=(0, 1), tasks=tasks, limit=20)
    results = fabricate(
        tmp_path / "out", study=study, missing=["full_attnres-d64-s1"], skill={"prenorm": 0.9}
    )
    values = study.model_dump(mode="json") | {"description": HOSTILE}
    for run in (results / "runs").iterdir():
        folder = RunFolder(run)
        for task in tasks:
            path = task_file(folder.evaluation, task)
            if path.exists():
                record = read_record(path, TaskRecord)
                write_record(path, record.model_copy(update={"task": HOSTILE + task}))
        if folder.finished:
            summary = json.loads(folder.summary.read_text())
            summary["machine"] |= {"processor": HOSTILE, "torch": HOSTILE}
            del summary["record_sha256"]
            folder.summary.write_text(json.dumps(summary))
    (results / "study.json").write_text(json.dumps(values))
    failure = results / "runs" / "full_attnres-d64-s1" / "failure.json"
    failure.write_text(json.dumps({"reason": HOSTILE}))
    page = build_report(results).read_text(encoding="utf-8")
    assert "&lt;script&gt;" in page
    # The page has scripts of its own; in the data of its charts no text begins an element.
    assert "<script>alert" not in page
    assert "</script><img" not in page
    assert "<img src=x" not in page
    assert "&lt;script" in (markdown := (results / "report.md").read_text(encoding="utf-8"))
    assert "<script" not in markdown
    for figure in (results / "figures").glob("*.svg"):
        assert "<script" not in figure.read_text(encoding="utf-8"), figure


TASK = """task: strange
dataset_path: json
dataset_kwargs: {data_files: {test: data.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: !function code.text
doc_to_choice: [a, b]
doc_to_target: 0
"""


def lm_eval(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    arguments = ["lm-eval", "run", "--model", "dummy", "--tasks", "strange", "--limit", "1"]
    command = [sys.executable, "-m", "attnres_eval", *arguments, "--include_path", str(folder)]
    return subprocess.run([*command, *flags], capture_output=True, text=True, cwd=folder)


@pytest.mark.slow
def test_code_of_a_strangers_task_needs_a_flag(tmp_path: Path) -> None:
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "strange.yaml").write_text(TASK)
    (folder / "data.jsonl").write_text('{"x": "y"}\n')
    (folder / "code.py").write_text(
        f"from pathlib import Path\nPath({str(tmp_path / 'sprung')!r}).touch()\n"
        "def text(doc):\n    return doc['x']\n"
    )
    done = lm_eval(folder)
    assert done.returncode == 2, done.stderr
    assert "runs code of its own (!function)" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "sprung").exists()
    done = lm_eval(folder, "--trust-task-code")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "sprung").exists()


def test_only_our_folders_and_lm_evals_are_trusted(tmp_path: Path) -> None:
    import lm_eval.tasks

    from attnres_eval.evaluate.task_code import only_trusted_code, trusted
    from attnres_eval.study_file import bundled_folder

    assert trusted(bundled_folder("tasks") / "cmath")
    assert trusted(Path(lm_eval.tasks.__path__[0]) / "gpqa")
    assert not trusted(tmp_path)
    (tmp_path / "task.yaml").write_text("task: x\ndoc_to_text: !function os.getpid\n")
    from lm_eval.tasks._yaml_loader import load_yaml

    with only_trusted_code(), pytest.raises(UserError, match=f"{tmp_path} runs code of its own"):
        load_yaml(tmp_path / "task.yaml")
    assert callable(load_yaml(tmp_path / "task.yaml")["doc_to_text"])
