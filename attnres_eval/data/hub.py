"""The corpus `hf:NAME[:CONFIG]`: a dataset of the Hugging Face hub, streamed."""

from dataclasses import dataclass

from attnres_eval.data.split import Split, split_documents, valid_text
from attnres_eval.errors import UserError

TIMEOUT_SECONDS = 10.0


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
            stream = datasets.load_dataset(
                self.dataset, self.config, split="train", streaming=True, revision=info.sha
            )
            for row in stream:
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
