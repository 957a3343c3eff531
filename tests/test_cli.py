"""The command line on good and bad input: one clear line, exit code 2, nothing lost."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from fabricate import fabricate, make_study

from attnres_eval import cli
from attnres_eval.data.prepare import prepare
from attnres_eval.records import RunFolder
from attnres_eval.study_file import bundled_folder, load_study, parse_study
from attnres_eval.train.loop import train

Run = tuple[int, str, str]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(autouse=True)
def cache(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTNRES_EVAL_CACHE", str(scratch / "cache"))


@pytest.fixture(scope="module")
def values(scratch: Path) -> dict[str, Any]:
    corpus = scratch / "text.txt"
    corpus.write_text("\n\n".join(f"note {i}: {i * 7 % 101} and {i * i % 89}" for i in range(2500)))
    return {
        "name": "tiny",
        "variants": {"prenorm": None, "block_attnres": {"num_blocks": 2}},
        "sizes": {"d16": {"d_model": 16, "n_layers": 2, "n_heads": 1}},
        "seeds": [0],
        "data": {"corpora": {f"file:{corpus}": 1.0}, "vocab_size": 300, "validation_tokens": 512},
        "recipe": {"context": 64, "batch_sequences": 2, "tokens_per_parameter": 0.2},
    }


@pytest.fixture(scope="module")
def checkpoint(values: dict[str, Any], scratch: Path) -> Path:
    study = parse_study(yaml.safe_dump(values), "tiny.yaml")
    run = study.run("block_attnres", "d16", 0)
    folder = RunFolder(scratch / "run")
    train(run, folder, prepare(run.data, scratch / "cache"))
    return folder.checkpoint


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: str | Path) -> Run:
        monkeypatch.setattr(sys, "argv", ["attnres-eval", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def assert_one_line(result: Run, *words: str) -> None:
    code, _, err = result
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code == 2, err
    assert len(lines) == 1, err
    assert "Traceback" not in err
    for word in words:
        assert word in lines[0]


def write(scratch: Path, values: dict[str, Any], **changes: Any) -> Path:
    path = scratch / "study.yaml"
    path.write_text(yaml.safe_dump(values | changes))
    return path


BAD_STUDIES: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"variants": {"prenorm": None, "block_atnres": None}}, ("study.yaml", "mean block_attnres")),
    ({"sizs": {}}, ("study.yaml", "sizs: unknown key")),
    ({"sizes": {"d": {"d_model": -16, "n_layers": 2, "n_heads": 1}}}, ("sizes.d.d_model",)),
    ({"sizes": {"d": {"d_model": 16, "n_layers": 2, "n_heads": 3}}}, ("does not divide",)),
]


@pytest.mark.parametrize(("changes", "words"), BAD_STUDIES)
def test_bad_studies(
    changes: dict[str, Any], words: tuple[str, ...], command: Any, values: Any, tmp_path: Path
) -> None:
    path = write(tmp_path, values, **changes)
    assert_one_line(command("plan", path), *words)
    assert_one_line(command("reproduce", "--study", path, "--out", tmp_path / "out"), *words)
    assert not (tmp_path / "out").exists()


def test_missing_and_empty_corpus(command: Any, values: Any, tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text("")
    for name, word in ((f"file:{tmp_path}/none.txt", "none.txt"), (f"file:{empty}", "empty")):
        path = write(tmp_path, values, data={"corpora": {name: 1.0}, "vocab_size": 300})
        result = command("reproduce", "--study", path, "--out", tmp_path / "out")
        assert_one_line(result, word)


def test_folder_of_another_study(command: Any, values: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    other = parse_study(yaml.safe_dump(values | {"seeds": [5]}), "x")
    (out / "study.json").write_text(json.dumps(other.model_dump(mode="json")))
    path = write(tmp_path, values)
    result = command("reproduce", "--study", path, "--out", out)
    assert_one_line(result, "seeds: [5] -> [0]", "--force")
    assert json.loads((out / "study.json").read_text())["seeds"] == [5]


@pytest.mark.parametrize("damage", ["truncated", "no weights", "no config", "absent"])
def test_damaged_checkpoint(damage: str, command: Any, checkpoint: Path, tmp_path: Path) -> None:
    copy = tmp_path / "checkpoint"
    if damage != "absent":
        shutil.copytree(checkpoint, copy)
    if damage == "truncated":
        weights = copy / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])
    elif damage == "no weights":
        (copy / "model.safetensors").unlink()
    elif damage == "no config":
        (copy / "config.json").unlink()
    assert_one_line(command("evaluate", copy, "--tasks", "arc_easy", "--limit", "2"), "checkpoint")


def test_unknown_task_suggests_neighbours(command: Any, checkpoint: Path) -> None:
    assert_one_line(command("evaluate", checkpoint, "--tasks", "arc_esy"), "arc_esy", "arc_easy")


def test_hub_task_offline(command: Any, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert_one_line(command("evaluate", checkpoint, "--tasks", "lambada_openai"), "lambada")


def test_reproduce_wants_one_of_study_and_source(command: Any, tmp_path: Path) -> None:
    assert_one_line(command("reproduce", "--out", tmp_path), "--study", "--source")


@pytest.mark.parametrize("format", ["table", "csv", "json", "markdown", "latex"])
def test_plan_prints_every_run_in_every_format(format: str, command: Any) -> None:
    code, out, err = command("plan", "smoke", "--format", format)
    assert code == 0
    assert "minutes on" in err
    runs = [run.run for run in load_study("smoke").runs()]
    if format == "json":
        assert [row["run"] for row in json.loads(out)] == runs
    elif format == "csv":
        rows = list(csv.DictReader(io.StringIO(out)))
        assert [row["run"] for row in rows] == runs
        assert float(rows[0]["flops"]) == load_study("smoke").runs()[0].training_flops
    elif format == "latex":
        assert out.count(r"\\") > len(runs)
    else:
        assert len(out.splitlines()) >= len(runs)


PRICED = ("plan", "paper-scale", "--hardware", "h100x64")


@pytest.mark.parametrize("table", ["runs", "memory", "totals", "growth"])
@pytest.mark.parametrize("format", ["table", "csv", "json"])
def test_plan_prices_hardware(table: str, format: str, command: Any) -> None:
    code, out, err = command(*PRICED, "--table", table, "--format", format)
    assert code == 0, err
    assert "an assumption and no measurement" in err
    numbers = {"runs": 20, "memory": 40, "totals": 12, "growth": 20}
    if format == "json":
        assert len(json.loads(out)) == numbers[table]
    elif format == "csv":
        assert len(list(csv.DictReader(io.StringIO(out)))) == numbers[table]


def test_plan_prices_as_told(command: Any) -> None:
    _, out, _ = command(*PRICED, "--format", "json")
    _, fewer, said = command(
        *PRICED, "--utilisation", "0.2", "--gpus-per-run", "4",
        "--format", "json",
    )  # fmt: skip
    assert "4 a run under FSDP2" in said
    one, other = json.loads(out)[0], json.loads(fewer)[0]
    assert other["gpu_hours"] == pytest.approx(2 * one["gpu_hours"])
    assert other["days"] == pytest.approx(4 * one["days"])
    assert other["gib_per_device"] > one["gib_per_device"]


def test_plan_prices_a_pipeline(command: Any) -> None:
    arguments = ("plan", "paper-scale", "--pipeline-stages", "4", "--virtual-stages", "2")
    code, out, _ = command(*arguments, "--format", "json")
    assert code == 0
    (block,) = [
        row
        for row in json.loads(out)
        if (row["size"], row["variant"]) == ("a436m", "block_attnres")
    ]
    assert (block["eq7_naive"], block["eq8_cached"]) == (28, 22)


def test_plan_says_that_fp32_is_slower(command: Any) -> None:
    _, _, err = command("plan", "quick", "--hardware", "a100")
    assert "asks for fp32" in err


def test_plan_writes_a_batch_script(command: Any, tmp_path: Path) -> None:
    arguments = ("plan", "smoke", "--hardware", "h100x16", "--slurm", "--out", tmp_path / "a b")
    code, out, _ = command(*arguments)
    assert code == 0
    assert out.startswith("#!/bin/bash\n#SBATCH ")
    assert "--executor ray --address auto --gpus-per-run 1" in out
    script = tmp_path / "job.sh"
    code, said, _ = command(*arguments, "--script", script)
    assert (code, said) == (0, f"sbatch {script}\n")
    assert script.read_text() == out
    code, out, _ = command(*arguments, "--run", "prenorm-d16-s0", "--gpus-per-run", "8")
    assert code == 0
    assert "torchrun --nnodes=1 --nproc-per-node=8" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--hardware", "h10x8"), ("unknown hardware", "h100")),
        (("--hardware", "h100x8", "--utilisation", "2"), ("share of the peak",)),
        (("--hardware", "h100x8", "--gpus-per-run", "16"), ("more than the 8",)),
        (("--hardware", "h100x64", "--gpus-per-run", "16"), ("batch of 8", "16 devices")),
        (("--utilisation", "0.5"), ("--utilisation", "--hardware")),
        (("--gpus-per-run", "2"), ("--gpus-per-run", "--hardware")),
        (("--table", "growth"), ("--table", "--hardware")),
        (("--slurm",), ("--slurm", "--hardware")),
        (("--hardware", "h100x8", "--slurm"), ("--out",)),
        (("--hardware", "h100x8", "--slurm", "--out", "o", "--run", "x"), ("no run 'x'",)),
        (
            ("--hardware", "h100x8", "--slurm", "--out", "o", "--gpus-per-run", "2"),
            ("one GPU", "--run"),
        ),
        (("--hardware", "h100x8", "--out", "o"), ("--out", "--slurm")),
        (("--script", "o"), ("--script", "--slurm")),
        (("--table", "pipeline"), ("--pipeline-stages",)),
        (("--virtual-stages", "2"), ("--pipeline-stages",)),
        (("--pipeline-stages", "4"), ("more than the 2 transformer blocks",)),
        (("--pipeline-stages", "2", "--table", "runs"), ("table of its own",)),
    ],
)
def test_plan_on_bad_options(
    arguments: tuple[str, ...], words: tuple[str, ...], command: Any
) -> None:
    assert_one_line(command("plan", "smoke", *arguments), *words)


def test_train_trains_one_run(command: Any, values: Any, tmp_path: Path) -> None:
    path = write(tmp_path, values)
    arguments = ("train", path, "--size", "d16", "--out", tmp_path / "run", "--format", "json")
    code, out, _ = command(*arguments, "--label", "prenorm")
    assert code == 0
    assert json.loads(out)[0]["run"] == "prenorm-d16-s0"
    assert RunFolder(tmp_path / "run").finished
    assert_one_line(command(*arguments, "--label", "postnorm"), "no variant postnorm")


def test_train_takes_no_url(command: Any) -> None:
    arguments = ("quick", "--label", "prenorm", "--size", "d16", "--out", "s3://bucket/run")
    code, _, said = command("train", *arguments)
    assert code == 2
    assert said == "error: train writes to a folder, not to s3://bucket/run; reproduce takes URLs\n"


def test_train_by_a_size_of_its_own_recipe(command: Any, values: Any, tmp_path: Path) -> None:
    own = {"d_model": 18, "n_layers": 1, "n_heads": 4, "head_dim": 6}
    own |= {"tokens": 1024, "batch_sequences": 4, "learning_rate": 0.01}
    path = write(tmp_path, values, sizes={"own": own})
    arguments = (
        "train",
        path,
        "--size",
        "own",
        "--label",
        "block_attnres",
        "--out",
        tmp_path / "r",
    )
    code, out, err = command(*arguments, "--format", "json")
    assert code == 0, err
    assert json.loads(out)[0]["tokens"] == 1024
    lines = (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] == 4
    # Heads that do not divide the width come back from the checkpoint.
    code, out, err = command("inspect", tmp_path / "r", "--tokens", "64", "--format", "json")
    assert code == 0, err


def test_calibrate_prints_every_variant_and_size(command: Any, values: Any, tmp_path: Path) -> None:
    study = parse_study(yaml.safe_dump(values), "tiny.yaml")
    (tmp_path / "study.json").write_text(json.dumps(study.model_dump(mode="json")))
    code, out, err = command("calibrate", tmp_path, "--rounds", "6", "--format", "json")
    assert code == 0
    assert "attnres-eval report" in err
    rows = {row["variant"]: row["rounds"] for row in json.loads(out)}
    assert rows == {"prenorm": 6, "block_attnres": 6}
    assert (tmp_path / "calibration.json").is_file()


def test_calibrate_on_bad_input(command: Any, tmp_path: Path) -> None:
    assert_one_line(command("calibrate", tmp_path / "absent"), "no results folder")
    assert_one_line(command("calibrate", tmp_path), "no study.json")


@pytest.mark.parametrize("format", ["table", "csv", "json", "markdown", "latex"])
def test_inspect_prints_every_sublayer(format: str, command: Any, checkpoint: Path) -> None:
    code, out, err = command("inspect", checkpoint, "--tokens", "128", "--format", format)
    assert code == 0
    assert "nats per token on 128 tokens" in err
    assert out.count("attention") == out.count("mlp") == 2
    if format == "json":
        rows = json.loads(out)
        assert [row["sublayer"] for row in rows] == [0, 1, 2, 3, 4]
        assert rows[0]["skip_loss_change"] is None
        assert rows[4]["gradient_rms"] > 0


def test_inspect_writes_tables_and_figures(
    command: Any, checkpoint: Path, scratch: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ("--tokens", "64", "--text", scratch / "text.txt", "--out", out)
    code, _, _ = command("inspect", checkpoint.parent, *arguments)
    assert code == 0
    assert (out / "inspection.json").is_file()
    assert len(list((out / "tables").iterdir())) == len(list((out / "figures").iterdir())) == 8
    assert "block_attnres,d16,4,mlp" in (out / "tables" / "depth.csv").read_text()
    assert not (checkpoint.parent / "inspection.json").exists()


def test_inspect_on_bad_input(command: Any, checkpoint: Path, tmp_path: Path) -> None:
    assert_one_line(command("inspect", tmp_path / "absent"), "no such folder")
    assert_one_line(command("inspect", tmp_path), "--text FILE")
    text = tmp_path / "text.txt"
    text.write_text("words")
    assert_one_line(command("inspect", tmp_path, "--text", text), "no checkpoint")
    assert_one_line(command("inspect", checkpoint, "--text", tmp_path / "none"), "none")


def test_report_on_one_and_on_several(
    command: Any, fabricated: Callable[..., Path], tmp_path: Path
) -> None:
    folder = fabricated(study=make_study(n_sizes=1, tasks=[]), inspected=False)
    other = fabricate(tmp_path / "other", study=make_study(n_sizes=1, tasks=[]), inspected=False)
    code, out, _ = command("report", folder)
    assert (code, out) == (0, f"report: {folder / 'report.html'}\n")
    assert_one_line(command("report", folder, other), "by --out")
    code, out, _ = command("report", folder, other, "--out", tmp_path / "both")
    assert (code, out) == (0, f"report: {tmp_path / 'both' / 'report.html'}\n")
    assert (tmp_path / "both" / "tables" / "comparison.csv").is_file()
    assert_one_line(command("report", folder, folder, "--out", tmp_path / "x"), "there twice")


def test_export_writes_figures(
    command: Any, fabricated: Callable[..., Path], tmp_path: Path
) -> None:
    folder = fabricated(study=make_study(n_sizes=1, tasks=[]), inspected=False)
    code, out, _ = command("export", folder, "--figures", "pdf")
    assert code == 0
    files = [Path(line) for line in out.splitlines()]
    assert folder / "figures" / "paper" / "training.pdf" in files
    assert folder / "figures" / "paper" / "captions.tex" in files
    assert all(file.is_file() for file in files)
    code, out, _ = command("export", folder, "--table", "differences")
    assert code == 0
    assert "Full AttnRes" not in out
    assert "full_attnres" in out
    assert_one_line(command("export", folder), "either --table NAME or --figures")
    assert_one_line(command("export", tmp_path, "--figures", "svg"), "no study.json")


def test_root_script_runs_the_same_command() -> None:
    root = bundled_folder("studies").parent
    done = subprocess.run(
        [sys.executable, "cli.py", "--help"],
        cwd=root,
        capture_output=True,
        check=True,
        env={**os.environ, "COLUMNS": "100"},
    )
    for name in (
        b"plan",
        b"reproduce",
        b"train",
        b"tasks",
        b"evaluate",
        b"inspect",
        b"calibrate",
        b"lm-eval",
        b"report",
        b"export",
    ):
        assert name in done.stdout
