"""llmock from the Python package index: OpenAI's models, completions, errors and rate limits; it asks for no key."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.packages import python_packages
from tests.servers.process import LOOPBACK, Server, answers, free_port, scratch

_VERSION = "llmock==0.2.2"
#: The header that makes it answer with an error of this status.
FORCE = "x-llmock-force-status"


class Llmock(Server):
    """llmock at `url`, with so many requests and tokens a minute for each key."""

    def __init__(self, directory: Path, *, requests: int, tokens: int) -> None:
        port = free_port()
        self.url = f"http://{LOOPBACK}:{port}"
        limits = ["--rpm", str(requests), "--tpm", str(tokens)]
        super().__init__(
            "llmock",
            [
                sys.executable,
                "-m",
                "llmock.cli",
                "serve",
                "-h",
                LOOPBACK,
                "-p",
                str(port),
                "--log-level",
                "warning",
                *limits,
            ],
            directory=directory,
            env={"PYTHONPATH": str(python_packages(_VERSION))},
            ready=lambda: answers(f"{self.url}/v1/models"),
            deadline=90,
        )


@contextmanager
def llmock(*, requests: int, tokens: int) -> Iterator[Llmock]:
    """Run llmock with these limits."""
    with scratch("llmock") as folder, Llmock(folder, requests=requests, tokens=tokens) as server:
        yield server
