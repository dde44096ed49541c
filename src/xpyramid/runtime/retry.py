"""Faults of disks and networks: which of them pass, and how often is tried again.

Stores, readers and their clients raise errors of many packages, which need not be installed. So
an error is judged by what it says of itself: the status that a server has answered with, a number
of the system, its class, and last its text. An error that another one is the cause of is judged by
its cause, too.
"""

from __future__ import annotations

import asyncio
import errno
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from socket import EAI_AGAIN, gaierror
from typing import TypeVar

from xpyramid._compat import package_of
from xpyramid.errors import PyramidError

T = TypeVar("T")

#: How often something is tried, and the first pause, in seconds; each pause is twice the last.
TIMES, PAUSE = 5, 0.1

_PASSING = {
    getattr(errno, name)
    for name in (
        "EAGAIN", "EBUSY", "ECONNABORTED", "ECONNREFUSED", "ECONNRESET", "EHOSTDOWN",
        "EHOSTUNREACH", "EINTR", "EIO", "ENETDOWN", "ENETRESET", "ENETUNREACH", "EPIPE", "ESTALE",
        "ETIMEDOUT", "EWOULDBLOCK",
    )
    if hasattr(errno, name)
}  # fmt: skip

#: What a file system says of a name that nothing there can have.
_NO_NAME = {errno.ENAMETOOLONG, errno.ELOOP}

#: Statuses of HTTP below 500 that pass: a timeout, "too early", too many requests.
_PASSING_STATUSES = {408, 425, 429}
#: Statuses of 500 and above that do not: "not implemented", and a version that is not spoken.
_LASTING_STATUSES = {501, 505}
_NOT_ALLOWED, _ABSENT = {401, 403}, {404, 410}

#: What services of the S3 family call a fault that passes, some of them with a status of 400.
_PASSING_CODES = {
    "InternalError", "OperationAborted", "RequestThrottled", "RequestTimeout",
    "RequestTimeoutException", "ServiceUnavailable", "SlowDown", "Throttling",
    "ThrottlingException", "TooManyRequests", "TooManyRequestsException",
}  # fmt: skip

#: What S3 calls a bucket that does not exist; its status is that of an object that does not.
_NO_BUCKET = "NoSuchBucket"

#: Classes that stand for a fault that passes: timeouts, connections, and bodies that were cut off,
#: of aiohttp, botocore, urllib3, requests, httpx, http.client and others.
_PASSING_CLASSES = re.compile(
    r".*Time(d)?[oO]ut(Error|Exception)?|(.*[a-z])?Connection(Closed|Reset)?Error|Connect(or)?Error"
    r"|Client(OS|Payload|Connector)Error|ServerDisconnectedError|RemoteDisconnected"
    r"|IncompleteRead(Error)?|ResponseStreamingError|ChunkedEncodingError|InvalidChunkLength"
    r"|(Remote)?ProtocolError|NetworkError|ServiceUnavailable|TooManyRequests"
)

#: Classes that say who may not do something.
_NOT_ALLOWED_CLASSES = {
    "ClientAuthenticationError", "Forbidden", "NoCredentialsError", "PermissionDeniedError",
    "Unauthenticated", "UnauthenticatedError", "Unauthorized",
}  # fmt: skip

#: Some clients, such as those of obstore and icechunk, have classes for kinds of stores rather
#: than for kinds of faults: the text has the status, or what has happened to the connection.
_TELLING_PACKAGES = {"icechunk", "obstore"}
_STATUS_IN_TEXT = re.compile(r"status(?: code)?[:=]? ?([45]\d\d)\b")
_PASSING_TEXT = re.compile(
    r"timed? ?out|error sending request|body error|connection (refused|reset|closed|aborted)"
    r"|broken pipe|unexpected ?eof|incomplete ?(body|message)|slow ?down|too many requests",
    re.IGNORECASE,
)

_BELOW_A_FILE = re.compile(r"Not a directory \(os error \d+\)")


def is_transient(error: BaseException) -> bool:
    """Whether an error may go away by itself, unlike a full disk or a missing permission.

    What xpyramid raises has been tried again where that could help.
    """
    if isinstance(error, PyramidError):
        return False
    if any(_code(cause) in _PASSING_CODES for cause in _causes(error)):
        return True
    status = status_of(error)
    if status is not None:
        is_servers_fault = status >= 500 and status not in _LASTING_STATUSES
        return is_servers_fault or status in _PASSING_STATUSES
    return any(map(_is_transient, _causes(error)))


def is_not_allowed(error: BaseException) -> bool:
    """Whether an error says that one may not do something."""
    status = status_of(error)
    if status is not None:
        return status in _NOT_ALLOWED
    return any(
        isinstance(cause, PermissionError) or type(cause).__name__ in _NOT_ALLOWED_CLASSES
        for cause in _causes(error)
    )


def is_absence(error: BaseException) -> bool:
    """Whether an error says that there is nothing, rather than that one could not look."""
    if any(_code(cause) == _NO_BUCKET for cause in _causes(error)):
        return False  # all that was to be there is out of reach
    if package_of(error) == "icechunk" and "node not found" in str(error):
        return True  # of a chunk whose array is not there
    status = status_of(error)
    if status is not None:
        return status in _ABSENT
    absent = isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError) or (
        isinstance(error, OSError) and error.errno in _NO_NAME
    )
    if package_of(error) in _TELLING_PACKAGES and _BELOW_A_FILE.search(str(error)):
        absent = True
    return absent and not any(map(_is_transient, _causes(error)))


def status_of(error: BaseException) -> int | None:
    """Return the status of HTTP that an error, or what has caused it, is about; None without."""
    for cause in _causes(error):
        if type(cause).__module__ == "aiohttp.http_exceptions":
            continue  # a status that aiohttp makes up for a body that was cut off
        statuses = map(_as_status, _status_candidates(cause))
        if status := next(filter(None, statuses), None):
            return status
    return None


def _status_candidates(error: BaseException) -> Iterator[object]:
    """Yield what may be the status that an error is about."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):  # of botocore
        metadata = response.get("ResponseMetadata")
        yield metadata.get("HTTPStatusCode") if isinstance(metadata, Mapping) else None
    for place in (error, response):
        names = ("status", "status_code", "code")
        yield next((value for name in names if (value := getattr(place, name, None))), None)
    if package_of(error) in _TELLING_PACKAGES and (match := _STATUS_IN_TEXT.search(str(error))):
        yield match[1]


def _as_status(value: object) -> int | None:
    """Return a value as a status that says of something that it has failed, None for others."""
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    return int(value) if isinstance(value, int) and 400 <= value < 600 else None


def _code(error: BaseException) -> object:
    """Return the word of a service for what is wrong, None without."""
    response = getattr(error, "response", None)
    details = response.get("Error") if isinstance(response, Mapping) else None
    return details.get("Code") if isinstance(details, Mapping) else None


def _is_transient(error: BaseException) -> bool:
    """Whether an error, its causes aside, may go away by itself."""
    names = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ != "builtins"]
    if any("Cert" in name for name in names):
        return False
    if isinstance(error, ConnectionError | TimeoutError) or (
        isinstance(error, OSError) and error.errno in _PASSING
    ):
        return True
    if isinstance(error, gaierror):  # a name that no server knows, or a server that is away
        return error.errno == EAI_AGAIN
    if isinstance(error, OSError) and error.errno is not None:
        return False
    if any(map(_PASSING_CLASSES.fullmatch, names)):
        return True
    return package_of(error) in _TELLING_PACKAGES and bool(_PASSING_TEXT.search(str(error)))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, those of a group, and what has caused them, each once."""
    waiting, visited = [error], set[int]()
    for cause in waiting:
        if id(cause) in visited:
            continue
        visited.add(id(cause))
        yield cause
        if isinstance(cause, BaseExceptionGroup):
            waiting.extend(cause.exceptions)
        if cause.__cause__ is not None:
            waiting.append(cause.__cause__)


def retried(action: Callable[[], T]) -> T:
    """Return the result of an action, retrying it after faults that may pass."""
    for attempt in range(TIMES - 1):
        try:
            return action()
        except Exception as error:
            if not is_transient(error):
                raise
        time.sleep(PAUSE * 2**attempt)
    return action()


async def retried_async(action: Callable[[], Awaitable[T]]) -> T:
    """Return the result of a coroutine, begun again after faults that may pass."""
    for attempt in range(TIMES - 1):
        try:
            return await action()
        except Exception as error:
            if not is_transient(error):
                raise
        await asyncio.sleep(PAUSE * 2**attempt)
    return await action()
