"""Every file of a run cut short, changed in one bit or deleted: noticed, named, never used."""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fabricate import fabricate, make_study

from attnres_eval.analysis.collect import collect
from attnres_eval.data.prepare import prepare
from attnres_eval.errors import UserError
from attnres_eval.files import sha256_of_json
from attnres_eval.records import RunFolder
from attnres_eval.study import Study
from attnres_eval.sweep.jobs import check_checkpoint, inspection_left, tasks_left
from attnres_eval.sweep.run import run_study
from attnres_eval.train.loop import train

Damage = Callable[[Path, random.Random], None]


def cut(file: Path, chance: random.Random) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: chance.randrange(len(content))])


def flip(file: Path, chance: random.Random) -> None:
    content = bytearray(file.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    file.write_bytes(content)


def delete(file: Path, chance: random.Random) -> None:
    file.unlink()


DAMAGES = [cut, flip, delete]


def files_of(folder: Path) -> list[Path]:
    return sorted(file.relative_to(folder) for file in folder.rglob("*") if file.is_file())


@pytest.fixture(scope="session")
def undamaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study whose records are fabricated: evaluated, inspected and calibrated."""
    study = make_study(("prenorm", "full_attnres"), n_sizes=1, seeds=(0,), limit=4)
    return fabricate(tmp_path_factory.mktemp("undamaged") / "out", study=study, step_times={})


def values(results: Path) -> str:
    """A hash of all that tables are made of."""
    found = collect(results)
    frames = [frame.to_json() for frame in (found.runs, found.curves)]
    records = [[r.model_dump(mode="json") for r in rs] for rs in found.tasks.values()]
    inspections = [record.model_dump(mode="json") for record in found.inspections.values()]
    pairs = found.calibration and found.calibration.model_dump(mode="json")
    return sha256_of_json([*frames, records, inspections, pairs, sorted(found.tasks)])


def refusal(use: Callable[[], Any]) -> str:
    """The one line in which something is refused; empty where it is not."""
    try:
        use()
    except UserError as error:
        return str(error)
    return ""


def verdict(results: Path, study: Study, file: Path) -> str:
    """What becomes of a damaged file: refused by name, made again, or a hash of what was read."""
    run = RunFolder(results / "runs" / study.runs()[0].run)
    if line := refusal(lambda: values(results)):
        assert file.name in line
        assert "\n" not in line
        return "refused"
    left = [
        not run.finished,
        tasks_left(run, {"arc_easy": study.evaluation.tasks["arc_easy"]}),
        inspection_left(run, 8192),
        not (results / "calibration.json").exists(),
    ]
    return "made again" if any(left) else values(results)


@pytest.mark.parametrize("damage", DAMAGES)
def test_no_record_is_read_after_damage(damage: Damage, undamaged: Path, tmp_path: Path) -> None:
    chance = random.Random(damage.__name__)
    study = collect(undamaged).study
    sound = values(undamaged)
    mine = Path("runs") / study.runs()[0].run
    seen = set()
    for file in files_of(undamaged):
        if file.parts[0] == "runs" and not file.is_relative_to(mine):
            continue
        for _ in range(1 if damage is delete else 12):
            results = tmp_path / "out"
            shutil.copytree(undamaged, results)
            damage(results / file, chance)
            found = verdict(results, study, file)
            seen.add(found)
            # A blank that became a tab, or a final newline that went, says nothing else.
            assert found in ("refused", "made again", sound), f"{file} {found}"
            shutil.rmtree(results)
    assert "refused" in seen


def test_a_changed_digit_is_noticed(undamaged: Path, tmp_path: Path) -> None:
    results = shutil.copytree(undamaged, tmp_path / "out")
    changed = 0
    for file in results.rglob("*.json*"):
        text = file.read_text()
        place = next((i for i, c in enumerate(text) if c in "12345678"), None)
        assert place is not None, file
        file.write_text(text[:place] + "9" + text[place + 1 :])
        with pytest.raises(UserError):
            values(results)
        file.write_text(text)
        changed += 1
    assert changed >= 10
    assert values(results) == values(undamaged)


def test_records_of_earlier_versions_have_no_hash_and_are_read(
    undamaged: Path, tmp_path: Path
) -> None:
    results = shutil.copytree(undamaged, tmp_path / "out")
    for file in results.rglob("*.json"):
        value = json.loads(file.read_text())
        del value["record_sha256"]
        file.write_text(json.dumps(value, indent=2))
    assert values(results) == values(undamaged)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trained") / "out"


def test_a_finished_model_is_held_against_its_summary(
    tiny: Callable[..., Study], here: Any, trained: Path, tmp_path: Path
) -> None:
    study = tiny(variants={"prenorm": None}, evaluation={"inspection_tokens": 64})
    run_study(study, trained, here, say=lambda line: None)
    original = RunFolder(trained / "runs" / study.runs()[0].run)
    check_checkpoint(original)
    chance = random.Random(0)
    files = files_of(original.checkpoint)
    assert len(files) >= 4, "weights, configuration and tokenizer"
    for file in files:
        for damage in DAMAGES:
            run = RunFolder(shutil.copytree(original.path, tmp_path / "run"))
            damage(run.checkpoint / file, chance)
            with pytest.raises(UserError, match=f"{file} (has changed|is missing)"):
                check_checkpoint(run)
            shutil.rmtree(run.path)
    # The study notices by itself, and does not use the model.
    out = shutil.copytree(trained, tmp_path / "out")
    flip(out / "runs" / original.path.name / "checkpoint" / "model.safetensors", chance)
    result = run_study(study, out, here, say=lambda line: None)
    assert result.inspected == []
    assert "model.safetensors has changed since the run ended" in str(result.failures)


def test_a_half_finished_run_is_refused_or_ends_as_an_undisturbed_one(
    tiny: Callable[..., Study], here: Any, trained: Path, tmp_path: Path
) -> None:
    study = tiny(variants={"prenorm": None}, evaluation={"inspection_tokens": 64})
    run_study(study, trained, here, say=lambda line: None)
    config = study.runs()[0]
    whole = RunFolder(trained / "runs" / config.run)
    data = prepare(config.data)

    class Stop(Exception):
        pass

    def stop(done: int) -> None:
        if done == 25:
            raise Stop

    half = RunFolder(tmp_path / "half")
    with pytest.raises(Stop):
        train(config, half, data, stop)
    chance, outcomes = random.Random(0), []
    for file in files_of(half.path):
        for damage in DAMAGES:
            run = RunFolder(shutil.copytree(half.path, tmp_path / "run"))
            damage(run.path / file, chance)
            line = refusal(lambda run=run: train(config, run, data))
            if line:
                assert file.name in line
                assert not run.finished
            else:
                weights = [f.checkpoint / "model.safetensors" for f in (run, whole)]
                assert weights[0].read_bytes() == weights[1].read_bytes()
            outcomes.append("refused" if line else "as undisturbed")
            shutil.rmtree(run.path)
    assert outcomes.count("refused") >= 6


def test_prepared_data_are_known_by_their_hashes(corpus: Path, tiny: Any, tmp_path: Path) -> None:
    chance = random.Random(0)
    settings = tiny().data
    sound = prepare(settings, tmp_path)
    for file in files_of(sound.folder):
        for damage in DAMAGES:
            status = (sound.folder / file).stat()
            damage(sound.folder / file, chance)
            if damage is flip:
                # As a disk does it: without a new time.
                os.utime(sound.folder / file, ns=(status.st_atime_ns, status.st_mtime_ns))
            again = prepare(settings, tmp_path)
            assert again.manifest.data_sha256 == sound.manifest.data_sha256
            assert bytes(again.train[f"file:{corpus}"]) == bytes(sound.train[f"file:{corpus}"])
