"""`python -m attnres_eval.train RUN_FOLDER`: trains the run whose config.json is there.

`torchrun --nproc-per-node N -m attnres_eval.train RUN_FOLDER --parallel WAY` trains it by several
processes.
"""

import argparse
import sys
from pathlib import Path

from attnres_eval.data.prepare import prepare
from attnres_eval.errors import UserError
from attnres_eval.records import RunFolder
from attnres_eval.train.loop import read_run_config, train
from attnres_eval.train.ranks import ALONE, PARALLEL, Ranks, joined


def main() -> None:
    """Trains one run; a user's error is one line and exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m attnres_eval.train", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of the run, with its config.json")
    parser.add_argument("--parallel", choices=PARALLEL, help="how torchrun's processes share it")
    arguments = parser.parse_args()
    folder = RunFolder(arguments.folder)
    try:
        if arguments.parallel is None:
            _train(folder, ALONE)
        else:
            with joined(arguments.parallel) as ranks:
                _train(folder, ranks)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _train(folder: RunFolder, ranks: Ranks) -> None:
    config = read_run_config(folder.config)
    if ranks.first:
        prepare(config.data)
    ranks.wait()
    train(config, folder, prepare(config.data), ranks=ranks)


if __name__ == "__main__":
    main()
