import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnres_eval.cost import inference_flops_per_token, matrix_parameters, model_cost
from attnres_eval.errors import UserError
from attnres_eval.shape import ModelShape, block_bounds, default_d_ff
from attnres_eval.study import RunConfig, Study
from attnres_eval.study_file import bundled_folder, load_parts, load_study, parse_study
from attnres_eval.variants import (
    VARIANTS,
    VariantSpec,
    get_variant,
    parse_options,
    register,
)
from attnres_eval.variants.attnres import block_sources

MINIMAL = """
name: tiny
variants: {prenorm: , blocks: {variant: block_attnres, num_blocks: 3}}
sizes: {d32: {d_model: 32, n_layers: 4, n_heads: 2}}
seeds: [0, 1]
"""


def test_defaults_fill_a_minimal_study() -> None:
    study = parse_study(MINIMAL, "tiny.yaml")
    runs = study.runs()
    assert [run.run for run in runs] == [
        "prenorm-d32-s0",
        "blocks-d32-s0",
        "prenorm-d32-s1",
        "blocks-d32-s1",
    ]
    assert runs[1].variant == "block_attnres"
    assert runs[1].options["num_blocks"] == 3
    assert runs[1].options["two_phase"] is False  # a default, written out
    assert runs[0].steps == runs[1].steps
    again = RunConfig.model_validate(json.loads(json.dumps(runs[1].model_dump(mode="json"))))
    assert again == runs[1]
    wanted = study.recipe.tokens_per_parameter * matrix_parameters(runs[0].shape)
    assert runs[0].tokens == pytest.approx(wanted, rel=0.01)


def test_compared_runs_share_all_but_the_residual() -> None:
    runs = [run for run in parse_study(MINIMAL, "x").runs() if run.seed == 1]
    differing = {"run", "label", "variant", "options"}
    assert len({run.model_dump_json(exclude=differing) for run in runs}) == 1


OWN = """
name: own
variants: {prenorm: }
sizes:
  plain: {d_model: 32, n_layers: 4, n_heads: 2}
  own: {d_model: 30, n_layers: 4, n_heads: 4, head_dim: 16, tokens: 100_000, batch_sequences: 4,
    learning_rate: 0.02}
seeds: [0]
recipe: {context: 64, learning_rate_width: 16}
"""


def test_a_size_may_have_its_own_recipe() -> None:
    study = parse_study(OWN, "own.yaml")
    plain, own = study.runs()
    assert plain.recipe == study.recipe
    assert plain.learning_rate == study.recipe.learning_rate / 2
    assert own.recipe.batch_sequences == 4
    assert own.learning_rate == 0.02  # not by the width
    assert own.steps == round(100_000 / (4 * 64))
    assert own.shape.head_dim == 16  # heads need not divide the width
    kept = own.recipe.model_dump(
        exclude={"batch_sequences", "learning_rate", "learning_rate_width"}
    )
    assert kept == plain.recipe.model_dump(include=set(kept))


def test_runs_of_sizes_without_their_own_recipe_are_as_before() -> None:
    """The keys are the size's alone: configurations, and so their hashes, are what they were."""
    run = parse_study(MINIMAL, "tiny.yaml").runs()[0]
    values = run.model_dump(mode="json")
    assert {"tokens", "head_dim"}.isdisjoint(values)
    assert "tokens" not in values["recipe"]
    record = json.loads((bundled_folder("results") / "zoo" / "study.json").read_text())
    assert "tokens" not in record["sizes"]["d24"]
    old = Study.model_validate(record)
    assert old.sizes["d24"].tokens is None
    config = bundled_folder("results") / "zoo" / "runs" / "prenorm-d24-s0" / "config.json"
    assert old.run("prenorm", "d24", 0) == RunConfig.model_validate_json(config.read_text())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("n_heads: 2}", "n_heads: 2, head_dim: 5}"), "head_dim 5 is odd"),
        (("n_heads: 2}", "n_heads: 2, tokens: 0}"), r"sizes\.d32\.tokens"),
        (("seeds: [0, 1]", "seeds: [0, 1]\nsede: 3"), "tiny.yaml: sede: unknown key"),
        (("n_layers: 4", "n_layer: 4"), r"sizes\.d32\.n_layers: Field required"),
        (("d_model: 32", "d_model: -32"), r"sizes\.d32\.d_model: Input should be greater than 0"),
        (("n_heads: 2", "n_heads: 5"), "n_heads 5 does not divide d_model 32"),
        (("n_heads: 2", "n_heads: 32"), "d_model 32 over n_heads 32 is odd"),
        (("n_heads: 2", "n_heads: 2, n_kv_heads: 3"), "n_kv_heads 3 does not divide n_heads 2"),
        (("block_attnres", "blok_attnres"), "did you mean block_attnres"),
        (("num_blocks: 3", "num_block: 3"), "option num_block"),
        (("num_blocks: 3", "num_blocks: 0"), "option num_blocks: .*greater than or equal to 1"),
        (("num_blocks: 3", "num_blocks: 9"), "num_blocks 9 is not between 1 and the 8 sublayers"),
        (("prenorm:", "full_attnres:"), "baseline prenorm is not among the variants"),
        (("seeds: [0, 1]", "seeds: [1, 1]"), "repeat"),
        (("seeds: [0, 1]", "seeds: []"), "seeds"),
        (("seeds: [0, 1]", "seeds: [0"), "not valid YAML"),
        (("name: tiny", "name: ../tiny"), "name: "),
        ((MINIMAL, "- 1"), "a study is a mapping"),
        ((MINIMAL, "!!python/object/apply:os.system [ls]"), "not valid YAML"),
        (("seeds: [0, 1]", "seeds: [0]\nevaluation: {sizes: [d64]}"), "there is no size d64"),
    ],
)
def test_malformed_studies_give_one_clear_line(change: tuple[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        parse_study(MINIMAL.replace(*change), "tiny.yaml")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("tiny.yaml")


def test_unknown_study_names_the_bundled_ones() -> None:
    with pytest.raises(UserError, match=r"no study 'quik'.*quick.*smoke"):
        load_study("quik")


@pytest.mark.parametrize("path", sorted(bundled_folder("studies").glob("*.yaml")))
def test_bundled_studies_are_valid(path: Path) -> None:
    for part, study in load_parts(path.stem).items():
        assert study.name == (f"{path.stem}-{part}" if part else path.stem)
        assert study.runs()


def test_quick_study_is_what_it_promises() -> None:
    study = load_study("quick")
    runs = study.runs()
    flops = [run.training_flops for run in runs if run.label == "prenorm"]
    assert max(flops) / min(flops) >= 10
    assert len(study.sizes) == 3
    assert len(study.seeds) >= 2
    for run in runs:
        assert run.shape.n_layers >= 8
        assert run.shape.context >= 256
        assert run.tokens / matrix_parameters(run.shape) >= 9.99


def test_the_rate_falls_with_width_where_a_width_is_named() -> None:
    sizes = "sizes: {d64: {d_model: 64, n_layers: 4, n_heads: 2}, "
    text = MINIMAL.replace("sizes: {", sizes) + "recipe: {learning_rate: 0.01"
    flat = parse_study(text + "}", "x")
    assert {run.learning_rate for run in flat.runs()} == {0.01}
    scaled = parse_study(text + ", learning_rate_width: 32}", "x")
    assert {run.size: run.learning_rate for run in scaled.runs()} == {"d64": 0.005, "d32": 0.01}


def test_evaluated_sizes() -> None:
    text = MINIMAL.replace("sizes: {", "sizes: {d64: {d_model: 64, n_layers: 4, n_heads: 2}, ")
    tasks = "evaluation: {tasks: {arc_easy: }"
    assert parse_study(text, "x").evaluated_sizes() == []
    assert parse_study(text + tasks + "}", "x").evaluated_sizes() == ["d64"]
    assert parse_study(text + tasks + ", sizes: all}", "x").evaluated_sizes() == ["d64", "d32"]
    assert parse_study(text + tasks + ", sizes: none}", "x").evaluated_sizes() == []


@given(n_sublayers=st.integers(1, 60), data=st.data())
def test_blocks_partition_the_sublayers(n_sublayers: int, data: st.DataObject) -> None:
    num_blocks = data.draw(st.integers(1, n_sublayers))
    bounds = block_bounds(n_sublayers, num_blocks)
    covered = [index for first, end in bounds for index in range(first, end)]
    assert covered == list(range(n_sublayers))
    sizes = [end - first for first, end in bounds]
    assert set(sizes[:-1]) <= {n_sublayers // num_blocks}
    assert sizes[-1] == n_sublayers // num_blocks + n_sublayers % num_blocks
    assert len(block_sources(bounds)) == n_sublayers + 1


def shape(n_layers: int, d_model: int = 64) -> ModelShape:
    return ModelShape(
        d_model=d_model,
        n_layers=n_layers,
        n_heads=2,
        n_kv_heads=2,
        head_dim=d_model // 2,
        d_ff=default_d_ff(d_model),
        vocab_size=512,
        context=256,
    )


def test_traffic_is_the_papers_at_its_example() -> None:
    # arXiv:2603.15031 at L = 128, N = 8, S = 16, in units of d per sublayer.
    expected = {"prenorm": 3.0, "full_attnres": 24.0, "block_attnres": 5.5}
    for name, traffic in expected.items():
        cost = model_cost(shape(64), name, parse_options(name, {}))
        assert cost.residual_traffic_elements_per_token == traffic * 64 * 128


def test_attnres_adds_2dl_parameters() -> None:
    for name in ("full_attnres", "block_attnres"):
        cost = model_cost(shape(8), name, parse_options(name, {}))
        assert cost.residual_parameters == 2 * 64 * 16


def test_checkpointing_costs_a_forward_pass_more() -> None:
    options = parse_options("full_attnres", {})
    plain = model_cost(shape(8), "full_attnres", options)
    again = model_cost(shape(8), "full_attnres", options, activation_checkpointing=True)
    assert plain.training_flops_per_token == 3 * plain.forward_flops_per_token
    assert again.training_flops_per_token == 4 * plain.forward_flops_per_token
    per_token = inference_flops_per_token(shape(8), "full_attnres", options, keys=128)
    assert per_token == pytest.approx(plain.forward_flops_per_token, rel=0.01)


def test_names_are_taken_once_and_near_misses_are_suggested() -> None:
    spec = VARIANTS["prenorm"]
    assert isinstance(spec, VariantSpec)
    with pytest.raises(ValueError, match="already registered"):
        register(spec)
    with pytest.raises(UserError, match="did you mean full_attnres"):
        get_variant("full_atnres")
    with pytest.raises(UserError, match="there are prenorm"):
        get_variant("zzz")


def test_planning_needs_no_torch() -> None:
    code = (
        "import sys; from attnres_eval.study_file import load_study;"
        "from attnres_eval.sweep.plan import plan_rows;"
        "rows = plan_rows(load_study('quick')); assert len(rows) == 27, len(rows);"
        "assert all(row['estimated_seconds'] > 0 and row['estimated_mib'] > 0 for row in rows);"
        "assert 'torch' not in sys.modules and 'lm_eval' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
