"""The sections of a page on learning rates, depth at one budget, and options."""

from attnres_eval.analysis.collect import Results
from attnres_eval.report.figures import Figure, Tables
from attnres_eval.report.page import Section, paragraphs
from attnres_eval.report.views import view
from attnres_eval.report.words_over import option_sentences, shapes_sentences
from attnres_eval.report.words_rates import rates_sentences


def swept_sections(results: Results, tables: Tables, drawn: dict[str, Figure]) -> list[Section]:
    """A section for each kind of sweep that the study is.

    Args:
        results: of the study.
        tables: all of its tables.
        drawn: the figures to show here, by name; the page's lead is not among them.
    """
    sections = []
    if len(tables["best_rates"]):
        sections.append(
            Section(
                "Learning rates",
                paragraphs(rates_sentences(results, tables["best_rates"])),
                [drawn[name] for name in ("best_rates", "rates") if name in drawn],
                [view("best_rates", tables["best_rates"]), view("rates", tables["rates"])],
            )
        )
    if len(tables["shapes"]):
        sections.append(
            Section(
                "Depth against width",
                paragraphs(shapes_sentences(results, tables["shape_slopes"])),
                [drawn["shapes"]] if "shapes" in drawn else [],
                [view("shape_slopes", tables["shape_slopes"]), view("shapes", tables["shapes"])],
            )
        )
    if len(tables["option_sweep"]):
        sections.append(
            Section(
                "Over an option",
                paragraphs(option_sentences(results, tables["option_sweep"])),
                [figure for name, figure in drawn.items() if name.startswith("option_")],
                [view("option_sweep", tables["option_sweep"])],
            )
        )
    return sections
