"""The speed part of a README, out of the bench's rows; the other parts stay. Torch-free."""

import re
from collections.abc import Sequence
from pathlib import Path

from attnres_eval.bench.record import by_processor
from attnres_eval.bench.rows import Row
from attnres_eval.bench.sections import SECTIONS, Section
from attnres_eval.bench.sizes import size_title
from attnres_eval.errors import UserError
from attnres_eval.files import write_text
from attnres_eval.report.figures import Figure
from attnres_eval.report.formats import format_table
from attnres_eval.report.style import DARK, LIGHT

HEADING = "## Speed"
TITLE = "# Benchmarks\n"
HOW = {
    "steps": "Loss, gradients, clipping and AdamW on 2,048 tokens in sequences of 256, in the"
    " precision that a run of the width takes by itself.",
    "peers": "Peers train models of the same shape (as many parameters, but for the residual's own)"
    " on the same tokens with the same clipping and torch's fused AdamW, each at the best of fp32"
    " and bf16 autocast and of its implementations of attention; none but Llama is tried compiled."
    " Rounds end after five minutes, though not before the fifth."
    " The packages of several streams run around our sublayers, so that only the residual differs."
    " x-transformers' attention over depth (`attn_aggregated_residuals`) makes its queries from the"
    " latest hidden state.",
    "memory": "The high-water mark of a fresh process's resident memory over three steps, less what"
    " it held before the model was made: weights, gradients, AdamW's moments, what backward"
    " passes keep, buffers, and what the allocator holds back; not Python, torch or libraries.",
    "decoding": "128 tokens behind prompts of one, as evaluation decodes them, in fp32.",
    "utilisation": "6 N D and causal attention by the convention of `attnres_eval/cost.py`, without"
    " the residual's own work, over the rate of the fastest product of two squares of 512 to 2,048,"
    " torch's or our kernel's, in the same rounds, on as many threads and in the same precision.",
    "throughput": "PreNorm's training steps in one process of one thread a core at once, over one"
    " process on all cores.",
    "growth": "Exponents are least-squares slopes between the logarithms, of what a variant takes"
    " beyond PreNorm; their intervals resample the rounds.",
    "startup": "Whole processes, from their start to their end.",
}
"""By section: what is measured."""
FIGURE_SECTIONS = {"growth": "growth", "worth": "worth"}
"""By figure: the section that shows it."""


def write_readme(path: Path, rows: Sequence[Row], figures: Sequence[Figure]) -> None:
    """Puts the speed part into a README, in the place of an earlier one.

    Raises:
        UserError: the file is there and cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else TITLE
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    write_text(path, with_part(text, speed_part(rows, figures)))


def with_part(text: str, part: str) -> str:
    """The text with the part under its heading; a new one comes before all other parts."""
    ours = re.search(rf"^{HEADING}$.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if ours:
        return text[: ours.start()] + part + text[ours.end() :]
    other = re.search(r"^## ", text, re.MULTILINE)
    at = other.start() if other else len(text)
    return text[:at].rstrip("\n") + "\n\n" + part + text[at:]


def speed_part(rows: Sequence[Row], figures: Sequence[Figure]) -> str:
    """The part: how everything was measured, then a table a section, and the figures."""
    parts = [
        HEADING,
        "`make bench` measures all of this on the machine at hand and writes it here;"
        " `attnres-eval bench --section NAME --size SIZE --out benchmarks` a part of it. A size"
        " `d128x12` is 12 blocks of d_model 128 (heads of 32, of 64 from d_model 256 on; vocabulary"
        " 512). Contenders take turns in one process on one thread, unless a row says otherwise,"
        " each first in turn; where they are held against PreNorm, every turn stands next to one"
        " of PreNorm's, so that both meet the machine in one mood. A value is the median over"
        " rounds of the ratios within a round, its spread their interquartile range; there are 11"
        " rounds, and more where turns are short. Aims are set for two cores with products of"
        " bf16; they stand beside rows of other processors too. All fields of all rows are in"
        " `speed.json`.",
    ]
    for section in SECTIONS.values():
        own = [row for row in rows if row.section == section.name]
        if own:
            parts += _section(section, own, figures)
    return "\n\n".join(parts) + "\n\n"


def _section(section: Section, rows: list[Row], figures: Sequence[Figure]) -> list[str]:
    parts = [f"### {section.title}"]
    if section.name in HOW:
        parts.append(HOW[section.name])
    tabled = [row for row in rows if row.at is None and section.name != "worth"]
    for own in by_processor(tabled):
        parts += [format_table([_cells(row) for row in own], "markdown"), _measured(own)]
    for figure in figures:
        if FIGURE_SECTIONS.get(figure.name) == section.name:
            parts += [_picture(figure), figure.caption]
    return parts


def _cells(row: Row) -> dict[str, object]:
    note = "" if row.note is None else row.note
    peer = "" if row.peer is None else row.peer
    return {
        "quantity": row.quantity,
        "size": "" if row.size is None else size_title(row.size),
        "value": row.value,
        "aim": "" if row.aim is None else row.aim,
        "met": "" if row.met is None else ("yes" if row.met else "no"),
        "spread": row.spread,
        "precision": row.precision or "",
        "peer, note": "; ".join(part for part in (peer, note) if part),
    }


def _measured(rows: Sequence[Row]) -> str:
    """Where, when and with how many rounds."""
    machines = dict.fromkeys(
        f"{row.processor}, torch {row.torch}, {row.date}" for row in rows if row.processor
    )
    rounds = sorted({row.rounds for row in rows if row.rounds})
    said = f" {' to '.join(map(str, rounds[:1] + rounds[1:][-1:]))} rounds." if rounds else ""
    return f"Measured on {'; '.join(machines)}.{said}"


def _picture(figure: Figure) -> str:
    dark, light = (f"figures/{figure.file(theme, 'png')}" for theme in (DARK, LIGHT))
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img alt="{figure.alt}" src="{light}" width="700"></picture>'
    )
