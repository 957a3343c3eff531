"""`python -m attnres_eval.reasoning FOLDER` writes the families' task files."""

import sys
from pathlib import Path

from attnres_eval.files import write_text
from attnres_eval.reasoning.task_files import task_files


def main(folder: Path) -> None:
    """Writes every file of `task_files`, and removes YAML that is none of them."""
    files = task_files()
    for path in folder.glob("*.yaml"):
        if path.name not in files:
            path.unlink()
    for name, text in files.items():
        write_text(folder / name, text)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m attnres_eval.reasoning FOLDER")
    main(Path(sys.argv[1]))
