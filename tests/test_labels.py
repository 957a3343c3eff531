"""Labels at several learning rates, labels that cost what another costs, and studies of parts."""

import time
from pathlib import Path

import pytest
import yaml
from tiny_study import Here, tiny

from attnres_eval.errors import UserError
from attnres_eval.labels import expanded, split_label
from attnres_eval.report.build import build_report
from attnres_eval.report.style import LIGHT, label_title, style_at, styles
from attnres_eval.reproduce import Options, reproduce_published, reproduce_study
from attnres_eval.study import Study
from attnres_eval.study_file import load_parts, load_study, parse_parts, parse_study
from attnres_eval.sweep.parts import claim_parts
from attnres_eval.sweep.run import run_study

TWICE = {"learning_rate_scale": 2}
TWO_RATES = """
name: rates
variants: {prenorm: {learning_rate_scale: [0.5, 1]}, full_attnres: {learning_rate_scale: 2}}
sizes: {a: {d_model: 16, n_layers: 4, n_heads: 1}}
seeds: [0]
recipe: {learning_rate: 0.01}
"""


def test_pages_say_the_rate() -> None:
    assert label_title("full_attnres_x0.5") == "Full AttnRes at 0.5× the rate"
    assert label_title("mine_x2") == "mine at 2× the rate"
    assert label_title("mhc_lite") == "mHC-lite"
    assert label_title("mhc_lite_wide_too") == "mHC-lite (wide too)"
    assert label_title("prenorm_matched_own") == "PreNorm (matched) at its own rate"
    assert label_title("prenormal") == "prenormal"
    looks = styles(["mhc_x2", "mhc", "mine_x2", "prenorm"], LIGHT)
    assert looks["mhc_x2"].colour == looks["mhc"].colour != looks["prenorm"].colour
    assert looks["mhc_x2"] != looks["mhc"]
    assert looks["prenorm"] == style_at(0, LIGHT)


def test_a_list_of_rates_is_a_label_each() -> None:
    study = parse_study(TWO_RATES, "rates.yaml")
    rates = {run.label: run.learning_rate for run in study.runs()}
    assert rates == {"prenorm_x0.5": 0.005, "prenorm": 0.01, "full_attnres": 0.02}
    assert {run.variant for run in study.runs()} == {"prenorm", "full_attnres"}
    again = Study.model_validate(study.model_dump(mode="json"))
    assert again == study


def test_a_rate_of_its_own_at_each_size() -> None:
    study = parse_study(
        """
name: own
variants:
  prenorm:
  mhc: {learning_rate_scale: [1, 2, {b: 0.5, a: 3}]}
  mine: {variant: mhc, learning_rate_scale: {a: 1, b: 4}}
sizes: {a: {d_model: 16, n_layers: 4, n_heads: 1}, b: {d_model: 32, n_layers: 4, n_heads: 1}}
seeds: [0]
recipe: {learning_rate: 0.01, learning_rate_width: 16}
""",
        "own.yaml",
    )
    assert list(study.variants) == ["prenorm", "mhc", "mhc_x2", "mhc_own", "mine"]
    rates = {(run.label, run.size): run.learning_rate for run in study.runs()}
    assert rates["mhc_own", "a"] == pytest.approx(0.03)
    assert rates["mhc_own", "b"] == pytest.approx(0.0025)
    assert rates["mine", "a"] == pytest.approx(0.01)
    assert rates["mine", "b"] == pytest.approx(0.02)
    assert Study.model_validate(study.model_dump(mode="json")) == study
    assert label_title("mhc_own") == "mHC at its own rate"
    looks = styles(["mhc", "mhc_own"], LIGHT)
    assert looks["mhc_own"].colour == looks["mhc"].colour
    assert looks["mhc_own"] != looks["mhc"]


def test_names_say_the_rate() -> None:
    assert split_label("mhc_x0.25") == ("mhc", 0.25)
    assert split_label("x0_lambdas") == ("x0_lambdas", 1.0)
    assert list(expanded({"a": {"learning_rate_scale": [1, 4]}})) == ["a", "a_x4"]


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        ("{prenorm: {learning_rate_scale: []}}", "lists no rate"),
        ("{prenorm: {learning_rate_scale: [0]}}", "no number between"),
        ("{prenorm: {learning_rate_scale: [1, 1]}}", "stands there twice"),
        ("{prenorm: , a_x2: {variant: mhc, learning_rate_scale: 3}}", "give it another name"),
        ("{prenorm: , a_x1: {variant: mhc, learning_rate_scale: 3}}", "give it another name"),
        ("{prenorm: {flops_of: mhc}}", "no other label"),
        ("{prenorm: {learning_rate_scale: {b: 2}}}", "names the sizes b; the study has a"),
        ("{prenorm: {learning_rate_scale: {a: 2, b: 1}}}", "names the sizes a, b; the study has a"),
        ("{prenorm: {learning_rate_scale: {a: 0}}}", "no number between"),
        ("{prenorm: , mhc_own: {variant: mhc}}", "not name by size; give it another name"),
        ("{prenorm: , mhc_x2: {variant: mhc, learning_rate_scale: {a: 2}}}", "another at each"),
        ("{prenorm: {learning_rate_scale: [{a: 2}, {a: 1}]}}", "stands there twice"),
    ],
)
def test_what_cannot_be_meant_is_refused(variants: str, message: str) -> None:
    text = f"name: x\nvariants: {variants}\nsizes: {{a: {{d_model: 16, n_layers: 4, n_heads: 1}}}}"
    with pytest.raises(UserError, match=message):
        parse_study(text + "\nseeds: [0]", "x.yaml")


def test_flops_of_another_label() -> None:
    study = load_study("reference:ladder")
    for size in study.sizes:
        ours, theirs = (study.run(x, size, 0) for x in ("prenorm_matched", "full_attnres"))
        assert ours.training_flops == pytest.approx(theirs.training_flops, rel=2e-3)
        assert ours.tokens > theirs.tokens == study.run("prenorm", size, 0).tokens


def test_parts_change_what_they_name() -> None:
    parts = load_parts("reference")
    assert list(parts) == ["rates", "transfer", "ladder", "depth", "blocks", "reasoning"]
    assert parts["reasoning"].recipe.answer_weight == 10
    assert parts["reasoning"].recipe.context == parts["ladder"].recipe.context
    assert not set(parts["rates"].seeds) & set(parts["ladder"].seeds)
    assert not set(parts["rates"].sizes) & set(parts["ladder"].sizes)
    assert load_parts("reference:depth") == {"depth": parts["depth"]}
    for wrong, message in (("reference", "name one of"), ("reference:lader", "has no part")):
        with pytest.raises(UserError, match=message):
            load_study(wrong)


def test_shapes_of_equal_compute() -> None:
    study = load_study("reference:depth")
    flops = [study.run("prenorm", size, 0).training_flops for size in study.sizes]
    assert max(flops) / min(flops) < 1.001


def test_parts_are_checked() -> None:
    with pytest.raises(UserError, match="part b: seeds"):
        parse_parts(TWO_RATES + "parts: {a: {}, b: {seeds: []}}", "x.yaml")
    with pytest.raises(UserError, match="takes no other"):
        parse_parts(TWO_RATES + "parts: {a: {name: c}}", "x.yaml")
    for name in ("..", "a/b", ""):
        with pytest.raises(UserError, match="a name of small letters"):
            parse_parts(TWO_RATES + f'parts: {{"{name}": {{}}}}', "x.yaml")
    with pytest.raises(UserError, match="a mapping of names"):
        parse_parts(TWO_RATES + "parts: []", "x.yaml")


def words(folder: Path) -> Path:
    """A file of text, one document a line."""
    path = folder / "words.txt"
    lines = (f"{a} {b} and {a * b} make {a + b}.\n" for a in range(60) for b in range(60))
    path.write_text("".join(lines), encoding="utf-8")
    return path


def test_no_run_begins_when_the_time_is_over(tmp_path: Path) -> None:
    study, said = tiny(words(tmp_path)), [""]
    result = run_study(study, tmp_path / "r", Here(), until=time.time() - 1, say=said.append)
    assert (result.trained, result.failures) == ([], {})
    assert result.left == [run.run for run in study.runs()]


def test_parts_from_end_to_end(tmp_path: Path) -> None:
    own = tiny(words(tmp_path)).model_dump(mode="json")
    faster = {"prenorm": None, "full_attnres_x2": {"variant": "full_attnres", **TWICE}}
    parts = {
        "one": {"variants": faster},
        "two": {"seeds": [1], "variants": {"prenorm": None}},
        "three": {"seeds": [0, 1]},
    }
    file, out = tmp_path / "mine.yaml", tmp_path / "out"
    about = {"parts": parts, "headline": "three", "protocol": "why.md"}
    file.write_text(yaml.safe_dump({**own, **about}), encoding="utf-8")
    (tmp_path / "why.md").write_text("# Because", encoding="utf-8")
    done = reproduce_study(str(file), str(out), Options(workers=1), "csv", lambda line: None)
    assert (done.failures, done.left) == (0, 0)
    assert (out / "two" / "runs" / "prenorm-d16-s1" / "summary.json").is_file()
    page = Path(done.page).read_text(encoding="utf-8")
    assert "3 of 3 parts" in page
    # A part's own page is not committed, so the page over parts does not lead to it.
    assert "two/report.html" not in page
    assert "picture above are those of part three" in page
    assert "reproduce --study mine.yaml --out DIR" in page
    assert "<h3>Because</h3>" in page
    # A part's folder says as much when it is taken elsewhere.
    assert (out / "two" / "protocol.md").read_text(encoding="utf-8") == "# Because"
    part = (out / "two" / "report.html").read_text(encoding="utf-8")
    assert "reproduce --study mine.yaml:two --out DIR" in part
    assert "study tiny" in page
    one = (out / "one" / "report.md").read_text(encoding="utf-8")
    assert "but for Full AttnRes at 2× the rate; cosine" in one
    assert "At one learning rate for all" not in one
    assert "At one learning rate for all" in (out / "three" / "report.md").read_text("utf-8")
    assert build_report(out) == out / "report.html"
    with pytest.raises(UserError, match="give another --out"):
        claim_parts(out, "other", ["one"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(minutes=1), "--minutes"),
        (Options(executor="ray"), "--executor ray"),
        (Options(address="auto"), "--address"),
    ],
)
def test_published_numbers_take_no_option_of_a_study(options: Options, message: str) -> None:
    with pytest.raises(UserError, match=message):
        reproduce_published("never", options, "csv")


def test_parts_behind_a_url_are_run_one_by_one() -> None:
    with pytest.raises(UserError, match="reference:rates --out memory://x/rates"):
        reproduce_study("reference", "memory://x", Options(), "csv", print)
