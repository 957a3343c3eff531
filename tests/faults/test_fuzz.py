"""Thousands of made-up studies, records and checkpoints: one line of refusal, or none needed.

Anything but `UserError` fails the test, as does an example that takes twenty seconds: a hang.
"""

import io
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from fabricate import fabricate, make_study
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attnres_eval.analysis.collect import collect
from attnres_eval.errors import UserError
from attnres_eval.evaluate.trust import refuse_untrusted
from attnres_eval.records import (
    Calibration,
    Failure,
    InspectionRecord,
    Metrics,
    Summary,
    TaskRecord,
    read_record,
    read_records,
    write_sealed,
)
from attnres_eval.study import RunConfig, Study
from attnres_eval.study_file import bundled_folder, load_study, parse_study
from attnres_eval.sweep.plan import plan_rows
from attnres_eval.train.ranks import ALONE
from attnres_eval.train.state import ResumeState, load_tensors, newest_state

SHORT, LONG = 150, 4000
"""Examples of each test in `make test`, and in `make faults`."""

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-3, 70)
    | st.sampled_from([10**12, 10**30, 2**63, -1])
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["prenorm", "full_attnres", "mhc", "d16", "largest", "auto", "<b>", "../x"])
)
trees = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


def both(test: Callable[..., None]) -> Callable[..., None]:
    """The same test, short and long."""
    return pytest.mark.parametrize(
        "examples", [pytest.param(SHORT), pytest.param(LONG, marks=pytest.mark.slow)]
    )(test)


def fuzz(examples: int, *strategies: Any) -> Callable[[Callable[..., None]], Any]:
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    quiet = settings(
        max_examples=examples,
        deadline=20_000,
        derandomize=True,
        database=None,
        suppress_health_check=slow,
    )
    return lambda test: quiet(given(*strategies)(test))


def one_line(use: Callable[[], Any]) -> Any:
    """What a use gives; None where it is refused in one line."""
    try:
        return use()
    except UserError as error:
        line = str(error)
    assert line
    assert "\n" not in line
    return None


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values in a tree."""
    found = [path] if path else []
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in list(items):
            found += places(inner, (*path, key))
    return found


@st.composite
def mutated(draw: st.DrawFn, value: Any) -> Any:
    """A tree in which up to three places hold something else, or nothing, or more."""
    value = json.loads(json.dumps(value))
    for _ in range(draw(st.integers(1, 3))):
        known = places(value)
        if not known:
            break
        *way, last = draw(st.sampled_from(known))
        owner = value
        for key in way:
            owner = owner[key]
        match draw(st.sampled_from(["change", "change", "delete", "add"])):
            case "change":
                owner[last] = draw(trees)
            case "delete":
                del owner[last]
            case "add" if isinstance(owner, dict):
                owner[draw(st.text(max_size=6))] = draw(trees)
            case "add":
                owner.append(draw(trees))
    return value


def plain(study: Study) -> Any:
    return study.model_dump(mode="json")


STUDIES = [plain(load_study("smoke")), plain(load_study("quick")), plain(make_study())]


@both
def test_studies(examples: int) -> None:
    accepted = 0

    @fuzz(examples, st.one_of(*(mutated(study) for study in STUDIES)) | trees)
    def check(value: Any) -> None:
        nonlocal accepted
        study = one_line(lambda: parse_study(yaml.safe_dump(value), "fuzzed.yaml"))
        if study is not None and len(study.runs()) < 100:
            accepted += 1
            assert parse_study(yaml.safe_dump(plain(study)), "again") == study
            one_line(lambda: plan_rows(study))

    check()
    assert accepted > examples // 100, "nothing got past the parser"


@both
def test_study_texts(examples: int) -> None:
    whole = (bundled_folder("studies") / "quick.yaml").read_text(encoding="utf-8")

    @fuzz(examples, st.integers(0, len(whole)), st.integers(0, 40), st.text(max_size=20))
    def check(place: int, gone: int, new: str) -> None:
        text = whole[:place] + new + whole[place + gone :]
        one_line(lambda: parse_study(text, "fuzzed.yaml"))

    check()


KINDS = [
    ("config.json", RunConfig),
    ("summary.json", Summary),
    ("inspection.json", InspectionRecord),
    ("evaluation/arc_easy.json", TaskRecord),
    ("failure.json", Failure),
    ("calibration.json", Calibration),
    ("state.json", ResumeState),
    ("study.json", Study),
]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = make_study(("prenorm", "full_attnres"), n_sizes=1, seeds=(0,), limit=3)
    return fabricate(tmp_path_factory.mktemp("fuzzed") / "out", study=study, step_times={})


@pytest.mark.parametrize("name", [name for name, _ in KINDS if name != "state.json"])
@both
def test_records(name: str, examples: int, results: Path, tmp_path: Path) -> None:
    kind: Any = dict(KINDS)[name]
    run = results / "runs" / "prenorm-d32-s0"
    original = (results if (results / name).exists() else run) / name
    sound = json.loads(original.read_text()) if original.exists() else {"reason": "x"}
    sound.pop("record_sha256", None)
    file = tmp_path / "record.json"

    @fuzz(examples // 5, mutated(sound) | trees, st.booleans())
    def check(value: Any, sealed: bool) -> None:
        if sealed and isinstance(value, dict):
            try:
                write_sealed(file, value)
            except ValueError:  # an infinite number
                return
        else:
            file.write_text(json.dumps(value))
        one_line(lambda: read_record(file, kind))

    check()


@both
def test_whole_folders_are_read_or_refused(examples: int, results: Path, tmp_path: Path) -> None:
    """What the schemas let pass is either analysed or refused: every record of one run at once."""
    out = shutil.copytree(results, tmp_path / "out")
    run = out / "runs" / "prenorm-d32-s0"
    files = [*run.rglob("*.json"), out / "study.json", out / "calibration.json"]
    sound = {file: json.loads(file.read_text()) for file in files}
    choice = st.sampled_from(sorted(files)).flatmap(
        lambda file: st.tuples(
            st.just(file),
            mutated({k: v for k, v in sound[file].items() if k != "record_sha256"}),
        )
    )

    @fuzz(examples // 5, choice)
    def check(changed: tuple[Path, Any]) -> None:
        file, value = changed
        before = file.read_bytes()
        file.write_text(json.dumps(value))
        try:
            one_line(lambda: collect(out))
        finally:
            file.write_bytes(before)

    check()


@both
def test_bytes_of_records(examples: int, results: Path, tmp_path: Path) -> None:
    run = results / "runs" / "prenorm-d32-s0"
    lines, record = (run / "metrics.jsonl").read_bytes(), (run / "summary.json").read_bytes()
    file = tmp_path / "file"

    @fuzz(examples, st.integers(0, len(lines)), st.integers(0, 30), st.binary(max_size=12))
    def check(place: int, gone: int, new: bytes) -> None:
        file.write_bytes(lines[:place] + new + lines[place + gone :])
        one_line(lambda: read_records(file, Metrics))
        place = place % len(record)
        file.write_bytes(record[:place] + new + record[place + gone :])
        one_line(lambda: read_record(file, Summary))

    check()


TENSORS = "shard-00001-model-00001-of-00001.safetensors"


def safetensors(header: bytes, length: int | None, data: bytes) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def load_state(folder: Path) -> None:
    if (found := newest_state(folder)) is not None:
        load_tensors(*found, {"a": torch.zeros(2)}, ALONE)


entries = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "BF16", "I64", "F8", ""]) | scalars,
        "shape": st.lists(st.integers(-2, 2**70), max_size=3) | trees,
        "data_offsets": st.lists(st.integers(-5, 2**70), max_size=3) | trees,
    }
)
headers = st.dictionaries(st.text(max_size=8) | st.just("a"), entries | trees, max_size=4) | trees


@both
def test_checkpoint_headers(examples: int, tmp_path: Path) -> None:
    step = tmp_path / "resume" / "00000010"
    step.mkdir(parents=True)
    model = tmp_path / "model"
    model.mkdir()
    numbers = st.none() | st.integers(0, 2**64 - 1)

    @fuzz(examples, headers, numbers, st.binary(max_size=64), trees, st.binary(max_size=30))
    def check(header: Any, length: int | None, data: bytes, config: Any, state: bytes) -> None:
        content = safetensors(json.dumps(header).encode(), length, data)
        for name in (TENSORS, TENSORS.replace("shard-00001", "shard-00002")):
            (step / name).write_bytes(content)
        (step / "state.json").write_bytes(state)
        one_line(lambda: load_state(tmp_path / "resume"))
        (model / "model.safetensors").write_bytes(content)
        (model / "config.json").write_text(json.dumps(config))
        one_line(lambda: refuse_untrusted(model))

    check()


@both
def test_states_whose_hashes_agree_with_broken_tensors(examples: int, tmp_path: Path) -> None:
    """As a checkpoint that somebody made: its hashes are right, its tensors are not."""
    from attnres_eval.files import sha256_of_file

    step = tmp_path / "00000010"
    step.mkdir()
    machine = {
        "device": "cpu", "precision": "fp32", "threads": 1, "compiled": False,
        "processor": "", "torch": "",
    }  # fmt: skip

    @fuzz(examples // 5, headers, st.binary(max_size=64))
    def check(header: Any, data: bytes) -> None:
        names = (TENSORS, TENSORS.replace("shard-00001", "shard-00002"))
        for name in names:
            (step / name).write_bytes(safetensors(json.dumps(header).encode(), None, data))
        state = {
            "step": 10, "seconds": 1.0, "peak_memory_bytes": 1, "machine": machine,
            "config_sha256": "", "data_sha256": "", "metrics_bytes": 0, "metrics_sha256": "",
            "checksums": {name: sha256_of_file(step / name) for name in names},
        }  # fmt: skip
        (step / "state.json").write_text(json.dumps(state))
        one_line(lambda: load_state(tmp_path))

    check()


def test_the_fuzzer_can_fail() -> None:
    def broken(text: str) -> None:
        if yaml.safe_load(io.StringIO(text)) is None:
            raise KeyError("a bug")

    @fuzz(SHORT, trees)
    def check(value: Any) -> None:
        one_line(lambda: broken(yaml.safe_dump(value)))

    with pytest.raises(KeyError):
        check()
