"""Logging is one per process: tests that configure it leave it as they found it."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from exporter import logs


@contextmanager
def unchanged_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers = root.handlers[:]
    levels = {name: logging.getLogger(name).level for name in (None, "exporter", "collectors", "apscheduler")}
    hidden = logs._redactor
    logs._redactor = logs._Redactor()
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers[:] = handlers
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        logs._redactor = hidden
        sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
