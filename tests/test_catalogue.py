"""The table of variants and their documentation."""

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from markdown_it import MarkdownIt
from pydantic import Field

from attnres_eval import cli
from attnres_eval.catalogue import (
    catalogue_rows,
    chosen_variants,
    decoder,
    option_rows,
    variant_text,
    variants_document,
)
from attnres_eval.cost import model_cost
from attnres_eval.errors import UserError
from attnres_eval.study_file import load_study
from attnres_eval.variants import FAMILIES, VARIANTS, Options, ResidualCost, VariantSpec
from attnres_eval.variants.spec import NoOptions

ROOT = Path(__file__).resolve().parents[1]
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["attnres-eval", "variants", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


class Toy(Options):
    """Options of the toy."""

    many: int | None = Field(default=None, ge=1, le=9, examples=[2])
    """How many,
    or none."""
    flag: bool = True
    """Whether."""
    kind: Literal["a", "b"] = "a"
    """Which | what."""
    share: float = Field(default=0.5, gt=0, examples=[1.0])
    """How much."""


def test_rows_are_grouped_and_complete() -> None:
    rows = catalogue_rows(decoder(), chosen_variants())
    assert sorted(row["variant"] for row in rows) == sorted(VARIANTS)
    order = [FAMILIES.index(row["family"]) for row in rows]
    assert order == sorted(order)
    assert all(row["formula"] and row["reference"] and row["title"] for row in rows)
    assert not any(row["note"] for row in rows), "defaults fit the size that the docs state"


def test_prices_are_relative_to_prenorm() -> None:
    shape = decoder(d_model=64, n_layers=4, n_heads=2, vocab_size=100, context=32)
    rows = {row["variant"]: row for row in catalogue_rows(shape, chosen_variants())}
    base = model_cost(shape, "prenorm", VARIANTS["prenorm"].options())
    assert rows["prenorm"]["parameters_added"] == 0
    assert rows["prenorm"]["flops_over_prenorm"] == 1
    assert rows["prenorm"]["residual_bytes"] == 3 * 64 * 2
    assert rows["prenorm"]["residual_bytes_over_prenorm"] == 1
    assert rows["prenorm"]["prenorm_at_init"] is True
    full = model_cost(shape, "full_attnres", VARIANTS["full_attnres"].options())
    row = rows["full_attnres"]
    # A query and a gain for seven sublayers and the output, which alone reads all nine sources.
    assert row["parameters_added"] == 8 * 2 * 64 == full.parameters - base.parameters
    flops = full.forward_flops_per_token / base.forward_flops_per_token
    assert row["flops_over_prenorm"] == flops > 1
    assert row["residual_bytes"] == full.residual_traffic_elements_per_token / 8 * 2
    # Norms that the decoder loses count: PostNorm needs no final one.
    assert rows["postnorm"]["parameters_added"] == -64


def test_defaults_that_do_not_fit_have_a_note_and_no_price() -> None:
    class Deep(NoOptions):
        def check(self, shape: object) -> None:
            raise ValueError("too shallow")

    spec = VariantSpec(
        "toy", "Toy", "single stream", "h", "r", Deep, "m:c", lambda *_: ResidualCost(0, 0, 0)
    )
    (row,) = catalogue_rows(decoder(), [spec])
    assert (row["parameters_added"], row["flops_over_prenorm"]) == (None, None)
    assert row["note"] == "too shallow"
    (brief,) = catalogue_rows(decoder(), [spec], brief=True)
    assert brief["note"] == "too shallow"
    assert variant_text(spec, decoder()).split()[-2:] == ["too", "shallow."]


def test_families_are_chosen_by_part_of_their_names() -> None:
    chosen = chosen_variants(family="Earlier outputs")
    assert {spec.family for spec in chosen} == set(FAMILIES[2:])
    with pytest.raises(UserError, match=r"no family 'qq'; there are single stream; several"):
        chosen_variants(family="qq")


def test_options_say_their_values_default_and_meaning() -> None:
    spec = VariantSpec(
        "toy", "Toy", "single stream", "h", "r", Toy, "m:c", lambda *_: ResidualCost(0, 0, 0)
    )
    assert [tuple(row.values()) for row in option_rows(spec)] == [
        ("many", "integer ≥ 1 and ≤ 9 or null", "null", "How many, or none."),
        ("flag", "true or false", "true", "Whether."),
        ("kind", "a or b", "a", "Which | what."),
        ("share", "number > 0", "0.5", "How much."),
    ]


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_documented(name: str) -> None:
    spec = VARIANTS[name]
    assert len(spec.description) > 150
    for row in option_rows(spec):
        assert row["meaning"], f"{name}.{row['option']} needs a docstring"
        assert "|" not in "".join(row.values()), "it would break the table"
    text = variant_text(spec, decoder())
    assert spec.description in text
    assert all(row["option"] in text for row in option_rows(spec))
    assert max(map(len, text.splitlines())) <= 120


def test_the_committed_page_is_the_generated_one() -> None:
    committed = (ROOT / "docs" / "variants.md").read_text(encoding="utf-8")
    assert committed == variants_document(), "docs/variants.md is not up to date: run `make docs`"


def test_the_page_is_markdown_that_means_what_it_says() -> None:
    """No underscore, asterisk or bracket of a formula is taken for markup."""
    tokens = MarkdownIt("commonmark").enable("table").parse(variants_document())
    inline = [token for token in tokens if token.type == "inline"]
    opening = next(i for i, token in enumerate(inline) if token.content == "Single stream")
    kinds = {child.type for token in inline[opening:] for child in token.children or []}
    assert kinds <= {"text", "code_inline", "softbreak"}
    assert sum(token.type == "table_open" for token in tokens) == sum(
        bool(spec.options.model_fields) for spec in VARIANTS.values()
    )
    assert sum(token.type == "heading_open" and token.tag == "h3" for token in tokens) == len(
        VARIANTS
    )


def test_the_module_prints_the_page_without_torch() -> None:
    code = (
        "import runpy, sys; runpy.run_module('attnres_eval.catalogue', run_name='__main__');"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, check=True
    )
    assert done.stdout.decode() == variants_document()


def test_the_readme_names_every_variant() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in VARIANTS if f"`{name}`" not in readme] == []


def test_the_zoo_holds_every_variant() -> None:
    study = load_study("zoo")
    assert {study.label(label).variant for label in study.variants} == set(VARIANTS)
    assert set(VARIANTS) <= set(study.variants)
    assert len(study.variants) <= 28, "more could not be told apart in a figure"


def test_the_terminal_table_fits_120_columns(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    code, out, err = command()
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out)
    assert code == 0
    assert max(map(len, plain.splitlines())) <= 120
    assert all(re.search(rf"^│ {name} +│", plain, re.MULTILINE) for name in VARIANTS)
    assert "init: whether it starts equal to PreNorm" in err


@pytest.mark.parametrize("form", ["csv", "json", "markdown", "latex"])
def test_other_formats_have_every_column(form: str, command: Command) -> None:
    code, out, err = command("--format", form, "--d-model", "64", "--heads", "2", "--layers", "4")
    assert (code, err) == (0, "")
    if form == "csv":
        (row,) = [r for r in csv.DictReader(io.StringIO(out)) if r["variant"] == "full_attnres"]
        assert row["parameters_added"] == "1024"
    elif form == "json":
        assert {row["variant"] for row in json.loads(out)} == set(VARIANTS)
    else:
        assert len(out.splitlines()) > len(VARIANTS)


def test_one_variant_is_explained_in_words_or_as_a_row(command: Command) -> None:
    code, out, _ = command("block_attnres")
    assert code == 0
    assert out.startswith("block_attnres: Block AttnRes (earlier outputs, input-dependent weights)")
    assert "two_phase: true or false; default false" in out
    code, out, _ = command("block_attnres", "--format", "json")
    assert [row["variant"] for row in json.loads(out)] == ["block_attnres"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["block_atnres"], "did you mean block_attnres"),
        (["--heads", "3"], "--heads"),
        (["--family", "none"], "there are single stream"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], word: str, command: Command) -> None:
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert word in err
