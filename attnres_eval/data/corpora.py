"""Corpora by the names that a study gives them."""

import difflib
from pathlib import Path

from attnres_eval.data.commonsense import Commonsense
from attnres_eval.data.hub import HubDataset
from attnres_eval.data.reasoning import Reasoning
from attnres_eval.data.split import Corpus
from attnres_eval.data.textfiles import TextFile
from attnres_eval.errors import UserError
from attnres_eval.reasoning import FAMILIES, get_family

KINDS = ("commonsense", "reasoning[:FAMILY]", "file:PATH", "hf:NAME[:CONFIG]")


def open_corpus(name: str, *, hub_characters: int, reasoning_characters: int) -> Corpus:
    """The corpus of that name, not yet read.

    Args:
        name: `commonsense`, `reasoning[:FAMILY]`, `file:PATH` or `hf:NAME[:CONFIG]`.
        hub_characters: how much to stream of a dataset of the hub, at most.
        reasoning_characters: how much to make of reasoning questions.

    Raises:
        UserError: no corpus has such a name.
    """
    kind, _, rest = name.partition(":")
    if name == "commonsense":
        return Commonsense()
    if kind == "reasoning":
        families = (get_family(rest),) if rest else tuple(FAMILIES.values())
        return Reasoning(name, families, reasoning_characters)
    if kind == "file" and rest:
        return TextFile(name, Path(rest).expanduser())
    if kind == "hf" and rest:
        dataset, _, config = rest.partition(":")
        return HubDataset(name, dataset, config or None, hub_characters)
    kinds = [known.partition(":")[0].partition("[")[0] for known in KINDS]
    near = difflib.get_close_matches(kind, kinds, n=1)
    meant = next((known for known in KINDS if near and known.startswith(near[0])), None)
    hint = f"did you mean {meant}?" if meant else f"known are {', '.join(KINDS)}"
    raise UserError(f"unknown corpus {name!r}: {hint}")
