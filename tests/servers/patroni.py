"""Patroni from the package index: members that keep their own consensus (Raft), or have etcd keep it, over PostgreSQL 15."""

import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.servers.kubernetes import VERSION, component
from tests.servers.packages import python_packages, skip_or_fail
from tests.servers.postgresql import Postgres, Programs, create_monitor, postgresql_15, run_unprivileged
from tests.servers.process import LOOPBACK, Server, call, free_port, scratch, unprivileged, wait_until
from tests.servers.sharing import shared

_PACKAGES = {store: (f"patroni[{store}]>=4.1", "psycopg[binary]>=3.2") for store in ("raft", "etcd3")}
_MINORS = (f".{sys.version_info.minor}", "", ".11", ".12", ".13", ".14")


class Member(Server):
    """One member: Patroni, and the PostgreSQL that it runs as `instance`."""

    def __init__(
        self,
        programs: Programs,
        directory: Path,
        name: str,
        store: Mapping[str, object],
        tags: Mapping[str, object] | None = None,
        *,
        scope: str = "orders",
        **dcs: object,
    ) -> None:
        self.instance = Postgres(programs, directory, name)
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.configuration = directory / f"{name}.yaml"
        self._values = {**self._configuration(name, scope, dcs), **store, "tags": dict(tags or {})}
        self.configuration.write_text(json.dumps(self._values))
        (kind,) = store
        packages = python_packages(*_PACKAGES[kind], python=_interpreter())
        super().__init__(
            f"patroni-{name}",
            [_interpreter(), "-m", "patroni", self.configuration],
            directory=directory,
            env={**programs.env, "PYTHONPATH": str(packages)},
            ready=lambda: True,  # neither is, without the other: two make the quorum
            user=unprivileged(),
        )

    def reload(self, **values: object) -> None:
        """Let it read its configuration again, in which these values are others than when it was made."""
        self.configuration.write_text(json.dumps({**self._values, **values}))
        urlopen(Request(f"{self.url}/reload", b"", method="POST"), timeout=10).close()

    def status(self) -> dict[str, Any]:
        """What it reports of itself, whatever its PostgreSQL does."""
        try:
            with urlopen(f"{self.url}/patroni", timeout=10) as reply:
                return dict(json.load(reply))
        except HTTPError as error:
            with error:
                return dict(json.load(error))

    def _configuration(self, name: str, scope: str, dcs: Mapping[str, object]) -> dict[str, Any]:
        instance = self.instance
        return {
            "scope": scope,
            "name": name,
            "restapi": {"listen": f"{LOOPBACK}:{self.port}", "connect_address": f"{LOOPBACK}:{self.port}"},
            "bootstrap": {
                "dcs": {"ttl": 30, "loop_wait": 1, "retry_timeout": 10, **dcs},
                "initdb": ["no-sync", {"auth": "trust"}, {"locale": "C.UTF-8"}],
            },
            "postgresql": {
                "listen": f"{LOOPBACK}:{instance.port}",
                "connect_address": f"{LOOPBACK}:{instance.port}",
                "data_dir": str(instance.data),
                "bin_dir": str(instance.programs.folder),
                "pgpass": f"{instance.directory}/pgpass-{name}",
                "basebackup": [{"checkpoint": "fast"}],
                "authentication": {"superuser": {"username": "postgres"}, "replication": {"username": "postgres"}},
                "parameters": {"unix_socket_directories": str(instance.directory), "shared_buffers": "16MB"},
                "pg_hba": [
                    "local all all trust",
                    "host all,replication postgres 127.0.0.1/32 trust",
                    "host all,replication all 127.0.0.1/32 scram-sha-256",
                ],
            },
        }


class Patroni:
    """A cluster. `url` is the REST API of one of them, `leader` the PostgreSQL that leads."""

    def __init__(self, members: list[Member]) -> None:
        self.url = members[0].url
        self._members = members

    @property
    def leader(self) -> Postgres:
        """The instance that is the primary now, once it takes writes."""
        wait_until(self._led, "a leader that takes writes")
        return self._shown_as_leader()

    def _led(self) -> bool:
        return self._shown_as_leader().query("SELECT pg_is_in_recovery()") == [(False,)]

    def _shown_as_leader(self) -> Postgres:
        port = next(member["port"] for member in self.cluster()["members"] if member["role"] == "leader")
        return next(member.instance for member in self._members if member.instance.port == port)

    @property
    def asked(self) -> Member:
        """The member that `url` is of."""
        return self._members[0]

    def switch_over(self) -> None:
        """Let the other member lead."""
        names = {member["role"]: member["name"] for member in self.cluster()["members"]}
        body = json.dumps({"leader": names["leader"], "candidate": names["replica"]}).encode()
        urlopen(Request(f"{self.url}/switchover", body, method="POST"), timeout=60).close()
        wait_until(self.following, "the other member to lead", 60)

    @property
    def follower(self) -> Member:
        """A member that does not lead."""
        leader = self.leader
        return next(member for member in self._members if member.instance is not leader)

    def any_dsn(self) -> str:
        """Return a connection string for both instances, whoever leads."""
        first, *others = (member.instance for member in self._members)
        return first.dsn(*others)

    def status(self) -> dict[str, Any]:
        """What the asked member reports of itself, whatever its PostgreSQL does."""
        return self.asked.status()

    def cluster(self) -> dict[str, Any]:
        """What /cluster answers."""
        return dict(call(f"{self.url}/cluster"))

    def following(self) -> bool:
        """Whether there are a leader that takes writes, and a standby that streams on its timeline."""
        members = self.cluster()["members"]
        found = {member["role"]: member["state"] for member in members}
        timelines = {member.get("timeline") for member in members}
        return (
            found.get("leader") == "running"
            and found.get("replica") == "streaming"
            and len(timelines) == 1
            and self._led()
        )

    def pause(self, on: bool) -> None:
        """Stop, or resume, automatic failover."""
        self.configure(pause=on or None)
        wait_until(lambda: bool(self.cluster().get("pause")) is on, "Patroni to be paused or resumed")

    def synchronous(self, on: bool) -> None:
        """Let synchronous standbys alone take over, or any."""
        self.configure(synchronous_mode=on or None)
        role = "sync_standby" if on else "replica"
        wait_until(lambda: role in {member["role"] for member in self.cluster()["members"]}, f"a {role}")

    def configure(self, **values: object) -> None:
        body = json.dumps(values).encode()
        urlopen(Request(f"{self.url}/config", body, method="PATCH"), timeout=10).close()


@cache
def _interpreter() -> str:
    """Return a Python that the servers' user may run: a virtual environment's, and what it is made of, may be root's alone."""
    candidates = (
        sys.executable,
        *(shutil.which(f"python3{minor}", path="/usr/bin:/usr/local/bin") for minor in _MINORS),
    )
    found = next((candidate for candidate in candidates if candidate and _runs(candidate)), None)
    if found is None:
        skip_or_fail(f"Patroni cannot be run: {unprivileged() or 'this user'} may run no Python 3.")
    return found


def _runs(interpreter: str) -> bool:
    try:
        run_unprivileged(interpreter, "-c", "")
    except (OSError, RuntimeError):
        return False
    return True


def members(stack: ExitStack, count: int, *, tags: Mapping[str, Mapping[str, object]] | None = None) -> list[Member]:
    """Members `one`, `two`, … of one cluster in a folder that the stack removes; some with tags. They are not started."""
    directory = stack.enter_context(scratch("patroni", unprivileged()))
    ports = {name: free_port() for name in ("one", "two", "three")[:count]}
    programs = postgresql_15()
    return [
        Member(
            programs,
            directory,
            name,
            _raft(directory / f"raft-{name}", port, [other for other in ports.values() if other != port]),
            (tags or {}).get(name),
        )
        for name, port in ports.items()
    ]


def _raft(directory: Path, port: int, partners: Sequence[int]) -> dict[str, object]:
    addresses = [f"{LOOPBACK}:{partner}" for partner in partners]
    return {"raft": {"data_dir": str(directory), "self_addr": f"{LOOPBACK}:{port}", "partner_addrs": addresses}}


class Etcd(Server):
    """A consensus store outside of the members; `store` is how Patroni finds it."""

    def __init__(self, directory: Path) -> None:
        client, peer = (f"http://{LOOPBACK}:{free_port()}" for _ in range(2))
        self.store = {"etcd3": {"url": client}}
        addresses = {"listen-client": client, "advertise-client": client, "listen-peer": peer}
        super().__init__(
            "etcd",
            [
                *(component("control_plane", VERSION), "etcd", "--name=test", f"--data-dir={directory / 'etcd'}"),
                *("--unsafe-no-fsync", "--log-level=warn", f"--initial-cluster=test={peer}"),
                *(f"--{name}-urls={url}" for name, url in {**addresses, "initial-advertise-peer": peer}.items()),
            ],
            directory=directory,
            ready=lambda: call(f"{client}/health")["health"] == "true",
            user=unprivileged(),
        )


@pytest.fixture(scope="session")
@shared
def patroni() -> Iterator[Patroni]:
    """A leader and a standby under Patroni; the leader has the collector's role and database."""
    with ExitStack() as stack:
        pair = members(stack, 2)
        for member in pair:
            stack.enter_context(member)
        cluster = Patroni(pair)
        wait_until(cluster.following, "the standby to stream under Patroni", 90)
        create_monitor(cluster.leader)
        yield cluster
