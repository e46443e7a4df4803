"""What is done to Neo4j's driver, and to nats-py, so that they take no more memory than they need."""

from __future__ import annotations

import subprocess
import sys

import pytest

from collectors.clients.neo4j import _library
from collectors.clients.shared import without


@pytest.mark.parametrize(
    ("load", "absent"),
    [
        ("collectors.clients.neo4j import _library as load", ("numpy", "pandas", "pyarrow")),
        ("collectors.clients.nats import _client as load", ("aiohttp",)),
    ],
)
def test_what_only_costs_memory_is_not_imported(load: str, absent: tuple[str, ...]) -> None:
    # In a process of its own: here other tests may have imported them.
    program = f"import sys; from {load}; load(); print([name for name in {absent!r} if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert told.stdout == "[]\n"


def test_hidden_modules_can_be_imported_afterwards() -> None:
    sys.modules.pop("this_module_is_none", None)
    with without("this_module_is_none", "json"):
        assert sys.modules["this_module_is_none"] is None
        assert sys.modules["json"] is not None, "what was imported before stays"
    assert "this_module_is_none" not in sys.modules


def test_computed_tables_give_what_the_drivers_own_gave() -> None:
    _library()
    from neo4j import time
    from neo4j._codec.packstream import v1, v2

    for codec in (v1, v2):
        for number in (0, 255, 256, 40_000, 65_535):
            packed = number.to_bytes(2, "big")
            assert (codec.PACKED_UINT_16[number], codec.UNPACKED_UINT_16[packed]) == (packed, number)
    assert [time.Date.days_in_month(year, 2) for year in (1900, 2000, 2023, 2024)] == [28, 29, 28, 29]
    assert time.Date(2024, 2, 29).to_native().isoformat() == "2024-02-29"
