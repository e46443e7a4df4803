"""A site on loopback whose pages a test decides."""

import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.servers.process import LOOPBACK

Page = tuple[int, Mapping[str, str], bytes]
DENIED: Page = (401, {}, b"")


class Pages:
    """Paths and what they answer; any other path is 404.

    ``seen`` are the paths that were asked for, ``delay`` how many seconds each answer takes.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://{LOOPBACK}:{port}"
        self.pages: dict[str, Page] = {}
        self.seen: list[str] = []
        self.authorization: str | None = None
        self.delay = 0.0

    def add(self, path: str, body: str | bytes | None = None, status: int = 200, **headers: str) -> str:
        """Serve a page, by default one of its own; underscores in names of headers are hyphens. Return its address."""
        body = f"<h1>Here is {path}.</h1>" if body is None else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = body.encode() if isinstance(body, str) else body
        self.pages[path] = (status, {"Content-Type": "text/html"} | named, content)
        return f"{self.url}{path}"

    def redirect(self, path: str, to: str) -> str:
        """Redirect a path; return its address."""
        return self.add(path, b"", 302, Location=to)


@pytest.fixture
def pages() -> Iterator[Pages]:
    """An empty site."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.seen.append(self.path)
            time.sleep(site.delay)
            if site.authorization is not None and self.headers["Authorization"] != site.authorization:
                status, headers, body = DENIED
            else:
                status, headers, body = site.pages.get(self.path, (404, {}, b"No such page."))
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            pass

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    site = Pages(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield site
    server.shutdown()
    thread.join()
    server.server_close()
