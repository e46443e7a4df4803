"""What every test has at hand: the fixtures of the real servers, and a watch over what a test leaves behind."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.servers.process import eventually

SERVERS = "tests.servers"

pytest_plugins = [
    "pytester",
    *(
        f"{SERVERS}.{path.stem}"
        for path in sorted(Path(__file__).parent.glob("servers/[a-z]*.py"))
        if path.stem[:5] != "test_"
    ),
]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of one file that share a real server in one worker, so that it is started once for them."""
    for item in items:
        if isinstance(item, pytest.Function) and _uses_server(item) and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


def _uses_server(test: pytest.Function) -> bool:
    definitions = test._fixtureinfo.name2fixturedefs.values()
    return any(known[-1].func.__module__.startswith(f"{SERVERS}.") for known in definitions)


@pytest.fixture
async def no_leftovers() -> AsyncIterator[None]:
    """Fail a test that leaves a thread, a task, an internet socket or a child process behind."""
    before = held()
    yield
    await asyncio.get_running_loop().shutdown_default_executor()
    gc.collect()
    with suppress(TimeoutError):
        await eventually(lambda: not held() - before, "all to be let go", deadline=5)
    left = held() - before
    assert not left, f"The test left behind: {left}"


def held() -> set[object]:
    """Return the threads, tasks, internet sockets and child processes that there are now."""
    process = psutil.Process()
    sockets = {(connection.fd, connection.laddr) for connection in process.net_connections("inet")}
    return {*threading.enumerate(), *asyncio.all_tasks(), *sockets, *process.children()} - {asyncio.current_task()}
