"""A real HTTP server on this machine that answers what a test says, slowly or wrongly where it says so."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Asked:
    """A request as it came in."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Say:
    """An answer: `wait` seconds go by before it, `trickle` seconds between the bytes of its head."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    wait: float = 0.0
    trickle: float = 0.0
    hang_up: bool = False


@dataclass
class Served:
    """A running server: where it is, and what it was asked."""

    url: str
    asked: list[Asked] = field(default_factory=list)

    def bodies(self) -> list[Any]:
        return [one.json for one in self.asked]


@contextlib.contextmanager
def serving(answer: Callable[[Asked], Say]) -> Iterator[Served]:
    """A server that answers each request as the function says."""
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def _answer(self) -> None:
            size = int(self.headers.get("content-length", 0))
            asked = Asked(
                self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, self.rfile.read(size),
                time.monotonic(),
            )  # fmt: skip
            served.asked.append(asked)
            say = answer(asked)
            ended.wait(say.wait)
            if say.hang_up:
                self.close_connection = True
                return
            if say.trickle:
                for letter in b"HTTP/1.1 200 OK\r\n" + b"x-slow: yes\r\n" * 1000:
                    if ended.wait(say.trickle):
                        break
                    self.wfile.write(bytes([letter]))
                self.close_connection = True
                return
            self.send_response(say.status)
            for name, value in {"content-length": str(len(say.body)), **say.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(say.body)

        do_POST = do_PUT = do_PATCH = do_GET = _answer  # noqa: N815

        def handle(self) -> None:
            # the other side may go away at any time
            with contextlib.suppress(OSError):
                super().handle()

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 200

    server = Server(("127.0.0.1", 0), Handler)
    served = Served(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield served
    finally:
        ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


def one_after_the_other(*says: Say) -> Callable[[Asked], Say]:
    """These answers in turn; the last one again and again."""
    left = list(says)
    return lambda asked: left.pop(0) if len(left) > 1 else left[0]
