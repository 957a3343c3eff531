"""The corpus `hf:NAME[:CONFIG]`: a dataset of the Hugging Face hub, streamed."""

import contextlib
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from attnres_eval.data.split import Split, split_documents, valid_text
from attnres_eval.errors import UserError

T = TypeVar("T")

TIMEOUT_SECONDS = 10.0
STALL_SECONDS = 60.0
"""How long a stream may give nothing: `datasets` itself would try again for many minutes."""


@dataclass(frozen=True)
class HubDataset:
    """The first documents of a dataset's train split, up to a number of characters."""

    name: str
    dataset: str
    config: str | None
    characters: int
    """The document that reaches this many is the last one read."""

    def identity(self) -> dict[str, str]:
        """Names only: prepared data can be used again when the hub is out of reach.

        A dataset that changed on the hub since is not noticed; `data_sha256` tells two versions
        apart.
        """
        return {
            "dataset": self.dataset,
            "config": self.config or "",
            "characters": str(self.characters),
        }

    def read(self) -> Split:
        """Streams the documents, and splits them as `split_documents` says.

        Raises:
            UserError: the hub is out of reach, the dataset is absent or gated, or has no field
                `text`.
        """
        # Imported here: the other corpora need neither, and together they take a second.
        import datasets
        import huggingface_hub

        documents: list[str] = []
        read = 0
        try:
            # `datasets` tries many times before it gives up; this asks once.
            info = huggingface_hub.HfApi().dataset_info(self.dataset, timeout=TIMEOUT_SECONDS)

            def stream() -> Iterator[dict[str, Any]]:
                yield from datasets.load_dataset(
                    self.dataset, self.config, split="train", streaming=True, revision=info.sha
                )

            for row in _not_stalled(stream(), STALL_SECONDS):
                text = row.get("text")
                if not isinstance(text, str):
                    names = ", ".join(row)
                    raise UserError(
                        f"corpus {self.name}: has no field `text` that holds a string; "
                        f"its fields are {names}"
                    )
                documents.append(valid_text(text))
                read += len(text)
                if read >= self.characters:
                    break
        except UserError:
            raise
        except Exception as error:
            # Each layer (httpx, huggingface_hub, datasets, fsspec) has its own family of errors.
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise UserError(
                f"corpus {self.name}: cannot be streamed from the hub ({reason}); "
                "go online, or use `commonsense` or `file:PATH`"
            ) from error
        return split_documents(self.name, documents)


def _not_stalled(items: Iterator[T], seconds: float) -> Iterator[T]:
    """The same items, read by another thread, which is left behind where it waits too long.

    Raises:
        TimeoutError: an item, or the end, did not come in time.
    """
    read: queue.Queue[tuple[T | None, Exception | None]] = queue.Queue(maxsize=1000)
    stopped = threading.Event()

    def put(item: T | None, error: Exception | None) -> None:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                read.put((item, error), timeout=1)
                return

    def run() -> None:
        try:
            for item in items:
                put(item, None)
                if stopped.is_set():
                    return
            put(None, StopIteration())
        except Exception as error:
            put(None, error)

    threading.Thread(target=run, daemon=True).start()
    try:
        while True:
            try:
                item, error = read.get(timeout=seconds)
            except queue.Empty:
                raise TimeoutError(f"it has sent nothing for {seconds:.0f} seconds") from None
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]
    finally:
        stopped.set()
