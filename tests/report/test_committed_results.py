"""The results that are committed: they rebuild from their records, and the README quotes them.

That those of the reference study do, to the byte, is in test_reference_results.py.
"""

import io
import re
from pathlib import Path

import pandas as pd
import pytest

from attnres_eval.analysis.collect import collect
from attnres_eval.analysis.pooled import differences_table
from attnres_eval.report.build import study_tables

ROOT = Path(__file__).parents[2]
STUDIES = [ROOT / "results" / name for name in ("reasoning", "zoo")]


def readme_rows(results: Path) -> str:
    """The README's table of a one-size study: loss difference, time, memory."""
    frame = differences_table(collect(results)).sort_values("difference")
    lines = []
    for row in frame.itertuples():
        lines.append(
            f"| `{row.variant}` | {row.difference:+.3f} ({row.ci_low:+.3f} to {row.ci_high:+.3f})"
            f" | {row.n_seeds} | {row.relative_step_time:.2f} | {row.relative_peak_memory:.2f} |"
        )
    return "\n".join(lines)


@pytest.mark.parametrize("results", STUDIES, ids=lambda path: path.name)
def test_tables_rebuild_from_the_records(results: Path) -> None:
    for name, frame in study_tables(collect(results)).items():
        committed = pd.read_csv(results / "tables" / f"{name}.csv")
        text = frame.to_csv(index=False)
        if not text.strip():
            continue
        rebuilt = pd.read_csv(io.StringIO(text))
        pd.testing.assert_frame_equal(rebuilt, committed, rtol=1e-6)


def test_the_readme_quotes_the_zoo() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = readme_rows(ROOT / "results" / "zoo")
    assert rows in readme, f"README.md does not hold the table of results/zoo:\n{rows}"


@pytest.mark.parametrize(
    "results", [*STUDIES, ROOT / "results" / "reference"], ids=lambda p: p.name
)
def test_no_weights_are_committed(results: Path) -> None:
    ignored = re.compile(r"/(checkpoint|resume)/")
    kept = [path for path in results.rglob("*") if not ignored.search(path.as_posix())]
    assert not [path for path in kept if path.suffix in (".safetensors", ".pt", ".bin")]
