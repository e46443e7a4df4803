"""Puts a service's own answers in order for a test: it hands requests on, and replaces single fields of what comes back."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

import msgspec

from tests.servers.web import Handler, served


@dataclass
class Overridden:
    """The service at `url`: `keys` are those that are handed on, and as what; others are refused by 401 with `refusal`.

    `fields` replace those of a path's document, objects within objects; `asked` are the requests and what they were answered.
    """

    url: str
    keys: dict[str, str]
    refusal: Mapping[str, Any] | None = None
    fields: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[tuple[str, int]] = field(default_factory=list)

    @property
    def refused(self) -> list[tuple[str, int]]:
        """The requests that the service does not know, or does not understand."""
        return [one for one in self.asked if one[1] in (400, 404, 405)]


@contextmanager
def overriding(service: str, keys: Mapping[str, str], refusal: Mapping[str, Any] | None = None) -> Iterator[Overridden]:
    """Answer as the service does. Without a `refusal`, keys that are not known are handed on for the service to refuse."""

    class Forward(Handler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            status, body, headers = self.forwarded(self.rfile.read(length) if length else None)
            state.asked.append((self.path, status))
            path = urlsplit(self.path).path
            if status == 200 and path in state.fields:
                body = msgspec.json.encode(_merged(msgspec.json.decode(body), state.fields[path]))
            kept = {
                name: value for name, value in headers.items() if name.lower().startswith(("content-type", "x-", "r"))
            }
            self.reply(status, body, kept)

        do_POST = do_GET

        def forwarded(self, body: bytes | None) -> tuple[int, bytes, dict[str, str]]:
            """What the service answers."""
            key = self.headers.get("Authorization", "").removeprefix("Bearer ")
            if refusal is not None and key not in state.keys:
                return 401, msgspec.json.encode(refusal), {"content-type": "application/json"}
            headers = {
                name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")
            }
            headers["Authorization"] = f"Bearer {state.keys.get(key, key)}"
            request = urllib.request.Request(service + self.path, body, headers, method=self.command)
            try:
                with urllib.request.urlopen(request, timeout=60) as reply:
                    return reply.status, reply.read(), dict(reply.headers)
            except HTTPError as error:
                return error.code, error.read(), dict(error.headers)

    with served(Forward) as url:
        state = Overridden(url, dict(keys), refusal)
        yield state


def _merged(document: Any, fields: Mapping[str, Any]) -> Any:
    """A document with some of its fields replaced."""
    both = {
        name: _merged(document[name], value)
        if isinstance(value, dict) and isinstance(document.get(name), dict)
        else value
        for name, value in fields.items()
    }
    return {**document, **both}
