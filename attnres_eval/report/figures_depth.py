"""The figures of inspections: magnitudes by depth, and who reads whom."""

from pathlib import Path

import pandas as pd

from attnres_eval.report import words_depth
from attnres_eval.report.charts.depth import depth_chart
from attnres_eval.report.figures import Figure, save_figure
from attnres_eval.report.plot_depth import LINEAR_UP_TO, draw_depth, has_bands
from attnres_eval.report.plot_mixing import draw_mixing
from attnres_eval.report.wording import counted


def depth_figures(
    depth: pd.DataFrame, mixing: pd.DataFrame, labels: list[str], folder: Path
) -> list[Figure]:
    """What inspections show, of one size: magnitudes by depth, and who reads whom.

    Args:
        depth: `attnres_eval.analysis.depth.depth_table`.
        mixing: `attnres_eval.analysis.depth.mixing_table`.
        labels: all labels of the report, so that colours are those of the other figures.
        folder: where the figures go.
    """
    if depth.empty:
        return []
    shown = depth["variant"].nunique()
    size = depth["size"].iloc[0]
    shading = "; shaded: 95% intervals, which may reach beyond the panel"
    magnitudes = Figure(
        "depth",
        "Magnitudes by depth",
        f"Size {size}, held-out text, mean over seeds{shading if has_bands(depth) else ''}. From"
        " above: the size of the elements of what each sublayer puts out; the size of the"
        " derivatives of the summed loss by them; the rise of the loss when the output is replaced"
        f" by zeros, on an axis that is linear within {LINEAR_UP_TO:g} of zero."
        " Lines of output and gradient start at the embedding.",
        "Output, gradient and skip cost by sublayer. " + " ".join(words_depth.growths(depth)),
    )
    maps = Figure(
        "mixing",
        "Who reads whom",
        f"Size {size}, held-out text, mean over tokens and seeds. A row is a reader, a column a"
        " source (0 the embedding, odd: attention, even: MLP); the colour is the weight of the"
        " source in what the reader gets, with mixing weights and norms held fixed. Full colour"
        " stands for 1, or for the factor in a title where a variant's weights are larger. The"
        " colour scale follows the square root, so that small weights can be seen.",
        f"Depth-mixing weights of {counted(shown, 'variant')}. "
        + " ".join(words_depth.readings(mixing)),
    )
    return [
        save_figure(
            magnitudes,
            lambda theme: draw_depth(depth, labels, theme),
            folder,
            lambda: depth_chart(depth, labels),
        ),
        save_figure(maps, lambda theme: draw_mixing(mixing, labels, theme), folder),
    ]
