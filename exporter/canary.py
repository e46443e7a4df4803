"""A canary: a small server that connects to a few ports whenever its metrics are asked for, and shows what became of it.

Where it stands, and what its pod is labelled, decides what network policies let it reach. It sends nothing, and tries nothing else.
"""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["Canary", "Path", "connect", "metrics", "served"]

_KEPT_SECONDS = 5.0
"""For how long an outcome is shown again: two who ask at once do not connect twice."""

_REJECTED = {errno.EHOSTUNREACH, errno.EACCES, errno.EPERM, errno.ECONNABORTED}
_NAMES = 'checklist_canary_connection{{target="{target}",expected="{expected}",outcome="{outcome}"}} 1'
_HELP = """\
# HELP checklist_canary_connection What became of a connection just now: open, refused, rejected, dropped, or not tried.
# TYPE checklist_canary_connection gauge
{connections}
# HELP checklist_canary_as_expected Whether a port is open that should be, or dropped or rejected where it should be closed.
# TYPE checklist_canary_as_expected gauge
{verdicts}
"""


@dataclass(frozen=True, slots=True)
class Path:
    """A port, and whether a connection to it should be `open` or `closed`."""

    host: str
    port: int
    expected: str

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def connect(path: Path, timeout: float) -> str:
    """What becomes of a connection: open where one address of the name takes it."""
    try:
        with socket.create_connection((path.host, path.port), timeout=timeout):
            return "open"
    except TimeoutError:
        return "dropped"
    except ConnectionRefusedError:
        return "refused"
    except (OSError, UnicodeError) as error:
        return "rejected" if getattr(error, "errno", None) in _REJECTED else "not tried"


def metrics(outcomes: Mapping[Path, str]) -> str:
    """The metrics, as Prometheus reads them."""
    wanted = {"open": ("open",), "closed": ("dropped", "rejected")}
    connections = (
        _NAMES.format(target=path, expected=path.expected, outcome=outcome) for path, outcome in outcomes.items()
    )
    verdicts = (
        f'checklist_canary_as_expected{{target="{path}",expected="{path.expected}"}} {int(outcome in wanted[path.expected])}'
        for path, outcome in outcomes.items()
    )
    return _HELP.format(connections="\n".join(connections), verdicts="\n".join(verdicts))


class Canary:
    """Its paths, and what became of them a moment ago."""

    def __init__(self, paths: Sequence[Path], timeout: float) -> None:
        self._paths = paths
        self._timeout = timeout
        self._lock = threading.Lock()
        self._known: tuple[float, str] | None = None

    def page(self) -> str:
        """The metrics, of connections that are at most some seconds old."""
        with self._lock:
            if self._known is None or time.monotonic() - self._known[0] > _KEPT_SECONDS:
                with ThreadPoolExecutor(min(16, len(self._paths))) as threads:
                    outcomes = list(threads.map(lambda path: connect(path, self._timeout), self._paths))
                self._known = (time.monotonic(), metrics(dict(zip(self._paths, outcomes, strict=True))))
            return self._known[1]


def served(canary: Canary, address: tuple[str, int]) -> ThreadingHTTPServer:
    """A server for `/metrics` and `/-/healthy`, listening and not yet serving. Raises OSError where the address cannot be used."""

    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version = "checklist-exporter", ""
        timeout = 30

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            page = canary.page() if path == "/metrics" else "Healthy.\n" if path == "/-/healthy" else None
            body = (page or "Not found.\n").encode()
            self.send_response(200 if page else 404)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass  # one line a scrape is of no use to anybody

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET

    return Server(address, Handler)
