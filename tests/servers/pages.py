"""A site on loopback whose pages a test decides."""

import time
from collections.abc import Iterator, Mapping

import pytest

from tests.servers.web import Handler, served

Page = tuple[int, Mapping[str, str], bytes]
DENIED: Page = (401, {}, b"")


class Pages:
    """Paths and what they answer; any other path is 404.

    ``seen`` are the paths that were asked for, ``delay`` how many seconds each answer takes.
    """

    def __init__(self, url: str) -> None:
        self.url = url
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

    class Asked(Handler):
        def do_GET(self) -> None:
            site.seen.append(self.path)
            time.sleep(site.delay)
            if site.authorization is not None and self.headers["Authorization"] != site.authorization:
                status, headers, body = DENIED
            else:
                status, headers, body = site.pages.get(self.path, (404, {}, b"No such page."))
            self.reply(status, body, headers)

    with served(Asked) as url:
        site = Pages(url)
        yield site
