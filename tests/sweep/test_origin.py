"""Where a study comes from is kept beside its results, and makes no folder another study's."""

import hashlib
from pathlib import Path

import pytest
from fabricate import fabricate, make_study, rewrite

from attnres_eval.errors import UserError
from attnres_eval.records import read_record
from attnres_eval.study import Study
from attnres_eval.study_file import Source, bundled_folder, load_study_file, parse_study_file
from attnres_eval.sweep.folder import claim
from attnres_eval.sweep.origin import protocol_file, read_origin, read_protocol, write_origin
from attnres_eval.sweep.parts import claim_parts, read_parts

STUDY = """
name: mine
variants: {prenorm: , full_attnres: }
sizes: {a: {d_model: 16, n_layers: 4, n_heads: 1}}
seeds: [0]
"""
PARTS = STUDY + "parts: {one: {}, two: {seeds: [1]}}\n"


def test_a_file_names_headline_and_protocol(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(PARTS + "headline: two\nprotocol: why.md\n", encoding="utf-8")
    (tmp_path / "why.md").write_text("# Why\r\n", encoding="utf-8", newline="")
    study, source = load_study_file(str(file))
    assert (list(study.parts), study.headline) == (["one", "two"], "two")
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    assert source == Source("mine.yaml", sha256, "# Why\r\n")
    assert load_study_file(f"{file}:two")[1].name == "mine.yaml:two"


def test_bundled_studies_are_named_without_a_place() -> None:
    study, source = load_study_file("reference")
    assert (source.name, study.headline) == ("reference", "ladder")
    assert source.protocol == Path("docs/protocol.md").read_text(encoding="utf-8")
    by_path = bundled_folder("studies") / "reference.yaml"
    assert load_study_file(f"{by_path}:rates")[1].name == "reference:rates"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PARTS + "headline: three", "headline: there is no part 'three'; there is one, two"),
        (PARTS + "headline: [one]", "headline: there is no part .*'one'"),
        (STUDY + "headline: one", "headline: it names a part, and this study has none"),
        (STUDY + "protocol: 3", "protocol: the name of a file is wanted"),
        (STUDY + "parts: {one: {protocol: a.md}}", "protocol: unknown key"),
    ],
)
def test_wrong_keys_are_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_study_file(text, "mine.yaml")


def test_an_absent_protocol_is_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(STUDY + "protocol: why.md", encoding="utf-8")
    with pytest.raises(UserError, match=r"mine\.yaml: protocol: there is no file .*why\.md"):
        load_study_file(str(file))


def test_earlier_protocols_stay_on_record(tmp_path: Path) -> None:
    assert read_origin(tmp_path) is None
    assert read_protocol(tmp_path, None) is None
    for text in ("first", "second", "second"):
        write_origin(tmp_path, Source("mine.yaml", "f" * 64, text))
    origin = read_origin(tmp_path)
    assert origin is not None
    assert origin.protocols_sha256 == [
        hashlib.sha256(text).hexdigest() for text in (b"first", b"second")
    ]
    assert read_protocol(tmp_path, origin) == "second"
    # A study file that no longer names it takes nothing back.
    write_origin(tmp_path, Source("mine.yaml", "0" * 64, None))
    assert read_protocol(tmp_path, read_origin(tmp_path)) == "second"


def test_a_protocol_that_was_touched_is_not_shown(tmp_path: Path) -> None:
    write_origin(tmp_path, Source("mine.yaml", "f" * 64, "as it was"))
    protocol_file(tmp_path).write_text("as it were", encoding="utf-8")
    with pytest.raises(UserError, match="has changed since it was written"):
        read_protocol(tmp_path, read_origin(tmp_path))
    protocol_file(tmp_path).unlink()
    with pytest.raises(UserError, match="is missing"):
        read_protocol(tmp_path, read_origin(tmp_path))


def test_words_make_no_other_study(tmp_path: Path) -> None:
    study = make_study()
    folder = fabricate(tmp_path / "r", study=study)
    claim(folder, study.model_copy(update={"description": "Better words."}), force=False)
    assert read_record(folder / "study.json", Study).description == "Better words."
    assert len(list((folder / "runs").iterdir())) == len(study.runs())
    fewer = study.model_copy(update={"description": "", "seeds": [0]})
    with pytest.raises(UserError, match=r"another study \(seeds"):
        claim(folder, fewer, force=False)


def test_a_part_that_was_run_alone_is_taken_in(tmp_path: Path) -> None:
    part = fabricate(tmp_path / "one")
    before = (part / "study.json").read_bytes()
    claim_parts(tmp_path, "mine", ["one", "two"], "two")
    assert (part / "study.json").read_bytes() == before
    found = read_parts(tmp_path)
    assert found is not None
    assert (found.parts, found.headline) == (["one", "two"], "two")


def test_a_list_of_parts_of_before_is_read(tmp_path: Path) -> None:
    claim_parts(tmp_path, "mine", ["one"])
    rewrite(tmp_path / "parts.json")
    text = (tmp_path / "parts.json").read_text(encoding="utf-8")
    assert '"headline": null' in text
    (tmp_path / "parts.json").write_text('{"name": "mine", "parts": ["one"]}', encoding="utf-8")
    claim_parts(tmp_path, "mine", ["one"], "one")
    found = read_parts(tmp_path)
    assert found is not None
    assert found.headline == "one"
