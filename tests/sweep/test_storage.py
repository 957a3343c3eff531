"""Results behind s3:// URLs, on moto's server: copies, order of writing, errors in one line."""

import importlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_study import Here, tiny

from attnres_eval import cli
from attnres_eval.errors import UserError
from attnres_eval.records import RunFolder
from attnres_eval.sweep import calibration, storage
from attnres_eval.sweep.jobs import train_run
from attnres_eval.sweep.run import run_study
from attnres_eval.sweep.storage import Mirror, records, results_folder, run_mirror, whole


def names(bucket: Any, below: str = "") -> set[str]:
    root = f"{bucket.bucket}/{below}".rstrip("/")
    return {path.removeprefix(f"{root}/") for path in bucket.find(root)}


def watched(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of a mirror's driver from now on: `put NAME`, `get NAME`, `rm_file NAME`."""
    done: list[str] = []

    def watch(verb: str, place: int) -> None:
        method = getattr(mirror._driver, verb)

        def watching(*paths: Any) -> None:
            there = paths[place] if isinstance(paths[place], list) else [paths[place]]
            done.extend(f"{verb} {path.removeprefix(mirror._root)[1:]}" for path in there)
            method(*paths)

        monkeypatch.setattr(mirror._driver, verb, watching)

    for verb, place in (("put", 1), ("get", 0), ("rm_file", 0)):
        watch(verb, place)
    return done


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_json", ".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_a_mirror_copies_what_changed_and_nothing_else(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"s3://{bucket.bucket}/study"
    first = Mirror(url, tmp_path / "first", records)
    write(first.folder, study_json="1", runs__a__summary_json="2", runs__a__resume__x="3")
    write(first.folder, **{"runs__a__.lock": "4"})
    first.push()
    assert names(bucket, "study") == {"study.json", "runs/a/summary.json", "runs/a/resume/x"}
    second = Mirror(url, tmp_path / "second", records)
    write(second.folder, stray="5")
    second.pull()
    # Neither weights nor checkpoints, and nothing that is not there.
    here = {p.relative_to(second.folder).as_posix() for p in second.folder.rglob("*")}
    assert here == {"study.json", "runs", "runs/a", "runs/a/summary.json"}

    done = watched(second, monkeypatch)
    write(second.folder, runs__a__metrics_json="6")
    (second.folder / "study.json").unlink()
    second.push()
    assert done == ["put runs/a/metrics.json", "rm_file study.json"]
    assert "study.json" not in names(bucket, "study")
    # A later process knows what the folder holds, and fetches what another one has written.
    write(first.folder, runs__a__summary_json="changed")
    first.push()
    third = Mirror(url, tmp_path / "second", records)
    done.clear()
    third.pull()
    assert done == ["get runs/a/metrics.json", "get runs/a/summary.json"]
    assert (third.folder / "runs/a/summary.json").read_text() == "changed"
    done.clear()
    third.pull()
    assert done == []
    # A run that is gone goes with the weights that were never here.
    shutil.rmtree(third.folder / "runs/a")
    third.push()
    assert names(bucket, "study") == set()


def test_half_a_checkpoint_is_none(bucket: Any, tmp_path: Path) -> None:
    url = f"s3://{bucket.bucket}/study/runs/a"
    writer = Mirror(url, tmp_path / "writer", whole)
    write(writer.folder, resume__10__w="1", resume__10__state_json="2", config_json="0")
    writer.push()
    bucket.pipe(f"{bucket.bucket}/study/runs/a/resume/20/w", b"half")
    bucket.pipe(f"{bucket.bucket}/study/runs/a/checkpoint/w", b"half")
    reader = Mirror(url, tmp_path / "reader", whole)
    reader.pull()
    found = {p.relative_to(reader.folder).as_posix() for p in reader.folder.rglob("*.json")}
    assert found == {"config.json", "resume/10/state.json"}
    assert not (reader.folder / "resume/20").exists()
    assert not (reader.folder / "checkpoint").exists()
    bucket.pipe(f"{bucket.bucket}/study/runs/a/summary.json", b"{}")
    reader.pull()
    assert (reader.folder / "checkpoint/w").read_bytes() == b"half"


def test_what_makes_a_checkpoint_whole_is_written_last_and_deleted_first(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = Mirror(f"s3://{bucket.bucket}/runs/a", tmp_path / "m", whole)
    done = watched(mirror, monkeypatch)
    write(mirror.folder, resume__10__state_json="1", resume__10__w="2", resume__10__x="2")
    mirror.push()
    assert done == ["put resume/10/w", "put resume/10/x", "put resume/10/state.json"]
    done.clear()
    shutil.rmtree(mirror.folder / "resume/10")
    write(mirror.folder, resume__20__state_json="1", resume__20__w="2")
    mirror.push()
    assert done[:3] == [
        "put resume/20/w",
        "put resume/20/state.json",
        "rm_file resume/10/state.json",
    ]
    assert sorted(done[3:]) == ["rm_file resume/10/w", "rm_file resume/10/x"]
    done.clear()
    shutil.rmtree(mirror.folder / "resume")
    write(mirror.folder, summary_json="1", checkpoint__w="2", metrics="3")
    mirror.push()
    assert done[:4] == [
        "put checkpoint/w",
        "put metrics",
        "put summary.json",
        "rm_file resume/20/state.json",
    ]


def test_a_killed_run_goes_on_from_its_checkpoint_on_another_machine(
    corpus: Path,
    bucket: Any,
    tmp_path: Path,
    another_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = f"s3://{bucket.bucket}/study"
    recipe = {**tiny(corpus).recipe.model_dump(), "tokens_per_parameter": 1, "checkpoint_every": 10}
    config = tiny(corpus, recipe=recipe).run("prenorm", "d16", 0)
    assert config.steps > 20

    class Death(BaseException):
        pass

    def live_and_die() -> None:
        with run_mirror(url, config.run) as mirror:
            saves = iter([mirror.push])

            def save() -> None:
                next(saves, die)()

            train_run(RunFolder(mirror.folder), save, config)

    def die() -> None:
        raise Death

    with pytest.raises(Death):
        live_and_die()
    left = names(bucket, f"study/runs/{config.run}")
    assert {name for name in left if name.startswith("resume")} == {
        f"resume/00000010/{file}"
        for file in ("shard-00001-model-00001-of-00001.safetensors", "state.json")
    }
    # Another node has another cache, and none of the dead one's files.
    monkeypatch.setenv("ATTNRES_EVAL_CACHE", str(another_cache))
    with run_mirror(url, config.run) as mirror:
        assert [path.name for path in (mirror.folder / "resume").iterdir()] == ["00000010"]
        train_run(RunFolder(mirror.folder), mirror.push, config)
        undisturbed = RunFolder(tmp_path / "undisturbed")
        train_run(undisturbed, lambda: None, config)
        weights = "checkpoint/model.safetensors"
        assert (mirror.folder / weights).read_bytes() == (undisturbed.path / weights).read_bytes()
    left = names(bucket, f"study/runs/{config.run}")
    assert {"summary.json", "metrics.jsonl", weights} <= left
    assert not any(name.startswith("resume") for name in left)
    assert not any((another_cache / "scratch").iterdir())


def test_the_scratch_of_a_killed_process_goes(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTNRES_EVAL_CACHE", str(tmp_path))
    host = storage.socket.gethostname()
    mine, dead, other = (
        tmp_path / "scratch" / name
        for name in (f"{host}.1.x", f"{host}.4194399.x", "else.4194399.x")
    )
    for folder in (mine, dead, other):
        folder.mkdir(parents=True)
    with run_mirror(f"s3://{bucket.bucket}/s", "a"):
        assert (mine.exists(), dead.exists(), other.exists()) == (True, False, True)


def test_a_study_behind_a_url(
    corpus: Path, bucket: Any, another_cache: Path, monkeypatch: pytest.MonkeyPatch, command: Any
) -> None:
    url = f"s3://{bucket.bucket}/results/tiny"
    evaluation = {"inspection_tokens": 64, "calibration_rounds": 6}
    quiet: dict[str, Any] = {"say": lambda line: None}
    with results_folder(url) as (folder, mirror):
        done = run_study(
            tiny(corpus, evaluation=evaluation), folder, Here(), mirror=mirror, **quiet
        )
        assert (done.failures, done.calibrated, len(done.inspected)) == ({}, True, 2)
        assert not list(folder.glob("runs/*/checkpoint"))
    left = names(bucket, "results/tiny")
    run = "runs/prenorm-d16-s0"
    assert {"study.json", "calibration.json", f"{run}/checkpoint/model.safetensors"} <= left
    assert {
        f"{run}/{name}" for name in ("summary.json", "metrics.jsonl", "inspection.json")
    } <= left

    # From another machine: the same report, and nothing left to do but a new seed.
    monkeypatch.setenv("ATTNRES_EVAL_CACHE", str(another_cache))
    assert command("report", url) == (0, f"report: {url}/report.html\n", "")
    assert {"report.html", "tables/losses.csv"} <= names(bucket, "results/tiny")
    code, out, _ = command("export", url, "--table", "losses", "--format", "json")
    assert (code, len(json.loads(out))) == (0, 2)
    monkeypatch.setattr(calibration, "LocalExecutor", lambda workers: Here())
    before = bucket.cat(f"{bucket.bucket}/results/tiny/calibration.json")
    assert command("calibrate", url, "--rounds", "7")[0] == 0
    assert bucket.cat(f"{bucket.bucket}/results/tiny/calibration.json") != before

    more = tiny(corpus, evaluation=evaluation, seeds=[1])
    with results_folder(url) as (folder, mirror):
        with pytest.raises(UserError, match="holds another study"):
            run_study(more, folder, Here(), mirror=mirror, **quiet)
        forced = run_study(more, folder, Here(), mirror=mirror, force=True, **quiet)
        assert sorted(forced.trained) == ["full_attnres-d16-s1", "prenorm-d16-s1"]
    left = names(bucket, "results/tiny")
    assert not any(name.startswith(run) for name in left)


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["attnres-eval", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_what_is_wrong_with_a_url_is_one_line(
    bucket: Any, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.pipe(f"{bucket.bucket}/thesis/text.tex", b"x")
    cases = [
        ("s3://no-such-bucket/x", "no-such-bucket/x"),
        (f"s3://{bucket.bucket}/thesis", "holds other things (text.tex) and no study"),
        (f"s3://{bucket.bucket}/nothing", f"{bucket.bucket}/nothing"),
        ("s4://bucket/x", "Protocol not known: s4"),
    ]
    for url, word in cases:
        code, _, err = command("report", url)
        assert (code, err.count("\n")) == (2, 1), err
        assert word in err
        assert "Traceback" not in err
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(importlib.import_module("fsspec.registry")._registry, "s3")
    code, _, err = command("report", f"s3://{bucket.bucket}/x")
    assert code == 2
    assert "pip install 'attnres-eval[s3]'" in err


def test_without_a_bucket_credentials_or_network_a_study_does_not_start(
    corpus: Path, bucket: Any, command: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    study = tmp_path / "tiny.yaml"
    study.write_text(tiny(corpus).model_dump_json())
    ask = ("reproduce", "--study", str(study), "--out")

    def line(url: str) -> str:
        type(bucket).clear_instance_cache()
        code, _, err = command(*ask, url)
        assert (code, err.count("\n")) == (2, 1), err
        assert url in err
        return str(err)

    assert "bucket" in line("s3://no-such-bucket/x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert "127.0.0.1:9" in line(f"s3://{bucket.bucket}/x")
    monkeypatch.undo()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("ATTNRES_EVAL_CACHE", str(tmp_path / "cache"))
    assert "credentials" in line(f"s3://{bucket.bucket}/x").lower()
