"""What is done to Neo4j's driver, and to nats-py, so that they take no more memory than they need."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import suppress

import pytest

from collectors.shared.lean_imports import without
from collectors.systems.neo4j.client.bolt import _library, within


@pytest.mark.parametrize(
    ("load", "absent"),
    [
        ("collectors.systems.neo4j.client.bolt import _library as load", ("numpy", "pandas", "pyarrow")),
        ("collectors.systems.nats.client.connection import _client as load", ("aiohttp",)),
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


async def _cancels_itself_once_more(then: BaseException | None) -> None:
    """As the driver does where it is cancelled between two looks at a socket; afterwards it waits on, or raises."""
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        assert task
        task.cancel()
        if then is not None:
            raise then from None
        await asyncio.sleep(60)


@pytest.mark.parametrize("then", [None, OSError("The socket is closed.")], ids=["waits on", "raises"])
async def test_time_is_over_also_where_the_driver_cancels_its_own_task(then: BaseException | None) -> None:
    with pytest.raises(TimeoutError):
        async with within(asyncio.get_running_loop().time() + 0.01):
            await _cancels_itself_once_more(then)
    task = asyncio.current_task()
    assert task
    assert task.cancelling() == 0
    await asyncio.sleep(0)  # nothing is left to be cancelled by


async def test_who_cancels_in_time_is_heard() -> None:
    async def wait() -> None:
        async with within(asyncio.get_running_loop().time() + 60):
            await asyncio.sleep(60)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
