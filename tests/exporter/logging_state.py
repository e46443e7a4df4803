"""Logging is one per process: tests that configure it leave it as they found it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from exporter import logs


@contextmanager
def unchanged_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers = root.handlers[:]
    levels = {name: logging.getLogger(name).level for name in (None, "exporter", "collectors", "apscheduler")}
    hidden = set(logs._hidden)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers[:] = handlers
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        logs._hidden.clear()
        logs._hidden.update(hidden)
