"""barman 3.19 from the package index: a folder with the backups of a PostgreSQL that copies its WAL into it."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from pathlib import Path

from tests.servers.packages import python_packages
from tests.servers.postgresql import Postgres
from tests.servers.process import LOOPBACK

_PACKAGES = ("barman==3.19.1", "psycopg2-binary==2.9.13", "python-dateutil==2.9.0.post0", "six==1.17.0")
_MAIN = "import sys; from barman.cli import main; sys.exit(main())"
_SECONDS = 120


class Barman:
    """barman with one server, `orders`. `command` is how it is run; `archive_command` is for PostgreSQL."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "barman"
        self.incoming = self.home / "orders/incoming"
        self.incoming.mkdir(parents=True)
        self.incoming.chmod(0o777)  # PostgreSQL runs as another user where the tests run as root
        self.config = directory / "barman.conf"
        self.command: list[str] = []

    @property
    def archive_command(self) -> str:
        """The command by which PostgreSQL hands its WAL over: read by everyone, as barman runs as another user here.

        It is renamed once it is whole, since barman takes away whatever has a name without a dot at its beginning.
        """
        written, wanted = f"{self.incoming}/.%f", f"{self.incoming}/%f"
        return f"test ! -f {wanted} && install -m 644 %p {written} && mv {written} {wanted}"

    def configure(self, instance: Postgres) -> None:
        """Say whose backups it keeps."""
        packages = python_packages(*_PACKAGES, dependencies=False)
        environment = {"PYTHONPATH": str(packages), "HOME": str(self.home), **instance.programs.env}
        self.command = ["env", *(f"{name}={value}" for name, value in environment.items()), sys.executable, "-c", _MAIN]
        connection = f"host={LOOPBACK} port={instance.port} user=postgres"
        self.config.write_text(
            f"[barman]\nbarman_home = {self.home}\nbarman_user = {getpass.getuser()}\nlog_file = {self.home}/log\n"
            f"barman_lock_directory = {self.home}\npath_prefix = {instance.programs.folder}\n"
            f"[orders]\ndescription = orders\nconninfo = {connection} dbname=postgres\nstreaming_conninfo = {connection}\n"
            "backup_method = postgres\narchiver = on\nretention_policy = RECOVERY WINDOW OF 7 DAYS\n"
        )

    def run(self, command: str, *arguments: str, succeeds: bool = True) -> str:
        """Run a command on the server; its output."""
        done = subprocess.run(
            [*self.command, "-c", str(self.config), command, *arguments],
            env=dict(os.environ),
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        log = self.home / "log"
        said = done.stdout + done.stderr + (log.read_text() if log.exists() else "")
        assert (done.returncode == 0) is succeeds, said
        return done.stdout

    def back_up(self, *options: str) -> str:
        """Make a backup with all WAL that it needs; its identifier. `options` are of barman's backup."""
        self.run("switch-wal", "--force", "--archive", "orders")
        self.run("backup", "--wait", *options, "orders")
        self.run("archive-wal", "orders")
        return max(path.name for path in (self.home / "orders/base").iterdir())

    def segment(self, name: str) -> Path:
        """The file of a WAL segment."""
        return self.home / "orders/wals" / name[:16] / name

    def files(self, backup: str) -> Path:
        """The folder with the files of a backup."""
        return self.home / "orders/base" / backup / "data"
