"""What the server of a view answers to, and what it does not."""

import http.client
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
import zarr
from zarr.storage import LocalStore

import xpyramid
from xpyramid.store.confined import resolve_confined
from xpyramid.viewing.objects import StoredObjects
from xpyramid.viewing.server import EVENTS, Server

DATA = bytes(range(100))


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """Asks a server for paths exactly as they are spelled."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.address, _, self.token = server.url.removeprefix("http://").partition("/")

    def ask(self, path: str, method: str = "GET", **headers: str) -> Answer:
        connection = http.client.HTTPConnection(self.address, timeout=10)
        try:
            connection.putrequest(method, path, skip_host="Host" in headers)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.headers), answer.read())
        finally:
            connection.close()

    def get(self, key: str, method: str = "GET", **headers: str) -> Answer:
        return self.ask(f"/{self.token}/0/{key}", method, **headers)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with an image in it, and what is not to be seen beside it."""
    root = tmp_path_factory.mktemp("root")
    (root / "secret").write_bytes(b"secret")
    (root / "in.zarr").mkdir()
    zarr.open_group(root / "in.zarr", mode="w")
    image = root / "in.zarr/image"
    image.mkdir()
    (image / "data").write_bytes(DATA)
    (image / "with space").write_bytes(b"spaced")
    (image / "empty").write_bytes(b"")
    (image / "0").mkdir()
    (root / "in.zarr/beside").write_bytes(b"beside")
    os.symlink(root / "secret", image / "link")
    return root / "in.zarr"


@pytest.fixture(scope="module")
def client(store: Path) -> Iterator[Client]:
    server = Server({"0": StoredObjects(resolve_confined(store) / "image")})
    yield Client(server)
    server.close()


def test_objects_are_served_as_they_are(client: Client) -> None:
    answer = client.get("data")
    assert (answer.status, answer.body) == (200, DATA)
    assert answer.headers["Content-Length"] == "100"
    assert answer.headers["Cache-Control"] == "no-store"
    assert client.get("with%20space").body == b"spaced"
    assert client.get("empty")[::2] == (200, b"")


def test_what_lies_in_an_image_is_nothing_to_run(client: Client, store: Path) -> None:
    (store / "image/evil.html").write_bytes(b"<script>alert(1)</script>")
    answer = client.get("evil.html")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_head_says_how_long(client: Client) -> None:
    answer = client.get("data", "HEAD")
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "100")
    assert client.get("none", "HEAD").status == 404
    assert client.get("0", "HEAD").status == 404


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=10-", 10, 100),
        ("bytes=-10", 90, 100),
        ("bytes=-1000", 0, 100),
        ("bytes=99-99", 99, 100),
        ("bytes=90-100000000000000000", 90, 100),
    ],
)
def test_parts(client: Client, asked: str, start: int, stop: int) -> None:
    answer = client.get("data", Range=asked)
    assert (answer.status, answer.body) == (206, DATA[start:stop])
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/100"
    head = client.get("data", "HEAD", Range=asked)
    assert (head.status, head.headers["Content-Length"]) == (206, str(stop - start))


@pytest.mark.parametrize("asked", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_parts_that_are_not_there(client: Client, asked: str) -> None:
    answer = client.get("data", Range=asked)
    assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */100")
    assert client.get("empty", Range="bytes=0-").status == 416


@pytest.mark.parametrize("asked", ["bytes=-", "bytes=9-1", "lines=1-2", "bytes=0-1,5-6", "b", ""])
def test_what_is_no_part_is_the_whole(client: Client, asked: str) -> None:
    assert client.get("data", Range=asked)[::2] == (200, DATA)


@pytest.mark.parametrize(
    "key",
    [
        "../beside", "%2e%2e/beside", "%2E%2E%2Fbeside", "..%2fbeside", "..", ".", "", "/data",
        "./data", "0/../data", "0//data", "data/", "%252e%252e/beside", "..\\beside",
        "%5c..%5cbeside", "data%00", "%00", "../../secret", "/etc/passwd", "%2fetc%2fpasswd", "file:///etc/passwd",
        "0", "C:/data", "%ff%fe",
    ],
)  # fmt: skip
def test_nothing_but_the_image_is_there(client: Client, key: str) -> None:
    assert client.get(key)[::2] == (404, b"")
    assert client.get(key, "HEAD").status == 404
    assert client.get(key, Range="bytes=0-3").status == 404


def test_links_out_of_the_store_are_not_followed(client: Client) -> None:
    for method, headers in [("GET", {}), ("HEAD", {}), ("GET", {"Range": "bytes=0-3"})]:
        answer = client.get("link", method, **headers)
        assert answer.status == 500
        assert b"secret" not in answer.body.replace(b"/secret", b"")


def test_without_the_token_there_is_nothing(client: Client) -> None:
    token = client.token
    other = ("A" if token[0] != "A" else "B") + token[1:]
    for path in [
        "/0/data", "/", f"/{other}/0/data", f"/{token[:-1]}/0/data", f"/{token}x/0/data",
        "//0/data", f"/x/../{token}/0/data", "/%ff/0/data",
        f"/{token}", f"/{token}/", f"/{token}/1/data", f"/{other}/{EVENTS}/x",
    ]:  # fmt: skip
        assert client.ask(path)[::2] == (404, b""), path
    assert len(token) >= 43  # 256 bits


@pytest.mark.parametrize(
    "host",
    ["example.org", "127.0.0.1", "localhost:1", "127.0.0.1.example.org:{}", "[::1]:{}",
     "0.0.0.0:{}", "", "x@127.0.0.1:{}", "127.0.0.1:{}:80", "LOCALHOST.:{}"],
)  # fmt: skip
def test_other_hosts_are_refused(client: Client, host: str) -> None:
    """A name of somebody's that is made to lead to this machine is none of ours."""
    port = client.address.partition(":")[2]
    assert client.get("data", Host=host.format(port))[::2] == (403, b"")
    for ours in ("localhost", "127.0.0.1"):
        assert client.get("data", Host=f"{ours}:{port}").status == 200


def test_requests_without_a_host_or_with_two_are_refused(client: Client) -> None:
    address, port = client.address.split(":")
    for hosts in ["", f"Host: {client.address}\r\nHost: example.org\r\n"]:
        with socket.create_connection((address, int(port)), timeout=10) as connection:
            head = f"GET /{client.token}/0/data HTTP/1.1\r\n{hosts}\r\n"
            connection.sendall(head.encode())
            assert connection.recv(99).startswith(b"HTTP/1.1 403")


def test_pages_of_others_are_refused(client: Client) -> None:
    ours = f"http://{client.address}"
    answer = client.get("data", Origin=ours)
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, ours)
    assert "Access-Control-Allow-Origin" not in client.get("data").headers
    asked = client.get("data", "OPTIONS", Origin="https://example.org")
    assert "Access-Control-Allow-Origin" not in asked.headers
    for origin in (
        "null",
        "https://example.org",
        "http://127.0.0.1",
        ours.replace("http", "https"),
    ):
        answer = client.get("data", Origin=origin)
        assert answer[::2] == (403, b"")
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "X"]
)
def test_it_is_read_only(client: Client, method: str, store: Path) -> None:
    before = sorted(store.rglob("*"))
    answer = client.get("data", method)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert sorted(store.rglob("*")) == before


def test_it_listens_on_the_loopback_interface_alone(client: Client) -> None:
    http_server = client.server._http
    assert http_server.socket.getsockname()[0] == "127.0.0.1"


def test_it_ends_when_it_is_closed() -> None:
    store = zarr.storage.MemoryStore()
    xpyramid.example_field((30, 20)).pyramid.to_ome_zarr(store, levels=2)
    server = Server({"0": StoredObjects(resolve_confined(store) / "field")})
    address, _, token = server.url.removeprefix("http://").partition("/")
    kept = http.client.HTTPConnection(address, timeout=10)
    kept.request("GET", f"/{token}/0/zarr.json")
    assert kept.getresponse().read().startswith(b"{")
    listening = http.client.HTTPConnection(address, timeout=10)
    listening.request("GET", f"/{token}/{EVENTS}/x")
    events = listening.getresponse()
    assert events.headers["Content-Type"] == "text/event-stream"
    threads = threading.active_count()
    server.close()
    assert events.read() == b""
    with suppress(ConnectionError):
        kept.request("GET", f"/{token}/0/zarr.json")
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        kept.getresponse()
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection(address, timeout=10).request("GET", f"/{token}/0/zarr.json")
    assert threading.active_count() < threads
    kept.close()
    listening.close()


def test_what_fails_is_said() -> None:
    class Failing:
        def size(self, key: str) -> int | None:
            raise AssertionError(key)

        def read(self, key: str, part: slice | None = None) -> bytes | None:
            raise ValueError(f"no {key} {part}")

    server = Server({"0": Failing()})
    try:
        assert Client(server).get("x")[::2] == (500, b"ValueError: no x None")
    finally:
        server.close()


def test_stores_of_any_kind(tmp_path: Path) -> None:
    """Keys are looked up by the store, in whatever it keeps them."""
    source = xpyramid.example_field((40, 30), dtype="uint16").pyramid.build(levels=2, chunks=16)
    source.to_ome_zarr(tmp_path / "out.zarr", shards=32)
    shutil.make_archive(str(tmp_path / "out"), "zip", tmp_path / "out.zarr")
    key = "0/field/c/0/0"
    want = (tmp_path / "out.zarr/field" / key).read_bytes()
    for opened in (tmp_path / "out.zarr", LocalStore(tmp_path / "out.zarr"), tmp_path / "out.zip"):
        objects = StoredObjects(resolve_confined(opened) / "field")
        assert objects.read(key) == want
        assert objects.read(key, slice(3, 9)) == want[3:9]
        assert objects.size(key) == len(want)
        assert objects.size("0/field/c/7/7") is objects.read("0/field/c/7/7") is None
