"""Suites: the fifteen rows of the paper's table 3, and the tasks that small models move on.

Number of worked examples. We know of no public statement of those behind the table of
arXiv:2603.15031, nor of its prompts. So a row takes the number that lm-eval's YAML fixes
(MMLU-Pro 5, BBH 3, GSM8K 5, Math 4, HumanEval 0, MBPP 3), else the one of the benchmark's authors
(MMLU, CMMLU and C-Eval 5, MGSM 8), else none. Scores here and in the paper's table therefore come
from different prompts: compare models with each other, not with the table.

Chance. Of a choice among n, the mean of 1 / n. Of generated answers: a guess among the options
that the question gives, where it gives any, and 0 for free answers. Sizes are those of the split
that lm-eval scores. Tests hold both to the data, where these are at hand.
"""

import difflib
from dataclasses import dataclass

from attnres_eval.errors import UserError


@dataclass(frozen=True)
class Row:
    """One row of a suite."""

    title: str
    """As in the paper's table, for the suite `paper`."""
    task: str
    """A task or group of lm-eval, or of ours."""
    shots: int
    """Worked examples."""
    chance: float
    """Accuracy of guessing."""
    questions: int
    folders: tuple[str, ...]
    """Where the definition lies, below lm-eval's folder of tasks; empty if it is ours."""
    modules: tuple[str, ...] = ()
    """What lm-eval's code of the task imports beyond lm-eval's own requirements."""


PAPER = (
    Row("MMLU", "mmlu", 5, 0.25, 14_042, ("mmlu/default",)),
    Row("MMLU-Pro", "mmlu_pro", 5, 0.1109, 12_032, ("mmlu_pro",)),
    Row("GPQA-Diamond", "gpqa_diamond_zeroshot", 0, 0.25, 198, ("gpqa/zeroshot",)),
    Row("BBH", "bbh", 3, 0.2624, 6_511, ("bbh/cot_fewshot",)),
    Row("ARC-Challenge", "arc_challenge", 0, 0.2502, 1_172, ("arc",)),
    Row("HellaSwag", "hellaswag", 0, 0.25, 10_042, ("hellaswag",)),
    Row("TriviaQA", "triviaqa", 0, 0.0, 17_944, ("triviaqa",)),
    Row("GSM8K", "gsm8k", 5, 0.0, 1_319, ("gsm8k",)),
    Row("MGSM", "mgsm_native_cot", 8, 0.0, 2_750, ("mgsm/native_cot",)),
    Row(
        "Math",
        "minerva_math",
        4,
        0.0,
        5_000,
        ("minerva_math", "benchmarks"),
        modules=("math_verify", "antlr4"),
    ),
    Row("CMath", "cmath", 3, 0.0, 1_098, ()),
    Row("HumanEval", "humaneval", 0, 0.0, 164, ("humaneval",)),
    Row("MBPP", "mbpp", 3, 0.0, 500, ("mbpp",)),
    Row("CMMLU", "cmmlu", 5, 0.25, 11_582, ("cmmlu",)),
    Row("C-Eval", "ceval-valid", 5, 0.25, 1_346, ("ceval",)),
)
"""Table 3 of arXiv:2603.15031, in its order. Math is Minerva's protocol on MATH; C-Eval is scored
on its validation split, whose answers are public."""

SMALL = (
    Row("ARC-Easy", "arc_easy", 0, 0.2502, 2_376, ("arc",)),
    Row("HellaSwag", "hellaswag", 0, 0.25, 10_042, ("hellaswag",)),
    Row("PIQA", "piqa", 0, 0.5, 1_838, ("piqa",)),
    Row("SciQ", "sciq", 0, 0.25, 1_000, ("sciq",)),
    Row("LAMBADA", "lambada_openai", 0, 0.0, 5_153, ("lambada",)),
    Row("BLiMP", "blimp", 0, 0.5, 67_000, ("blimp",)),
    Row("SIQA", "social_iqa", 0, 1 / 3, 1_954, ("siqa",)),
    Row("CSQA", "commonsense_qa", 0, 0.2, 1_221, ("commonsense_qa",)),
    Row("MMLU", "mmlu_continuation", 0, 0.25, 14_042, ("mmlu/continuation",)),
)
"""What models below 100M parameters move on, without worked examples. MMLU asks for the text of
the answer instead of its letter, so that the gold answer's log-likelihood means something."""

SUITES = {"paper": PAPER, "small": SMALL}


def suite(name: str) -> tuple[Row, ...]:
    """The rows of a suite.

    Raises:
        UserError: there is no such suite.
    """
    if name not in SUITES:
        near = difflib.get_close_matches(name, SUITES, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"there are {' and '.join(SUITES)}"
        raise UserError(f"unknown suite {name!r}; {hint}")
    return SUITES[name]
