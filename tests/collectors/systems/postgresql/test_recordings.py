"""What a real PostgreSQL answers in the states that `test_judge_recorded.py` judges."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import msgspec

from collectors.shared.dsn import parse_dsn
from collectors.systems.postgresql.client.session import Session
from collectors.systems.postgresql.judge.health import READ_ONLY
from collectors.systems.postgresql.model.instance import (
    ConnectionLimit,
    Connections,
    Freeze,
    Instance,
    Receiver,
    Sender,
    Wal,
)
from collectors.systems.postgresql.model.settings import Settings
from exporter.options import Secret
from tests.recordings import Record, record
from tests.servers.postgresql import Cluster, Postgres

__all__ = ["record"]


@dataclass(frozen=True)
class Answers:
    """What one instance answers: a primary has `wal`, a standby a `receiver`."""

    instance: Instance
    connections: Connections
    connection_limits: list[ConnectionLimit]
    freezes: list[Freeze]
    settings: Settings
    senders: list[Sender]
    wal: Wal | None
    receiver: Receiver | None


async def answers(*instances: Postgres) -> list[Answers]:
    """What each instance answers to the role of the exporter."""
    found = []
    for instance in instances:
        [parameters] = parse_dsn(Secret(instance.dsn()))
        session = await Session.open(parameters, timedelta(seconds=20))
        try:
            standby = session.instance.identity.in_recovery
            found.append(
                Answers(
                    session.instance,
                    await session.connections(),
                    await session.connection_limits(),
                    sorted(await session.freezes(), key=lambda freeze: freeze.database),
                    await session.settings([READ_ONLY]),
                    await session.senders(),
                    None if standby else await session.wal(),
                    await session.receiver() if standby else None,
                )
            )
        finally:
            await session.close()
    return found


def names(pair: Cluster, found: list[Answers]) -> dict[str, str]:
    """Ports as in the documentation of PostgreSQL, and starts one after the other: by these a server named twice is known."""
    starts = {msgspec.to_builtins(one.instance.identity.started): one.instance.where for one in found}
    ports = {str(pair.primary.port): "5432", str(pair.standby.port): "5433"}
    return ports | {start: f"2027-01-31T11:0{number}:00Z" for number, start in enumerate(starts)}


async def test_a_pair_that_is_well_and_its_standby_alone(pair: Cluster, record: Record) -> None:
    pair.caught_up()
    both = await answers(pair.primary, pair.standby)
    record("postgresql", "pair_healthy", both, names=names(pair, both))
    record("postgresql", "standby_alone", both[1:], names=names(pair, both))


async def test_a_role_that_may_only_read_and_a_database_that_takes_no_more(pair: Cluster, record: Record) -> None:
    with (
        pair.primary.statements("CREATE ROLE recorded LOGIN", "DROP ROLE recorded"),
        pair.primary.statements(f"ALTER ROLE recorded SET {READ_ONLY} = on", f"ALTER ROLE recorded RESET {READ_ONLY}"),
        pair.primary.statements(
            "ALTER DATABASE orders CONNECTION LIMIT 1", "ALTER DATABASE orders CONNECTION LIMIT -1"
        ),
    ):
        found = await answers(pair.primary)
        record("postgresql", "read_only_role_database_full", found, names=names(pair, found))
