"""The lm-eval tasks of the families: YAML and README as they lie in tasks/reasoning."""

import importlib
import inspect
from typing import Any

import yaml

from attnres_eval.reasoning import FAMILIES, GYM_FAMILIES, gym
from attnres_eval.reasoning.family import Family
from attnres_eval.reasoning.stream import EVALUATION_QUESTIONS, evaluation_items

TEMPLATES = {
    "_choice_yaml": """\
# Multiple choice by log-likelihood, without worked examples or steps.
output_type: multiple_choice
custom_dataset: !function utils.questions
test_split: test
doc_to_text: "{{prompt}}"
doc_to_target: gold
doc_to_choice: choices
target_delimiter: " "
num_fewshot: 0
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
""",
    "_gen_yaml": """\
# The same questions; the answer is generated and must be right symbol by symbol.
output_type: generate_until
custom_dataset: !function utils.questions
test_split: test
doc_to_text: "{{prompt}}"
doc_to_target: "{{choices[gold]}}"
target_delimiter: " "
num_fewshot: 0
process_results: !function utils.process_results
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
""",
}

_TOKENS_A_SYMBOL = 3
"""Room for tokenizers that split a symbol from the space before it."""


def task_name(family: Family, k: int) -> str:
    """The multiple-choice task of one number of steps; `_gen` behind it is the generated one."""
    return f"reasoning_{family.name}_k{k}"


def task_files() -> dict[str, str]:
    """Every file of the folder but `utils.py`, by its name."""
    files = dict(TEMPLATES)
    for family in (*FAMILIES.values(), *GYM_FAMILIES.values()):
        for suffix, template in (("", "_choice_yaml"), ("_gen", "_gen_yaml")):
            names = []
            for k in family.steps:
                name = f"{task_name(family, k)}{suffix}"
                files[f"{name}.yaml"] = _dump(_task(family, k, name, template))
                names.append(name)
            group = f"reasoning_{family.name}{suffix}"
            files[f"{group}.yaml"] = _dump(_group(group, names, family.version))
    for whole, families in (("reasoning", FAMILIES), ("reasoning_gym", GYM_FAMILIES)):
        for suffix in ("", "_gen"):
            names = [f"reasoning_{name}{suffix}" for name in families]
            files[f"{whole}{suffix}.yaml"] = _dump(_group(f"{whole}{suffix}", names, 1))
    files["README.md"] = readme()
    return files


def _task(family: Family, k: int, name: str, template: str) -> dict[str, Any]:
    chosen = template == "_choice_yaml"
    task: dict[str, Any] = {"include": template, "task": name}
    if not chosen:
        tokens = _TOKENS_A_SYMBOL * family.answer_symbols(k)
        task["generation_kwargs"] = {"until": ["\n"], "max_gen_toks": tokens, "do_sample": False}
    task["metadata"] = {
        "version": float(family.version),
        "chance": family.chance(k) if chosen else 0.0,
        "questions": len(evaluation_items(family, k)),
        "family": family.name,
        "k": k,
    }
    if family.requires is not None:
        task["metadata"]["requires"] = family.requires
    return task


def _group(name: str, tasks: list[str], version: int) -> dict[str, object]:
    metric = "exact_match" if name.endswith("_gen") else "acc"
    return {
        "group": name,
        "task": tasks,
        "aggregate_metric_list": [{"metric": metric, "weight_by_size": True}],
        "metadata": {"version": float(version)},
    }


def _dump(values: dict[str, object]) -> str:
    return yaml.safe_dump(values, sort_keys=False)


def readme() -> str:
    """What each family asks, where it comes from, how much of it is luck, and its dials."""
    parts = [_INTRODUCTION]
    for family in FAMILIES.values():
        module = importlib.import_module(type(family).__module__)
        title, _, text = inspect.cleandoc(module.__doc__ or "").partition("\n")
        what = title.partition(": ")[2].capitalize()
        parts.append(f"## {family.name}\n\n{what}\n{text}\n\n{_facts(family)}")
    parts.append(f"## reasoning-gym\n\n{inspect.cleandoc(gym.__doc__ or '')}\n")
    parts += [f"### {family.name}\n\n{_facts(family)}" for family in GYM_FAMILIES.values()]
    return "\n".join(parts)


def _facts(family: Family) -> str:
    dials = ", ".join(
        f"{name} {_shown(value)}"
        for name, value in family.dials().items()
        if name not in ("version", "name", "skill", "taught", "steps", "settings")
    )
    sizes = ", ".join(f"{len(evaluation_items(family, k))}" for k in family.steps)
    chances = ", ".join(f"{family.chance(k):.4g}" for k in family.steps)
    return (
        "| | |\n|---|---|\n"
        f"| one step | {family.skill} |\n"
        f"| k | {', '.join(map(str, family.steps))}{_taught(family)} |\n"
        f"| questions | {sizes} |\n"
        f"| chance | {chances} |\n"
        f"| version | {family.version} |\n"
        f"| dials | {dials} |\n"
    )


def _taught(family: Family) -> str:
    taught = ", ".join(map(str, family.taught))
    return f" (trained on, not evaluated: {taught})" if taught else ""


def _shown(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


_INTRODUCTION = f"""\
# reasoning

Made-up questions whose number of steps k is a dial. `reasoning_FAMILY_kK` is multiple choice by
log-likelihood, `reasoning_FAMILY_kK_gen` the same questions with the answer generated;
`reasoning_FAMILY` and `reasoning` are groups. No steps are written out, so that they have to be
taken inside the network: depth must do the work.

The questions are made by `attnres_eval.reasoning`, from a seed; nothing is downloaded. The corpora
`reasoning` and `reasoning:FAMILY` of a study hold training documents of the same form: a table (or
none) and several questions with their answers. What a question is about (the permutation, the
sequence, the expression) decides by its hash whether it is ever trained on, so that no evaluation
question is about anything that training saw. At most {EVALUATION_QUESTIONS} questions of each k.
Chance is what guessing scores; rules that take none of the k steps can score more
(`benchmarks/reasoning_shortcuts.py`, LOG.md): accuracy up to their level is no evidence of steps.
Models that were not trained on these corpora know neither the form nor the meaning of the symbols
and score at chance.

This file and every YAML beside it is written by `python -m attnres_eval.reasoning tasks/reasoning`.
"""
