"""The files of a results folder: their places and their schemas. Torch-free.

    results/<study>/
      study.json                    the study, every default filled in
      origin.json                   Origin: its file, its protocol (`attnres_eval.sweep.origin`)
      protocol.md                   the protocol, where the study has one
      calibration.json              Calibration: step times on one machine, taken side by side
      runs/<run>/config.json        RunConfig
      runs/<run>/cost.json          attnres_eval.cost.Cost
      runs/<run>/metrics.jsonl      Metrics, a line per logging step
      runs/<run>/summary.json       Summary; present when the run has finished
      runs/<run>/checkpoint/        transformers folder: config.json, model.safetensors, tokenizer
      runs/<run>/resume/            what a killed run continues from; gone when it has finished
      runs/<run>/evaluation/<task>.json   TaskRecord, no benchmark text
      runs/<run>/inspection.json    InspectionRecord; of the largest size's runs
      runs/<run>/failure.json       Failure; gone when the run is tried again
      tables/ figures/ report.html report.md
      .lock .holder.json            who works in the folder, and in a run's (`attnres_eval.lock`)

Every JSON record ends with `record_sha256`, the hash of the rest, so that a digit that changed on
disk is noticed; records of earlier versions have none and are read without. The summary holds the
hashes of the files that have no place for their own: metrics and checkpoint.
"""

from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from attnres_eval.errors import UserError
from attnres_eval.files import (
    read_json,
    read_jsonl,
    sha256_of_file,
    sha256_of_json,
    write_json,
)


class Record(BaseModel):
    """A record on disk: unknown keys are refused, as are numbers that are none."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


R = TypeVar("R", bound=BaseModel)


class Metrics(Record):
    """One line of metrics.jsonl. `seconds` and `tokens_per_second` are clock readings."""

    step: int
    tokens: int
    flops: float
    loss: float
    """Training loss of this step's batch, nats per token, by the recipe's weights."""
    learning_rate: float
    grad_norm: float
    """Before clipping."""
    seconds: float
    """Training time so far, summed over the run's parts where it was resumed."""
    tokens_per_second: float


Parallel = Literal["ddp", "fsdp", "pipeline"]
"""How processes share one run: each has all of the model, a slice of every tensor, or layers."""


class Machine(Record):
    """Where a run ran, and how: what has to stay the same on resume, but for the processes."""

    device: str
    precision: Literal["fp32", "bf16"]
    threads: int
    """Of each process."""
    compiled: bool | Literal["sublayer"]
    """By torch.compile: the whole loss as one graph, or each sublayer as one."""
    kernels: bool = False
    """Whether compiled functions stood in for plain torch: ours on a processor
    (`attnres_eval.model.kernels`), those of flash-attn-res on CUDA."""
    tiles: bool | None = None
    """Whether our functions' bf16 products used the processor's matrix tiles (AMX); None where none
    of our functions multiplied bf16, and in records of earlier versions, which used none unless
    they were asked to."""
    processor: str
    torch: str
    processes: int = 1
    """That trained the run together; the last ones, where it went on with another number."""
    parallel: Parallel | None = None
    """How they shared it; None where there was one."""


class Summary(Record):
    """A finished run's result."""

    validation_nats_per_token: float
    validation_bits_per_byte: float
    validation_tokens: int
    validation_bytes: int
    tokens: int
    flops: float
    """Training FLOPs of the run by the convention of `attnres_eval.cost`."""
    seconds: float
    """Training time, a clock reading."""
    tokens_per_second: float
    peak_memory_bytes: int
    """Of the process that needed most."""
    machine: Machine
    data_sha256: str
    """Hash of the tokenizer and the token files."""
    files_sha256: dict[str, str] = {}
    """Hashes of the metrics and of the checkpoint's files, by path in the run's folder; empty in
    records of earlier versions."""


class Failure(Record):
    """Why a run has no result, or not all of it."""

    reason: str


class QuestionRecord(Record):
    """One question of a multiple-choice task, without its text."""

    question_sha256: str
    """Hash of the prompt and the choices."""
    gold: int
    log_likelihoods: list[float]
    """Nats, one a choice."""
    byte_lengths: list[int]
    """UTF-8 bytes of each choice."""
    cluster: str | None = None
    """What questions that hang together share: the hash of the passage they are about."""


class GeneratedRecord(Record):
    """One question of a generation task, without its text."""

    question_sha256: str
    answer_sha256: str
    scores: dict[str, float]
    cluster: str | None = None
    """As in `QuestionRecord`."""


class TaskRecord(Record):
    """One task's result for one model."""

    task: str
    task_version: str
    lm_eval: str
    """Version of lm-eval."""
    num_fewshot: int
    limit: int | None
    """Questions asked for; None means all."""
    n_questions: int
    model_sha256: str
    """Hash of the weights that were scored."""
    backend: Literal["attnres", "hf"]
    metrics: dict[str, float]
    """lm-eval's own aggregates, such as acc and acc_norm."""
    chance: float | None
    """Expected accuracy of guessing uniformly; None for generation."""
    questions: list[QuestionRecord | GeneratedRecord]
    """Empty for a group, whose tasks have records of their own."""
    subtasks: list[str] = []
    """The tasks of a group; empty for a task."""


class InspectionRecord(Record):
    """What goes on inside one model, measured on held-out text.

    Sources are the embedding, 0, and the outputs of the L sublayers, 1 to L; readers are the L
    sublayers and, last, the aggregation before the final norm.
    """

    model_sha256: str
    data_sha256: str
    """Hash of the tokenizer and the token files, or of the text file."""
    limit: int
    """Tokens asked for."""
    tokens: int
    """Tokens scored."""
    loss: float
    """Nats per token."""
    mixing: list[list[float | None]]
    """M, (L + 1, L + 1): row i a source, column l a reader; 0 where the reader comes before the
    source, None where the source is zero at every token."""
    output_rms: list[float]
    """Of each source's elements, (L + 1)."""
    gradient_rms: list[float]
    """Of the derivatives of the summed loss, in nats, by each source's elements, (L + 1)."""
    skip_loss_change: list[float | None]
    """Nats per token that the loss rises by when a sublayer puts out zeros, (L); None where it is
    then no finite number."""

    @model_validator(mode="after")
    def _one_depth(self) -> "InspectionRecord":
        sources = len(self.skip_loss_change) + 1
        parts: list[Any] = [self.output_rms, self.gradient_rms, self.mixing, *self.mixing]
        if any(len(part) != sources for part in parts):
            raise ValueError(f"its parts differ in depth; {sources - 1} sublayers were skipped")
        return self


class StepPair(Record):
    """Training steps of the baseline and of one label at one size, taken in turn in one process.

    The baseline's own pair holds two copies of it: a calibration without error says 1 there.
    """

    size: str
    label: str
    tokens: PositiveInt
    """Of one step."""
    steps_a_turn: PositiveInt
    baseline_seconds: list[PositiveFloat]
    """Of a step of the baseline, the mean of its turn, one a round."""
    seconds: list[PositiveFloat]
    """Of a step of the label in the same round."""
    machine: Machine
    """Where, and how the label's step was computed."""

    @model_validator(mode="after")
    def _rounds_are_whole(self) -> "StepPair":
        if not self.seconds or len(self.seconds) != len(self.baseline_seconds):
            raise ValueError("every round has a turn of the baseline and a turn of the label")
        return self


class Calibration(Record):
    """What a training step takes on one machine with nothing of the study running beside it."""

    study: dict[str, Any]
    """The study that was timed, as in study.json."""
    pairs: list[StepPair]
    """One a size and label, the baseline among them."""


class RunFolder:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.json"
        self.cost = path / "cost.json"
        self.metrics = path / "metrics.jsonl"
        self.summary = path / "summary.json"
        self.checkpoint = path / "checkpoint"
        self.resume = path / "resume"
        self.evaluation = path / "evaluation"
        self.inspection = path / "inspection.json"
        self.failure = path / "failure.json"

    @property
    def finished(self) -> bool:
        """Whether training has ended: the summary is the last file written."""
        return self.summary.is_file()


def task_file(evaluation: Path, task: str) -> Path:
    """Where a task's record is; tasks of lm-eval may have a slash in their names."""
    return evaluation / f"{task.replace('/', '__')}.json"


def calibration_file(results: Path) -> Path:
    """Where a study's calibration is."""
    return results / "calibration.json"


def run_folders(results: Path) -> list[RunFolder]:
    """The runs of a results folder, by name."""
    return [RunFolder(path) for path in sorted((results / "runs").glob("*")) if path.is_dir()]


def read_record(path: Path, kind: type[R]) -> R:
    """Reads one record and checks it against its hash and its schema.

    Raises:
        UserError: missing, not JSON, changed since it was written, or not of the schema.
    """
    return _validate(read_sealed(path), kind, str(path))


def read_records(path: Path, kind: type[R]) -> list[R]:
    """Reads a file of one record a line. Raises UserError as `read_record` does."""
    return [
        _validate(value, kind, f"{path} line {number}")
        for number, value in enumerate(read_jsonl(path), 1)
    ]


def write_record(path: Path, record: BaseModel) -> None:
    """Writes one record with its hash, whole or not at all."""
    write_sealed(path, record.model_dump(mode="json"))


SEAL = "record_sha256"


def write_sealed(path: Path, value: dict[str, Any]) -> None:
    """Writes one JSON object with the hash of the rest as its last key."""
    write_json(path, {**value, SEAL: sha256_of_json(value)})


def read_sealed(path: Path) -> Any:
    """Reads one JSON object without its hash, which is checked where there is one.

    Raises:
        UserError: missing, not JSON, or changed since it was written.
    """
    value = read_json(path)
    if isinstance(value, dict) and SEAL in value:
        found = value.pop(SEAL)
        if found != _sha256(value):
            raise UserError(
                f"{path} has changed since it was written: its content has not the hash that it"
                " names; delete it and run again"
            )
    return value


def _sha256(value: Any) -> str | None:
    try:
        return sha256_of_json(value)
    except ValueError:  # an infinite number, which nothing of ours writes
        return None


def check_files(folder: RunFolder, summary: Summary, below: Path) -> None:
    """Checks the files of a finished run at or below a path against the summary's hashes.

    Raises:
        UserError: one of them is missing or has changed.
    """
    for name, sha256 in summary.files_sha256.items():
        file = folder.path / name
        if file != below and below not in file.parents:
            continue
        if not file.is_file() or sha256_of_file(file) != sha256:
            what = "has changed since the run ended" if file.is_file() else "is missing"
            raise UserError(
                f"{file} {what}; delete {folder.path} and run the study again to train it anew"
            )


def _validate(value: Any, kind: type[R], source: str) -> R:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"{source} is no {kind.__name__}: {key}: {first['msg']}; delete it and run again"
        ) from None
