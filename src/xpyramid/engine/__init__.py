"""One pass over a base: read it once, reduce it, and write each stored object once."""

from xpyramid.engine.run import Job, delay, in_process, run, workers
from xpyramid.engine.source import DaskSource, Source
from xpyramid.engine.work import Journal, Sink, Work
from xpyramid.reducers import State
from xpyramid.tiles import Node

__all__ = [
    "DaskSource",
    "Job",
    "Journal",
    "Node",
    "Sink",
    "Source",
    "State",
    "Work",
    "delay",
    "in_process",
    "run",
    "workers",
]
