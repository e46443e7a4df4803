"""Neo4j 5.26 Community from Maven, run by this machine's Java."""

import shutil
import signal
import ssl
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import neo4j
import pytest

from tests.servers.certificates import Issued
from tests.servers.packages import _kept, maven_classpath, skip_or_fail
from tests.servers.process import LOOPBACK, Server, free_port, listening, wait_until
from tests.servers.sharing import shared

VERSION = "5.26.30"
PASSWORD = "canary-of-the-neo4j-password"
"""The password of the user neo4j on a server that does not keep its default one."""

_PACKAGES = (
    "java.base/java.nio",
    "java.base/java.io",
    "java.base/sun.nio.ch",
    "java.base/java.lang",
    "java.base/java.util.concurrent",
)


def _classpath() -> str:
    if shutil.which("java") is None:
        skip_or_fail("There is no Java on this machine, which Neo4j runs on.")
    return maven_classpath(f"org.neo4j:neo4j:{VERSION}", f"org.neo4j.app:neo4j-server:{VERSION}")


def _archive() -> Path:
    """Return the archive of loaded classes that halves the time of a start, written by the end of the first one."""

    def make(folder: Path) -> None:
        with Neo4j(folder / "home", jvm=(f"-XX:ArchiveClassesAtExit={folder / 'classes.jsa'}",)) as server:
            server.signal(signal.SIGTERM)
            wait_until(lambda: not server.running, "Neo4j to write its archive", 180)
        shutil.rmtree(folder / "home")

    return _kept(f"neo4j-classes-{VERSION}", make, costly=True) / "classes.jsa"


def build() -> None:
    """Fetch Neo4j and write its archive, so that tests find them."""
    _archive()


class Neo4j(Server):
    """One Neo4j: Bolt on ``port`` and HTTP (HTTPS with ``tls``) on ``http_port``, with the password neo4j/neo4j still to change.

    ``tls`` is its certificate, which Bolt then demands. ``settings`` are of neo4j.conf.
    """

    def __init__(
        self,
        directory: Path,
        *,
        tls: Issued | None = None,
        settings: Mapping[str, object] | None = None,
        jvm: tuple[str, ...] | None = None,
    ) -> None:
        directory.mkdir(exist_ok=True)
        self.port, self.http_port = free_port(), free_port()
        self.address = f"{LOOPBACK}:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{LOOPBACK}:{self.http_port}"
        configuration = {
            **_basics(directory),
            **_connectors(self.port, self.http_port, secure=tls is not None),
            **(_policies(directory, tls) if tls else {}),
            **(settings or {}),
        }
        (directory / "neo4j.conf").write_text("".join(f"{name}={value}\n" for name, value in configuration.items()))
        if jvm is None:
            jvm = (f"-XX:SharedArchiveFile={_archive()}",)
        argv = [
            *("java", "-Xms256m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *jvm),
            *(f"--add-opens={package}=ALL-UNNAMED" for package in _PACKAGES),
            *("-cp", _classpath(), "org.neo4j.server.CommunityEntryPoint"),
            *(f"--home-dir={directory}", f"--config-dir={directory}"),
        ]
        # A graceful end takes ten seconds, and nothing here is worth keeping.
        super().__init__(
            "neo4j", argv, directory=directory, ready=self._answers, deadline=180, stop_signal=signal.SIGKILL
        )

    def _answers(self) -> bool:
        context = ssl._create_unverified_context() if self.url.startswith("https") else None
        with suppress(OSError), urllib.request.urlopen(f"{self.url}/", timeout=5, context=context) as reply:
            return reply.status == 200 and listening(self.port)
        return False

    def run(
        self, *statements: str, user: str = "neo4j", password: str = PASSWORD, database: str = "system"
    ) -> list[Any]:
        """Run statements as an administrator would; the rows of the last one."""
        with neo4j.GraphDatabase.driver(f"bolt://{self.address}", auth=(user, password)) as driver:
            rows: list[Any] = []
            for statement in statements:
                rows = [record.data() for record in driver.execute_query(statement, database_=database).records]
            return rows

    def change_password(self) -> None:
        """Give the user neo4j its PASSWORD, as the first login demands."""
        self.run(f"ALTER CURRENT USER SET PASSWORD FROM 'neo4j' TO '{PASSWORD}'", password="neo4j")


def _basics(directory: Path) -> dict[str, object]:
    folders = ("data", "logs", "run", "plugins", "import", "lib", "licenses")
    for folder in folders:
        (directory / folder).mkdir(exist_ok=True)
    return {
        "server.default_listen_address": LOOPBACK,
        "server.memory.heap.initial_size": "256m",
        "server.memory.heap.max_size": "256m",
        "server.memory.pagecache.size": "64m",
        "dbms.usage_report.enabled": "false",
        "db.tx_log.preallocate": "false",
        "dbms.security.auth_minimum_password_length": 1,
        **{f"server.directories.{folder}": directory / folder for folder in folders},
    }


def _connectors(bolt: int, http: int, *, secure: bool) -> dict[str, object]:
    scheme, other = ("https", "http") if secure else ("http", "https")
    return {
        "server.bolt.listen_address": f"{LOOPBACK}:{bolt}",
        "server.bolt.advertised_address": f"{LOOPBACK}:{bolt}",
        f"server.{scheme}.listen_address": f"{LOOPBACK}:{http}",
        f"server.{scheme}.advertised_address": f"{LOOPBACK}:{http}",
        f"server.{scheme}.enabled": "true",
        f"server.{other}.enabled": "false",
    }


def _policies(directory: Path, certificate: Issued) -> dict[str, object]:
    public, private = certificate.write(directory, "server")
    found: dict[str, object] = {"server.bolt.tls_level": "REQUIRED"}
    for scope in ("bolt", "https"):
        policy = f"dbms.ssl.policy.{scope}"
        (directory / scope / "trusted").mkdir(parents=True)
        (directory / scope / "revoked").mkdir()
        found |= {
            f"{policy}.enabled": "true",
            f"{policy}.base_directory": directory / scope,
            f"{policy}.public_certificate": public,
            f"{policy}.private_key": private,
            f"{policy}.client_auth": "NONE",
        }
    return found


@pytest.fixture(scope="session")
@shared
def neo4j_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neo4j]:
    """A Neo4j whose user neo4j has PASSWORD."""
    with Neo4j(tmp_path_factory.mktemp("neo4j")) as server:
        server.change_password()
        yield server
