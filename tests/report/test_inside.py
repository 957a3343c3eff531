"""The section on inspections: figures by their numbers, sentences by what they claim."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fabricate import inspection, make_study
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from attnres_eval.analysis.depth import depth_rows, mixing_rows
from attnres_eval.analysis.tables import DIGITS, MISSING
from attnres_eval.report.inspected import sublayer_table, write_inspected
from attnres_eval.report.plot_depth import PANELS, draw_depth
from attnres_eval.report.plot_mixing import (
    colour_scale,
    colours,
    draw_mixing,
    signed_root,
    signed_square,
    variant_map,
)
from attnres_eval.report.style import DARK, LIGHT, THEMES, Theme, styles
from attnres_eval.report.words_depth import bounded, depth_sentences, growths
from attnres_eval.variants import VARIANTS

LABELS = ["prenorm", "full_attnres", "block_attnres"]
RECORD = inspection(make_study().runs()[0])
L = len(RECORD.skip_loss_change)
ROUNDED = 10.0 ** (1 - DIGITS)


def drawn(axes: Axes, gid: str) -> list[Any]:
    return [artist for artist in axes.get_children() if artist.get_gid() == gid]


def images(figure: Any) -> dict[str, Any]:
    return {image.get_gid(): image for axes in figure.axes for image in axes.images}


def test_depth_has_a_line_a_variant_and_kind(analysed: Callable[..., Any]) -> None:
    depth = analysed().tables["depth"]
    figure = draw_depth(depth, LABELS, LIGHT)
    assert len(figure.axes) == 2 * len(PANELS)
    own = depth[depth["variant"] == "full_attnres"].set_index("sublayer")
    for row, measure in enumerate(PANELS):
        for axes, first in zip(figure.axes[2 * row : 2 * row + 2], (1, 2), strict=True):
            (line,) = drawn(axes, f"{measure}-full_attnres")
            start = [] if measure == "skip_loss_change" else [0]
            places = [*start, *range(first, L + 1, 2)]
            np.testing.assert_array_equal(line.get_xdata(), places)
            np.testing.assert_array_equal(line.get_ydata(), own.loc[places, measure])
            assert line.get_color() == styles(LABELS, LIGHT)["full_attnres"].colour


def test_bands_are_the_intervals_of_three_seeds(analysed: Callable[..., Any]) -> None:
    depth = analysed().tables["depth"]
    (band,) = drawn(draw_depth(depth, LABELS, LIGHT).axes[0], "band-output_rms-prenorm")
    row = depth[(depth["variant"] == "prenorm") & (depth["sublayer"] == 3)].iloc[0]
    edges = band.get_paths()[0].vertices
    at = sorted(set(edges[edges[:, 0] == 3][:, 1]))
    assert at == pytest.approx([row["output_rms_low"], row["output_rms_high"]])


@pytest.mark.parametrize("shape", [{"seeds": [0, 1]}, {"labels": ["prenorm", *"abcd"]}], ids=str)
def test_no_bands_of_two_seeds_or_many_variants(
    shape: dict[str, Any], analysed: Callable[..., Any]
) -> None:
    made = analysed(shape)
    figure = draw_depth(made.tables["depth"], list(made.results.study.variants), LIGHT)
    gids = [artist.get_gid() or "" for axes in figure.axes for artist in axes.get_children()]
    assert any(gid.startswith("output_rms") for gid in gids)
    assert not any(gid.startswith("band") for gid in gids)


def test_a_rise_below_zero_is_inside_the_panel(analysed: Callable[..., Any]) -> None:
    depth = analysed().tables["depth"]
    assert depth["skip_loss_change"].min() < 0
    axes = draw_depth(depth, LABELS, LIGHT).axes[-1]
    low, high = axes.get_ylim()
    assert low < depth["skip_loss_change"].min() < 0 < depth["skip_loss_change"].max() < high


def test_maps_hold_the_weights_of_their_readers(analysed: Callable[..., Any]) -> None:
    mixing = analysed().tables["mixing"]
    found = images(draw_mixing(mixing, LABELS, LIGHT))
    assert len(found) == 6
    attention, mlp = found["attention-full_attnres"], found["mlp-full_attnres"]
    values = np.ma.filled(attention.get_array(), np.nan)
    assert values.shape == (L // 2, L + 1)
    for row, reader in enumerate(range(1, L + 1, 2)):
        np.testing.assert_allclose(values[row, :reader], 1.01 / reader, rtol=ROUNDED)
        assert np.isnan(values[row, reader:]).all()
    values = np.ma.filled(mlp.get_array(), np.nan)
    assert values.shape == (L // 2 + 1, L + 1)
    np.testing.assert_allclose(values[-1], 1.01 / (L + 1), rtol=ROUNDED)
    assert mlp.axes.get_yticklabels()[0].get_text() == "out"


def test_larger_weights_are_scaled_and_the_title_says_so() -> None:
    mixing = pd.concat(
        [
            mixing_rows(label, "d", [RECORD]).assign(weight=lambda t, f=factor: t["weight"] * f)
            for label, factor in (("prenorm", 1.0), ("mhc", -8.0))
        ]
    )
    figure = draw_mixing(mixing, ["prenorm", "mhc"], LIGHT)
    titles = [axes.get_title(loc="left").split("\n")[0] for axes in figure.axes]
    assert titles[0] == "PreNorm"
    assert titles[2] == "mHC (×10)"
    found = images(figure)
    assert np.nanmax(np.ma.filled(found["attention-prenorm"].get_array(), np.nan)) == 1
    scaled = np.ma.filled(found["attention-mhc"].get_array(), np.nan)
    np.testing.assert_allclose(scaled[~np.isnan(scaled)], -0.8)
    # One norm for all, symmetric about zero.
    assert {(image.norm.vmin, image.norm.vmax) for image in found.values()} == {(-1, 1)}


@pytest.mark.parametrize(
    ("weights", "scale"),
    [
        ([1.0, 0.5], 1),
        ([1.0000001], 1),
        ([-1.5, 0.1], 2),
        ([7.0], 10),
        ([30.0], 50),
        ([0.001], 1),
        ([np.nan], 1),
        ([0.5] * 99 + [40.0], 1),
    ],
)
def test_the_scale_is_the_next_round_number(weights: list[float], scale: float) -> None:
    assert colour_scale(pd.Series(weights)) == scale


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_colours_say_sign_and_size(theme: Theme) -> None:
    palette = colours(theme)
    assert to_hex(palette(0.5)) == pytest.approx(theme.page) or _near(palette(0.5), theme.page)
    assert to_hex(palette(1.0)) == theme.colours[1].lower()
    assert to_hex(palette(0.0)) == theme.colours[2].lower()
    assert to_hex(palette(2.0)) != to_hex(palette(1.0))
    assert to_hex(palette(-1.0)) != to_hex(palette(0.0))
    assert palette(np.ma.masked)[3] == 0


def _near(colour: tuple[float, ...], name: str) -> bool:
    wanted = [int(name[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return bool(np.abs(np.array(colour[:3]) - wanted).max() < 0.02)


def test_the_root_scale_inverts_and_keeps_signs() -> None:
    values = np.array([-4.0, -0.25, 0.0, 0.01, 1.0])
    np.testing.assert_allclose(signed_root(values), [-2, -0.5, 0, 0.1, 1])
    np.testing.assert_allclose(signed_square(signed_root(values)), values)


def test_every_variant_of_the_registry_fits_on_the_figures(tmp_path: Path) -> None:
    labels = list(VARIANTS)
    depth = pd.concat([depth_rows(label, "d", [RECORD]) for label in labels])
    mixing = pd.concat([mixing_rows(label, "d", [RECORD]) for label in labels])
    figure = draw_mixing(mixing, labels, DARK)
    figure.draw_without_rendering()
    assert len(images(figure)) == 2 * len(labels)
    page = figure.bbox
    for axes in [a for a in figure.axes if a.get_visible()]:
        box = axes.get_tightbbox()
        assert box is not None
        assert page.x0 - 1 <= box.x0 <= box.x1 <= page.x1 + 1
        assert page.y0 - 1 <= box.y0 <= box.y1 <= page.y1 + 1
    titles = [a.title.get_window_extent() for a in figure.axes if a.images]
    assert not any(one.overlaps(other) for i, one in enumerate(titles) for other in titles[i + 1 :])
    assert len(draw_depth(depth, labels, DARK).legends[0].get_texts()) == len(labels)


def test_sentences_name_what_stands_out(analysed: Callable[..., Any]) -> None:
    made = analysed()
    tables = [made.tables[name] for name in ("depth", "growth", "mixing")]
    text = " ".join(depth_sentences(made.results, *tables))
    assert "8,192 held-out tokens" in text
    # exp(0.1 * 14) and exp(0.02 * 14), from sublayer 2 to sublayer 16.
    assert "output of the last MLP over that of the first: PreNorm 4.06, Full AttnRes 1.32" in text
    assert "PreNorm +0.455 nats per token (sublayer 1, attention)" in text
    assert "embedding in the output: PreNorm 1.010, Full AttnRes 0.059" in text


@pytest.mark.parametrize(
    ("high", "said"),
    [
        (0.6, "in 1 of 2 variants: Block AttnRes 0.50 times (0.40 to 0.60)."),
        (1.1, "in 0 of 2 variants."),
    ],
)
def test_bounded_is_said_of_intervals_below_one(high: float, said: str) -> None:
    table = pd.DataFrame(
        {
            "variant": ["prenorm", "full_attnres", "block_attnres", "block_attnres"],
            "measure": ["output_rms"] * 3 + ["gradient_rms"],
            "relative": [np.nan, 2.0, 0.5, 0.1],
            "relative_low": [np.nan, 1.5, 0.4, 0.1],
            "relative_high": [np.nan, 2.5, high, 0.2],
        }
    )
    (sentence,) = bounded(table, "PreNorm")
    assert sentence.startswith("Output grows less with depth than PreNorm's")
    assert sentence.endswith(said)
    assert bounded(table.assign(relative_low=np.nan), "PreNorm") == []


def test_of_many_variants_the_ends_are_named() -> None:
    depth = pd.concat(
        [
            depth_rows(label, "d", [RECORD]).assign(
                output_rms=lambda t, p=place: t["sublayer"] ** float(p)
            )
            for place, label in enumerate(list(VARIANTS)[:8])
        ]
    )
    sentence = growths(depth)[0]
    assert "from 1 (PreNorm) to" in sentence
    assert "of 8 variants" in sentence


def test_one_checkpoint_has_tables_and_figures(tmp_path: Path) -> None:
    write_inspected("mhc", "d64", RECORD, tmp_path / "one")
    write_inspected("mhc", "d64", RECORD, tmp_path / "two")
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert len(files) == 1 + 8 + 8
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    assert MISSING in (tmp_path / "one" / "tables" / "depth.md").read_text()
    table = sublayer_table(RECORD)
    assert list(table["sublayer"]) == list(range(L + 1))
    assert list(table["skip_loss_change"][1:]) == RECORD.skip_loss_change


def test_maps_part_readers_by_kind() -> None:
    shown = variant_map("prenorm", mixing_rows("prenorm", "d", [RECORD]))
    assert list(shown.attention.index) == list(range(1, L, 2))
    assert list(shown.mlp.index) == [*range(2, L + 1, 2), L + 1]
