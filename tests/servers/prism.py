"""Prism 5 from the npm registry: it answers what an official OpenAPI document describes, and 422 or 404 to other requests."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError

from tests.servers.packages import node_program, npm_packages
from tests.servers.process import LOOPBACK, Server, free_port, listening, scratch
from tests.servers.specs import document
from tests.servers.web import Handler, served

_PROJECT = Path(__file__).parent / "applications/prism"
_VENDOR = {"pagerduty": "application/vnd.pagerduty+json;version=2"}
"""The type that a document demands in `Accept` and does not name in its replies, which Prism takes for a contradiction."""


@dataclass
class Asked:
    """What was asked of Prism at `url`, and what it answered: the status, and its reason where it refused."""

    url: str
    requests: list[tuple[str, int, str]] = field(default_factory=list)

    @property
    def refused(self) -> list[tuple[str, int, str]]:
        """The requests that the document does not describe."""
        return [one for one in self.requests if one[1] >= 400]


@contextmanager
def prism(name: str) -> Iterator[Asked]:
    """Prism with a document; skips the test where that is absent, or Node.js is."""
    whole = document(name)
    program = npm_packages(_PROJECT) / "node_modules/@stoplight/prism-cli/dist/index.js"
    with scratch("prism") as folder:
        text = json.dumps(whole)
        if name in _VENDOR:
            text = text.replace('"application/json":', f"{json.dumps(_VENDOR[name])}:")
            text = text.replace("application~1json", _VENDOR[name].replace("/", "~1"))  # references to it
        (folder / f"{name}.json").write_text(text)
        port = free_port()
        argv: list[str | Path] = [
            node_program(),
            program,
            "mock",
            "--host",
            LOOPBACK,
            "--port",
            str(port),
            folder / f"{name}.json",
        ]
        with (
            Server("prism", argv, directory=folder, ready=lambda: listening(port), deadline=120) as _,
            _noted(port) as asked,
        ):
            yield asked


@contextmanager
def _noted(port: int) -> Iterator[Asked]:
    """Hand every request on to Prism, and note what became of it."""

    class Forward(Handler):
        def do_GET(self) -> None:
            headers = {
                name: value for name, value in self.headers.items() if name.lower() not in {"host", "connection"}
            }
            request = urllib.request.Request(f"http://{LOOPBACK}:{port}{self.path}", headers=headers)
            try:
                with urllib.request.urlopen(request, timeout=60) as reply:
                    status, body = reply.status, reply.read()
            except HTTPError as error:
                status, body = error.code, error.read()
            asked.requests.append((self.path, status, body.decode() if status >= 400 else ""))
            self.reply(status, body)

    with served(Forward) as url:
        asked = Asked(url)
        yield asked
