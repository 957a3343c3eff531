"""`torchrun stopping.py RUN_FOLDER WAY STEP`: trains a run up to a step, where all ranks end."""

import sys
from pathlib import Path

from attnres_eval.data.prepare import prepare
from attnres_eval.records import RunFolder
from attnres_eval.train.loop import read_run_config, train
from attnres_eval.train.ranks import PARALLEL, joined


def main(folder: RunFolder, way: str, step: int) -> None:
    config = read_run_config(folder.config)

    def stop(done: int) -> None:
        if done == step:
            sys.exit(0)

    with joined(PARALLEL[PARALLEL.index(way)]) as ranks:
        train(config, folder, prepare(config.data), stop, ranks)


if __name__ == "__main__":
    main(RunFolder(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3]))
