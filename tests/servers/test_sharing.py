"""Fixtures that several folders import share one server, which stops with its last user."""

from __future__ import annotations

import re
from collections import Counter

import pytest

SERVER = """
import pytest
from tests.servers.sharing import shared

@pytest.fixture(scope="session", params=["old", "new"])
@shared
def server(request):
    print("start", request.param)
    yield object()
    print("stop", request.param)

@pytest.fixture(scope="session")
@shared
def plain(tmp_path_factory):
    print("start plain")
    yield object()
    print("stop plain")

@pytest.fixture(scope="session")
@shared
def missing():
    pytest.skip("cannot be had")
    yield
"""
TESTS = """
seen = []

def test_it(server): pass
def test_plain(plain): print(f"plain is {id(plain)}")
def test_missing(missing): pass
"""


def test_a_server_is_started_once_for_all_folders(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(the_server=SERVER)
    for folder in ("a", "b"):
        pytester.mkpydir(folder)
        (pytester.path / folder / "conftest.py").write_text("from the_server import missing, plain, server\n")
        (pytester.path / folder / "test_it.py").write_text(TESTS)
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    done = pytester.runpytest_subprocess("-p", "no:randomly", "-p", "no:cacheprovider", "-s", "-rs")
    done.assert_outcomes(passed=6, skipped=2)
    text = done.stdout.str()
    assert Counter(re.findall(r"(?:start|stop) \w+", text)) == {
        f"{what} {which}": 1 for what in ("start", "stop") for which in ("old", "new", "plain")
    }
    assert len(set(re.findall(r"plain is \d+", text))) == 1
