"""What is written of a figure: as its page shows it, or as a paper wants it."""

import contextlib
import io
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.figure import Figure

from attnres_eval.report.legend import drawn_for_page
from attnres_eval.report.paper_look import drawn_for_paper
from attnres_eval.report.style import LIGHT, THEMES, Theme, themed

Format = Literal["pdf", "svg", "png"]
Look = Literal["paper", "report"]
"""As in a paper: light, and as wide as a column or as its text. As in a report: as on its page,
light and dark."""

METADATA: dict[Format, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None},
    "png": {"Software": None},
}
"""Neither date nor version: the bytes depend on the numbers alone."""
PAPER_DPI = 300


@dataclass(frozen=True)
class Output:
    """How figures are written."""

    look: Look = "report"
    formats: tuple[Format, ...] = ("svg", "png")


PAGE = Output()

_OUTPUT: ContextVar[Output] = ContextVar("output", default=PAGE)


@contextlib.contextmanager
def saving_as(look: Look, *formats: Format) -> Iterator[None]:
    """Figures that are saved in the body have this look, in these formats."""
    token = _OUTPUT.set(Output(look, formats))
    try:
        yield
    finally:
        _OUTPUT.reset(token)


def themes() -> tuple[Theme, ...]:
    """The themes that figures are now written in."""
    return THEMES if for_page() else (LIGHT,)


def for_page() -> bool:
    """Whether figures are now written as a page shows them."""
    return _OUTPUT.get().look == "report"


def drawn(draw: Callable[[Theme], Figure], theme: Theme) -> tuple[Figure, bool]:
    """A figure in the present look, and whether it has the width of a page's text."""
    if _OUTPUT.get().look == "report":
        return drawn_for_page(draw, theme), True
    return drawn_for_paper(draw, theme)


def contents(figure: Figure, theme: Theme) -> Iterator[tuple[Format, bytes]]:
    """A drawn figure as the bytes of each format that is now written."""
    output = _OUTPUT.get()
    settings: dict[str, Any] = {} if output.look == "report" else {"dpi": PAPER_DPI}
    with themed(theme):
        for suffix in output.formats:
            content = io.BytesIO()
            figure.savefig(content, format=suffix, metadata=METADATA[suffix], **settings)
            yield suffix, content.getvalue()
