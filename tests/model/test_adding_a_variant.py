"""The documentation's example, taken from its page as it stands, passes the battery."""

import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import test_variants as battery
from cases import option_cases

from attnres_eval.catalogue import catalogue_rows, decoder, variant_text
from attnres_eval.study_file import parse_study
from attnres_eval.variants import VARIANTS, VariantSpec, register

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "adding_a_variant.md").read_text(encoding="utf-8")
NAME = "gated_sum"
SPEC_FILE = f"attnres_eval/variants/{NAME}.py"
MODULE_FILE = f"attnres_eval/model/residuals/{NAME}.py"
REFERENCE_FILE = f"tests/model/references/{NAME}.py"
STUDY_FILE = f"studies/{NAME}.yaml"


def files_of(page: str) -> dict[str, str]:
    """Code blocks whose first line is a comment with a path, by that path."""
    blocks = re.findall(r"^```\w+\n# (\S+/\S+)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return dict(blocks)


FILES = files_of(PAGE)

TESTS = {
    name: test
    for name, test in vars(battery).items()
    if name.startswith("test_")
    and {*inspect.signature(test).parameters} <= {"name", "options", "monkeypatch"}
}
"""Tests of the battery that need nothing but a variant and its options."""
TESTS.pop("test_compiled_equals_eager", None)  # a minute, for nothing that the example adds


def load(name: str, path: Path, patch: pytest.MonkeyPatch) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    patch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VariantSpec]:
    """The example of the page, registered for as long as this file's tests run."""
    folder = tmp_path_factory.mktemp("example")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        spec = load(f"attnres_eval.variants.{NAME}", folder / SPEC_FILE, patch).SPEC
        load(f"attnres_eval.model.residuals.{NAME}", folder / MODULE_FILE, patch)
        load(f"references.{NAME}", folder / REFERENCE_FILE, patch)
        register(spec)
        try:
            yield spec
        finally:
            del VARIANTS[spec.name]


def test_the_page_has_all_files_and_none_is_in_the_package() -> None:
    assert list(FILES) == [SPEC_FILE, MODULE_FILE, REFERENCE_FILE, STUDY_FILE]
    assert not any((ROOT / file).exists() for file in FILES)
    assert NAME not in VARIANTS
    assert f'\n+    "{NAME}",\n' in PAGE


def test_the_battery_is_found() -> None:
    assert {
        "test_values_and_gradients_equal_the_reference",
        "test_later_tokens_change_nothing_before",
        "test_no_parameter_is_dead",
        "test_every_parameter_matters",
        "test_start_equals_prenorm_where_claimed",
        "test_flops_equal_what_torch_counts_in_the_reference",
        "test_with_coefficients_frozen_the_residual_is_linear",
    } <= set(TESTS)


@pytest.mark.parametrize("test", TESTS)
def test_the_example_passes(test: str, example: VariantSpec) -> None:
    cases = option_cases(example)
    assert len(cases) == 3
    wants_patch = "monkeypatch" in inspect.signature(TESTS[test]).parameters
    for name, options in cases:
        with pytest.MonkeyPatch.context() as patch:
            more = {"monkeypatch": patch} if wants_patch else {}
            TESTS[test](name=name, options=options, **more)


@pytest.mark.parametrize("tied", [True, False])
def test_its_parameters_are_counted(tied: bool, example: VariantSpec) -> None:
    for name, options in option_cases(example):
        battery.test_cost_counts_parameters_exactly(name, options, tied)


def test_a_wrong_reference_is_noticed(
    example: VariantSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        sys.modules, f"references.{NAME}", importlib.import_module("references.prenorm")
    )
    with pytest.raises(AssertionError):
        battery.test_values_and_gradients_equal_the_reference(NAME, {})


def test_it_is_listed_explained_and_studied(example: VariantSpec) -> None:
    (row,) = catalogue_rows(decoder(), [example])
    assert (row["parameters_added"], row["residual_bytes_over_prenorm"]) == (32, 1.0)
    assert "The gate lies between 0 and 2" in variant_text(example, decoder())
    study = parse_study(FILES[STUDY_FILE], STUDY_FILE)
    assert study.label("gated_sum_per_channel").options.model_dump()["per_channel"] is True
    assert len(study.runs()) == 27
