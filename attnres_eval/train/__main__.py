"""`python -m attnres_eval.train RUN_FOLDER`: trains the run whose config.json is there."""

import sys
from pathlib import Path

from attnres_eval.data.prepare import prepare
from attnres_eval.errors import UserError
from attnres_eval.lock import holding
from attnres_eval.records import RunFolder
from attnres_eval.train.loop import read_run_config, train


def main() -> None:
    """Trains one run; a user's error is one line and exit code 2."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m attnres_eval.train RUN_FOLDER")
    folder = RunFolder(Path(sys.argv[1]))
    try:
        config = read_run_config(folder.config)
        with holding(folder.path):
            train(config, folder, prepare(config.data))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
