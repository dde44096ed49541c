"""Where dask would run tasks now, and how many at a time."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

import dask
from dask.system import CPU_COUNT

#: What a client configures as scheduler.
CLUSTER = "dask.distributed"
PROCESSES = ("processes", "multiprocessing")


def workers() -> int:
    """Return how many tasks run at the same time."""
    found = client()
    if found is not None:
        return max(1, sum(int(cores) for cores in found.ncores().values()))
    if dask.config.get("scheduler", None) in ("sync", "synchronous", "single-threaded"):
        return 1
    return int(dask.config.get("num_workers", None) or CPU_COUNT)


def in_process() -> bool:
    """Whether tasks run in this process, where they see what is in its memory."""
    return client() is None and dask.config.get("scheduler", None) not in PROCESSES


def client() -> Any:
    """Return the client of a cluster, if tasks would go there."""
    distributed = sys.modules.get("distributed")
    if distributed is None or dask.config.get("scheduler", None) not in (None, CLUSTER):
        return None
    with suppress(ValueError):
        return distributed.get_client()
    return None
