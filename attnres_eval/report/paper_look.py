"""Figures as papers want them: as wide as a column, or as the text, in letters of 8 to 9 points."""

import warnings
from collections.abc import Callable, Iterator
from itertools import combinations, product

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from attnres_eval.report.style import MOST_COLUMNS, Theme, scaled

COLUMN, TEXT = 3.25, 6.75
"""Inches: a column of two, and both with the gap between them."""
SCALE = 9 / 11
"""Of a page's letters, which are of 10 to 11 points."""
ATTEMPTS = tuple(product((2, 1), (0.62, 0.72, SCALE)))
"""At a column's width, in this order: columns of a legend, height over the page's figure's."""
MOST_HEIGHT = 5.0
"""Inches, at a column's width: what is higher, for its long legend say, is better wide."""
LEAST_WIDTH, LEAST_HEIGHT = 1.0, 0.35
"""Inches of a panel, below which a column is too narrow for it."""
GAP, OVERLAP = 2.0, 0.5
"""Points: between two texts side by side, at least; and of one upon another, at most, since their
boxes are higher than their letters."""


def drawn_for_paper(draw: Callable[[Theme], Figure], theme: Theme) -> tuple[Figure, bool]:
    """A figure at a column's width where it fits there, and else at the text's.

    There its legend has as many columns as can be read.

    Args:
        draw: draws it for a page.
        theme: in which.

    Returns:
        The figure, and whether it has the text's width.
    """
    for columns, share in ATTEMPTS:
        figure = _drawn(draw, theme, COLUMN, share, columns)
        if figure.get_figheight() <= MOST_HEIGHT and fits(figure):
            return figure, False
    for columns in range(MOST_COLUMNS, 0, -1):
        figure = _drawn(draw, theme, TEXT, SCALE, columns)
        if _inside(figure):
            break
    return figure, True


def _drawn(
    draw: Callable[[Theme], Figure], theme: Theme, width: float, share: float, columns: int
) -> Figure:
    with scaled(SCALE, columns):
        figure = draw(theme)
    figure.set_size_inches(width, share * figure.get_figheight())
    return figure


def fits(figure: Figure) -> bool:
    """Whether all text is inside a figure and apart from other text, and panels have room.

    What is written into a panel may not lie over its lines.
    """
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        # A layout that finds no room says so, and leaves the panels where they were.
        warnings.simplefilter("error", UserWarning)
        try:
            canvas.draw()
        except UserWarning:
            return False
    shown = [axes for axes in figure.axes if axes.get_visible() and axes.get_label() != COLOURBAR]
    sizes = [(axes.bbox.width / figure.dpi, axes.bbox.height / figure.dpi) for axes in shown]
    if any(width < LEAST_WIDTH or height < LEAST_HEIGHT for width, height in sizes):
        return False
    crossed = any(_crossed(axes, canvas) for axes in shown)
    return _inside(figure) and _apart(figure, canvas) and not crossed


def _apart(figure: Figure, canvas: FigureCanvasAgg) -> bool:
    point = figure.dpi / 72
    taken = [
        box.padded(GAP / 2 * point, -OVERLAP / 2 * point) for box in text_boxes(figure, canvas)
    ]
    return not any(one.overlaps(other) for one, other in combinations(taken, 2))


def _inside(figure: Figure) -> bool:
    """Whether no text is cut at the figure's edges."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    page = figure.bbox.padded(1)
    return all(
        page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
        for box in text_boxes(figure, canvas)
    )


def _crossed(axes: Axes, canvas: FigureCanvasAgg) -> bool:
    """Whether a line goes through a text inside a panel."""
    paths = [line.get_transform().transform_path(line.get_path()) for line in axes.lines]
    boxes = [text.get_window_extent(canvas.get_renderer()) for text in axes.texts]
    return any(path.intersects_bbox(box, filled=False) for path in paths for box in boxes)


COLOURBAR = "<colorbar>"
"""What matplotlib calls the panel of a colour bar."""


def text_boxes(figure: Figure, canvas: FigureCanvasAgg) -> list[Bbox]:
    """The box of every text that is drawn, in pixels; the figure has been drawn."""
    renderer = canvas.get_renderer()
    unseen = {text for axis in figure.findobj(Axis) for text in _out_of_view(axis)}
    texts = [text for text in figure.findobj(Text) if text not in unseen]
    return [
        text.get_window_extent(renderer)
        for text in texts
        if text.get_visible() and (text.axes is None or text.axes.get_visible())
        if text.get_text().strip()
    ]


def _out_of_view(axis: Axis) -> Iterator[Text]:
    """Labels of ticks beyond an axis' ends: they are there, and are not drawn."""
    low, high = sorted(axis.get_view_interval())
    margin = 1e-9 * (high - low)
    for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
        if not low - margin <= tick.get_loc() <= high + margin:
            yield from (tick.label1, tick.label2)
