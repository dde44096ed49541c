"""Run something again and again, each time in a process that dies a step later.

A step is anything that changes a disk: opening a file to write, renaming, linking or removing one,
making a directory. Whatever would change nothing, such as making a directory that exists, is not a
step. The process dies right before it; a temporary file about to get its name is torn first, as by
a power cut.
"""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.link"}


#: What tests call a request that changes something elsewhere.
REQUEST = "helpers.killed_process.request"


def killed_everywhere(action: str, before: Path, scratch: Path, every: int = 1) -> Iterator[Path]:
    """Yield directories as ``action`` leaves them, killed at its 1st step, its 2nd, and so on.

    Parameters
    ----------
    action : str
        A function of a directory, as ``module:name``.
    before : Path
        What the directory is a copy of; made with ``copy_tree`` of the module, if it has that.
    scratch : Path
        Where to put the directories.
    every : int
        2 is each second step only.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", __name__, action, str(before), str(scratch), str(every)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(command, check=True, timeout=240, env=environment)
    yield from sorted(scratch.iterdir(), key=lambda path: int(path.name))


def _die_at(step: int) -> None:
    """Kill this process at a step."""
    steps = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal steps
        if not changes_disk(event, arguments):
            return
        steps += 1
        if steps == step:
            if event == "os.rename" and str(arguments[0]).endswith(".partial"):
                os.truncate(arguments[0], Path(arguments[0]).stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def changes_disk(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether what is about to be done changes the disk."""
    if event == "open":
        path, _, flags = arguments
        if not isinstance(path, str | bytes) or str(path).startswith("/dev/"):
            return False
        if str(path).endswith(".sent"):  # a bucket's, of which nobody knows before it is renamed
            return False
        return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    if event == REQUEST:
        return True
    if event == "os.mkdir":
        return not os.path.exists(arguments[0])
    # A path relative to an open directory, as in shutil.rmtree, is that of something found there.
    is_relative = event in ("os.remove", "os.rmdir") and arguments[-1] != -1
    return event in _CHANGES and (is_relative or os.path.lexists(arguments[0]))


def _main(action: str, before: str, scratch: str, every: str) -> None:
    module, _, name = action.partition(":")
    function = getattr(importlib.import_module(module), name)
    copy_tree = getattr(importlib.import_module(module), "copy_tree", shutil.copytree)
    warm = Path(scratch, "0")
    copy_tree(Path(before), warm)
    function(warm)  # what is loaded once, is loaded now
    shutil.rmtree(warm)
    for step in range(1, 2000, int(every)):
        directory = Path(scratch, str(step))
        copy_tree(Path(before), directory)
        child = os.fork()
        if child == 0:
            _die_at(step)
            try:
                function(directory)
            except BaseException as error:
                sys.stderr.write(f"{type(error).__name__}: {error}\n")
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            sys.exit(os.WEXITSTATUS(status))  # it came to its end: all steps have been tried
    sys.exit("it never ends")


if __name__ == "__main__":
    _main(*sys.argv[1:])
