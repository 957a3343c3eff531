"""`torchrun stopping.py RUN_FOLDER WAY STEP [RANK]`: trains a run up to a step, where it ends.

All ranks end there as if killed; or one alone, with a user's error.
"""

import sys
from pathlib import Path

from attnres_eval.data.prepare import prepare
from attnres_eval.errors import UserError
from attnres_eval.records import RunFolder
from attnres_eval.train.loop import read_run_config, train
from attnres_eval.train.ranks import joined


def main(folder: RunFolder, way: str, step: int, failing: int | None = None) -> None:
    config = read_run_config(folder.config)
    try:
        with joined(way) as ranks:  # type: ignore[arg-type]

            def stop(done: int) -> None:
                if done == step and failing is None:
                    sys.exit(0)
                if done == step and failing == ranks.rank:
                    raise UserError(f"rank {failing} fails")

            train(config, folder, prepare(config.data), stop, ranks)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main(RunFolder(Path(sys.argv[1])), sys.argv[2], *map(int, sys.argv[3:]))
