"""One pass over a base: read it once, reduce it, and write each stored object once."""

from xpyramid.engine.graph import Job
from xpyramid.engine.identity import identity
from xpyramid.engine.run import Summary, delay, run
from xpyramid.engine.samples import Samples
from xpyramid.engine.source import DaskSource, Source
from xpyramid.engine.statistics import Bounds, Distribution, Observer, Statistics, by_channel, lump
from xpyramid.engine.statistics import merge as merged
from xpyramid.engine.work import Ask, Intermediate, Journal, Output, Sink, Work
from xpyramid.engine.written import Records, Written, join
from xpyramid.geometry.tiles import Node

__all__ = [
    "Ask",
    "Bounds",
    "DaskSource",
    "Distribution",
    "Intermediate",
    "Job",
    "Journal",
    "Node",
    "Observer",
    "Output",
    "Records",
    "Samples",
    "Sink",
    "Source",
    "Statistics",
    "Summary",
    "Work",
    "Written",
    "by_channel",
    "delay",
    "identity",
    "join",
    "lump",
    "merged",
    "run",
]
