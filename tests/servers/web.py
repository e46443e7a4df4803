"""What the small HTTP servers of the tests have in common: how they answer, start and end."""

import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from tests.servers.process import LOOPBACK

JSON = {"Content-Type": "application/json"}


class Handler(BaseHTTPRequestHandler):
    """Answers with a whole body, and logs nothing."""

    def reply(self, status: int, body: bytes, headers: Mapping[str, str] = JSON) -> None:
        """Answer the request."""
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Leave the tests' output alone."""


class Site:
    """A handler on a free ``port`` of loopback, which answers while the context lasts, with a thread for each request."""

    def __init__(self, handler: type[BaseHTTPRequestHandler], tls: ssl.SSLContext | None = None) -> None:
        self._server = ThreadingHTTPServer((LOOPBACK, 0), handler)
        self._server.daemon_threads = True
        if (
            tls is not None
        ):  # the handshake is the request's thread's: a client that never shakes hands holds up no other
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.port: int = self._server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://{LOOPBACK}:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def served(handler: type[BaseHTTPRequestHandler], tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Have a handler answer on a free port of loopback; give its address."""
    with Site(handler, tls) as site:
        yield site.url
