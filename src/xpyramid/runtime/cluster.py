"""Where dask would run tasks now, and how many at a time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import dask
from dask.system import CPU_COUNT

from xpyramid.errors import PlanError, PyramidError, StorageError


class Client(Protocol):
    """What is used of a client of dask.distributed, which need not be installed."""

    status: str

    def ncores(self) -> Mapping[str, int]:
        """Return how many threads each worker has."""

    def get_events(self, topic: str) -> Iterable[tuple[float, object]]:
        """Return what was said under a topic, and when."""

    def subscribe_topic(
        self, topic: str, handler: Callable[[tuple[float, object]], object]
    ) -> object:
        """Have something called with all that is said under a topic."""

    def unsubscribe_topic(self, topic: str) -> object:
        """Have it called no more."""


#: What a client configures as scheduler.
CLUSTER = "dask.distributed"
PROCESSES = ("processes", "multiprocessing")


def workers() -> int:
    """Return how many tasks run at the same time."""
    cluster_client = client()
    if cluster_client is not None:
        with scheduler_errors():
            return max(1, sum(int(cores) for cores in cluster_client.ncores().values()))
    if dask.config.get("scheduler", None) in ("sync", "synchronous", "single-threaded"):
        return 1
    return int(dask.config.get("num_workers", None) or CPU_COUNT)


@contextmanager
def scheduler_errors() -> Iterator[None]:
    """Say so where the connection to the scheduler of a cluster is lost.

    Raises
    ------
    StorageError
    """
    cluster = client()
    try:
        yield
    except Exception as error:
        if cluster is None or isinstance(error, PyramidError) or not _is_lost(cluster, error):
            raise
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise StorageError(
            f"the connection to dask's scheduler was lost: {cause}",
            fix="connect to a scheduler that runs, and resume the build if one has begun",
        ) from error


def _is_lost(cluster: Client, error: Exception) -> bool:
    """Whether an error comes of a lost connection to a cluster's scheduler."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if getattr(error, "reason", None) == "scheduler-connection-lost" or "CommClosedError" in names:
        return True
    comes_of_it = names & {"CancelledError", "OSError", "TimeoutError", "RuntimeError"}
    return bool(comes_of_it) and cluster.status != "running"


def in_process() -> bool:
    """Whether tasks run in this process, where they see what is in its memory."""
    return client() is None and dask.config.get("scheduler", None) not in PROCESSES


def client() -> Client | None:
    """Return the client of a cluster, if tasks would go there."""
    distributed = sys.modules.get("distributed")
    if distributed is None or dask.config.get("scheduler", None) not in (None, CLUSTER):
        return None
    with suppress(ValueError):
        running: Client = distributed.get_client()
        return running
    return None


def check_main_module() -> None:
    """Refuse processes that would run the script again which starts them.

    Raises
    ------
    PlanError
        If dask is to start processes anew, and the script does not ask for ``__name__``.
    """
    if dask.config.get("scheduler", None) not in PROCESSES:
        return
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if script is None or dask.config.get("multiprocessing.context", "spawn") == "fork":
        return
    try:
        text = Path(script).read_bytes()
    except OSError:
        return
    if b"__name__" not in text:
        raise PlanError(
            f"scheduler={dask.config.get('scheduler')!r}: each worker process runs "
            f"{script} again, which would begin another build",
            fix="put the calls of the script below if __name__ == '__main__':, or choose "
            "scheduler='threads'",
        )
