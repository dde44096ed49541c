"""Locks of directories: the system's own where there are any, else files that say who holds them.

Some file systems, as NFS often, have no locks. There a lock is a file with the host, the process
and the time of who holds it, who touches it as long as it lives. That of a process which has died,
or has not touched it for long, is taken over.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from inspect import signature
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import uuid4

from filelock import BaseFileLock, FileLock, Timeout

from xpyramid.errors import TargetBusyError

#: What systems say where they have no locks.
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}

#: Newer releases of filelock make files of their own where there are no locks, if they may.
_NATIVE: dict[str, Any] = (
    {"fallback_to_soft": False}
    if "fallback_to_soft" in signature(BaseFileLock.__init__).parameters
    else {}
)

#: How often a lock that is a file is touched, and when it is old enough to be taken over; seconds.
BEAT, STALE = 30, 600

#: How often somebody who waits looks again, in seconds.
_LOOK = 0.1


@contextmanager
def locked(path: Path, patience: float, what: str) -> Iterator[None]:
    """Hold a lock while the context lasts; its file does not stay, nor does it after a refusal.

    Parameters
    ----------
    path : Path
        Of the lock.
    patience : float
        How long to wait for others, in seconds.
    what : str
        What others are doing who hold it.

    Raises
    ------
    TargetBusyError
        If they do for longer.
    """
    lock, was_there = FileLock(path, timeout=patience, **_NATIVE), path.exists()
    try:
        lock.acquire()
    except Timeout:
        raise _busy(what, path) from None
    except (OSError, NotImplementedError) as error:
        if not was_there:
            path.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise
        with _held_by_name(path.with_suffix(".soft.lock"), patience, what):
            yield
        return
    try:
        _refuse_held(path.with_suffix(".soft.lock"), what)
        yield
    finally:
        try:
            with suppress(OSError):  # some systems remove no open file
                path.unlink()
        finally:  # also after an interrupt
            lock.release()


def _busy(what: str, path: Path, holder: str = "") -> TargetBusyError:
    who = f" ({holder})" if holder else ""
    return TargetBusyError(
        f"{what}{who}, with the lock {str(path)!r}",
        fix="wait for it, or write elsewhere" + ("; if it has ended, remove it" if holder else ""),
    )


def _refuse_held(path: Path, what: str) -> None:
    """Refuse what a process on a machine without locks holds."""
    text = _read(path)
    if text is not None and not _is_stale(path, text):
        raise _busy(what, path, _describe(text))


@contextmanager
def _held_by_name(path: Path, patience: float, what: str) -> Iterator[None]:
    """Hold a lock that is a file with a name in it."""
    token = uuid4().hex
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    own = json.dumps(_here() | {"pid": os.getpid(), "time": since, "token": token})
    end = time.monotonic() + patience
    while not _create(path, own):
        text = _read(path)
        if text is None:
            continue  # it is free again
        if _is_stale(path, text):
            _take_away(path, text)
        elif time.monotonic() >= end:
            raise _busy(what, path, _describe(text))
        else:
            time.sleep(_LOOK)
    is_done = Event()
    beat = Thread(target=_touch_until, args=(path, is_done), daemon=True)
    beat.start()
    try:
        yield
    finally:
        is_done.set()
        beat.join()
        if _read(path) == own:  # else it has been taken over
            path.unlink(missing_ok=True)


def _here() -> dict[str, str]:
    """Return what tells the processes of this machine, or container, from others."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return {"host": platform.node(), "processes": space}


def _create(path: Path, text: str) -> bool:
    """Make a lock's file, if there is none."""
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return True


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _holder(text: str) -> dict[str, object]:
    try:
        holder = json.loads(text)
    except ValueError:  # it is just being written
        return {}
    return holder if isinstance(holder, dict) else {}


def _describe(text: str) -> str:
    """Say who holds a lock."""
    holder = _holder(text)
    words = (f"{word} {holder[key]}" for key, word in _WORDS.items() if key in holder)
    return " ".join(words)[:200] or "unknown"


_WORDS = {"pid": "process", "host": "on", "time": "since"}


def _is_stale(path: Path, text: str) -> bool:
    """Whether whoever holds a lock has died, as far as can be told from here."""
    holder, here = _holder(text), _here()
    pid = holder.get("pid")
    if isinstance(pid, int) and all(holder.get(key) == value for key, value in here.items()):
        return not _is_alive(pid) or _age(path) > STALE
    return _age(path) > STALE


def _is_alive(pid: int) -> bool:
    if os.name == "nt":  # where asking would end it
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _age(path: Path) -> float:
    """Return for how long a file was not touched, by the clock of its file system, in seconds."""
    probe = path.with_name(f"{path.name}.{uuid4().hex}")
    try:
        probe.touch()
        return probe.stat().st_mtime - path.stat().st_mtime
    except FileNotFoundError:  # it has just been freed
        return 0.0
    finally:
        probe.unlink(missing_ok=True)


def _take_away(path: Path, text: str) -> None:
    """Remove the lock of the dead, unless somebody has been quicker."""
    away = path.with_name(f"{path.name}.{uuid4().hex}")
    try:
        path.rename(away)
    except FileNotFoundError:
        return
    if _read(away) != text:  # it is of somebody who took it over before
        with suppress(OSError):
            os.link(away, path)
    away.unlink(missing_ok=True)


def _touch_until(path: Path, is_done: Event) -> None:
    while not is_done.wait(BEAT):
        with suppress(OSError):
            os.utime(path)
