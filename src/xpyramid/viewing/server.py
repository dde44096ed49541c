"""Objects over HTTP, for a page on this machine and nobody else.

The server listens on the loopback interface alone. Its paths begin with a token that cannot be
guessed, and requests are refused that name another host (so that no foreign name can be made to
lead here) or come from a page of another origin. It answers to GET and HEAD.
"""

from __future__ import annotations

import hmac
import re
import secrets
import socket
import threading
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import unquote

from xpyramid._version import __version__
from xpyramid.viewing.objects import Objects

#: What the standard library has of a connection.
Request = socket.socket | tuple[bytes, socket.socket]

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)

#: What browsers do not take from anything; all else is bytes.
_TYPES = {
    "html": "text/html; charset=utf-8", "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8", "json": "application/json", "wasm": "application/wasm",
    "png": "image/png",
}  # fmt: skip

#: Where pages listen for events; neuroglancer's does, to hear of Python's viewer.
EVENTS = "events"

#: How long a connection may say nothing, in seconds.
_PATIENCE = 60


class Server:
    """Serves objects until it is closed, to whoever knows its address.

    Parameters
    ----------
    objects : mapping of str to Objects
        By the first part of their path.
    port : int
        Default: any that is free.

    Attributes
    ----------
    url : str
        What all paths are below; it ends with the token.
    """

    def __init__(self, objects: Mapping[str, Objects], port: int = 0) -> None:
        token = secrets.token_urlsafe(32)
        self._http = _HTTPServer(("127.0.0.1", port), partial(_Handler, objects, token))
        self.url = f"http://127.0.0.1:{self._http.server_port}/{token}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.1,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End: nothing is answered from now on, on connections that are open either."""
        self._http.shutdown()
        self._http.close()
        self._thread.join()


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        self._connections: set[Any] = set()
        self.is_closed = threading.Event()
        super().__init__(*arguments)

    def process_request(self, request: Request, client_address: object) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Request) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def close(self) -> None:
        self.is_closed.set()
        self.server_close()
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # it has ended by itself
                continue

    def handle_error(self, request: Request, client_address: object) -> None:
        """Keep quiet: a browser that hangs up is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # one connection for many requests
    server_version, sys_version = f"xpyramid/{__version__}", ""
    timeout = _PATIENCE

    def __init__(self, objects: Mapping[str, Objects], token: str, *arguments: Any) -> None:
        self._objects, self._token = objects, token
        super().__init__(*arguments)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet: paths hold the token."""

    def parse_request(self) -> bool:
        """Refuse what is not for this server, whatever it asks for."""
        if not super().parse_request():
            return False
        port = cast("_HTTPServer", self.server).server_port
        hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        origins = {f"http://{host}" for host in hosts}
        if self.command not in ("GET", "HEAD"):
            self._answer(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "GET, HEAD"})
            self.close_connection = True  # of a body that nobody reads
            return False
        is_ours = self.headers.get_all("Host") in [[host] for host in hosts]
        if not is_ours or self.headers.get("Origin") not in (None, *origins):
            self._answer(HTTPStatus.FORBIDDEN)
            return False
        return True

    def do_GET(self) -> None:
        """Answer with an object, or a part of it."""
        token, _, path = self.path.partition("?")[0].removeprefix("/").partition("/")
        first, _, key = unquote(path).partition("/")
        objects = self._objects.get(first)
        if not hmac.compare_digest(token.encode(), self._token.encode()):
            self._answer(HTTPStatus.NOT_FOUND)
            return
        if first == EVENTS and self.command == "GET":
            self._say_nothing()
            return
        if objects is None:
            self._answer(HTTPStatus.NOT_FOUND)
            return
        try:
            # What lies in an image is nothing for a browser to run, however it is called.
            suffix = "" if first.isdecimal() else key.rpartition(".")[2]
            self._serve(objects, key, _TYPES.get(suffix, "application/octet-stream"))
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:  # of whatever reads or computes
            message = f"{type(error).__name__}: {error}"
            kind = {"Content-Type": "text/plain; charset=utf-8"}
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, message.encode(errors="replace"), kind)

    do_HEAD = do_GET  # noqa: N815  # the base class names it

    def _say_nothing(self) -> None:
        """Tell a page that listens for events that the server is there, until it is closed."""
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        while not cast("_HTTPServer", self.server).is_closed.wait(_PATIENCE):
            self.wfile.write(b":\n\n")

    def _serve(self, objects: Objects, key: str, content_type: str) -> None:
        kind = {"Content-Type": content_type}
        byte_range = _RANGE.fullmatch(self.headers.get("Range", ""))
        if byte_range is None and self.command == "GET":
            data = objects.read(key)
            self._answer(HTTPStatus.NOT_FOUND if data is None else HTTPStatus.OK, data, kind)
            return
        size = objects.size(key)
        part = None if size is None or byte_range is None else _part(byte_range, size)
        if size is None:
            self._answer(HTTPStatus.NOT_FOUND)
        elif byte_range is None or part is None:
            self._answer(
                HTTPStatus.OK, objects.read(key) if self.command == "GET" else None, kind, size
            )
        elif part.start >= part.stop:
            unsatisfied = {"Content-Range": f"bytes */{size}"}
            self._answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers=unsatisfied)
        else:
            kind["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
            data = objects.read(key, part) if self.command == "GET" else None
            self._answer(HTTPStatus.PARTIAL_CONTENT, data, kind, part.stop - part.start)

    def _answer(
        self,
        status: HTTPStatus,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        length: int | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data or b"") if length is None else length))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        origin = self.headers.get("Origin")
        refused = (HTTPStatus.FORBIDDEN, HTTPStatus.METHOD_NOT_ALLOWED)
        if origin is not None and status not in refused:  # that of this page
            self.send_header("Access-Control-Allow-Origin", origin)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD" and data:
            self.wfile.write(data)


def _part(byte_range: re.Match[str], size: int) -> slice | None:
    """Return the part of an object that is asked for, None where that says nothing.

    https://www.rfc-editor.org/rfc/rfc9110#name-byte-ranges; a part without length is to be refused.
    """
    first, last = byte_range.groups()
    if not first:  # the last bytes
        return slice(max(0, size - int(last)), size) if last else None
    if last and int(last) < int(first):
        return None
    return slice(int(first), min(size, int(last) + 1) if last else size)
