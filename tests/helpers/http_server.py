"""A directory over HTTP on this machine, as viewers in a browser need it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

Trouble = Callable[[str], int | str | None]


class Served(NamedTuple):
    """Where a directory is served, and what was asked for: (status, path)."""

    url: str
    log: list[tuple[int, str]]


class _Handler(SimpleHTTPRequestHandler):
    """Answers to pages from elsewhere (CORS), with parts of files where these are asked for."""

    protocol_version = "HTTP/1.1"  # one connection for many requests

    def __init__(
        self, log: list[tuple[int, str]], trouble: Trouble, *arguments: Any, **options: Any
    ) -> None:
        self.log, self.trouble = log, trouble
        super().__init__(*arguments, **options)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""

    def do_OPTIONS(self) -> None:
        self._answer(HTTPStatus.OK, b"")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if (trouble := self.trouble(self.path)) is not None:
            self._break_off(trouble)
            return
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self._answer(HTTPStatus.NOT_FOUND, b"")
            return
        data, asked = path.read_bytes(), self.headers.get("Range", "")
        if not (found := re.fullmatch(r"bytes=(\d*)-(\d*)", asked)) or asked == "bytes=-":
            self._answer(HTTPStatus.OK, data)
            return
        first, last = found.groups()  # "-8" is the last 8 bytes
        start = int(first) if first else max(0, len(data) - int(last))
        stop = min(len(data), int(last) + 1) if first and last else len(data)
        extent = {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"}
        self._answer(HTTPStatus.PARTIAL_CONTENT, data[start:stop], extent)

    def _break_off(self, trouble: int | str) -> None:
        """Answer with a status, or with a body that ends too early ("cut"), or not at all."""
        if isinstance(trouble, int):
            self._answer(HTTPStatus(trouble), b"")
            return
        self.log.append((0, self.path.lstrip("/")))
        if trouble == "cut":
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"{")
        self.close_connection = True

    def _answer(
        self, status: HTTPStatus, data: bytes, headers: dict[str, str] | None = None
    ) -> None:
        self.log.append((status, self.path.lstrip("/")))
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name in ("Origin", "Headers"):
            self.send_header(f"Access-Control-Allow-{name}", "*")
        self.send_header("Access-Control-Expose-Headers", "*")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that hangs up is no news."""


@contextmanager
def serve(directory: Path, trouble: Trouble = lambda _: None) -> Iterator[Served]:
    """Serve a directory until the end of the block.

    ``trouble`` says of a path what goes wrong with it, if something does: a status, "cut" for a
    body that ends too early, or "hung up".
    """
    log: list[tuple[int, str]] = []
    handler = partial(_Handler, log, trouble, directory=str(directory))
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield Served(f"http://127.0.0.1:{server.server_port}", log)
        finally:
            server.shutdown()
            thread.join()
