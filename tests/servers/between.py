"""A proxy that stands before a real HTTP server and changes what it answers, as caches, gateways and bad releases do."""

import http.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.servers.web import Handler, served

_OWN = ("connection", "content-length", "date", "server", "transfer-encoding", "keep-alive")


@dataclass
class Passing:
    """An answer on its way: to which path with what request headers, and what may be changed of it."""

    path: str
    asked: dict[str, str]
    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)

    def text(self, *changes: tuple[str, str]) -> None:
        """Replace texts in the body."""
        for old, new in changes:
            self.body = self.body.replace(old.encode(), new.encode())


@contextmanager
def changed(url: str, change: Callable[[Passing], object]) -> Iterator[str]:
    """Pass GET requests on to the server at an address, and its answers back as `change` leaves them; give the proxy's address."""
    upstream = urlsplit(url)

    class Between(Handler):
        def do_GET(self) -> None:
            connection = http.client.HTTPConnection(upstream.hostname or "", upstream.port or 80, timeout=60)
            asked = {name.lower(): value for name, value in self.headers.items()}
            sent = {name: value for name, value in asked.items() if name not in ("accept-encoding", "connection")}
            connection.request("GET", self.path, headers=sent)
            answer = connection.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders() if name.lower() not in _OWN}
            passing = Passing(self.path, asked, answer.status, headers, answer.read())
            connection.close()
            change(passing)
            self.reply(passing.status, passing.body, passing.headers)

    with served(Between) as address:
        yield address
