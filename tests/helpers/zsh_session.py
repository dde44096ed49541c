"""A zsh that somebody types into, on a terminal of its own."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

#: Ctrl-X writes down what the line is by now, and empties it.
_SET_UP = """\
PROMPT='> '; fpath=($PWD $fpath); autoload -Uz compinit; compinit -u -D
written() { print -r -- $BUFFER > line.part; mv line.part line; BUFFER= }
zle -N written; bindkey '^X' written; setopt no_beep; print -n > ready
"""

_PATIENCE = 30  # seconds


class Zsh:
    """What is typed, and what comes of it."""

    def __init__(self, terminal: int, directory: Path) -> None:
        self._terminal, self._directory = terminal, directory
        self.shown = b""

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def completed(self, words: str) -> str:
        """Return what a line has become by a tab at its end."""
        line = self._directory / "line"
        line.unlink(missing_ok=True)
        self.type(words + "\t")
        self.wait(lambda: False, 0.3)  # what is typed ahead is not completed
        self.type("\x18")
        self.wait(line.exists)
        return line.read_text().removesuffix("\n")

    def wait(self, condition: Callable[[], bool], patience: float = _PATIENCE) -> None:
        """Read what is shown until something holds, or until there was time enough for it."""
        end = time.monotonic() + patience
        while not condition() and time.monotonic() < end:
            if select.select([self._terminal], [], [], 0.05)[0]:
                self.shown += os.read(self._terminal, 2**16)
        assert condition() or patience < _PATIENCE, self.shown


@contextmanager
def open_zsh(directory: Path) -> Iterator[Zsh]:
    """Start a zsh without anybody's settings that looks for completions in a directory."""
    terminal, inside = pty.openpty()
    process = subprocess.Popen(
        ["zsh", "-f", "-i"], stdin=inside, stdout=inside, stderr=inside, start_new_session=True,
        cwd=directory, env={**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    os.close(inside)
    try:
        zsh = Zsh(terminal, directory)
        zsh.type(_SET_UP)
        zsh.wait((directory / "ready").exists)
        zsh.shown = b""
        yield zsh
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
