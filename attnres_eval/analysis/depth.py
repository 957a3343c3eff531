"""What inspections say, as tables: magnitudes and skips by sublayer, and who reads whom.

Sublayers are numbered from 1 here, as in the papers, since 0 is the embedding. A reader is a
sublayer, or L + 1, the aggregation before the final norm; it reads the sources before it.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from attnres_eval.analysis.collect import Results
from attnres_eval.analysis.intervals import t_interval
from attnres_eval.records import InspectionRecord

EMBEDDING, ATTENTION, MLP, OUTPUT = "embedding", "attention", "mlp", "output"
MEASURES = ("output_rms", "gradient_rms", "skip_loss_change")
DEPTH_COLUMNS = [
    "variant",
    "size",
    "sublayer",
    "kind",
    "n_seeds",
    *(f"{measure}{end}" for measure in MEASURES for end in ("", "_low", "_high")),
]
MIXING_COLUMNS = [
    "variant",
    "size",
    "source",
    "source_kind",
    "reader",
    "reader_kind",
    "n_seeds",
    "weight",
]


def kind(place: int, n_sublayers: int) -> str:
    """What stands at a place: the embedding at 0, sublayers, the output behind the last."""
    if place == 0:
        return EMBEDDING
    if place > n_sublayers:
        return OUTPUT
    return ATTENTION if place % 2 else MLP


def depth_table(results: Results) -> pd.DataFrame:
    """One row a variant, size and sublayer: means over seeds with Student's intervals.

    `output_rms` is of the elements of the sublayer's output, `gradient_rms` of the derivatives of
    the summed loss by them, in nats, and `skip_loss_change` the rise of the loss, in nats per
    token, when the output is replaced by zeros; there is none for the embedding, sublayer 0.
    """
    frames = [depth_rows(*part) for part in _inspected(results)]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=DEPTH_COLUMNS)


def mixing_table(results: Results) -> pd.DataFrame:
    """One row a variant, size, reader and source before it: M, averaged over seeds.

    A source's weight is missing where it is zero at every token.
    """
    frames = [mixing_rows(*part) for part in _inspected(results)]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=MIXING_COLUMNS)


def _inspected(results: Results) -> Iterator[tuple[str, str, list[InspectionRecord]]]:
    """Label, size and the records of all seeds, in the study's order."""
    runs = results.finished
    for size in results.study.sizes:
        for label in results.study.variants:
            own = runs[(runs["size"] == size) & (runs["label"] == label)]["run"]
            records = [results.inspections[run] for run in own if run in results.inspections]
            if records:
                yield label, size, records


def depth_rows(label: str, size: str, records: Sequence[InspectionRecord]) -> pd.DataFrame:
    """The rows of `depth_table` for the seeds of one variant at one size."""
    n_sublayers = len(records[0].skip_loss_change)
    # None becomes NaN; a seed without a number makes the mean over seeds missing.
    values = {
        "output_rms": np.array([record.output_rms for record in records]),
        "gradient_rms": np.array([record.gradient_rms for record in records]),
        "skip_loss_change": np.array(
            [[None, *record.skip_loss_change] for record in records], dtype=np.float64
        ),
    }
    rows = []
    for sublayer in range(n_sublayers + 1):
        row: dict[str, object] = {
            "variant": label,
            "size": size,
            "sublayer": sublayer,
            "kind": kind(sublayer, n_sublayers),
            "n_seeds": len(records),
        }
        for measure in MEASURES:
            own = values[measure][:, sublayer]
            row[measure] = own.mean()
            row[f"{measure}_low"], row[f"{measure}_high"] = t_interval(own)
        rows.append(row)
    return pd.DataFrame(rows, columns=DEPTH_COLUMNS)


def mixing_rows(label: str, size: str, records: Sequence[InspectionRecord]) -> pd.DataFrame:
    """The rows of `mixing_table` for the seeds of one variant at one size."""
    n_sublayers = len(records[0].skip_loss_change)
    weights = np.array([record.mixing for record in records], dtype=np.float64).mean(axis=0)
    rows = [
        {
            "variant": label,
            "size": size,
            "source": source,
            "source_kind": kind(source, n_sublayers),
            "reader": reader,
            "reader_kind": kind(reader, n_sublayers),
            "n_seeds": len(records),
            "weight": weights[source, reader - 1],
        }
        for reader in range(1, n_sublayers + 2)
        for source in range(reader)
    ]
    return pd.DataFrame(rows, columns=MIXING_COLUMNS)
