"""The parts of the bench, each a module that is imported when it is run. Torch-free."""

import difflib
import importlib
from dataclasses import dataclass

from attnres_eval.bench.plan import Plan
from attnres_eval.bench.rows import Row
from attnres_eval.errors import UserError


@dataclass(frozen=True)
class Section:
    """One part: what it measures, and about how long that takes with nothing left out."""

    name: str
    title: str
    minutes: float
    """On two cores of an AMD EPYC."""
    by_size: bool = True
    """Whether it measures the sizes that a call names; if not, it has sizes of its own."""

    def measure(self, plan: Plan) -> list[Row]:
        """Runs the part."""
        module = importlib.import_module(f"attnres_eval.bench.{self.name}")
        rows: list[Row] = module.measure(plan)
        return rows


SECTIONS = {
    section.name: section
    for section in (
        Section("steps", "Training step over PreNorm's", 8),
        Section("peers", "Training speed over public implementations", 40),
        Section("memory", "Peak memory of a training step over PreNorm's", 5),
        Section("decoding", "Cached decoding over PreNorm's", 7),
        Section("tiles", "Matrix tiles over none", 6),
        Section("utilisation", "Model FLOPs utilisation", 2, by_size=False),
        Section("throughput", "Throughput of a study", 3, by_size=False),
        Section("startup", "Waiting for help and for the first step", 5, by_size=False),
        Section("growth", "Growth with depth, sequence length and sources", 15, by_size=False),
        Section("worth", "Cost against loss", 3, by_size=False),
    )
}


def chosen_sections(names: str | None) -> list[Section]:
    """Sections by their names, divided by commas; all where absent.

    Raises:
        UserError: there is no such section.
    """
    if names is None:
        return list(SECTIONS.values())
    chosen = []
    for name in names.split(","):
        if name not in SECTIONS:
            near = difflib.get_close_matches(name, SECTIONS, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(SECTIONS)}"
            raise UserError(f"unknown section {name!r} of the bench; {hint}")
        chosen.append(SECTIONS[name])
    return chosen
