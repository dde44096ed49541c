"""Every option of building and writing, declared once: type, default, check, and what is said."""

from xpyramid.options.building import (
    ArrayBuildOptions,
    AxisOptions,
    BuildOptions,
    CommonBuildOptions,
    DatasetBuildOptions,
    LevelOptions,
)
from xpyramid.options.declare import Declared, only, options_of, resolve_options, takes_options
from xpyramid.options.words import check_names, suggest
from xpyramid.options.writing import (
    AddOptions,
    CostOptions,
    FormOptions,
    RunOptions,
    ShownOptions,
    WriteOptions,
)

__all__ = [
    "AddOptions",
    "ArrayBuildOptions",
    "AxisOptions",
    "BuildOptions",
    "CommonBuildOptions",
    "CostOptions",
    "DatasetBuildOptions",
    "Declared",
    "FormOptions",
    "LevelOptions",
    "RunOptions",
    "ShownOptions",
    "WriteOptions",
    "check_names",
    "only",
    "options_of",
    "resolve_options",
    "suggest",
    "takes_options",
]
