"""What collectors know of dependencies, and that a plug-in which is wrong about them costs nobody else theirs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from exporter.causes import Cause
from exporter.collector import Collector, NoTarget, SectionSettings, Target, item
from exporter.dependencies import built_in
from exporter.plan import Job
from exporter.verdict import CRITICAL, Result, ok


class Need(str):
    """A need that names the client which asks for it, with an option where it is only asked for with that."""

    __slots__ = ("client", "option")

    client: str
    option: str


def need(client: str, option: str = "") -> Need:
    made = Need("a right")
    made.client, made.option = client, option
    return made


class Store(Collector[SectionSettings, NoTarget]):
    @item("Answers", severity=CRITICAL)
    async def answers(self) -> Result:
        return ok("It does.")

    @item("Is asked", severity=CRITICAL, needs=(need("server"),))
    async def is_asked(self) -> Result:
        return ok("It is.")

    @classmethod
    def provides(cls, target: Any) -> Mapping[str, Iterable[str]]:
        return {"answers": ["server", target.name if target else "store"], "unknown": ["more"]}


class Reader(Collector[SectionSettings, NoTarget]):
    @item("Reads", severity=CRITICAL, needs=(need("server", option="team"),))
    async def reads(self) -> Result:
        return ok("It does.")

    @classmethod
    def relies_on(cls, target: Any) -> Mapping[str, Iterable[str]]:
        return {"reads": [target.name if target else "store", "nobody's"]}


class Raising(Store):
    @classmethod
    def provides(cls, target: Any) -> Mapping[str, Iterable[str]]:
        raise RuntimeError("c4n4ry")


class Shapeless(Store):
    provides = None  # type: ignore[assignment]


class Wrong(Store):
    @classmethod
    def provides(cls, target: Any) -> Mapping[str, Iterable[str]]:
        return ["answers"]  # type: ignore[return-value]


def job(collector: type[Collector[Any, Any]], section: str, target: str = "", **settings: Any) -> Job:
    return Job(
        section,
        target,
        collector,
        SectionSettings(**settings),
        Target(name=target) if target else None,
        tuple(collector.items()),
    )


def test_lines_rely_on_what_others_provide_and_on_the_servers_that_they_ask() -> None:
    assert built_in([job(Store, "store"), job(Reader, "reader")]) == {
        ("store", "is_asked"): (Cause("store", "answers", unseen=True),),
        ("reader", "reads"): (Cause("store", "answers", (("", ""),)),),
    }
    (found,) = [
        causes
        for (section, _), causes in built_in([job(Store, "store"), job(Reader, "reader", team="a")]).items()
        if section == "reader"
    ]
    assert Cause("store", "answers", unseen=True) in found, "the option is set"


def test_targets_rely_on_the_targets_of_the_same_name() -> None:
    jobs = [job(Store, "store", name) for name in ("a", "b")] + [job(Reader, "reader", name) for name in ("b", "c")]
    assert built_in(jobs)["reader", "reads"] == (Cause("store", "answers", (("b", "b"),)),)


@pytest.mark.parametrize("kind", [Raising, Shapeless, Wrong])
def test_a_plug_in_that_is_wrong_has_no_dependencies_and_the_others_have_theirs(
    kind: type[Collector[Any, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    jobs = [job(kind, "broken", name) for name in "ab"] + [job(Store, "store"), job(Reader, "reader")]
    assert built_in(jobs)["reader", "reads"] == (Cause("store", "answers", (("", ""),)),)
    assert len([record for record in caplog.records if f"{kind.__name__}.provides is not used" in record.message]) == 1
    assert "c4n4ry" not in caplog.text
