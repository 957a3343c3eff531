"""Formulas without a network or a script: TeX to MathML, and a font that can set it.

mkdocs calls the functions named `on_`. `$...$` and `$$...$$` are what GitHub renders too.
"""

import html
import importlib.util
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

# As pymdownx.arithmatex leaves them.
FORMULA = re.compile(
    r'<(span|div) class="arithmatex">\\[(\[](?P<tex>.*?)\\[)\]]</\1>', flags=re.DOTALL
)
# What latex2mathml sets otherwise than TeX does: names stick to their neighbours, two signs
# and numbers that begin with a point count as letters.
SPACE = '<mspace width="0.17em"/>'
BETTER = {
    re.compile(r"(</(?:mi|mn|msub|msup)>)<mi>(log|ln|exp)</mi>"): rf"\1{SPACE}<mi>\2</mi>",
    re.compile(r'<mi>(log|ln|exp)</mi>(?!<mo stretchy="false">&#x00028;|</)'): (
        rf"<mi>\1</mi>{SPACE}"
    ),
    re.compile(r"<mi>&#x000B1;</mi>"): "<mo>&#x000B1;</mo>",
    re.compile(r"<mi>&#x0007E;</mi>"): "<mo>&#x0223C;</mo>",
    re.compile(r"<mi>(\.\d+)</mi>"): r"<mn>\1</mn>",
}
# What it passes on where it knows no better.
UNKNOWN = re.compile(r"<m(?:i|text)>[^<]*[\\{}&](?!#x)")
PARTS = {"mfrac": 2, "msub": 2, "msup": 2, "mover": 2, "munder": 2, "msubsup": 3, "munderover": 3}
FONT = "STIXTwoMath-Regular.ttf"


def mathml(tex: str, *, display: bool) -> str:
    """One formula.

    Args:
        tex: without its dollar signs.
        display: whether it stands on a line of its own.

    Raises:
        ValueError: a command that latex2mathml does not know, or an unbalanced brace.
    """
    try:
        found = convert(tex, display="block" if display else "inline")
    except Exception as error:  # of several kinds, one for each way to be wrong
        raise ValueError(f"formula {tex!r}: {type(error).__name__} {error}") from None
    if unknown := UNKNOWN.search(found):
        raise ValueError(f"formula {tex!r}: latex2mathml does not know {unknown[0]}")
    for element in ElementTree.fromstring(found).iter():
        name = element.tag.rpartition("}")[2]
        if len(element) != PARTS.get(name, len(element)):
            raise ValueError(f"formula {tex!r}: a part is missing in {name}")
    for as_set, better in BETTER.items():
        found = as_set.sub(better, found)
    return found


def with_mathml(page: str) -> str:
    """A page's HTML with its formulas as MathML."""

    def formula(found: re.Match[str]) -> str:
        display = found[1] == "div"
        text = mathml(html.unescape(found["tex"]).strip(), display=display)
        return f'<div class="formula">{text}</div>' if display else text

    return FORMULA.sub(formula, page)


def on_page_content(page_html: str, **_: Any) -> str:
    """Sets the formulas of a page."""
    return with_mathml(page_html)


def on_files(files: Files, config: Any) -> Files:
    """Adds the font: STIX Two Math (SIL Open Font License), as the package ziamath has it."""
    found = importlib.util.find_spec("ziamath")
    assert found is not None
    assert found.origin is not None
    source = Path(found.origin).parent / "fonts" / FONT
    files.append(File.generated(config, f"site/{FONT}", abs_src_path=str(source)))
    return files
