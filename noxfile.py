#!/usr/bin/env -S uv run --script
# /// script
# dependencies = ["nox>=2025.2.9"]
# ///
"""Tasks of developers: ``nox`` runs the usual, ``nox -s minimum`` one; ``nox -l`` lists them."""

from __future__ import annotations

from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"


@nox.session
def lint(session: nox.Session) -> None:
    """Run all hooks of pre-commit: ruff, mypy, numpydoc, codespell and others."""
    session.install("pre-commit")
    session.run("pre-commit", "run", "--all-files", *session.posargs)


@nox.session(python=["3.11", "3.13"])
def tests(session: nox.Session) -> None:
    """Run the tests; arguments go to pytest, as in ``nox -s tests-3.13 -- tests/unit``."""
    session.install("-e", ".[test]")
    session.run("pytest", *session.posargs)


@nox.session(default=False, venv_backend="none")
def minimum(session: nox.Session) -> None:
    """Run the tests with the oldest versions that are allowed; arguments go to pytest."""
    session.run(".ci/minimum", *session.posargs, external=True)


@nox.session(default=False)
def messages(session: nox.Session) -> None:
    """Write all errors and warnings that tests provoke as a table: messages.md, for reading."""
    session.install("-e", ".[test]")
    folder = session.create_tmp()
    session.run("pytest", "-m", "", "--messages", f"{folder}/messages.md", *session.posargs)
    session.run(
        "python", "-m", "helpers.said", f"{folder}/messages.md", env={"PYTHONPATH": "tests"}
    )


@nox.session
def docs(session: nox.Session) -> None:
    """Check form and links of the pages, run their code, and build the site in site/html."""
    session.install("-e", ".[test,docs]", "rumdl>=0.2.60")
    session.run("rumdl", "check", ".")
    session.run("pytest", "tests/integration/test_docs.py", "-m", "", *session.posargs)
    session.run("sphinx-build", "-W", "--keep-going", "-n", "docs", "site/html")


@nox.session(default=False)
def release(session: nox.Session) -> None:
    """Build sdist and wheel twice, compare, and check them; they stay in dist/."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "release"))
    session.run(".ci/release", external=True, env={"PYTHON": "python"})


@nox.session(default=False)
def viewers(session: nox.Session) -> None:
    """Test with viewers, and with images of other writers; see CONTRIBUTING.md."""
    session.install("-e", ".[test,viewers,peers]")
    packages = Path("tests/viewers/npm.txt").read_text().split()
    session.run("npm", "install", "--no-save", "--no-package-lock", *packages, external=True)
    names = ("napari", "neuroglancer", "viv", "peers", "bioio", "grib")
    files = ["tests/viewers", *(f"tests/interop/test_{name}.py" for name in names)]
    session.run("pytest", *files, *session.posargs)


@nox.session(default=False)
def mutants(session: nox.Session) -> None:
    """Count small faults in the code that tests notice: ``nox -s mutants -- --sample 40``."""
    session.install("-e", ".[test]")
    session.run("python", "tests/fuzz/mutants.py", *session.posargs)


PYPROJECT = nox.project.load_toml("pyproject.toml")

if __name__ == "__main__":
    nox.main()
