"""One running server for all who use its fixture.

Every conftest.py that imports a fixture has one of its own, of which pytest knows nothing in common: without this, each folder
of tests would start its own server.
"""

import functools
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Generic, ParamSpec, TypeVar

import pytest

P = ParamSpec("P")
T = TypeVar("T")


class _Running(Generic[T]):
    """A server that the first user starts and the last one stops."""

    def __init__(self, server: AbstractContextManager[T]) -> None:
        self._server = server
        self._started: list[T] = []
        self.users = 0

    def __enter__(self) -> T:
        if not self._started:
            self._started.append(self._server.__enter__())
        self.users += 1
        return self._started[0]

    def __exit__(self, *error: Any) -> None:
        self.users -= 1
        if not self.users:
            self._server.__exit__(*error)


def shared(start: Callable[P, Iterator[T]]) -> Callable[P, Iterator[T]]:
    """Return the fixture function that starts a server unless one with the same parameters runs in this process."""
    running: dict[Hashable, _Running[T]] = {}

    @functools.wraps(start)
    def fixture(*args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        key = tuple(_identity(value) for _, value in sorted(kwargs.items()))
        server = running.setdefault(key, _Running(contextmanager(start)(*args, **kwargs)))
        try:
            with server as started:
                yield started
        finally:
            if not server.users:
                running.pop(key, None)

    return fixture


def _identity(argument: object) -> Hashable:
    """What tells one server from another: the parameter of a request, the identity of another fixture."""
    if isinstance(argument, pytest.FixtureRequest):
        return repr(getattr(argument, "param", None))
    return None if isinstance(argument, pytest.TempPathFactory) else id(argument)
