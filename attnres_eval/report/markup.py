"""Somebody's Markdown as a part of a page: text, lists, tables and links; nothing else."""

from markdown_it import MarkdownIt
from markupsafe import Markup

LOWEST_HEADING = 6
LINKED = ("https://", "http://", "mailto:")
"""Links to elsewhere. Others lead from the text's own place, which is not the page's."""


def rendered_markdown(text: str, level: int) -> Markup:
    """Markdown as HTML that a page can hold.

    HTML in it is shown as text, as are a picture, which would lie outside of the page, and a link
    to a file.

    Args:
        text: the Markdown.
        level: of its highest headings; lower ones follow.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    parser.validateLink = lambda url: url.startswith(LINKED)  # type: ignore[method-assign]
    tokens = parser.parse(text)
    headings = [token for token in tokens if token.type in ("heading_open", "heading_close")]
    highest = min((int(token.tag[1]) for token in headings), default=1)
    for token in headings:
        token.tag = f"h{min(int(token.tag[1]) - highest + level, LOWEST_HEADING)}"
    return Markup(parser.renderer.render(tokens, parser.options, {}))
