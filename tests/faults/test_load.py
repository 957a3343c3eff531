"""Ten thousand finished runs in a report, and a million lines of metrics in a progress display."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from fabricate import fabricate, make_study

from attnres_eval.sweep.progress import last_metrics

N_LABELS, N_SIZES, N_SEEDS = 25, 8, 50
MOST_SECONDS, MOST_BYTES = 60.0, 2 * 2**30

REPORT = """
import resource, sys, time
from pathlib import Path
from attnres_eval.report.build import build_report
start = time.process_time()
build_report(Path(sys.argv[1]))
print(time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
def test_ten_thousand_runs_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = ["prenorm", "full_attnres", "block_attnres", *(f"v{i}" for i in range(N_LABELS - 3))]
    study = make_study(labels, n_sizes=N_SIZES, seeds=range(N_SEEDS), limit=20)
    results = fabricate(
        tmp_path / "out", study=study, step_times={}, multipliers={"full_attnres": 1.25}
    )
    assert len(list((results / "runs").iterdir())) == 10_000
    command = [sys.executable, "-c", REPORT, str(results)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # Time of the processor: other tests may be running beside this one.
    seconds, peak = map(float, done.stdout.split())
    rows = (results / "tables" / "losses.csv").read_text().splitlines()
    assert len(rows) == 10_001
    page = results / "report.html"
    with capsys.disabled():
        print(
            f"\n10,000 runs reported in {seconds:.1f} s and {peak / 2**30:.2f} GiB;"
            f" the page has {page.stat().st_size / 2**20:.1f} MiB"
        )
    assert seconds < MOST_SECONDS
    assert peak < MOST_BYTES


def test_a_million_lines_of_metrics_are_not_read_for_the_last(tmp_path: Path) -> None:
    names = ("tokens", "flops", "loss", "learning_rate", "grad_norm", "seconds")
    rest = "".join(f', "{name}": 1' for name in names) + ', "tokens_per_second": 1}\n'
    few, many = tmp_path / "few", tmp_path / "many"
    few.write_text(f'{{"step": 1{rest}' * 10)
    many.write_bytes(f'{{"step": 1{rest}'.encode() * 1_000_000 + f'{{"step": 2{rest}'.encode())
    taken = {}
    for path in (few, many):
        start = time.process_time()
        for _ in range(20):
            found = last_metrics(path)
        taken[path] = time.process_time() - start
    assert found is not None
    assert found.step == 2
    assert taken[many] < 5 * taken[few] + 0.01
