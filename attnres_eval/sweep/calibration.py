"""What each variant's training step takes beside the baseline's, on this machine.

A variant is timed in a pair with the baseline: two models in one single-threaded process, each a
turn a round, the order turned round from one round to the next, so that neither always comes first
and a slow moment of the machine meets both. Pairs, not all variants at once, since two turns that
are compared are then neighbours in time, and no more than two models have to fit at once.

A turn is as many steps as fill `TURN_SECONDS`, many times what a processor gives a process before
another gets its share: whatever else runs then takes its share of both turns alike, where it would
double single short steps and leave others alone.

Steps are whole training steps as the loop takes them (loss, gradients, clipping, optimiser), on
random tokens: no step's work depends on what the tokens are. They train at `RATE` of the peak
learning rate, so that parameters leave zero, as they do in training, and no model diverges.
"""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from attnres_eval.errors import UserError
from attnres_eval.estimate import training_seconds
from attnres_eval.lock import holding
from attnres_eval.model.kernels.switch import available, tiles_used
from attnres_eval.records import Calibration, StepPair, calibration_file, write_record
from attnres_eval.study import Evaluation, RunConfig, Study
from attnres_eval.sweep.executor import Executor, Job, LocalExecutor
from attnres_eval.sweep.folder import read_calibration, read_study
from attnres_eval.train.device import describe_machine, pick_device, processor_name
from attnres_eval.train.trainer import Trainer

WARM_UP = 3
"""Rounds of one step that are not counted: compilation, allocator and caches settle in them."""
TURN_SECONDS = 0.05
LEAST_ROUNDS = 10
MOST_SECONDS = 30.0
"""After the least rounds a pair ends when its turns have taken this long."""
RATE = 0.1

Clock = Callable[[], float]


def interleave(
    steps: Sequence[Callable[[], None]], rounds: int, clock: Clock = time.perf_counter
) -> tuple[int, list[list[float]]]:
    """Gives each a turn a round and times it; each round goes the other way round.

    Args:
        steps: what to time.
        rounds: how many are counted, at most; fewer where they take longer than `MOST_SECONDS`,
            but never fewer than `LEAST_ROUNDS` unless `rounds` is.
        clock: in seconds.

    Returns:
        Steps a turn, and seconds a step of each counted round, a list for each of `steps`.
    """

    def turn(step: Callable[[], None], times: int) -> float:
        start = clock()
        for _ in range(times):
            step()
        return (clock() - start) / times

    def one_round(number: int, times: int) -> list[float]:
        order = range(len(steps)) if number % 2 == 0 else reversed(range(len(steps)))
        taken = {index: turn(steps[index], times) for index in order}
        return [taken[index] for index in range(len(steps))]

    fastest = min(min(one_round(number, 1)) for number in range(WARM_UP))
    times = max(1, math.ceil(TURN_SECONDS / fastest))
    counted: list[list[float]] = []
    spent = 0.0
    for number in range(rounds):
        counted.append(one_round(number, times))
        spent += sum(counted[-1]) * times
        if spent > MOST_SECONDS and number + 1 >= LEAST_ROUNDS:
            break
    return times, [list(of_one) for of_one in zip(*counted, strict=True)]


def time_pair(baseline: RunConfig, config: RunConfig, rounds: int) -> StepPair:
    """Times a run's training step beside the baseline's of the same size."""
    device = pick_device()
    trainers = []
    for one in (baseline, config):
        trainer = Trainer(one, device)
        trainer.compute_as(describe_machine(one, device, training_seconds(one)))
        trainers.append(trainer)
    recipe = config.recipe
    batch = (recipe.batch_sequences, recipe.context + 1)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(config.shape.vocab_size, batch, generator=generator).to(device)

    def step_of(trainer: Trainer) -> Callable[[], None]:
        def step() -> None:
            trainer.step(tokens, RATE)
            if device.type == "cuda":
                # Work is queued: a reading of the clock must wait for it.
                torch.cuda.synchronize(device)

        return step

    steps = [step_of(trainer) for trainer in trainers]
    steps_a_turn, (baseline_seconds, seconds) = interleave(steps, rounds)
    return StepPair(
        size=config.size,
        label=config.label,
        tokens=recipe.batch_sequences * recipe.context,
        steps_a_turn=steps_a_turn,
        baseline_seconds=baseline_seconds,
        seconds=seconds,
        machine=trainers[1].machine,
    )


def calibrate(study: Study, rounds: int) -> Calibration:
    """Times every variant at every size; to be run alone on a machine."""
    seed = study.seeds[0]
    pairs = [
        time_pair(study.run(study.baseline, size, seed), study.run(label, size, seed), rounds)
        for size in study.sizes
        for label in study.variants
    ]
    return Calibration(study=study.model_dump(mode="json"), pairs=pairs)


def calibrate_alone(
    study: Study, results: Path, executor: Executor, rounds: int | None = None
) -> str | None:
    """Calibrates as the one job of an executor, and writes the record.

    Nothing else may run while steps are timed.

    Args:
        study: whose steps to time.
        results: its folder.
        executor: who runs the job, in a process of one thread.
        rounds: the study's by default, or the setting's own default where the study asks for none.

    Returns:
        In one line why there is no new calibration; None where there is.
    """
    rounds = rounds or study.evaluation.calibration_rounds or Evaluation().calibration_rounds
    job = Job("calibration", calibrate, (study, rounds), alone=True)
    (outcome,) = executor.execute([job], lambda: None)
    if outcome.failure is None:
        write_record(calibration_file(results), outcome.value)
    return outcome.failure


def calibrate_folder(results: Path, rounds: int | None) -> tuple[Study, Calibration]:
    """Calibrates the study of a results folder on this machine, in the place of what was there.

    Raises:
        UserError: not a results folder of a study, one at work (steps beside it would be slow),
            or the steps could not be taken.
    """
    study = read_study(results)
    with holding(results):
        failure = calibrate_alone(study, results, LocalExecutor(1), rounds)
    if failure is not None:
        raise UserError(failure)
    calibration = read_calibration(results, study)
    assert calibration is not None
    return study, calibration


def calibration_left(study: Study, results: Path, *, elsewhere: bool = False) -> bool:
    """Whether no calibration of this study is there.

    Args:
        study: whose steps are timed.
        results: its folder.
        elsewhere: whether one of any machine will do, not of this one alone.
    """
    try:
        record = read_calibration(results, study)
    except UserError:
        return True
    if record is None:
        return True
    if elsewhere:
        return False
    device = pick_device()
    here = (device.type, processor_name(device), torch.__version__)
    machines = [pair.machine for pair in record.pairs]
    return any(
        (m.device, m.processor, m.torch) != here
        or m.kernels != (not m.compiled and available(device))
        or bool(m.tiles) != (m.kernels and m.precision == "bf16" and tiles_used())
        for m in machines
    )
