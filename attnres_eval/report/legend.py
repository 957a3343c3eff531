"""Legends that can be read: no name is cut, and a study over rates names each variant once."""

from collections.abc import Callable, Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from attnres_eval.labels import own_base
from attnres_eval.report.style import MOST_COLUMNS, Style, Theme, label_title, scaled, styles

MOST_RATES = 20
"""With more labels than this those of one variant at several rates have one name in a legend."""


def legend_names(labels: Sequence[str]) -> dict[str, str]:
    """By label, its name in the legend; a label that has none there is left out.

    In a study of many labels those at several rates share their variant's name and look. The one
    at the recipe's rate bears the name, or the first of them where there is none.
    """
    if len(labels) <= MOST_RATES:
        return {label: label_title(label) for label in labels}
    return {bearer: label_title(base) for base, bearer in _bearers(labels).items()}


def legend_looks(drawn: Sequence[str], labels: Sequence[str], theme: Theme) -> dict[str, Style]:
    """The look of what is drawn: one a label, or one a name where the legend has fewer names.

    Args:
        drawn: the labels in the figure.
        labels: all of the report, so that colours are those of the other figures.
        theme: light or dark.
    """
    looks = styles(labels, theme)
    if len(drawn) <= MOST_RATES:
        return looks
    bearers = _bearers(drawn)
    return {label: looks[bearers[own_base(label)]] for label in drawn}


def _bearers(labels: Sequence[str]) -> dict[str, str]:
    """By the label whose rate others scale, the one of them that has the name."""
    bearers: dict[str, str] = {}
    for label in labels:
        base = own_base(label)
        if base not in bearers or label == base:
            bearers[base] = label
    return bearers


def shared_names(labels: Sequence[str]) -> str:
    """What a caption says of labels that have no name in the legend; empty where all have one."""
    if len(legend_names(labels)) == len(labels):
        return ""
    return " Runs of one variant at several rates look alike."


def drawn_for_page(draw: Callable[[Theme], Figure], theme: Theme) -> Figure:
    """A figure whose legend has as many columns as fit into its width.

    Args:
        draw: draws it for a page.
        theme: in which.
    """
    for columns in range(MOST_COLUMNS, 0, -1):
        with scaled(1.0, columns):
            figure = draw(theme)
        if _legends_fit(figure):
            break
    return figure


def _legends_fit(figure: Figure) -> bool:
    renderer = FigureCanvasAgg(figure).get_renderer()
    return all(
        legend.get_window_extent(renderer).width <= figure.bbox.width for legend in figure.legends
    )
