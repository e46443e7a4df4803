"""The watch over leftovers sees each kind of them."""

import asyncio
import socket
import subprocess
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.conftest import held
from tests.servers.process import eventually

Leftover = Callable[[], AbstractContextManager[None]]


@contextmanager
def thread() -> Iterator[None]:
    event = threading.Event()
    running = threading.Thread(target=event.wait)
    running.start()
    yield
    event.set()
    running.join()


@contextmanager
def task() -> Iterator[None]:
    running = asyncio.get_running_loop().create_task(asyncio.sleep(60))
    yield
    running.cancel()


@contextmanager
def listener() -> Iterator[None]:
    with socket.create_server(("127.0.0.1", 0)):
        yield


@contextmanager
def child() -> Iterator[None]:
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        yield
        process.kill()


@pytest.mark.parametrize("leftover", [thread, task, listener, child])
async def test_what_is_left_behind_is_seen(leftover: Leftover) -> None:
    before = held()
    with leftover():
        assert len(held() - before) == 1
    await eventually(lambda: not held() - before, "all to be let go", 5)


def test_a_test_that_leaves_something_behind_fails(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_mode = auto\n")
    pytester.makeconftest("from tests.conftest import no_leftovers")
    pytester.makepyfile(
        """
        import asyncio, pytest

        @pytest.mark.usefixtures("no_leftovers")
        async def test_leaky():
            asyncio.get_running_loop().leaked = asyncio.create_task(asyncio.sleep(60))

        @pytest.mark.usefixtures("no_leftovers")
        async def test_tidy():
            await asyncio.to_thread(print, "done")
        """
    )
    done = pytester.runpytest_subprocess("-p", "no:randomly", "-p", "no:cacheprovider")
    done.assert_outcomes(passed=2, errors=1)
    done.stdout.fnmatch_lines(["*The test left behind: {<Task pending*"])


def test_each_reason_for_skipping_is_printed_once(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makeconftest("from tests.conftest import pytest_terminal_summary")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", range(3))
        def test_one(number):
            pytest.skip("There is no server.")

        def test_two():
            pytest.skip("There is no server.")

        def test_three():
            pytest.skip("There is no network.")
        """
    )
    done = pytester.runpytest_subprocess("-p", "no:randomly", "-p", "no:cacheprovider")
    done.stdout.fnmatch_lines(["*= skipped =*", "    4 × There is no server.", "    1 × There is no network."])


def test_tests_that_share_something_run_in_one_worker(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makeconftest("from tests.conftest import pytest_addoption, pytest_collection_modifyitems")
    shared = """
        import os, pytest

        @pytest.fixture(scope="module")
        def server():
            print("A worker starts it.")

        @pytest.mark.parametrize("number", range(6))
        def test_shared(server, number):
            with open("order", "a") as file:
                print("shared", os.environ["PYTEST_XDIST_WORKER"], file=file)

        @pytest.mark.parametrize("number", range(6))
        def test_alone(number):
            with open("order", "a") as file:
                print("alone", os.environ["PYTEST_XDIST_WORKER"], file=file)
        """
    (pytester.mkdir("tests") / "test_it.py").write_text(textwrap.dedent(shared))
    options = ("-n2", "--dist=loadgroup", "--no-loadscope-reorder", "--import-mode=importlib", "-p", "no:cacheprovider")
    done = pytester.runpytest_subprocess(*options)
    done.assert_outcomes(passed=12)
    ran = [line.split() for line in (pytester.path / "order").read_text().splitlines()]
    assert len({worker for kind, worker in ran if kind == "shared"}) == 1
