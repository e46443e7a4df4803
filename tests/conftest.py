"""A watch over what a test leaves behind, and the order in which tests run.

The fixtures of the real servers are imported by the conftest.py of each folder that uses them.
"""

import asyncio
import gc
import logging
import os
import signal
import socket
import stat
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import hypothesis
import psutil
import pytest

from tests.servers.process import eventually

# How long an example takes says more of the machine, which is busy, than of what is tested.
hypothesis.settings.register_profile(
    "busy machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("busy machine")

SERVERS = "tests.servers"

pytest_plugins = ["pytester"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of `make recordings`."""
    parser.addoption("--record", action="store_true", help="write what real servers answer to tests/recordings")


def pytest_configure() -> None:
    """Let programs under test hear Ctrl-C also where the tests run in the background, which ignores it for all below."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Take what is collected out of every later search for garbage: one took 0.3 s, and hundreds of tests ask for it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests of one file that share a server, or anything else that is set up once, in one worker, and order the tests.

    These files come first, since each keeps one worker busy for minutes, and then those of servers that take minutes to build,
    whose tests are marked, in the order in which `make servers` builds. The thousands of tests that any worker can run come last:
    they keep all workers busy to the end. With `--record` only the tests that record are left.
    """
    if config.getoption("--record"):
        others = [item for item in items if not (isinstance(item, pytest.Function) and "record" in item.fixturenames)]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]
    costly = sorted(name for name in sys.modules if name.startswith(SERVERS) and hasattr(sys.modules[name], "build"))
    turn: defaultdict[Path, int] = defaultdict(int)
    for item in items:
        used = _servers(item)
        if (used or _shares(item)) and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
        for module in (used | _given(item)) & set(costly):
            item.add_marker("built")
            turn[item.path] = max(turn[item.path], 1 + costly.index(module))
    alone = {item for item in items if not (item.get_closest_marker("xdist_group") or turn[item.path])}
    items.sort(key=lambda item: (item in alone, turn[item.path]))
    if hasattr(config, "workerinput") and config.getvalue("loadgroup"):
        _name_groups(items)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print each reason for skipping once, with the number of tests that it kept from running."""
    reasons = Counter(
        str(report.longrepr[2]).removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", ())
        if isinstance(report.longrepr, tuple)
    )
    if reasons:
        terminalreporter.section("skipped")
    for reason, count in reasons.most_common():
        terminalreporter.line(f"{count:5} × {reason}")


def _servers(item: pytest.Item) -> set[str]:
    """The modules of the servers whose fixtures a test uses."""
    if not isinstance(item, pytest.Function):
        return set()
    modules = {known[-1].func.__module__ for known in item._fixtureinfo.name2fixturedefs.values()}
    return {module for module in modules if module.startswith(f"{SERVERS}.")}


def _shares(item: pytest.Item) -> bool:
    """Whether a test uses something of ours that is set up once for several tests."""
    fixtures = item._fixtureinfo.name2fixturedefs.values() if isinstance(item, pytest.Function) else ()
    return any(known[-1].scope != "function" and known[-1].func.__module__.startswith("tests.") for known in fixtures)


def _name_groups(items: list[pytest.Item]) -> None:
    """Add the group of each test to its id, where xdist's scheduler reads it.

    xdist (3.8) writes to `_nodeid`, which pytest no longer reads since 9.2: no test was kept with another, and each worker started
    every server.
    """
    for item in items:
        group = item.get_closest_marker("xdist_group")
        if group and hasattr(item, "_id"):
            item._id = type(item._id).parse(f"{item.nodeid}@{group.args[0]}")


def _given(item: pytest.Item) -> set[str]:
    """The modules of the classes that a test is given as parameters."""
    parameters = (
        item.callspec.params.values() if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ()
    )
    return {parameter.__module__ for parameter in parameters if isinstance(parameter, type)}


@pytest.fixture
async def no_leftovers() -> AsyncIterator[None]:
    """Fail a test that leaves a thread, a task, an internet socket or a child process behind."""
    before = held()
    yield
    await asyncio.get_running_loop().shutdown_default_executor()
    gc.collect()
    with suppress(TimeoutError):
        await eventually(lambda: not held() - before, "all to be let go", deadline=5)
        return  # looking again would find what comes and goes, such as a server's thread for one request
    left = held() - before
    assert not left, f"The test left behind: {left}"


@pytest.fixture
def no_noise(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail a test in which a library logs what a user would read: the exporter shows what is a warning or worse."""
    yield
    told = [
        f"{record.name}: {record.getMessage()}"
        for record in caplog.get_records("call")
        if record.levelno >= logging.WARNING and not record.name.startswith(("exporter", "collectors"))
    ]
    assert not told


def held() -> set[object]:
    """Return the threads, tasks, internet sockets and child processes that there are now."""
    found = {*threading.enumerate(), *asyncio.all_tasks(), *_internet_sockets(), *psutil.Process().children()}
    return found - {asyncio.current_task()}


def _internet_sockets() -> Iterator[tuple[int, object]]:
    """The descriptors that are internet sockets, and their addresses; psutil would read those of the whole machine."""
    for descriptor in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208 - the one that lists is gone when it is looked at
        with suppress(OSError):
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                continue
            borrowed = socket.socket(fileno=descriptor)
            try:
                if borrowed.family in (socket.AF_INET, socket.AF_INET6):
                    yield descriptor, borrowed.getsockname()
            finally:
                borrowed.detach()
