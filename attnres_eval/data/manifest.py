"""What lies in a folder of prepared data."""

from pydantic import BaseModel, ConfigDict


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileRecord(_Frozen):
    """One file of the folder."""

    bytes: int
    sha256: str


class CorpusManifest(_Frozen):
    """One corpus, after splitting and tokenising."""

    name: str
    share: float
    """Of the training and of the validation tokens; all shares sum to 1."""
    identity: dict[str, str]
    file: str
    """The training tokens."""
    training_documents: int
    training_bytes: int
    """UTF-8 bytes of the text; the ends of documents count none."""
    training_tokens: int
    held_out_documents: int
    held_out_bytes: int
    held_out_tokens: int
    validation_tokens: int
    """Of the held-out tokens, how many are in the validation set."""
    counts: dict[str, dict[str, int]]
    """Per source: what was kept, held out, and removed, by reason."""


class Manifest(_Frozen):
    """Everything that was prepared for one data part of a study."""

    format: int
    corpora: list[CorpusManifest]
    vocab_size: int
    """As the study asks, which is the width of the models' embeddings."""
    tokenizer_entries: int
    """Entries that the tokenizer has: fewer where the text was too small for as many."""
    token_dtype: str
    training_tokens: int
    validation_tokens: int
    validation_bytes: int
    tokenizer_sha256: str
    """Of tokenizer.json."""
    data_sha256: str
    """Of the hashes of all files: equal where tokens and tokenizer are."""
    files: dict[str, FileRecord]
