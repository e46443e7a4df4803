"""stripe-mock, Stripe's own: it answers from Stripe's OpenAPI document, and refuses what is not in it. Always test mode."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.packages import go_binary
from tests.servers.process import LOOPBACK, Server, free_port, listening, scratch
from tests.servers.sharing import shared

VERSION = "v0.203.0"


def build() -> Path:
    """Return the program. Skips where it is not in the cache: building it takes minutes."""
    return go_binary("github.com/stripe/stripe-mock", VERSION)


class StripeMock(Server):
    """stripe-mock at `url`; it accepts any key of test mode."""

    def __init__(self, directory: Path) -> None:
        port = free_port()
        self.url = f"http://{LOOPBACK}:{port}"
        super().__init__(
            "stripe-mock",
            [build(), "-http-addr", f"{LOOPBACK}:{port}"],
            directory=directory,
            ready=lambda: listening(port),
            deadline=60,
        )


@pytest.fixture(scope="session")
@shared
def stripe_mock() -> Iterator[StripeMock]:
    """stripe-mock, which has no state."""
    with scratch("stripe-mock") as folder, StripeMock(folder) as server:
        yield server
