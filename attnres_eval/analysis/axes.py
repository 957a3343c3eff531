"""What is held equal when variants are compared: the column `compute` of a frame of runs."""

import pandas as pd

from attnres_eval.cost import PFLOPS_DAY


def over_flops(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs with their training FLOPs as compute, in PFLOP/s-days."""
    return runs.assign(compute=runs["flops"] / PFLOPS_DAY)


def over_seconds(runs: pd.DataFrame, step_times: pd.DataFrame) -> pd.DataFrame:
    """Runs with calibrated training time as compute, in seconds; runs without one are left out.

    Args:
        runs: with columns label, size, tokens.
        step_times: `attnres_eval.analysis.step_times.step_times_table`.
    """
    per_token = step_times.set_index(["variant", "size"])["seconds_per_token"]
    at = pd.MultiIndex.from_frame(runs[["label", "size"]])
    timed = runs.assign(compute=per_token.reindex(at).to_numpy() * runs["tokens"])
    return timed.dropna(subset=["compute"])
