"""Reasoning questions with a dial for the number of steps: made, seeded, endless. Torch-free.

`FAMILIES` lists them; `stream` makes training text and evaluation questions that share nothing;
`tasks` hands the questions to lm-eval. A new family is one module and one line here; then
`python -m attnres_eval.reasoning tasks/reasoning` writes its YAML files.
"""

import difflib

from attnres_eval.errors import UserError
from attnres_eval.reasoning.brevo import Brevo
from attnres_eval.reasoning.chain import Chain
from attnres_eval.reasoning.depo import Depo
from attnres_eval.reasoning.family import Family
from attnres_eval.reasoning.gym import GYM
from attnres_eval.reasoning.induction import Induction
from attnres_eval.reasoning.mano import Mano
from attnres_eval.reasoning.s5 import S5

FAMILIES: dict[str, Family] = {
    family.name: family for family in (Brevo(), Chain(), Depo(), Induction(), Mano(), S5())
}
"""Our own families with the dials that the tasks and the corpus `reasoning` have, by name."""

GYM_FAMILIES: dict[str, Family] = {family.name: family for family in GYM}
"""Families that the package reasoning-gym makes; a corpus or task has to name them."""


def get_family(name: str) -> Family:
    """The family of that name.

    Raises:
        UserError: there is none.
    """
    known = FAMILIES | GYM_FAMILIES
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise UserError(f"unknown reasoning family {name!r}; {hint}")
    return known[name]
