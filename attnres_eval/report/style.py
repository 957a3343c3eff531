"""How figures look: one colour, marker and line per variant, in a light and a dark theme."""

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl

from attnres_eval.labels import OWN, named_after, own_base, split_label
from attnres_eval.variants import VARIANTS

# Blue and vermilion are Okabe and Ito's. The others were searched by hue for the largest least
# distance (over 20 in CIELAB) to all others as seen with normal vision, protanopia and
# deuteranopia, at a contrast of 3:1 or more with the page. Neutral belongs to PreNorm.
LIGHT_COLOURS = ("#262626", "#0072B2", "#D55E00", "#639985", "#661466", "#4C4000", "#2F00FF")
DARK_COLOURS = ("#EDEDED", "#56B4E9", "#FF8A3D", "#59FF91", "#996384", "#998B63", "#6759FF")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">")
LINES: tuple[str | tuple[int, tuple[float, ...]], ...] = (
    "-",
    (0, (5, 2)),
    (0, (1, 1.4)),
    (0, (6, 2, 1, 2)),
)
MORE_LINES = (*LINES, (0, (6, 2, 1, 2, 1, 2)))
"""For the labels of one variant, of which there may be more than registered ones of one colour."""


@dataclass(frozen=True)
class Theme:
    """The colours of a page and of what is drawn on it."""

    name: str
    page: str
    text: str
    quiet: str
    """Axes, ticks and reference lines."""
    grid: str
    link: str
    """What can be followed or pressed, and the ring around what has the keyboard's focus."""
    soft: str
    """Behind command lines and controls."""
    colours: tuple[str, ...]


LIGHT = Theme(
    "light", "#ffffff", "#1b1f23", "#5b636b", "#e3e6e9", "#0b5cad", "#f5f7f9", LIGHT_COLOURS
)
DARK = Theme("dark", "#14171a", "#e8eaed", "#a3abb3", "#2c3238", "#7db8f5", "#1c2126", DARK_COLOURS)
THEMES = (LIGHT, DARK)


@dataclass(frozen=True)
class Style:
    """How one variant is drawn."""

    colour: str
    marker: str
    line: str | tuple[int, tuple[float, ...]]


def style_at(index: int, theme: Theme) -> Style:
    """The style at a place of the list.

    7 colours and 4 lines have no common divisor, so 28 places in a row differ in the pair.
    """
    return Style(
        colour=theme.colours[index % len(theme.colours)],
        marker=MARKERS[index % len(MARKERS)],
        line=LINES[index % len(LINES)],
    )


def styles(labels: Sequence[str], theme: Theme) -> dict[str, Style]:
    """One style a label.

    A label that is a variant's name has the variant's place in the registry, whatever else is
    drawn. One at another learning rate has the colour of the label whose rate it scales, and one
    named after a variant (`mhc_wide`) the variant's while that colour has a kind of line left; what
    remains takes the places after the registry's. No two labels share colour and line, nor colour
    and marker, while there are any left.
    """
    names = list(VARIANTS)
    looks = {label: style_at(names.index(label), theme) for label in labels if label in VARIANTS}
    others = [label for label in dict.fromkeys(labels) if label not in VARIANTS]
    # First those at the recipe's rate, which stand alone in figures of rates.
    others.sort(key=lambda label: own_base(label) != label)
    for place, label in enumerate(others, len(names)):
        looks[label] = _style_beside(looks, label, style_at(place, theme), theme)
    return {label: looks[label] for label in labels}


def _style_beside(looks: dict[str, Style], label: str, own: Style, theme: Theme) -> Style:
    """A label's style beside those of others: by its kin's colour where it has any."""
    base = own_base(label)
    variant = named_after(base)
    if base != label and base in looks:
        colours = [looks[base].colour]
    elif variant is not None:
        kin = style_at(list(VARIANTS).index(variant), theme).colour
        colours = [kin] if base != label else [kin, own.colour, *theme.colours]
    else:
        colours = [own.colour, *theme.colours]

    def taken(colour: str) -> list[Style]:
        return [look for look in looks.values() if look.colour == colour]

    free = [c for c in colours if len({look.line for look in taken(c)}) < len(MORE_LINES)]
    colour = (free or colours)[0]
    lines = [look.line for look in taken(colour)]
    markers = [look.marker for look in taken(colour)]
    return Style(
        colour,
        marker=min((own.marker, *MARKERS), key=markers.count),
        line=min((own.line, *MORE_LINES), key=lines.count),
    )


def drawn_name(name: str) -> str:
    """The name of a task or a metric as matplotlib is to draw it: a dollar begins no formula."""
    return name.replace("$", r"\$")


def label_title(label: str) -> str:
    """What a reader calls a label: the variant's title, what its name adds to it, and its rate."""
    base = own_base(label)
    variant = named_after(base)
    title = base if variant is None else VARIANTS[variant].title
    if variant not in (None, base):
        title += f" ({base.removeprefix(f'{variant}_').replace('_', ' ')})"
    if base == label:
        return title
    if label.endswith(OWN):
        return f"{title} at its own rate"
    return f"{title} at {split_label(label)[1]:g}× the rate"


MOST_COLUMNS = 3
"""Of a legend as wide as a page's text."""

_SCALE: ContextVar[float] = ContextVar("scale", default=1.0)
_COLUMNS: ContextVar[int] = ContextVar("columns", default=MOST_COLUMNS)


@contextlib.contextmanager
def scaled(scale: float, columns: int) -> Iterator[None]:
    """Draws letters, lines and markers at so many times their size on a page.

    Args:
        scale: the factor.
        columns: of a legend, at most.
    """
    tokens = _SCALE.set(scale), _COLUMNS.set(columns)
    try:
        yield
    finally:
        _SCALE.reset(tokens[0])
        _COLUMNS.reset(tokens[1])


def points(size: float) -> float:
    """A size of letters or markers, in points, as it is to be drawn now."""
    return size * _SCALE.get()


def most_columns() -> int:
    """How many columns a legend may have now."""
    return _COLUMNS.get()


SCALED = (
    *("axes.labelsize", "axes.titlesize", "font.size", "legend.fontsize", "lines.linewidth"),
    *("lines.markersize", "xtick.labelsize", "ytick.labelsize"),
)
"""Settings of `themed` in points."""


@contextlib.contextmanager
def themed(theme: Theme) -> Iterator[None]:
    """Draws in a theme, whatever the user's own matplotlib settings; bytes of SVG are fixed."""
    settings: dict[Any, Any] = {
        "axes.axisbelow": True,
        "axes.edgecolor": theme.quiet,
        "axes.facecolor": theme.page,
        "axes.grid": True,
        "axes.labelcolor": theme.text,
        "axes.labelsize": 11,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlecolor": theme.text,
        "axes.titlesize": 11,
        "figure.dpi": 100,
        "figure.facecolor": theme.page,
        "figure.constrained_layout.use": True,
        "font.family": "DejaVu Sans",
        "font.size": 11,
        "grid.color": theme.grid,
        "grid.linewidth": 0.8,
        "legend.fontsize": 10.5,
        "legend.frameon": False,
        "legend.labelcolor": theme.text,
        "lines.linewidth": 1.8,
        "lines.markersize": 6.5,
        # TrueType: letters stay text, and publishers take no other kind.
        "pdf.fonttype": 42,
        "savefig.dpi": 160,
        "savefig.facecolor": theme.page,
        "svg.fonttype": "path",
        "svg.hashsalt": "attnres-eval",
        "text.color": theme.text,
        "xtick.color": theme.quiet,
        "xtick.labelcolor": theme.text,
        "xtick.labelsize": 10,
        "ytick.color": theme.quiet,
        "ytick.labelcolor": theme.text,
        "ytick.labelsize": 10,
    }
    settings |= {name: points(settings[name]) for name in SCALED}
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(settings)
        yield
