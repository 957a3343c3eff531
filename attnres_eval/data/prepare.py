"""From the data part of a study to tokenizer and token files, built once and then reused."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from attnres_eval.data.corpora import open_corpus
from attnres_eval.data.manifest import CorpusManifest, FileRecord, Manifest
from attnres_eval.data.split import Corpus, Split
from attnres_eval.data.tokenizer import (
    byte_lengths,
    load_tokenizer,
    save_tokenizer,
    train_tokenizer,
)
from attnres_eval.data.tokens import Tokens, open_tokens, token_dtype, write_tokens
from attnres_eval.errors import UserError
from attnres_eval.files import replacing, sha256_of_file, sha256_of_json
from attnres_eval.records import read_record, write_record
from attnres_eval.study import Data

FORMAT = 1
"""Raised whenever this package would write other files for the same corpora."""
SMALL_BYTES = 64 * 2**20
"""Files up to this size are hashed whenever they are opened, in about a tenth of a second."""
TOKENIZER_SAMPLE_CHARACTERS = 10_000_000
_SHUFFLE_SEED = 20_260_315

Progress = Callable[[str], None]


@dataclass(frozen=True)
class PreparedData:
    """Prepared data, open for reading."""

    folder: Path
    tokenizer: Path
    """The folder that `transformers.AutoTokenizer.from_pretrained` reads."""
    manifest: Manifest
    train: dict[str, Tokens]
    """Training tokens by corpus, each [tokens], memory-mapped."""
    validation: Tokens
    """Held-out tokens [tokens], mixed by share: the corpora one after another."""
    byte_lengths: npt.NDArray[np.uint32]
    """UTF-8 bytes by token id, [vocab_size]."""
    times: dict[str, int]
    """When each file had last been written as it was opened, nanoseconds."""

    @property
    def shares(self) -> dict[str, float]:
        """Share of the training tokens by corpus; they sum to 1."""
        return {corpus.name: corpus.share for corpus in self.manifest.corpora}

    def check_unchanged(self) -> None:
        """Checks that nobody has written to the files since they were opened: they are mapped.

        Raises:
            UserError: a file has changed or is gone.
        """
        for name, time in self.times.items():
            path = self.folder / name
            if not path.is_file() or path.stat().st_mtime_ns != time:
                raise UserError(
                    f"{path} was changed while it was read; run the same command again to prepare"
                    " it anew and go on from the last checkpoint"
                )


def cache_folder() -> Path:
    """Where prepared data are kept: `$ATTNRES_EVAL_CACHE`, else a folder in the home."""
    named = os.environ.get("ATTNRES_EVAL_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "attnres-eval"


def prepare(
    data: Data, cache: Path | None = None, progress: Progress | None = None
) -> PreparedData:
    """Prepares the data of a study, or opens what an earlier call prepared.

    Two processes may prepare the same data at once: each builds in a folder of its own, and the
    first to finish wins. Data of which a file changed since are rebuilt. Small files are known by
    their hashes; large ones by their sizes and by not having been written later than the manifest,
    else by their hashes too. So a bit of a large file that changes on disk without a write is not
    noticed: that would mean to read all tokens before every run.

    Args:
        data: corpora with their shares, size of the vocabulary, validation tokens.
        cache: where to keep it; `cache_folder()` where absent.
        progress: called with a line for each step that takes time.

    Raises:
        UserError: a corpus is absent, malformed, empty or too small, or the folder can't be
            written.
    """
    say = progress or (lambda line: None)
    corpora = [
        open_corpus(
            name,
            hub_characters=data.hub_characters,
            reasoning_characters=data.reasoning_characters,
        )
        for name in sorted(data.corpora)
    ]
    identities = [corpus.identity() for corpus in corpora]
    key = sha256_of_json(
        {"format": FORMAT, "data": data.model_dump(mode="json"), "identities": identities}
    )
    folder = (cache or cache_folder()) / "data" / key[:16]
    if (ready := _open(folder)) is not None:
        return ready
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise UserError(f"prepared data cannot be kept in {folder.parent}: {error}") from None
    try:
        _build(building, data, corpora, identities, say)
        return _publish(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _publish(building: Path, folder: Path) -> PreparedData:
    """Gives the finished folder its name, unless a sound one has it already, and opens it."""
    building.chmod(0o755)
    for _ in range(3):
        with contextlib.suppress(OSError):
            building.rename(folder)
        if (ready := _open(folder)) is not None:
            return ready
        # A damaged one is in the way. Its files live on for whoever still has them open.
        with (
            contextlib.suppress(OSError),
            tempfile.TemporaryDirectory(dir=folder.parent, prefix=".damaged.") as aside,
        ):
            folder.rename(Path(aside) / folder.name)
    raise UserError(f"{folder}: cannot be written, or changes meanwhile; delete it and run again")


def _open(folder: Path) -> PreparedData | None:
    """Opens a folder of prepared data, or tells that it is absent or damaged."""
    try:
        manifest = read_record(folder / "manifest.json", Manifest)
        written = (folder / "manifest.json").stat().st_mtime_ns
        times = {}
        for name, record in manifest.files.items():
            status = (folder / name).stat()
            times[name] = status.st_mtime_ns
            if status.st_size != record.bytes:
                return None
            suspect = record.bytes <= SMALL_BYTES or times[name] > written
            if suspect and sha256_of_file(folder / name) != record.sha256:
                return None
    except (UserError, OSError):
        return None
    dtype = np.dtype(manifest.token_dtype)
    return PreparedData(
        folder=folder,
        tokenizer=folder / "tokenizer",
        manifest=manifest,
        train={
            corpus.name: open_tokens(folder / corpus.file, dtype) for corpus in manifest.corpora
        },
        validation=open_tokens(folder / "validation.bin", dtype),
        byte_lengths=np.load(folder / "byte_lengths.npy", allow_pickle=False),
        times=times,
    )


def _shuffled(documents: list[str]) -> list[str]:
    order = np.random.default_rng(_SHUFFLE_SEED).permutation(len(documents))
    return [documents[index] for index in order]


def _sample(splits: list[Split], shares: list[float]) -> list[str]:
    """The first training documents of each corpus, by share, for the tokenizer."""
    sample = []
    for split, share in zip(splits, shares, strict=True):
        left = TOKENIZER_SAMPLE_CHARACTERS * share
        for text in split.training:
            if left <= 0:
                break
            sample.append(text[: int(left) + 1])
            left -= len(text)
    return sample


def _utf8_bytes(documents: list[str]) -> int:
    return sum(len(text.encode()) for text in documents)


def _build(
    folder: Path, data: Data, corpora: list[Corpus], identities: list[dict[str, str]], say: Progress
) -> None:
    """Writes everything into an empty folder, the manifest last."""
    total = sum(data.corpora.values())
    shares = [data.corpora[corpus.name] / total for corpus in corpora]
    splits = []
    for corpus in corpora:
        say(f"reading {corpus.name}")
        split = corpus.read()
        splits.append(Split(_shuffled(split.training), _shuffled(split.held_out), split.counts))

    say(f"training a tokenizer of {data.vocab_size} entries")
    save_tokenizer(train_tokenizer(_sample(splits, shares), data.vocab_size), folder / "tokenizer")
    tokenizer = load_tokenizer(folder / "tokenizer")
    lengths = byte_lengths(tokenizer, data.vocab_size)
    with replacing(folder / "byte_lengths.npy") as temporary, temporary.open("wb") as file:
        np.save(file, lengths)

    dtype = token_dtype(data.vocab_size)
    records, held_out = [], []
    for index, (corpus, split) in enumerate(zip(corpora, splits, strict=True)):
        say(f"encoding {corpus.name}")
        file_name = f"train-{index:02d}.bin"
        training_tokens = write_tokens(folder / file_name, split.training, tokenizer, dtype)
        out_path = folder / f"held-out-{index:02d}.bin"
        write_tokens(out_path, split.held_out, tokenizer, dtype)
        held_out.append(open_tokens(out_path, dtype))
        records.append(
            CorpusManifest(
                name=corpus.name,
                share=shares[index],
                identity=identities[index],
                file=file_name,
                training_documents=len(split.training),
                training_bytes=_utf8_bytes(split.training),
                training_tokens=training_tokens,
                held_out_documents=len(split.held_out),
                held_out_bytes=_utf8_bytes(split.held_out),
                held_out_tokens=len(held_out[index]),
                validation_tokens=0,
                counts=split.counts,
            )
        )
    taken = _validation_tokens(data.validation_tokens, shares, [len(part) for part in held_out])
    validation = np.concatenate([part[:n] for part, n in zip(held_out, taken, strict=True)])
    with replacing(folder / "validation.bin") as temporary:
        validation.tofile(temporary)
    _write_manifest(
        folder,
        data,
        tokenizer,
        [
            record.model_copy(update={"validation_tokens": n})
            for record, n in zip(records, taken, strict=True)
        ],
        validation_bytes=int(lengths[validation].sum(dtype=np.int64)),
    )


def _validation_tokens(wanted: int, shares: list[float], available: list[int]) -> list[int]:
    """How many held-out tokens to take of each corpus: as many as keep the shares exact."""
    total = min(wanted, *(have / share for have, share in zip(available, shares, strict=True)))
    return [max(1, int(total * share)) for share in shares]


def _write_manifest(
    folder: Path,
    data: Data,
    tokenizer: Tokenizer,
    corpora: list[CorpusManifest],
    *,
    validation_bytes: int,
) -> None:
    files = {
        str(path.relative_to(folder)): FileRecord(
            bytes=path.stat().st_size, sha256=sha256_of_file(path)
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    manifest = Manifest(
        format=FORMAT,
        corpora=corpora,
        vocab_size=data.vocab_size,
        tokenizer_entries=tokenizer.get_vocab_size(),
        token_dtype=token_dtype(data.vocab_size).str,
        training_tokens=sum(corpus.training_tokens for corpus in corpora),
        validation_tokens=sum(corpus.validation_tokens for corpus in corpora),
        validation_bytes=validation_bytes,
        tokenizer_sha256=files["tokenizer/tokenizer.json"].sha256,
        data_sha256=sha256_of_json({name: record.sha256 for name, record in files.items()}),
        files=files,
    )
    write_record(folder / "manifest.json", manifest)
