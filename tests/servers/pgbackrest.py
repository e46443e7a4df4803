"""pgBackRest 2.45 from Debian: a repository on disk, of a PostgreSQL 15 (it knows no later ones)."""

from pathlib import Path

from tests.servers.packages import debian, library_environment
from tests.servers.postgresql import Postgres, run_unprivileged
from tests.servers.process import wait_until


class Repository:
    """A repository with one stanza, `orders`. `command` is how it is run; `archive_command` is for PostgreSQL."""

    def __init__(self, directory: Path) -> None:
        root = debian("pgbackrest", "libssh2-1", "libpq5", "libxml2", "libicu72", "libldap-2.5-0", "libsasl2-2")
        self.config = directory / "pgbackrest.conf"
        self.command = [
            "env",
            *(f"{k}={v}" for k, v in library_environment(root).items()),
            f"{root}/usr/bin/pgbackrest",
        ]
        self._directory = directory

    @property
    def path(self) -> Path:
        """The folder of the repository."""
        return self._directory / "repository"

    @property
    def archive_command(self) -> str:
        """The command by which PostgreSQL stores its WAL here."""
        return " ".join([*self.command, f"--config={self.config}", "--stanza=orders", "archive-push", "%p"])

    def configure(self, instance: Postgres) -> None:
        """Say whose backups it keeps."""
        folder = self._directory
        self.config.write_text(
            f"[global]\nrepo1-path={folder}/repository\nlog-path={folder}/log\nlock-path={folder}/lock\n"
            "log-level-file=off\ncompress-type=none\nstart-fast=y\n"
            f"[orders]\npg1-path={instance.data}\npg1-port={instance.port}\npg1-socket-path={instance.directory}\n"
            "pg1-user=postgres\n"
        )

    def run(self, *arguments: str) -> str:
        """Run a command on the stanza."""
        return run_unprivileged(*self.command, f"--config={self.config}", "--stanza=orders", *arguments)

    def back_up(self, instance: Postgres) -> None:
        """Create the stanza and make a full backup; at its end the WAL that it needs is archived."""
        self.run("stanza-create")
        self.run("backup", "--type=full")
        wait_until(lambda: instance.query("SELECT 1 FROM pg_stat_archiver WHERE archived_count > 0"), "archived WAL")
