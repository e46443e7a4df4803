"""What the small HTTP servers of the tests have in common: how they answer, start and end."""

import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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


@contextmanager
def served(handler: type[Handler], tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Have a handler answer on a free port of loopback, a thread for each request; give the server's address."""
    server = ThreadingHTTPServer((LOOPBACK, 0), handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://{LOOPBACK}:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
