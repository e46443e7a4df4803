"""Build every server that takes minutes, one after the other: ``python -m tests.servers``, or ``make servers``.

Such a server's module has a function ``build``. Ends with 1 when one of them cannot be had here; the reasons are printed.
"""

import os
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest

from tests.servers import packages


def main() -> int:
    """Build them all; the caches that this takes (gigabytes) are dropped at the end."""
    os.environ[packages.BUILD] = "1"
    missing = 0
    for path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        if (build := getattr(import_module(f"tests.servers.{path.stem}"), "build", None)) is None:
            continue
        started = time.monotonic()
        try:
            build()
        except (pytest.skip.Exception, pytest.fail.Exception) as reason:
            missing += 1
            print(f"{path.stem}: {reason}", flush=True)  # noqa: T201
        else:
            print(f"{path.stem}: there after {time.monotonic() - started:.0f} s", flush=True)  # noqa: T201
    packages.drop_build_caches()
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
