"""Looks into a results folder, again and again, and reads only what is new."""

import os
from dataclasses import replace
from pathlib import Path

from attnres_eval.errors import UserError
from attnres_eval.lock import Holder
from attnres_eval.records import (
    Failure,
    Metrics,
    RunFolder,
    Summary,
    calibration_file,
    read_record,
    task_file,
)
from attnres_eval.study import RunConfig, Study
from attnres_eval.sweep.folder import read_study
from attnres_eval.sweep.parts import parts_file, read_parts
from attnres_eval.watch.presence import at_work, since
from attnres_eval.watch.state import AT_WORK, TRAINED, PartState, RunState, State, Status
from attnres_eval.watch.tail import MetricsTail


class Watched:
    """A folder of a study, of a study with parts, or of one run, while others write it."""

    def __init__(self, folder: Path) -> None:
        """Finds out what the folder holds.

        Raises:
            UserError: it is not there, holds no results, or what it holds is damaged.
        """
        self._folder = folder
        self._parts: dict[str, _Part] = {}
        self._holders: set[str] = set()
        self._workers = 0
        if not folder.is_dir():
            raise UserError(
                f"there is no results folder {folder}: give the --out of `attnres-eval reproduce`,"
                " once it runs"
            )
        if parts_file(folder).is_file():
            read_parts(folder)
        elif (folder / "study.json").is_file():
            read_study(folder)
        elif RunFolder(folder).config.is_file():
            read_record(RunFolder(folder).config, RunConfig)
        else:
            raise UserError(
                f"{folder} is no results folder: it has no study.json, parts.json or config.json;"
                " give the --out of `attnres-eval reproduce`, once it runs"
            )

    def look(self, now: float) -> State:
        """What the folder holds now.

        Args:
            now: seconds since the epoch.
        """
        name, folders = self._named()
        for part, folder in folders.items():
            if part not in self._parts or self._parts[part].folder != folder:
                self._parts[part] = _Part(part, folder)
        parts = [self._parts[part].look(now) for part in folders]
        if not name:
            name = next((self._parts[part].name_of_study for part in folders), "")
        self._count_workers(parts)
        return State(name=name, now=now, parts=parts, workers=self._workers)

    def _named(self) -> tuple[str, dict[str, Path]]:
        """The study's name where the parts' list has it, and the parts' folders."""
        try:
            record = read_parts(self._folder)
        except UserError:
            record = None
        if record is not None:
            return record.name, {part: self._folder / part for part in record.parts}
        if parts_before := {name: part.folder for name, part in self._parts.items() if name}:
            return self._folder.name, parts_before
        return "", {"": self._folder}

    def _count_workers(self, parts: list[PartState]) -> None:
        """Another process may have been given another number of workers."""
        holders = {str(part.holder) for part in parts if part.holder is not None}
        if holders and holders != self._holders:
            self._holders, self._workers = holders, 0
        running = sum(len(part.having(Status.RUNNING)) for part in parts)
        self._workers = max(self._workers, running)


class _Part:
    """One results folder, or one run's."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self._study: Study | None = None
        self._seen: object = None
        self._runs: dict[str, _Run] = {}

    @property
    def name_of_study(self) -> str:
        if self._study is not None:
            return self._study.name
        return next((run.config.run for run in self._runs.values()), self.folder.name)

    def look(self, now: float) -> PartState:
        self._read_plan()
        if not self._runs:
            return PartState(self.name, begun=False)
        holder = at_work(self.folder, now)
        there = _names(self.folder / "runs")
        states = {
            name: run.look(holder, now, name in there or self._study is None)
            for name, run in self._runs.items()
        }
        baseline = "" if self._study is None else self._study.baseline
        for name, state in states.items():
            config = state.config
            beside = f"{baseline}-{config.size}-s{config.seed}"
            if state.status == Status.RUNNING and beside != name and beside in self._runs:
                states[name] = replace(state, baseline=self._runs[beside].curve())
        runs = list(states.values())
        timing = self._timing(runs) and holder is not None
        return PartState(
            self.name,
            begun=True,
            holder=holder,
            baseline=baseline,
            runs=runs,
            to_score=sum(self._runs[run.config.run].tasks_left(run) for run in runs),
            timing=timing,
        )

    def _timing(self, runs: list[RunState]) -> bool:
        """Whether what is left before scoring is the calibration, with which nothing runs."""
        if self._study is None or self._study.evaluation.calibration_rounds == 0:
            return False
        trained = any(run.status in TRAINED for run in runs)
        resting = all(run.status in (*TRAINED, Status.FAILED) for run in runs)
        idle = not any(run.status in AT_WORK for run in runs)
        return trained and resting and idle and not calibration_file(self.folder).is_file()

    def _read_plan(self) -> None:
        """Reads the study, or the one run, where it is new; what a file said outlives it."""
        study, run = self.folder / "study.json", RunFolder(self.folder)
        file = study if study.is_file() else run.config
        try:
            found = file.stat()
            seen = (file, found.st_mtime_ns, found.st_ino)
            if seen == self._seen:
                return
            if file == study:
                self._study = read_study(self.folder)
                folders = {
                    config.run: (config, RunFolder(self.folder / "runs" / config.run))
                    for config in self._study.runs()
                }
                tasks = list(self._study.evaluation.tasks)
                scored = set(self._study.evaluated_sizes())
            else:
                config = read_record(run.config, RunConfig)
                folders, tasks, scored = {config.run: (config, run)}, [], set()
        except (OSError, UserError):
            return
        self._seen = seen
        self._runs = {
            name: _Run(config, folder, tasks if config.size in scored else [])
            for name, (config, folder) in folders.items()
        }


class _Run:
    """One run's folder."""

    def __init__(self, config: RunConfig, folder: RunFolder, tasks: list[str]) -> None:
        self.config, self._folder = config, folder
        self._flops = config.training_flops
        self._records = {task_file(folder.evaluation, task).name for task in tasks}
        self._tail = MetricsTail(folder.metrics)
        self._summary: tuple[object, Summary] | None = None

    def curve(self) -> list[Metrics]:
        """All that it has logged."""
        self._tail.read()
        return list(self._tail.lines)

    def tasks_left(self, state: RunState) -> bool:
        """Whether it is trained and not scored, and nothing has failed."""
        return state.status in (Status.FINISHED, Status.SCORING) and bool(self._unscored())

    def look(self, study_holder: Holder | None, now: float, there: bool) -> RunState:
        """Its state.

        Args:
            study_holder: who works in the study's folder.
            now: seconds since the epoch.
            there: whether its folder is.
        """
        waiting = RunState(self.config, Status.WAITING, self._flops)
        if not there:
            return waiting
        files = _names(self._folder.path)
        holder = at_work(self._folder.path, now)
        failed = self._why() if self._folder.failure.name in files else ""
        if self._folder.summary.name in files:
            return self._trained(holder is not None, failed)
        if holder is None and failed:
            return replace(
                waiting, status=Status.FAILED, why=failed, flops_done=self._flops_logged()
            )
        if holder is None and self._folder.metrics.name not in files:
            return waiting
        curve = self.curve()
        last = curve[-1] if curve else None
        running = holder is not None or self._written_since(study_holder)
        return replace(
            waiting,
            status=Status.RUNNING if running else Status.STOPPED,
            flops_done=last.flops if last else 0.0,
            flops_per_second=last.flops / last.seconds if last and last.seconds > 0 else None,
            curve=curve if running else [],
        )

    def _trained(self, held: bool, failed: str) -> RunState:
        try:
            summary = self._read_summary()
        except (OSError, UserError) as error:
            return RunState(self.config, Status.FAILED, self._flops, why=_first_line(str(error)))
        if held:
            status = Status.SCORING
        elif failed:
            status = Status.FAILED
        else:
            scored = bool(self._records) and not self._unscored()
            status = Status.SCORED if scored else Status.FINISHED
        return RunState(
            self.config,
            status,
            self._flops,
            flops_per_second=summary.flops / summary.seconds if summary.seconds > 0 else None,
            flops_done=self._flops,
            loss=summary.validation_nats_per_token,
            why=failed,
        )

    def _read_summary(self) -> Summary:
        found = self._folder.summary.stat()
        seen = (found.st_mtime_ns, found.st_ino)
        if self._summary is None or self._summary[0] != seen:
            self._summary = seen, read_record(self._folder.summary, Summary)
        return self._summary[1]

    def _written_since(self, study_holder: Holder | None) -> bool:
        """Whether it logs although its folder has no holder, as in the copy of a URL's results."""
        if study_holder is None:
            return False
        try:
            return self._folder.metrics.stat().st_mtime >= since(study_holder)
        except OSError:
            return False

    def _flops_logged(self) -> float:
        curve = self.curve()
        return curve[-1].flops if curve else 0.0

    def _why(self) -> str:
        try:
            return _first_line(read_record(self._folder.failure, Failure).reason)
        except UserError as error:
            return "" if not self._folder.failure.is_file() else _first_line(str(error))

    def _unscored(self) -> set[str]:
        return self._records - _names(self._folder.evaluation) if self._records else set()


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "no reason is given")


def _names(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries}
    except OSError:
        return set()
