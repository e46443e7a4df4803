"""A folder of evidence for the tests of sections that are verified by it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark import ParameterSet

from exporter.evidence.validity import Evidence
from exporter.http import HttpSettings
from exporter.runner import utc_now
from tests.support import Clock

NOW = datetime(2026, 10, 13, 12, tzinfo=UTC)


class Folder:
    """Records of one section, written as a team would; `hosts` are the addresses that may be opened."""

    def __init__(self, path: Path, section: str) -> None:
        self.path = path
        self.section = section
        self.clock = Clock(NOW)
        self.release: str | None = "1.4.2"
        self.hosts: list[str] = []
        self._opened: list[Evidence] = []

    def record(self, item: str, **values: Any) -> Path:
        """Write the record for an item, instead of the one there was; `None` leaves a key out."""
        record = {"item": f"{self.section}.{item}", "result": "passed", "by": "team@example.com", "on": "2026-10-01"}
        path = self.path / f"{item}.yaml"
        written = {key: value for key, value in (record | values).items() if value is not None}
        path.write_text(json.dumps(written))
        return path

    def tear(self, item: str) -> None:
        """Leave half of the record for an item."""
        path = self.path / f"{item}.yaml"
        path.write_bytes(path.read_bytes()[:-20])

    @property
    def context(self) -> dict[str, Any]:
        """Options for `verify`: this evidence, in this environment, at this time."""
        hosts = tuple(
            HttpSettings.model_validate_json(json.dumps({"url": url, "timeout": "20s"})) for url in self.hosts
        )
        evidence = Evidence(
            self.path,
            now=self.clock,
            environment="production",
            release=self.release,
            hosts=hosts,
            allowed_signers=self.path / "allowed_signers",
        )
        self._opened.append(evidence)
        return {"evidence": evidence, "release": self.release, "now": self.clock}

    async def close(self) -> None:
        """Let go of what was opened."""
        for evidence in self._opened:
            await evidence.close()


def evidence_of(section: str, *, pages: bool = False, today: bool = False) -> Any:
    """Make a fixture: an empty folder of evidence for a section.

    With `pages` it may open the links of that site; with `today` its clock stands at this moment instead of at `NOW`.
    """

    @pytest.fixture
    async def evidence(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Folder]:
        made = Folder(tmp_path, section)
        if pages:
            made.hosts = [request.getfixturevalue("pages").url]
        if today:
            made.clock.at = utc_now()
        yield made
        await made.close()

    return evidence


def attested(folder: Path, item: str, *, days_ago: int = 1, **values: Any) -> Evidence:
    """The evidence of a folder in which a record of these days ago says that an item (with its section) passed."""
    folder.mkdir(exist_ok=True)
    on = (utc_now() - timedelta(days=days_ago)).date()
    record = {"item": item, "result": "passed", "by": "team@example.com", "on": str(on), **values}
    (folder / f"{item}.yaml").write_text(json.dumps(record))
    return Evidence(folder, environment="production", now=utc_now)


def each(section: str, items: Iterable[str], *statuses: str) -> list[ParameterSet]:
    """Items as parameters of a test that sees each of them in these statuses."""
    return [
        pytest.param(item, marks=[pytest.mark.verifies(f"{section}.{item}", status) for status in statuses], id=item)
        for item in items
    ]
