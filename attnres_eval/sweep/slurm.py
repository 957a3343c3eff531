"""A Slurm batch script that runs a study by Ray, or one run by torchrun. Torch-free."""

import json
import math
import shlex
from pathlib import Path

from attnres_eval.errors import UserError
from attnres_eval.study import RunConfig, Study
from attnres_eval.study_file import split_part
from attnres_eval.sweep.plan_hardware import Fleet, fit, run_memory, wall_seconds

MARGIN = 1.25
"""Time asked for over the plan's."""
LEAST_SECONDS = 3600
"""Asked for on top: data, evaluation, and nodes that come late."""
RAY_PORT = 6379
TORCHRUN_PORT = 29500
END = "END_OF_RUN_CONFIG"


def slurm_time(seconds: float) -> str:
    """Slurm's D-HH:MM:SS, rounded up to a minute."""
    minutes = math.ceil(seconds / 60)
    days, rest = divmod(minutes, 24 * 60)
    return f"{days}-{rest // 60:02d}:{rest % 60:02d}:00"


def study_argument(name_or_path: str) -> str:
    """How a script on another node names the study: a bundled one by name, a file in full."""
    name, part = split_part(name_or_path)
    path = Path(name)
    if path.is_file():
        return f"{path.resolve()}:{part}" if part else str(path.resolve())
    return name_or_path


def study_script(study: Study, name_or_path: str, used: Fleet, out: str) -> str:
    """Starts Ray on all nodes and reproduces the study; the same job again goes on.

    Args:
        study: what to run.
        name_or_path: where it came from.
        used: the hardware.
        out: results folder or URL, as `reproduce --out` takes it.

    Raises:
        UserError: Ray would have to give a run several devices, or a run fits no device.
    """
    if used.devices_a_run > 1:
        raise UserError(
            "a study by Ray gives each run one GPU: take --gpus-per-run 1,"
            " or --run NAME for one run by torchrun over several"
        )
    flops = [_flops(run, used) for run in study.runs()]
    seconds = wall_seconds([used.run_seconds(one) for one in flops], used.slots)
    # More devices than runs would have nothing to do.
    gpus = used.cluster.devices_a_node
    nodes = math.ceil(min(used.cluster.devices, len(flops)) / gpus)
    start = f"ray start --block --num-gpus={gpus}"
    command = [
        *("attnres-eval", "reproduce", "--study", study_argument(name_or_path)),
        *("--executor", "ray", "--address", "auto", "--gpus-per-run", "1", "--out", out),
    ]
    return f"""{_opening(study.name, nodes, gpus, seconds)}
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
srun --nodes=1 --ntasks=1 --nodelist="$head" {start} --head --port={RAY_PORT} &
for try in $(seq 60); do
  ray status --address "$head:{RAY_PORT}" >/dev/null 2>&1 && break
  if ((try == 60)); then echo "ray's head did not start on $head" >&2; exit 1; fi
  sleep "${{RAY_WAIT_SECONDS:-2}}"
done
if ((${{#nodes[@]}} > 1)); then
  srun --nodes=$((${{#nodes[@]}} - 1)) --ntasks=$((${{#nodes[@]}} - 1)) --exclude="$head" \\
    {start} --address "$head:{RAY_PORT}" &
fi
{shlex.join(command)}
"""


def run_script(run: RunConfig, used: Fleet, folder: str) -> str:
    """Trains one run by torchrun, its parameters divided by FSDP2; the same job again goes on.

    Args:
        run: what to train.
        used: the hardware; the job asks for the devices of one run.
        folder: the run's, shared by the nodes; its config.json is written where it is absent.

    Raises:
        UserError: the run does not fit the devices.
    """
    seconds = used.run_seconds(_flops(run, used))
    gpus = min(used.devices_a_run, used.cluster.devices_a_node)
    nodes = used.devices_a_run // gpus
    quoted = shlex.quote(folder)
    config = shlex.quote(f"{folder.rstrip('/')}/config.json")
    values = json.dumps(run.model_dump(mode="json"), indent=2)
    return f"""{_opening(run.run, nodes, gpus, seconds)}
mkdir -p -- {quoted}
if [ ! -e {config} ]; then
cat > {config} <<'{END}'
{values}
{END}
fi
srun torchrun --nnodes={nodes} --nproc-per-node={gpus} \\
  --rdzv-id="$SLURM_JOB_ID" --rdzv-backend=c10d --rdzv-endpoint="$head:{TORCHRUN_PORT}" \\
  -m attnres_eval.train {quoted} --parallel fsdp
"""


def chosen_run(study: Study, name: str) -> RunConfig:
    """A run by its name.

    Raises:
        UserError: the study has none of that name.
    """
    runs = {run.run: run for run in study.runs()}
    if name not in runs:
        raise UserError(f"study {study.name} has no run {name!r}: there are {', '.join(runs)}")
    return runs[name]


def _flops(run: RunConfig, used: Fleet) -> float:
    """FLOPs of a run as its recipe says, where its step fits a device."""
    checkpointing = run.recipe.activation_checkpointing
    memory = run_memory(run, used, activation_checkpointing=checkpointing).total
    if fit(memory, used):
        return run.training_flops
    device = used.cluster.device
    advice = (
        "take more --gpus-per-run or a smaller recipe.micro_batch_sequences"
        if checkpointing
        else "set recipe.activation_checkpointing: true, or a smaller recipe.micro_batch_sequences"
    )
    raise UserError(
        f"run {run.run} needs {memory / 1e9:,.0f} GB a device on {used.devices_a_run} of"
        f" {used.cluster.name}, which has {device.memory_bytes / 1e9:,.0f} GB: {advice}"
    )


def _opening(name: str, nodes: int, gpus: int, seconds: float) -> str:
    """Directives and the names of the nodes."""
    return f"""#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --nodes={nodes}
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node={gpus}
#SBATCH --time={slurm_time(seconds * MARGIN + LEAST_SECONDS)}
#SBATCH --output=%x-%j.log
# Written by `attnres-eval plan --slurm`. The time is FLOPs over an assumed rate, times {MARGIN:g},
# and an hour: set it, the account and the partition as the cluster wants them.
set -euo pipefail
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${{nodes[0]}}"""
