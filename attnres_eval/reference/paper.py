"""Facts from the Attention Residuals report (arXiv:2603.15031), shipped with the package.

The CSV files beside this module hold its numbers and nothing else:

- `table2_scaling.csv`: validation loss in nats per token of five sizes and four variants.
- `fits.csv`: the printed fits L = a C^-alpha, C in PFLOP/s-days.
- `table3_downstream.csv`: accuracy in percent, 48B parameters of which 3B are active.
- `table4_ablation.csv`: validation loss of the 436M size.
- `questions.csv`: how many questions a benchmark of table 3 has. The report does not say which
  split it scored, so all but one are assumptions, marked as such; where the common splits differ
  the benchmark is left out.
"""

from importlib import resources

import pandas as pd

SOURCE = "arXiv:2603.15031"
TARGET_PFLOPS_DAYS = 5.6
"""The compute at which the report states its multiplier."""
PRINTED_MULTIPLIER = 1.25
"""Of Block AttnRes over the baseline at `TARGET_PFLOPS_DAYS`."""
PRINTED_BASELINE_LOSS = 1.714
"""The baseline at `TARGET_PFLOPS_DAYS`, nats per token."""
PRINTED_BLOCK_LOSS = 1.692
"""Block AttnRes at `TARGET_PFLOPS_DAYS`, nats per token."""
TABLE2_VARIANTS = ("baseline", "block_attnres", "full_attnres", "mhc_lite")
"""The loss columns of table 2."""


def _load(name: str) -> pd.DataFrame:
    file = resources.files("attnres_eval.reference") / f"{name}.csv"
    with file.open("r", encoding="utf-8") as text:
        return pd.read_csv(text)


def fits() -> pd.DataFrame:
    """Printed coefficients: variant, a (nats per token), alpha; C in PFLOP/s-days."""
    return _load("fits")


def table2() -> pd.DataFrame:
    """Scaling runs: active_params_m (millions), tokens_b (billions), shape, losses."""
    return _load("table2_scaling")


def table3() -> pd.DataFrame:
    """Downstream accuracy in percent: category, task, baseline, block_attnres."""
    return _load("table3_downstream")


def table4() -> pd.DataFrame:
    """Ablations: variant, loss in nats per token."""
    return _load("table4_ablation")


def questions() -> pd.DataFrame:
    """Benchmark sizes where they are known or can be assumed: task, questions, basis."""
    return _load("questions")
