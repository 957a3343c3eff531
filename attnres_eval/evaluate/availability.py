"""Whether a task, group or tag can be scored here, by what lm-eval's task really reads."""

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass

from attnres_eval.evaluate.index import Index, leaves
from attnres_eval.evaluate.sources import Needs, Sources

_ORDER = ("missing", "hub", "data folder", "package", "built in")


@dataclass(frozen=True)
class Availability:
    """Where the data of a task, or of all members of a group, are."""

    where: str
    """`missing` or `hub` if that holds for one member; otherwise where they are, or all places."""
    lacks: str | None
    """What is not at hand offline, in a clause; None if nothing."""
    runs_code: bool
    """Whether it runs code that the model writes."""


def availability(
    name: str,
    num_fewshot: int | None,
    sources: Sources,
    index: Index,
    modules: Iterable[str] = (),
) -> Availability:
    """Says where a task's data are. Reads no data and asks no network.

    Args:
        name: a task, group or tag of `index`.
        num_fewshot: worked examples; the task's own number where None.
        sources: where to look.
        index: lm-eval's index, or the part of it that `name` needs.
        modules: what lm-eval's code of the task imports beyond lm-eval's own requirements.
    """
    configs = [index[leaf].cfg or {} for leaf in dict.fromkeys(leaves(name, index))]
    found = [sources.look(Needs.of(config, num_fewshot)) for config in configs]
    places = sorted({place.where for place in found}, key=_ORDER.index)
    lacks = list(dict.fromkeys(place.lacks for place in found if place.lacks is not None))
    absent = [module for module in modules if importlib.util.find_spec(module) is None]
    clauses = []
    if absent:
        names = " and ".join(absent)
        clauses.append(f"it imports {names}, which `pip install 'lm-eval[math]'` brings")
    stated = [(config.get("metadata") or {}).get("requires") for config in configs]
    own = sorted({str(module) for module in stated if module is not None})
    absent_own = [module for module in own if importlib.util.find_spec(module) is None]
    if absent_own:
        clauses.append(
            f"{' and '.join(absent_own)} makes its questions: `pip install 'attnres-eval[gym]'`"
        )
    if lacks:
        more = f"; so with {len(lacks) - 1} more of its data sets" if len(lacks) > 1 else ""
        clauses.append(lacks[0] + more)
    if absent or absent_own or "missing" in places:
        where = "missing"
    else:
        where = "hub" if "hub" in places else ", ".join(places)
    return Availability(
        where=where,
        lacks="; ".join(clauses) or None,
        runs_code=any(config.get("unsafe_code") for config in configs),
    )
