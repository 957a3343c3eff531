"""The processes that train one run together, as torchrun starts them, and their talk."""

import contextlib
import datetime
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

import torch
import torch.distributed as dist
from torch import Tensor

from attnres_eval.errors import UserError
from attnres_eval.records import Parallel

TIMEOUT = datetime.timedelta(hours=2)
"""How long one rank waits for another: long enough for the first to prepare a study's data."""


@dataclass(frozen=True)
class Ranks:
    """A process among those of its run; by default the only one."""

    parallel: Parallel | None = None
    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes the run's records."""
        return self.rank == 0

    @property
    def copies(self) -> int:
        """How many ranks compute rows of their own: all, unless they are stages of one model."""
        return 1 if self.parallel == "pipeline" else self.size

    def total(self, values: Tensor) -> Tensor:
        """The sum of all ranks' tensors of one shape."""
        if self.parallel is not None:
            values = values.clone()
            dist.all_reduce(values)
        return values

    def most(self, number: int, device: torch.device) -> int:
        """The largest of all ranks' numbers."""
        if self.parallel is None:
            return number
        numbers = torch.tensor(number, device=device)
        dist.all_reduce(numbers, dist.ReduceOp.MAX)
        return int(numbers.item())

    def all_of(self, items: dict[str, Any]) -> dict[str, Any]:
        """All ranks' dictionaries of plain values in one."""
        if self.parallel is None:
            return items
        gathered: list[Any] = [None] * self.size
        dist.all_gather_object(gathered, items)
        return {key: value for one in gathered for key, value in one.items()}

    def wait(self) -> None:
        """Waits until all ranks are here."""
        if self.parallel is not None:
            dist.barrier()


ALONE = Ranks()
PARALLEL: tuple[Parallel, ...] = get_args(Parallel)
FAILURES = "attnres_eval/failures"


@contextlib.contextmanager
def joined(parallel: Parallel) -> Iterator[Ranks]:
    """The processes that torchrun started, inside.

    Args:
        parallel: how they share the work.

    Raises:
        UserError: torchrun did not start this process, there are more processes than GPUs, or
            another process of the run has died.
    """
    if "LOCAL_RANK" not in os.environ:
        raise UserError(
            f"--parallel {parallel} needs processes: start it by"
            " torchrun --nproc-per-node N -m attnres_eval.train"
        )
    backend, device = "gloo", None
    if torch.cuda.is_available():
        local = int(os.environ["LOCAL_RANK"])
        if local >= torch.cuda.device_count():
            raise UserError(
                f"this machine has {torch.cuda.device_count()} GPUs, too few for process {local} on"
                " it: give torchrun a smaller --nproc-per-node"
            )
        backend, device = "cpu:gloo,cuda:nccl", torch.device("cuda", local)
        torch.cuda.set_device(device)
    dist.init_process_group(backend, timeout=TIMEOUT, device_id=device)
    store = dist.distributed_c10d._get_default_store()
    try:
        yield Ranks(parallel, dist.get_rank(), dist.get_world_size())
    except UserError:
        # All ranks may fail alike: one of them says it.
        if store.add(FAILURES, 1) > 1:
            sys.exit(2)
        raise
    except RuntimeError as error:
        # A rank that ends takes its connections with it, and has said why where it could.
        if not isinstance(error, dist.DistError) and "by peer" not in str(error):
            raise
        if store.add(FAILURES, 1) > 1:
            sys.exit(2)
        raise UserError(
            "another process of this run was killed; start the same command again, and it goes on"
            " from the last checkpoint"
        ) from None
    finally:
        dist.destroy_process_group()
