"""What a page shows of each table: its columns, their headings and a caption."""

from dataclasses import dataclass

import pandas as pd

from attnres_eval.report.page import Column, Table, read_table

MOST_ROWS = 30
"""A table of benchmarks with more rows than this is folded."""


@dataclass(frozen=True)
class View:
    """How a table is read on a page."""

    caption: str
    columns: dict[str, Column]
    folded: bool = False
    """Whether the page shows it only when asked."""
    folded_when_long: bool = False
    """Whether it is folded with more than `MOST_ROWS` rows."""


def view(name: str, frame: pd.DataFrame) -> Table:
    """A table by its name, as a page shows it."""
    one = VIEWS[name]
    folded = one.folded or (one.folded_when_long and len(frame) > MOST_ROWS)
    return read_table(frame, one.columns, one.caption, folded=folded)


VIEWS = {
    "claims": View(
        "Published claims and what was found",
        {
            "Claim": "claim",
            "Verdict": "verdict",
            "Variant": "variant",
            "Estimate": "estimate",
            "95% interval": ("ci_low", "ci_high"),
            "Measured": "measure",
            "Size": "size",
        },
    ),
    "summary": View(
        "Multipliers, one exponent for all variants; above 1 saves",
        {
            "Variant": "variant",
            "At equal FLOPs": "multiplier",
            "95% interval": ("ci_low", "ci_high"),
            "At equal time": "multiplier_time",
            "95% interval of it": ("ci_low_time", "ci_high_time"),
        },
    ),
    "multipliers": View(
        "Compute multipliers by variant and fit model",
        {
            "Variant": "variant",
            "Model": "model",
            "Multiplier": "multiplier",
            "95% interval": ("ci_low", "ci_high"),
            "Simulated coverage": "coverage",
            "Seeds": "n_seeds",
            "Sizes": "n_sizes",
            "At PFLOP/s-days": "target_compute_pflops_days",
            "Extrapolated": "extrapolated",
            "Note": "note",
        },
        folded_when_long=True,
    ),
    "robustness": View(
        "Checks of the multiplier: fewer runs, other models",
        {
            "Variant": "variant",
            "Check": "check",
            "Multiplier": "multiplier",
            "95% interval": ("ci_low", "ci_high"),
            "Seeds": "n_seeds",
            "Sizes": "n_sizes",
            "Note": "note",
        },
        folded_when_long=True,
    ),
    "rates": View(
        "Every learning rate; least and greatest are those of the seeds",
        {
            "Variant": "variant",
            "Size": "size",
            "Peak rate": "learning_rate",
            "Seeds": "n_seeds",
            "Of": "n_planned",
            "Nats per token": "nats_per_token",
            "Least": "nats_low",
            "Greatest": "nats_high",
            "Best": "best",
        },
        folded_when_long=True,
    ),
    "best_rates": View(
        "Best learning rates, and nats per token minus the baseline's at its own best rate",
        {
            "Variant": "variant",
            "Size": "size",
            "Best rate": "learning_rate",
            "Edge of the grid": "edge",
            "Seeds": "n_seeds",
            "Nats per token": "nats_per_token",
            "At the baseline's rate": "difference_at_baseline_rate",
            "95% interval": ("at_baseline_rate_low", "at_baseline_rate_high"),
            "At its own": "difference_at_best",
            "95% interval of it": ("at_best_low", "at_best_high"),
        },
    ),
    "shapes": View(
        "Every depth; least and greatest are those of the seeds",
        {
            "Variant": "variant",
            "Blocks": "n_layers",
            "d_model": "d_model",
            "Tokens": "tokens",
            "FLOPs": "flops",
            "Seeds": "n_seeds",
            "Nats per token": "nats_per_token",
            "Least": "nats_low",
            "Greatest": "nats_high",
            "Minus baseline": "difference",
            "95% interval": ("ci_low", "ci_high"),
        },
        folded=True,
    ),
    "shape_slopes": View(
        "Change of the difference between two labels by a doubling of depth, nats per token",
        {
            "Variant": "variant",
            "Over": "over",
            "Slope": "slope",
            "95% interval": ("ci_low", "ci_high"),
            "Depths": "n_depths",
            "Blocks of least loss": "best_n_layers",
            "Its loss": "best_nats_per_token",
            "One run's noise": "pooled_sd",
        },
    ),
    "option_sweep": View(
        "Every value of the option; least and greatest are those of the seeds",
        {
            "Variant": "sweep",
            "Option": "option",
            "Value": "value",
            "Size": "size",
            "Seeds": "n_seeds",
            "Nats per token": "nats_per_token",
            "Least": "nats_low",
            "Greatest": "nats_high",
            "Minus baseline": "difference",
            "95% interval": ("ci_low", "ci_high"),
        },
    ),
    "time_multipliers": View(
        "Multipliers at equal time by variant and fit model; the calibration's error is a share of"
        " the multiplier, and in the interval",
        {
            "Variant": "variant",
            "Model": "model",
            "Multiplier": "multiplier",
            "95% interval": ("ci_low", "ci_high"),
            "Calibration's error": "calibration_error",
            "Seeds": "n_seeds",
            "Sizes": "n_sizes",
            "At seconds": "target_seconds",
            "Extrapolated": "extrapolated",
            "Note": "note",
        },
        folded=True,
    ),
    "step_times": View(
        "Calibrated training steps; the baseline's row compares two copies of it",
        {
            "Variant": "variant",
            "Size": "size",
            "Rounds": "rounds",
            "Seconds per token": "seconds_per_token",
            "Over the baseline's": "relative_step_time",
            "95% interval": ("ci_low", "ci_high"),
            "Precision": "precision",
            "Threads": "threads",
            "torch.compile": "compiled",
            "Kernels": "kernels",
        },
        folded=True,
    ),
    "fits": View(
        "Fits of L = E + A C^-alpha, C in PFLOP/s-days; intervals from the residuals",
        {
            "Model": "model",
            "Variant": "variant",
            "A (nats per token)": "a",
            "alpha": "alpha",
            "95% interval of alpha": ("alpha_low", "alpha_high"),
            "E (nats per token)": "e",
            "Runs": "n_points",
            "RMS log residual": "rmse_log",
            "Note": "note",
        },
        folded=True,
    ),
    "benchmarks": View(
        "Benchmark scores (bits per byte of the right choice: lower is better); chance is what the"
        " same likelihoods score with the right choice drawn at random",
        {
            "Task": "task",
            "Variant": "variant",
            "Size": "size",
            "Metric": "metric",
            "Questions": "n_questions",
            "Limit": "limit",
            "Shots": "num_fewshot",
            "Seeds": "n_seeds",
            "Score": "score",
            "95% interval": ("ci_low", "ci_high"),
            "SD over seeds": "seed_sd",
            "Chance": "chance",
        },
        folded_when_long=True,
    ),
    "paired": View(
        "Paired differences to the baseline over questions and seeds; for these models: over"
        " questions alone; detectable: the true difference seen in 80% of such studies",
        {
            "Task": "task",
            "Variant": "variant",
            "Size": "size",
            "Metric": "metric",
            "Questions": "n_questions",
            "Clusters": "n_clusters",
            "Seeds": "n_seeds",
            "Minus baseline": "difference",
            "95% interval": ("ci_low", "ci_high"),
            "p": "p",
            "p (Holm)": "p_holm",
            "Detectable": "detectable",
            "For these models": ("questions_ci_low", "questions_ci_high"),
            "Detectable so": "detectable_questions",
        },
        folded_when_long=True,
    ),
    "mcnemar": View(
        "McNemar's exact test of each pair of runs",
        {
            "Task": "task",
            "Variant": "variant",
            "Size": "size",
            "Metric": "metric",
            "Seed": "seed",
            "Questions": "n_questions",
            "Right by the variant alone": "only_variant",
            "Right by the baseline alone": "only_baseline",
            "p": "p",
            "p (Holm)": "p_holm",
        },
        folded=True,
    ),
    "task_multipliers": View(
        "Compute multipliers by bits per byte of the right choice",
        {
            "Task": "task",
            "Variant": "variant",
            "Multiplier": "multiplier",
            "95% interval": ("ci_low", "ci_high"),
            "Seeds": "n_seeds",
            "Sizes": "n_sizes",
            "At PFLOP/s-days": "target_compute_pflops_days",
            "Note": "note",
        },
    ),
    "task_scaling": View(
        "Benchmark scores by size; intervals over seeds",
        {
            "Task": "task",
            "Metric": "metric",
            "Variant": "variant",
            "Size": "size",
            "FLOPs": "flops",
            "Seeds": "n_seeds",
            "Score": "score",
            "95% interval": ("ci_low", "ci_high"),
            "Chance": "chance",
        },
        folded=True,
    ),
    "steps": View(
        "Accuracy by number of steps; the interval of a difference counts questions and seeds",
        {
            "Family": "family",
            "k": "steps",
            "Variant": "variant",
            "Size": "size",
            "Questions": "n_questions",
            "Seeds": "n_seeds",
            "Accuracy": "score",
            "95% interval": ("ci_low", "ci_high"),
            "SD over seeds": "seed_sd",
            "Chance": "chance",
            "Beats chance": "beats_chance",
            "Minus baseline": "difference",
            "95% interval of it": ("difference_low", "difference_high"),
        },
        folded_when_long=True,
    ),
    "reasoning_gains": View(
        "Gain in accuracy over the baseline on tasks with a number of steps, minus that on others",
        {
            "Variant": "variant",
            "Size": "size",
            "Tasks with steps": "n_reasoning",
            "Others": "n_other",
            "Questions": "n_questions",
            "Seeds": "n_seeds",
            "Gain with steps": "reasoning_gain",
            "Gain on the others": "other_gain",
            "Difference": "difference",
            "95% interval": ("ci_low", "ci_high"),
            "p": "p",
        },
    ),
    "growth": View(
        "Growth from the first MLP to the last, and over the baseline's by the same seed",
        {
            "Variant": "variant",
            "Size": "size",
            "Measure": "measure",
            "Seeds": "n_seeds",
            "Growth": "growth",
            "95% interval": ("growth_low", "growth_high"),
            "Over the baseline's": "relative",
            "95% interval of it": ("relative_low", "relative_high"),
        },
    ),
    "differences": View(
        "Paired differences to the baseline, noise pooled over variants; time, memory and FLOPs"
        " are multiples of the baseline's, parameters a share of its own",
        {
            "Variant": "variant",
            "Size": "size",
            "Seeds": "n_seeds",
            "Minus baseline (nats per token)": "difference",
            "95% interval": ("ci_low", "ci_high"),
            "For all at once": ("ci_low_all", "ci_high_all"),
            "Bits per byte": "difference_bits_per_byte",
            "Time a step": "relative_step_time",
            "Peak memory": "relative_peak_memory",
            "Parameters added": "parameters_added",
            "FLOPs": "relative_flops",
            "Note": "note",
        },
    ),
    "cells": View(
        "Validation loss, speed and memory, mean over seeds",
        {
            "Variant": "variant",
            "Size": "size",
            "Seeds": "n_seeds",
            "PFLOP/s-days": "pflops_days",
            "Nats per token": "nats_per_token",
            "SD over seeds": "seed_sd",
            "Bits per byte": "bits_per_byte",
            "Minus baseline (nats per token)": "difference",
            "95% interval of it": ("ci_low", "ci_high"),
            "Tokens per second": "tokens_per_second",
            "Relative speed": "relative_speed",
            "Peak memory (MiB)": "peak_memory_mib",
        },
    ),
    "losses": View(
        "Every planned run",
        {
            "Run": "run",
            "Parameters": "parameters",
            "Tokens": "tokens",
            "FLOPs": "flops",
            "6ND": "flops_6nd",
            "Nats per token": "nats_per_token",
            "Bits per byte": "bits_per_byte",
            "Seconds": "seconds",
            "Tokens per second": "tokens_per_second",
            "Peak memory (MiB)": "peak_memory_mib",
        },
        folded=True,
    ),
    "depth": View(
        "Every sublayer: its output, its gradient, and what skipping it costs",
        {
            "Variant": "variant",
            "Size": "size",
            "Sublayer": "sublayer",
            "Kind": "kind",
            "Seeds": "n_seeds",
            "Output RMS": "output_rms",
            "95% interval of it": ("output_rms_low", "output_rms_high"),
            "Gradient RMS (nats per element)": "gradient_rms",
            "Rise of the loss when skipped (nats per token)": "skip_loss_change",
            "95% interval of the rise": ("skip_loss_change_low", "skip_loss_change_high"),
        },
        folded=True,
    ),
}
