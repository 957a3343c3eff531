"""The published plot, made again from the published numbers."""

from pathlib import Path

import pandas as pd

from attnres_eval.analysis.paper import CONVENTION_NOTE, paper_tables
from attnres_eval.analysis.tables import rounded
from attnres_eval.cost import PFLOPS_DAY
from attnres_eval.reference.paper import PRINTED_MULTIPLIER, SOURCE, TARGET_PFLOPS_DAYS
from attnres_eval.report import words
from attnres_eval.report.build import write_tables
from attnres_eval.report.figures import Figure, Tables, save_figure
from attnres_eval.report.page import Page, Section, paragraphs, read_table, write_page
from attnres_eval.report.plot_compare import draw_multipliers
from attnres_eval.report.plot_paper import draw_downstream
from attnres_eval.report.plot_scaling import Scaling, draw_scaling
from attnres_eval.report.select import Curve, has_interval
from attnres_eval.report.style import label_title
from attnres_eval.report.wording import counted, listed

LABELS = {
    "baseline": "prenorm",
    "full_attnres": "full_attnres",
    "block_attnres": "block_attnres",
    "mhc_lite": "mHC-lite",
}
"""The paper's names to the labels by which figures choose colours, in drawing order."""
WAYS = {
    "printed coefficients": "printed coefficients",
    "inverted at the printed loss": "printed loss, inverted",
    "an exponent each": "table 2 refitted, C = 6ND",
    "geometric mean over its": "table 2 paired, C = 6ND",
}
"""Words in a multiplier's source to the short name of its way."""


def reproduce_paper(out: Path) -> Path:
    """Writes tables/, figures/, report.md and report.html from the published numbers.

    Returns:
        The path of `report.html`.
    """
    tables = published_tables()
    write_tables(tables, out)
    figures = {figure.name: figure for figure in published_figures(tables, out / "figures")}
    return write_page(_page(tables, figures), out)


def published_tables() -> Tables:
    """Every table of the published numbers, by name, rounded."""
    return {name: rounded(frame) for name, frame in paper_tables().items()}


def short_way(source: str) -> str:
    """The short name of the way by which a multiplier was found."""
    return next((short for part, short in WAYS.items() if part in source), source)


def _ways(multipliers: pd.DataFrame) -> pd.DataFrame:
    return multipliers.assign(
        way=[short_way(source) for source in multipliers["source"]],
        variant=multipliers["variant"].map(LABELS),
        target=multipliers["target_compute_pflops_days"] * PFLOPS_DAY,
    )


def _scaling(tables: Tables, *, printed: bool) -> Scaling:
    points = tables["scaling"].rename(columns={"flops_6nd": "compute", "nats_per_token": "loss"})
    points = points.assign(label=points["variant"].map(LABELS))
    fits = tables["fits"]
    fits = fits[(fits["source"] == "printed") == printed]
    ways = _ways(tables["multipliers"])
    way = "printed coefficients" if printed else "table 2 refitted, C = 6ND"
    return Scaling(
        labels=[label for name, label in LABELS.items() if name in set(fits["variant"])],
        baseline=LABELS["baseline"],
        points=points[["label", "compute", "loss"]],
        curves={
            LABELS[variant]: Curve(float(a), float(alpha))
            for variant, a, alpha in zip(fits["variant"], fits["a"], fits["alpha"], strict=True)
        },
        multipliers=ways[ways["way"] == way],
        arrow="block_attnres",
        same_everywhere=False,
        open_points=printed,
    )


def holds_published(results: Path) -> bool:
    """Whether a folder is one that `reproduce_paper` wrote."""
    names = {f"{name}.csv" for name in paper_tables()}
    there = {path.name for path in (results / "tables").glob("*.csv")}
    return names <= there and not (results / "study.json").is_file()


def published_figures(tables: Tables, folder: Path) -> list[Figure]:
    """Draws every figure of the published numbers, in the page's order."""
    printed, refit = _scaling(tables, printed=True), _scaling(tables, printed=False)
    ways = _ways(tables["multipliers"])
    blocks = ways[ways["variant"] == "block_attnres"]
    order = {name: place for place, name in enumerate(dict.fromkeys(ways["variant"]))}
    shown = ways.sort_values("variant", key=lambda names: names.map(order), kind="stable")
    shown = shown.assign(
        row=shown["variant"].map(label_title) + ": " + shown["way"],
        main=shown["way"] == "printed coefficients",
    )
    labels = list(LABELS.values())
    found = listed([f"{row['multiplier']:.3f} ({row['way']})" for _, row in blocks.iterrows()])
    return [
        save_figure(
            Figure(
                "scaling",
                "The published curves",
                "Lines: the printed fits. Arrow: from Block AttnRes' curve to the baseline's at"
                f" {TARGET_PFLOPS_DAYS} PFLOP/s-days. Open points: table 2 at C = 6ND, an assumed"
                " count of compute, since the report does not list its own; they lie left of the"
                " curves.",
                f"Published fits of loss over compute: {_headline(tables)}",
            ),
            lambda theme: draw_scaling(printed, theme),
            folder,
        ),
        save_figure(
            Figure(
                "scaling_6nd",
                "Table 2 refitted under C = 6ND",
                "Points: table 2; lines: one power law each. The arrow stands at the largest size."
                " Below, each point read on the baseline's refitted curve.",
                "Under C = 6ND the refitted baseline needs"
                f" {_of(ways, 'table 2 refitted, C = 6ND')['multiplier']:.2f} times the compute"
                " of Block AttnRes at the largest size.",
            ),
            lambda theme: draw_scaling(refit, theme),
            folder,
        ),
        save_figure(
            Figure(
                "multipliers",
                "Multipliers by way",
                "The same published runs, read in several ways. What each bar covers is in the"
                " table: for the printed fits the rounding of digits alone, for table 2 the"
                " scatter of its five sizes.",
                f"Block AttnRes' multiplier by way: {found}.",
            ),
            lambda theme: draw_multipliers(shown, PRINTED_MULTIPLIER, theme, labels),
            folder,
        ),
        save_figure(
            Figure(
                "downstream",
                "Published benchmark differences",
                "Bars: unpaired binomial 95% intervals of the difference, from the number of"
                " questions where it is known or can be assumed; an open dot has none.",
                _downstream_sentence(tables["downstream"]),
            ),
            lambda theme: draw_downstream(tables["downstream"], "block_attnres", theme),
            folder,
        ),
    ]


def _of(ways: pd.DataFrame, way: str) -> pd.Series:
    return ways[(ways["variant"] == "block_attnres") & (ways["way"] == way)].iloc[0]


def _headline(tables: Tables) -> str:
    row = _of(_ways(tables["multipliers"]), "printed coefficients")
    return (
        f"the baseline needs {row['multiplier']:.3f} times the compute of Block AttnRes for the"
        f" same loss at {TARGET_PFLOPS_DAYS} PFLOP/s-days, as {SOURCE} prints its curves"
        f" ({words.interval(row)} from the rounding of the printed digits alone)."
    )


def _downstream_sentence(table: pd.DataFrame) -> str:
    known = table[[has_interval(row) for _, row in table.iterrows()]]
    differ = known[(known["ci_low"] > 0) | (known["ci_high"] < 0)]
    names = f" ({listed(list(differ['task']))})" if len(differ) else ""
    return (
        f"Of {counted(len(table), 'published difference')}, {len(known)} have a number of"
        f" questions to judge by; the unpaired intervals of {len(differ)} of them exclude"
        f" 0{names}."
    )


def _page(tables: Tables, figures: dict[str, Figure]) -> Page:
    headline = _headline(tables)
    ways = _ways(tables["multipliers"])
    row = _of(ways, "printed coefficients")
    ci = ("ci_low", "ci_high")
    gpqa = tables["downstream"].set_index("task").loc["GPQA-Diamond"]
    return Page(
        title=f"attnres-eval: the published numbers of {SOURCE}",
        headline=headline[0].upper() + headline[1:],
        number=f"{row['multiplier']:.2f}×",
        number_note="compute multiplier of Block AttnRes over the baseline, from the printed fits",
        lead=figures["scaling"],
        sections=[
            Section(
                "Multipliers, and why they differ",
                paragraphs(CONVENTION_NOTE),
                [figures["multipliers"]],
                [
                    read_table(
                        ways,
                        {
                            "Variant": "variant",
                            "Way": "way",
                            "At PFLOP/s-days": "target_compute_pflops_days",
                            "Multiplier": "multiplier",
                            "Interval": ci,
                            "Source": "source",
                        },
                        "Compute multipliers from the published numbers",
                    )
                ],
            ),
            Section(
                "Curves",
                [],
                [figures["scaling_6nd"]],
                [
                    read_table(
                        tables["fits"],
                        {
                            "Variant": "variant",
                            "A (nats per token)": "a",
                            "alpha": "alpha",
                            "95% interval of alpha": ("alpha_low", "alpha_high"),
                            "RMS log residual": "rmse_log",
                            "Source": "source",
                        },
                        "Fits of L = A C^-alpha, C in PFLOP/s-days",
                    ),
                    read_table(
                        tables["scaling"],
                        {
                            "Active parameters (M)": "active_params_m",
                            "Tokens (B)": "tokens_b",
                            "PFLOP/s-days at 6ND": "pflops_days_6nd",
                            "Variant": "variant",
                            "Nats per token": "nats_per_token",
                        },
                        "Table 2: validation loss",
                        folded=True,
                    ),
                ],
            ),
            Section(
                "Benchmarks",
                paragraphs(
                    _downstream_sentence(tables["downstream"]),
                    f"GPQA-Diamond has {gpqa['questions']} questions: the published"
                    f" {gpqa['difference']:+.1f} points are between {gpqa['ci_low']:+.1f} and"
                    f" {gpqa['ci_high']:+.1f}, unpaired. Paired answers, which are not published,"
                    " would narrow every interval.",
                ),
                [figures["downstream"]],
                [
                    read_table(
                        tables["downstream"],
                        {
                            "Task": "task",
                            "Baseline (%)": "baseline",
                            "Block AttnRes (%)": "block_attnres",
                            "Difference (points)": "difference",
                            "95% interval": ci,
                            "Questions": "questions",
                            "Basis": "basis",
                        },
                        "Table 3: accuracy of the 48B model, 3B of it active",
                    )
                ],
            ),
            Section(
                "Ablations",
                [],
                [],
                [
                    read_table(
                        tables["ablation"],
                        {
                            "Variant": "variant",
                            "Nats per token": "loss",
                            "Minus PreNorm": "difference",
                        },
                        "Table 4: validation loss of the 436M size; one run each, so no interval",
                    )
                ],
            ),
        ],
    )
