"""Style sheet and script of the report page. The page holds them itself."""

import re
from importlib import resources

from markupsafe import Markup

ENDING = re.compile(r"<(?=/(?:script|style)|!--)", re.IGNORECASE)
"""Begins what a browser reads as markup inside of `<script>` or `<style>`."""


def asset(name: str) -> Markup:
    """A file of this folder, to stand inside of `<style>` or `<script>` as it is.

    What would end the element early gets a backslash, which strings of both languages read as
    nothing.

    Args:
        name: the file's name, such as `report.css`.
    """
    text = resources.files(__name__).joinpath(name).read_text(encoding="utf-8")
    return embeddable(text)


def embeddable(text: str) -> Markup:
    """A script or style sheet that can stand inside of its element."""
    return Markup(ENDING.sub(r"<\\", text))
