"""Proposals: what a line that is bound to nothing might mean."""

from __future__ import annotations

import time

import pytest

from exporter.catalogue import Catalogue
from exporter.proposals import Proposals

PROPOSALS = Proposals(Catalogue.load().entries.values())


@pytest.mark.parametrize(
    ("title", "heading", "item"),
    [
        ("Slow queries are logged", "Database", "postgresql.slow_query_logging_enabled"),
        ("We have a rollback plan", "", "final_checklist.rollback_plan_ready"),
        ("Redis persistence (AOF) on", "", "redis.persistence_configured"),
        ("API is rate limited", "API", "api_service.rate_limiting_active"),
        ("Runbooks exist", "", "documentation.runbooks_created"),
    ],
)
def test_the_nearest_items_are_proposed(title: str, heading: str, item: str) -> None:
    assert item in [entry.id for entry in PROPOSALS.of(title, heading)]


@pytest.mark.parametrize("title", ["Coffee is hot", "", "…", "数据库", "is are was"])
def test_nothing_is_proposed_where_nothing_is_near(title: str) -> None:
    assert PROPOSALS.of(title) == []


def test_many_lines_take_little_time() -> None:
    started = time.process_time()
    for number in range(1000):
        PROPOSALS.of(f"Backups of service {number} are tested every week", "Operations")
    assert time.process_time() - started < 20
