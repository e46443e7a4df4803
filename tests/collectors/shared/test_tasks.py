"""Tasks whose asker is gone."""

import asyncio
import gc

import pytest

from collectors.shared.tasks import started


async def test_what_a_task_raises_is_not_reported_when_its_asker_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ValueError

    def leave() -> None:
        started(fail())

    leave()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gc.collect()
    assert not caplog.records


async def test_who_still_asks_gets_it() -> None:
    async def fail() -> None:
        raise ValueError("told")

    with pytest.raises(ValueError, match="told"):
        await started(fail())
