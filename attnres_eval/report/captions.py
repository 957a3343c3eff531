"""Captions of figures on disk, for a paper in Markdown or LaTeX."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from attnres_eval.report.figures import Figure
from attnres_eval.report.page import escape_markdown

SPECIAL = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "×": r"\ensuremath{\times}",
    "·": r"\ensuremath{\cdot}",
    "≤": r"\ensuremath{\le}",
    "≥": r"\ensuremath{\ge}",
    "−": r"\ensuremath{-}",
    "–": "--",
    "“": "``",
    "”": "''",
    "’": "'",
}
"""Characters that LaTeX reads otherwise, or has no letter for."""
SUPERSCRIPTS = dict(zip("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789", strict=True))


@dataclass(frozen=True)
class Captioned:
    """A figure and one of its files."""

    figure: Figure
    file: str
    """From the captions' folder."""

    @property
    def label(self) -> str:
        """Its name for references: the file's, folder and all."""
        return PurePosixPath(self.file).with_suffix("").as_posix().replace("/", "-")


def markdown_captions(figures: Sequence[Captioned]) -> str:
    """A line of heading, the picture's place, caption and finding of each figure."""
    return "\n".join(
        f"## {one.file}\n\n"
        f"**{escape_markdown(one.figure.title)}.** {escape_markdown(one.figure.caption)}\n\n"
        f"Alternative text: {escape_markdown(one.figure.alt)}\n"
        for one in figures
    )


def latex_captions(figures: Sequence[Captioned]) -> str:
    """A float of each figure, across both columns where it has the text's width.

    One that is higher than a page is made smaller. An SVG is included by the package `svg`.
    """
    return "\n".join(_float(one) for one in figures)


def _float(one: Captioned) -> str:
    environment, width = ("figure*", "textwidth") if one.figure.wide else ("figure", "columnwidth")
    size = rf"width=\{width},height=0.85\textheight,keepaspectratio"
    include = "includesvg" if one.file.endswith(".svg") else "includegraphics"
    title, caption = latex_text(one.figure.title), latex_text(one.figure.caption)
    return (
        f"\\begin{{{environment}}}\n"
        "  \\centering\n"
        f"  \\{include}[{size}]{{{one.file}}}\n"
        f"  \\caption{{\\textbf{{{title}.}} {caption}}}\n"
        f"  \\label{{fig:{one.label}}}\n"
        f"\\end{{{environment}}}\n"
    )


def latex_text(text: str) -> str:
    """Text that LaTeX sets as it is."""
    # A superscript number as one: 10⁻⁵ has two characters of it.
    parts = re.split(f"([{''.join(SUPERSCRIPTS)}]+)", text)
    plain = ["".join(SPECIAL.get(letter, letter) for letter in part) for part in parts[::2]]
    raised = [
        rf"\textsuperscript{{{''.join(map(SUPERSCRIPTS.__getitem__, part))}}}"
        for part in parts[1::2]
    ]
    return "".join(a + b for a, b in zip(plain, [*raised, ""], strict=True)).replace("\n", " ")
