import itertools

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from attnres_eval.labels import own_base
from attnres_eval.report.style import DARK, LIGHT, THEMES, Theme, style_at, styles, themed
from attnres_eval.study_file import load_study
from attnres_eval.variants import VARIANTS

# Machado et al. 2009, full severity, on linear RGB.
DEFICIENCIES = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "none": np.eye(3).tolist(),
}


def linear(colour: str) -> np.ndarray:
    value = np.array(to_rgb(colour))
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    weights = np.array([0.2126, 0.7152, 0.0722])
    high, low = sorted((float(weights @ linear(c)) for c in (one, other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    ) @ np.clip(rgb, 0, 1)
    scaled = xyz / np.array([0.9505, 1.0, 1.089])
    f = np.where(scaled > 0.008856, np.cbrt(scaled), 7.787 * scaled + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_every_colour_stands_out_from_the_page(theme: Theme) -> None:
    assert all(contrast(colour, theme.page) >= 3 for colour in theme.colours)
    assert contrast(theme.text, theme.page) >= 7
    assert contrast(theme.quiet, theme.page) >= 4.5


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_colours_differ_for_every_eye(theme: Theme, deficiency: str) -> None:
    matrix = np.array(DEFICIENCIES[deficiency])
    seen = [lab(matrix @ linear(colour)) for colour in theme.colours]
    nearest = min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))
    assert nearest > 20


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_28_styles_differ_in_colour_and_line(theme: Theme) -> None:
    looks = [style_at(place, theme) for place in range(28)]
    assert len({(look.colour, look.line) for look in looks}) == 28


def test_a_variant_looks_the_same_in_every_company() -> None:
    alone = styles(["block_attnres"], LIGHT)["block_attnres"]
    together = styles(["second_options", *reversed(VARIANTS)], LIGHT)
    assert together["block_attnres"] == alone
    assert together["second_options"] not in [together[name] for name in VARIANTS]


def test_labels_named_after_a_variant_have_its_colour() -> None:
    labels = ["block_attnres_n2", "mhc_wide_x2", "block_attnres_n2_own", "mine_x2", "mine"]
    looks = styles(labels, LIGHT)
    block, mhc = (style_at(list(VARIANTS).index(name), LIGHT) for name in ("block_attnres", "mhc"))
    assert looks["block_attnres_n2"].colour == looks["block_attnres_n2_own"].colour == block.colour
    assert looks["mhc_wide_x2"].colour == mhc.colour
    assert looks["mine_x2"].colour == looks["mine"].colour
    assert len({looks[label] for label in labels} | {block, mhc}) == len(labels) + 2


def test_variants_of_the_reference_study_have_a_colour_each() -> None:
    """But for the control and the Gated Residual, which have PreNorm's, in other lines."""
    ladder = load_study("reference:ladder")
    looks = styles(list(ladder.variants), LIGHT)
    own = [name for name in ladder.variants if name in VARIANTS]
    neutral = {"prenorm", "rescaled", "gated_residual"}
    assert {name for name in own if looks[name].colour == LIGHT.colours[0]} == neutral
    assert len({looks[name].colour for name in own}) == len(own) - 2


@pytest.mark.parametrize(
    "study", ["zoo", "reference:ladder", "reference:blocks", "reference:depth"]
)
def test_labels_at_the_recipes_rate_differ_in_line_and_in_marker(study: str) -> None:
    labels = list(load_study(study).variants)
    looks = styles(labels, LIGHT)
    assert list(looks) == labels
    assert len(set(looks.values())) == len(looks)
    own = [looks[label] for label in labels if own_base(label) == label]
    assert len({(look.colour, look.line) for look in own}) == len(own)
    assert len({(look.colour, look.marker) for look in own}) == len(own)


def test_every_number_of_blocks_has_block_attnres_colour() -> None:
    labels = [name for name in load_study("reference:blocks").variants if name != "prenorm"]
    looks = styles(labels, LIGHT)
    assert {looks[label].colour for label in labels} == {looks["block_attnres"].colour}


def test_looks_do_not_depend_on_the_theme() -> None:
    labels = list(load_study("zoo").variants)
    light, dark = styles(labels, LIGHT), styles(labels, DARK)
    for label in labels:
        assert (light[label].line, light[label].marker) == (dark[label].line, dark[label].marker)
        places = [
            theme.colours.index(looks[label].colour)
            for theme, looks in ((LIGHT, light), (DARK, dark))
        ]
        assert places[0] == places[1]


def test_a_variant_keeps_marker_and_line_in_the_dark() -> None:
    light, dark = (styles(["full_attnres"], theme)["full_attnres"] for theme in (LIGHT, DARK))
    assert (light.marker, light.line) == (dark.marker, dark.line)


def test_a_theme_leaves_the_users_settings_alone() -> None:
    before = mpl.rcParams["axes.facecolor"]
    with themed(DARK):
        assert mpl.rcParams["axes.facecolor"] == DARK.page
    assert mpl.rcParams["axes.facecolor"] == before
