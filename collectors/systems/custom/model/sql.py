"""SQL: the one row that a query returns."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator

from collectors.shared.cel import Language
from collectors.shared.dsn import Dsn
from collectors.systems.custom.model.probe import Demand, Probe, named_once
from exporter.collector import Target
from exporter.options import Duration
from exporter.verdict import Reason

__all__ = ["QueriedDatabase", "Role", "Sql"]

_ROW = Language(row="dyn", rows="int", replica="bool", latency="duration")
Condition = Annotated[str, _ROW.condition]


class Role(StrEnum):
    """Which instances of a DSN with several hosts are asked."""

    ANY = "any"
    PRIMARY = "primary"
    STANDBY = "standby"


class QueriedDatabase(Target):
    """A database to ask."""

    dsn: Dsn = Field(description="Connection string or URI of PostgreSQL; each of its hosts is asked.")


def _query(text: str) -> str:
    query = text.strip().rstrip(";").rstrip()
    if not query:
        raise ValueError("expected a query")
    return query


def _named_once(databases: tuple[QueriedDatabase, ...]) -> tuple[QueriedDatabase, ...]:
    named_once(tuple(database.name for database in databases))
    return databases


class Sql(Probe):
    """A query whose row must meet conditions. It runs in a read-only transaction."""

    language: ClassVar[Language] = _ROW
    demands: ClassVar = {"rows": Demand("rows == 1", Reason.MISSING, "does not return one row")}

    dsn: Dsn | None = Field(None, description="Connection string or URI of PostgreSQL; each of its hosts is asked.")
    targets: Annotated[tuple[QueriedDatabase, ...], AfterValidator(_named_once)] = Field(
        (), max_length=100, description="Several databases instead of one `dsn`, each with a `name`."
    )
    role: Role = Field(
        Role.ANY,
        description="Which instances are asked: `primary` or `standby`, where the DSN has several hosts; `any` asks all of them.",
    )
    query: Annotated[str, AfterValidator(_query)] = Field(
        max_length=20_000,
        description="One SELECT that returns one row. Tables are written with their schema, such as `public.orders`.",
    )
    timeout: Duration = Field(
        timedelta(seconds=5), gt=timedelta(0), description="How long the connection and the query may take, each."
    )
    conditions: tuple[Condition, ...] = Field(
        min_length=1,
        description="What must be true, in CEL: `row` (its columns by name), `rows` (0, 1, or 2 for more than one), `replica` (the "
        "instance is in recovery), `latency` (of the query). Unless a condition names `rows`, there must be exactly one.",
    )
    warn_unless: tuple[Condition, ...] = Field((), description="Conditions without which the line is a `warning`.")

    def __hash__(self) -> int:  # options of a target are mappings, which have none
        return hash((self.query, self.conditions))

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if bool(self.dsn) == bool(self.targets):
            raise ValueError("expected either dsn or targets")
        return self

    @property
    def parts(self) -> tuple[Target, ...]:
        """The databases that have names."""
        return self.targets

    @property
    def longest(self) -> timedelta:
        """How long one database may take: its hosts are asked at the same time."""
        return self.timeout * 3 + timedelta(seconds=2)

    @property
    def subject(self) -> str:
        """What is checked."""
        return f"the row of `{' '.join(self.query.split())}` is as wanted"
