"""A store whose n-th operation fails, and the errors that clients of stores raise."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Self

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import MemoryStore, WrapperStore


class Faults:
    """Counts operations, and fails from one of them on, as often as is said."""

    def __init__(self, make: Callable[[], Exception], at: int = 0, times: int = 1) -> None:
        self.make, self.at, self.times, self.seen = make, at, times, 0

    def step(self) -> None:
        self.seen += 1
        if self.at and self.at <= self.seen < self.at + self.times:
            raise self.make()

    @property
    def came(self) -> bool:
        return self.at <= self.seen


class FaultyStore(WrapperStore[Store]):
    """Keeps objects in memory; each operation may fail."""

    def __init__(self, faults: Faults, store: Store | None = None) -> None:
        super().__init__(MemoryStore() if store is None else store)
        self.faults = faults

    def _with_store(self, store: Store) -> Self:
        return type(self)(self.faults, store)

    @property
    def _supports_sync_io(self) -> bool:
        return False

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        self.faults.step()
        return await super().get(key, prototype, byte_range)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def exists(self, key: str) -> bool:
        self.faults.step()
        return await super().exists(key)

    async def is_empty(self, prefix: str) -> bool:
        self.faults.step()
        return await super().is_empty(prefix)

    async def set(self, key: str, value: Buffer) -> None:
        self.faults.step()
        await super().set(key, value)

    async def delete(self, key: str) -> None:
        self.faults.step()
        await super().delete(key)

    async def delete_dir(self, prefix: str) -> None:
        self.faults.step()
        await super().delete_dir(prefix)

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        self.faults.step()
        async for key in super().list_prefix(prefix):
            yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        self.faults.step()
        async for key in super().list_dir(prefix):
            yield key


def system(code: int) -> Callable[[], Exception]:
    return lambda: OSError(code, os.strerror(code))


def like(module: str, name: str, text: str = "", **attributes: Any) -> Callable[[], Exception]:
    """Return what makes an error that looks like one of a package that may not be there."""
    kind = type(name, (Exception,), {"__module__": module, **attributes})
    return lambda: kind(text)


def botocore(code: str, status: int) -> Callable[[], Exception]:
    response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return like("botocore.exceptions", "ClientError", code, response=response)


def caused(outer: Exception, make: Callable[[], Exception]) -> Callable[[], Exception]:
    def both() -> Exception:
        outer.__cause__ = make()
        return outer

    return both


def aiohttp(status: int) -> Callable[[], Exception]:
    return like("aiohttp.client_exceptions", "ClientResponseError", str(status), status=status)


def obstore(text: str) -> Callable[[], Exception]:
    return like("obstore.exceptions", "GenericError", f"Generic S3 error: {text}")


#: Those that may pass.
PASSING: dict[str, Callable[[], Exception]] = {
    "reset": lambda: ConnectionResetError("reset"),
    "timeout": TimeoutError,
    "input and output": system(errno.EIO),
    "stale handle": system(errno.ESTALE),
    "aiohttp 503": aiohttp(503),
    "aiohttp 429": aiohttp(429),
    "aiohttp 408": aiohttp(408),
    "aiohttp cut": caused(
        like("aiohttp.client_exceptions", "ClientPayloadError", "not completed")(),
        like("aiohttp.http_exceptions", "ContentLengthError", code=400),
    ),
    "aiohttp gone": like("aiohttp.client_exceptions", "ServerDisconnectedError"),
    "a 500 that fsspec takes for nothing": caused(FileNotFoundError("x"), aiohttp(500)),
    "botocore SlowDown": botocore("SlowDown", 503),
    "botocore RequestTimeout": botocore("RequestTimeout", 400),
    "botocore connection": like("botocore.exceptions", "EndpointConnectionError"),
    "botocore cut": like("botocore.exceptions", "IncompleteReadError"),
    "s3fs": caused(OSError(errno.EIO, "boto"), botocore("InternalError", 500)),
    "obstore 502": obstore("Server returned non-2xx status code: 502 Bad Gateway"),
    "obstore connection": obstore("HTTP error: error sending request"),
    "obstore cut": obstore("HTTP error: request or response body error"),
    "google": like("gcsfs.retry", "HttpError", code="503"),
    "azure": like("azure.core.exceptions", "HttpResponseError", status_code=500),
    "urllib3": like("urllib3.exceptions", "ProtocolError"),
    "httpx": like("httpx", "ReadTimeout"),
}

NOT_ALLOWED: dict[str, Callable[[], Exception]] = {
    "aiohttp 403": aiohttp(403),
    "botocore 403": botocore("AccessDenied", 403),
    "no permission": lambda: PermissionError(errno.EACCES, "denied"),
    "obstore": like("obstore.exceptions", "PermissionDeniedError", "status code: 403"),
    "a 403 that fsspec takes for nothing": caused(FileNotFoundError("x"), aiohttp(403)),
}

LASTING: dict[str, Callable[[], Exception]] = {
    "full": system(errno.ENOSPC),
    "aiohttp 400": aiohttp(400),
    "botocore 400": botocore("InvalidRequest", 400),
    "obstore 400": obstore("Server returned non-2xx status code: 400 Bad Request"),
    "a client that is broken": lambda: RuntimeError("client is closed"),
    "a key": lambda: KeyError("client"),
    "a value": lambda: ValueError("client"),
}
