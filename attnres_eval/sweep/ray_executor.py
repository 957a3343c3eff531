"""Runs jobs as tasks on a Ray cluster, each on whichever node has room for it.

Ray itself places, queues and retries: a task whose worker or node dies starts again elsewhere, and
its run goes on from its last checkpoint. Nothing is sent along but the job; every node has the same
attnres-eval installed, which a task checks before it does anything.
"""

import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import attnres_eval
from attnres_eval.errors import UserError
from attnres_eval.sweep.executor import THREAD_VARIABLES, TICK_SECONDS, Job, Outcome

RETRIES = 3
"""How often a job starts again after its worker or node died."""
REACH_SECONDS = 10.0
"""How long a cluster's address may take to answer; Ray itself would try for minutes."""
_SETTINGS = {
    # Nothing is reported to Ray's makers by a cluster that is started here.
    "RAY_USAGE_STATS_ENABLED": "0",
    # Under `uv run` Ray would pack the working directory and send it to every node.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    # A run that needs more memory than its node has would otherwise be tried for ever. Once more it
    # is, since Ray may end others beside the one that grew.
    "RAY_task_oom_retries": "1",
    # What Ray holds back to say once it might say after the end.
    "RAY_DEDUP_LOGS": "0",
}

Placed = tuple[str | None, Any, str | None]
"""Why the node can take no job; else the job's value, or in one line why it has none."""


class RayExecutor:
    """Workers on the nodes of a Ray cluster; to be opened with `with`."""

    elsewhere = True

    def __init__(
        self, address: str | None, gpus_per_run: float | None, shared: Path | None
    ) -> None:
        """Connects to nothing yet.

        Args:
            address: `auto`, HOST:PORT, or None for Ray's own choice: `$RAY_ADDRESS`, a cluster
                that runs on this machine, or this machine alone.
            gpus_per_run: what a run asks for; by default one where the cluster has any, else none.
            shared: a folder that all nodes must see, where results do not lie behind a URL.

        Raises:
            UserError: Ray is not installed.
        """
        self._ray = import_ray()
        self._address, self._gpus = address, gpus_per_run
        self._shared = None if shared is None else shared.absolute()
        self._open = contextlib.ExitStack()

    def __enter__(self) -> "RayExecutor":
        """Connects.

        Raises:
            UserError: there is no such cluster, or none of its nodes could take a run.
        """
        if self._address not in (None, "auto", "local"):
            _reach(str(self._address))
        with contextlib.ExitStack() as opening:
            # Ray writes of every death to the standard output, whatever its logging is set to.
            # Deaths that matter are outcomes; in a table or the progress display they are noise.
            nowhere = opening.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
            opening.enter_context(contextlib.redirect_stdout(nowhere))
            opening.callback(self._ray.shutdown)
            self._connect()
            self._open = opening.pop_all()
        return self

    def _connect(self) -> None:
        refused = (
            ConnectionError,
            RuntimeError,
            ValueError,
            OSError,
            self._ray.exceptions.RayError,
        )
        try:
            self._ray.init(
                address=self._address,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
            )
        except refused as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"--address {self._address or 'by default'}: {reason}; where the cluster has a"
                " token, it has to be here too, with RAY_AUTH_MODE=token"
            ) from None
        if self._gpus is None:
            self._gpus = min(1.0, max(node.get("GPU", 0.0) for node in self._nodes()))
        if not self._fitting():
            wanted = f"a core and {self._gpus:g} GPUs" if self._gpus else "a core"
            raise UserError(f"no node of the Ray cluster has {wanted} for a run; add one that has")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.close()

    def __str__(self) -> str:
        nodes = self._nodes()
        cores, gpus = (sum(node.get(name, 0) for node in nodes) for name in ("CPU", "GPU"))
        return (
            f"Ray: {len(nodes)} nodes with {cores:g} cores and {gpus:g} GPUs;"
            f" a run takes one core and {self._gpus:g} GPUs"
        )

    def execute(self, jobs: Sequence[Job], tick: Callable[[], None]) -> Iterator[Outcome]:
        """Runs the jobs in about their order as tasks; see `Executor`.

        A job that raises `UserError`, runs out of memory, or loses its worker or node more than
        `RETRIES` times, is an outcome with a failure. Other exceptions are bugs and are raised.

        Raises:
            UserError: a node has no attnres-eval or another version, or does not see the results.
        """
        ray = self._ray
        shared = None if self._shared is None else str(self._shared)
        task = ray.remote(_placed())
        names: dict[Any, str] = {}
        pending: list[Any] = []
        try:
            for job in jobs:
                reference = task.options(
                    name=job.name,
                    num_cpus=max(self._fitting()) if job.alone else 1,
                    num_gpus=self._gpus,
                    max_retries=RETRIES,
                ).remote(
                    attnres_eval.__version__, str(Path.cwd()), shared, ray.cloudpickle.dumps(job)
                )
                names[reference] = job.name
                pending.append(reference)
            while pending:
                ended, pending = ray.wait(pending, timeout=TICK_SECONDS)
                tick()
                for reference in ended:
                    yield self._outcome(names[reference], reference)
        except BaseException:
            # An interrupted study must not wait for runs that take minutes more.
            for reference in pending:
                with contextlib.suppress(Exception):
                    ray.cancel(reference, force=True)
            raise

    def _outcome(self, name: str, reference: Any) -> Outcome:
        errors = self._ray.exceptions
        try:
            unfit, value, failure = self._ray.get(reference)
        except errors.OutOfMemoryError:
            return Outcome(name, failure=f"{name} ran out of memory on its node; Ray ended it")
        except errors.RayTaskError:
            raise
        except errors.RayError as error:
            return Outcome(
                name,
                failure=f"its worker or node died {RETRIES + 1} times ({type(error).__name__}; out"
                " of memory?); run the same command again to go on from its last checkpoint",
            )
        if unfit is not None:
            raise UserError(unfit)
        return Outcome(name, value, failure)

    def _nodes(self) -> list[dict[str, float]]:
        """Resources of the nodes that are alive."""
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def _fitting(self) -> list[float]:
        """Cores of each node that could take a run."""
        return [
            node["CPU"]
            for node in self._nodes()
            if node.get("CPU", 0) >= 1 and node.get("GPU", 0) >= (self._gpus or 0)
        ]


def import_ray() -> ModuleType:
    """Ray, set to keep quiet.

    Raises:
        UserError: it is not installed.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        raise UserError(
            "--executor ray: Ray is not installed; pip install 'attnres-eval[ray]'"
        ) from None
    return ray


def start_on_node(home: str, shared: str | None, gpus: bool) -> str | None:
    """Gives a job its surroundings: one thread, no accelerator but its own, the same paths.

    Args:
        home: working directory of the controller, in which relative paths have their meaning.
        shared: a folder that has to be there.
        gpus: whether Ray has given the job any.

    Returns:
        Why this node can take no job; None where it can.
    """
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    if not gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import torch

    torch.set_num_threads(1)
    with contextlib.suppress(OSError):
        os.chdir(home)
    if shared is not None and not (Path(shared) / "study.json").is_file():
        return (
            f"node {socket.gethostname()} does not see {shared}: give --out on a file system that"
            " all nodes share, or a URL such as s3://bucket/prefix"
        )
    return None


def _placed() -> Callable[[str, str, str | None, bytes], Placed]:
    """The function that is a task.

    Ray sends a function of a module by its name, and one inside a function as code: only code can
    say what is wrong on a node that has no such module, or an older one.
    """

    def placed(version: str, home: str, shared: str | None, job: bytes) -> Placed:
        import pickle
        import socket

        import ray

        wanted = f"install attnres-eval {version} there, as on the machine of the study"
        try:
            import attnres_eval
        except ImportError as error:
            return f"node {socket.gethostname()}: {error}; {wanted}", None, None
        if attnres_eval.__version__ != version:
            found = attnres_eval.__version__
            return f"node {socket.gethostname()} has attnres-eval {found}; {wanted}", None, None
        from attnres_eval.sweep.executor import attempt
        from attnres_eval.sweep.ray_executor import start_on_node

        unfit = start_on_node(home, shared, bool(ray.get_gpu_ids()))
        if unfit is not None:
            return unfit, None, None
        return (None, *attempt(pickle.loads(job)))

    return placed


def _reach(address: str) -> None:
    """Refuses an address at which nothing answers.

    Raises:
        UserError: it is none, or nothing does.
    """
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdigit():
        raise UserError(
            f"--address {address}: give auto or HOST:PORT of a Ray cluster, on a machine of it"
        )
    try:
        socket.create_connection((host, int(port)), REACH_SECONDS).close()
    except OSError as error:
        raise UserError(f"--address {address}: no Ray cluster answers there ({error})") from None
