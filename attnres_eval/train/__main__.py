"""`python -m attnres_eval.train RUN_FOLDER`: trains the run whose config.json is there.

A folder without one takes the run named by --study, --label, --size and --seed. To train it by
several processes: `torchrun --nproc-per-node N -m attnres_eval.train RUN_FOLDER --parallel WAY`.
"""

import argparse
import contextlib
import sys
from pathlib import Path

from attnres_eval.data.prepare import prepare
from attnres_eval.errors import UserError
from attnres_eval.lock import holding
from attnres_eval.records import RunFolder
from attnres_eval.study import RunConfig
from attnres_eval.study_file import load_study
from attnres_eval.train.command import chosen_run
from attnres_eval.train.loop import read_run_config, train
from attnres_eval.train.ranks import ALONE, PARALLEL, Ranks, joined


def main() -> None:
    """Trains one run; a user's error is one line and exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m attnres_eval.train", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of the run")
    parser.add_argument("--parallel", choices=PARALLEL, help="how torchrun's processes share it")
    parser.add_argument("--study", help="name or file of the study that the run is of")
    parser.add_argument("--label", help="the variant's label in the study")
    parser.add_argument("--size", help="the size's name in the study")
    parser.add_argument("--seed", type=int, help="the study's first seed by default")
    arguments = parser.parse_args()
    try:
        if arguments.parallel is None:
            _train(arguments, ALONE)
        else:
            with joined(arguments.parallel) as ranks:
                _train(arguments, ranks)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _train(arguments: argparse.Namespace, ranks: Ranks) -> None:
    folder = RunFolder(arguments.folder)
    config = _config(arguments, folder)
    with holding(folder.path) if ranks.first else contextlib.nullcontext():
        if ranks.first:
            prepare(config.data)
        ranks.wait()
        train(config, folder, prepare(config.data), ranks=ranks)


def _config(arguments: argparse.Namespace, folder: RunFolder) -> RunConfig:
    if arguments.study is None:
        return read_run_config(folder.config)
    if arguments.label is None or arguments.size is None:
        raise UserError("--study needs --label and --size, which say which of its runs")
    return chosen_run(load_study(arguments.study), arguments.label, arguments.size, arguments.seed)


if __name__ == "__main__":
    main()
