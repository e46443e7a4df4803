"""Results and how they combine; items and facts of a collector."""

from datetime import UTC, datetime
from typing import Any

import pytest

from exporter.collector import Client, Collector, NoTarget, Options, SectionSettings, item
from exporter.threads import Threads
from exporter.verdict import CRITICAL, ProbeError, Result, Status, failed, ok, unknown, warning, worst
from tests.support import make_context

EARLY, LATE = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("results", "status", "summary"),
    [
        ((ok("A."), ok("B.")), Status.OK, "A. B."),
        ((ok("A."), ok("A.")), Status.OK, "A."),
        ((ok("A."), warning("B.")), Status.WARNING, "B."),
        ((warning("A."), unknown("B."), unknown("C.")), Status.UNKNOWN, "B. C."),
        ((unknown("A."), failed("B."), ok("C.")), Status.FAILED, "B."),
    ],
)
def test_the_worst_verdict_counts(results: tuple[Result, ...], status: Status, summary: str) -> None:
    assert (worst(*results).status, worst(*results).summary) == (status, summary)


def test_combining_keeps_measurements_and_the_earliest_end() -> None:
    combined = worst(ok("A.", valid_until=LATE, lag_bytes=1), ok("B.", valid_until=EARLY, free_bytes=2))
    assert combined.measurements == {"lag_bytes": 1, "free_bytes": 2}
    assert combined.valid_until == EARLY


def test_no_verdict_is_not_a_good_one() -> None:
    with pytest.raises(ValueError, match="at least one"):
        worst()


class Sample(Collector[SectionSettings, NoTarget]):
    """A section."""

    @item("A line", severity=CRITICAL)
    async def a_line(self) -> Result:
        """Why."""
        return ok("Seen.")


class Other(Client[Options]):
    name = "other"
    Settings = Options


async def test_a_client_that_is_not_configured_is_named() -> None:
    collector = Sample(SectionSettings(), None, make_context())
    assert not collector.has_client(Other)
    with pytest.raises(ProbeError, match=r"clients\.other is not configured"):
        collector.client(Other)
    clients: dict[str, Client[Any]] = {"other": Other(Options(), Threads())}
    collector = Sample(SectionSettings(), None, make_context(clients=clients))
    assert collector.client(Other) is clients["other"]
    await clients["other"].close()


async def test_an_item_without_evidence_rule_has_no_evidence() -> None:
    with pytest.raises(TypeError, match="declares no evidence rule"):
        await Sample(SectionSettings(), None, make_context()).attested("a_line")


def test_items_are_found_in_their_order_with_what_they_declare() -> None:
    assert list(Sample.items()) == ["a_line"]
    found = Sample.items()["a_line"]
    assert (found.line, found.severity, found.description) == ("A line", CRITICAL, "Why.")
    assert Sample.section() == "test_collector"
