"""Worked examples and scoring of `cmath`."""

import re
from fractions import Fraction
from typing import Any

TOLERANCE = Fraction(1, 100)
"""Relative, where one of the two numbers is no integer; as in the authors' script."""

_NUMBER = r"-?\d+(?:\.\d+)?(?:/\d+)?%?"
_STATED = re.compile(rf"答案是[^\d\-]*({_NUMBER})")
_ANY = re.compile(_NUMBER)


def worked_examples() -> list[dict[str, str]]:
    """Written for this task; none is from the data set."""
    return [
        {
            "question": "果园里有梨树36棵，苹果树比梨树多14棵，两种树一共有多少棵？",
            "worked": "苹果树有36+14=50棵。两种树一共有36+50=86棵。答案是86。",
        },
        {
            "question": "一条绳子长7.2米，平均剪成6段，每段长多少米？",
            "worked": "每段长7.2÷6=1.2米。答案是1.2。",
        },
        {
            "question": "一本书有240页，第一天看了全书的1/4，第二天看了45页，还剩多少页没有看？",
            "worked": "第一天看了240×1/4=60页。还剩240-60-45=135页。答案是135。",
        },
    ]


def number(text: str) -> Fraction | None:
    """An integer, decimal, fraction or percentage as a number; None if it is none of them."""
    text = text.strip()
    try:
        if text.endswith("%"):
            return Fraction(text[:-1]) / 100
        over, slash, under = text.partition("/")
        return Fraction(over) / Fraction(under) if slash else Fraction(over)
    except (ValueError, ZeroDivisionError):
        return None


def answer(response: str) -> Fraction | None:
    """The number after the first statement of the answer, else the last number there is."""
    text = re.sub(r"(?<=\d)[,，](?=\d{3}(?!\d))", "", response)
    text = re.sub(r"\\frac\{(\d+)\}\{(\d+)\}", r"\1/\2", text)
    text = re.sub(r"(\d+)分之(\d+)", r"\2/\1", text)
    stated = _STATED.search(text)
    found = [stated[1]] if stated else _ANY.findall(text)
    return number(found[-1]) if found else None


def matches(gold: Fraction, given: Fraction) -> bool:
    """Whether two numbers are one answer."""
    if gold.denominator == given.denominator == 1:
        return gold == given
    return abs(gold - given) <= TOLERANCE * min(abs(gold), abs(given))


def process_results(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Scores one answer: 1 if its number is the right one."""
    gold = number(str(doc["golden"]))
    if gold is None:
        raise ValueError("cmath: a right answer is no number")
    given = answer(results[0])
    return {"exact_match": float(given is not None and matches(gold, given))}
