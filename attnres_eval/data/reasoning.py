"""The corpora `reasoning` and `reasoning:FAMILY`: made-up questions whose steps are a dial."""

from dataclasses import dataclass

from attnres_eval.data.split import HELD_OUT_FRACTION, Split
from attnres_eval.files import sha256_of_json
from attnres_eval.reasoning.family import Family
from attnres_eval.reasoning.stream import documents


@dataclass(frozen=True)
class Reasoning:
    """Documents of some families, as many characters of each."""

    name: str
    families: tuple[Family, ...]
    characters: int
    """Training text of all families together."""

    def identity(self) -> dict[str, str]:
        """The families' dials, and how much text is made."""
        dials = {family.name: family.dials() for family in self.families}
        return {"dials_sha256": sha256_of_json(dials), "characters": str(self.characters)}

    def read(self) -> Split:
        """Makes all documents; no question is about the same thing on both sides."""
        training: list[str] = []
        held_out: list[str] = []
        counts = {}
        share = self.characters // len(self.families)
        for family in self.families:
            ours = list(documents(family, share, training=True))
            theirs = list(documents(family, int(share * HELD_OUT_FRACTION), training=False))
            training += ours
            held_out += theirs
            counts[family.name] = {"training": len(ours), "held_out": len(theirs)}
        return Split(training, held_out, counts)
