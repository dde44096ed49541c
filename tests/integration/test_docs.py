"""Every example of the documentation runs, and prints what it is shown to print."""

import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.quick import quick_if

import xpyramid
from xpyramid.accessor import ArrayAccessor, DatasetAccessor

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SLOW = {"howto/cluster.md", "howto/viewers.md", "index.md"}  # a scheduler, pictures, and as README
PAGES = [
    ROOT / "README.md",
    *(page for page in sorted(DOCS.rglob("*.md")) if "generated" not in page.parts),
]
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(xpyramid.__path__, "xpyramid.")
    if not module.name.startswith(("xpyramid.kernels", "xpyramid.__main__"))
)
FENCE = re.compile(r"^( *)(`{3,}|~{3,})(.*?)\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)
RUN = {"python", "pycon"}
SHOWN = {"text", "console", "sh", "json", "{eval-rst}"}


def name_of(page: Path) -> str:
    return page.relative_to(DOCS).as_posix() if DOCS in page.parents else page.name


pytestmark = pytest.mark.filterwarnings(
    "error",
    "ignore:Use `@` matmul:PendingDeprecationWarning",  # rasterio and affine among themselves
)


def blocks(page: Path) -> Iterator[tuple[str, str, int]]:
    """Yield the language, the text and the first line's number of each fenced block."""
    text = page.read_text(encoding="utf-8")
    for fence in FENCE.finditer(text):
        yield fence[3].strip(), fence[4], text.count("\n", 0, fence.start(4))


def run(kind: str, source: str, line: int, page: str, namespace: dict[str, Any]) -> None:
    if kind == "python":
        exec(compile("\n" * line + source, page, "exec"), namespace)
    elif kind == "pycon":  # a session: what it prints is compared
        test = doctest.DocTestParser().get_doctest(source, namespace, page, page, line)
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        runner.run(test, clear_globs=False)
        assert not runner.summarize(verbose=False).failed, (
            f"{page}, block at line {line}: see above"
        )
        namespace |= test.globs


@pytest.mark.parametrize(
    "page", quick_if(lambda page: name_of(page) not in SLOW, PAGES), ids=name_of
)
def test_blocks_of(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": page.stem}
    for kind, source, line in blocks(page):
        assert kind in RUN | SHOWN, f"{page.name}:{line}: a block of {kind or 'no language'}"
        run(kind, source, line, page.name, namespace)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_of(page: Path) -> None:
    """Links within the repository lead somewhere."""
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    links = [link for link in re.findall(r"\]\(([^)#]+)", prose) if "://" not in link]
    assert not [link for link in links if not (page.parent / link).exists()]


@pytest.mark.parametrize("name", MODULES)
def test_docstrings_of(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not doctest.testmod(importlib.import_module(name)).failed


def test_the_comparison_is_what_its_script_prints() -> None:
    command = [sys.executable, ROOT / "benchmarks" / "comparison.py"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout == (DOCS / "comparison.md").read_text(encoding="utf-8")


def test_every_public_name_is_in_the_reference() -> None:
    lines = {
        line.strip()
        for page in ("api", "accessor")
        for line in (DOCS / "reference" / f"{page}.md").read_text(encoding="utf-8").splitlines()
    }
    assert {*xpyramid.__all__} - {"__version__", "errors"} <= lines
    assert ".. automodule:: xpyramid.errors" in lines
    for kind, accessor in (("DataArray", ArrayAccessor), ("Dataset", DatasetAccessor)):
        methods = [name for name in vars(accessor) if not name.startswith("_")]
        assert {f"{kind}.pyramid.{name}" for name in methods} <= lines


def test_there_is_something_to_run() -> None:
    assert sum(kind in RUN for page in PAGES for kind, _, _ in blocks(page)) >= 10
    assert {"xpyramid.accessor", "xpyramid.pyramid", "xpyramid.geometry.chunks"} <= set(MODULES)


@pytest.mark.parametrize("page", ["README.md", "docs/base.md", "docs/howto/coming-from.md"])
def test_calls_of_pyramid_sampler(page: str) -> None:
    """It is not installed: Downsampler(store, factors, shape, chunks).downsample(levels, field)."""
    text = (ROOT / page).read_text(encoding="utf-8")
    calls = re.findall(r"Downsampler\((.*)\)\s*\.downsample\((.*?)\)", text)
    assert calls
    for how, what in calls:
        assert re.fullmatch(r'"scan.zarr", (\(2, 2, 2\), .*, \(.*\))|\.\.\.', how)
        assert re.fullmatch(r'\d, "field"', what)
        assert how == "..." or re.search(r"(base\.shape|\(130, 128, 128\)), \([^)]*\)$", how)
