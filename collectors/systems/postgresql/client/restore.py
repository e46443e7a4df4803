"""A restore from pgBackRest into a PostgreSQL of its own, which reaches nothing and is removed afterwards.

It reads none of the cluster's own configuration, listens on a socket in its folder alone, archives nothing, and starts neither
logical replication nor libraries such as pg_cron: the copy must not act as the cluster that it is of.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import Field

from collectors.shared.processes import output_of
from collectors.systems.postgresql.model.pgbackrest import Backup, PgBackRest
from collectors.systems.postgresql.model.restore import Restored, RestoreLimits
from exporter.options import Duration, format_duration
from exporter.verdict import ProbeError, Reason
from exporter.words import format_size, one_line, os_reason

__all__ = ["Restore", "restore"]

_SETTINGS = {
    "archive_mode": "off",
    "external_pid_file": "",
    "hot_standby": "off",
    "listen_addresses": "",
    "logging_collector": "off",
    "max_logical_replication_workers": "0",
    "primary_conninfo": "",
    "shared_buffers": "128MB",
    "shared_preload_libraries": "",
    "session_preload_libraries": "",
    "ssl": "off",
    "synchronous_standby_names": "",
}
_POLL = 0.1
_ROOM = 1.2


class Restore(RestoreLimits):
    """A restore into a scratch PostgreSQL, on the machine of the exporter."""

    folder: Path = Field(
        description="Existing folder with room for the cluster; one folder inside is made and removed."
    )
    postgres: tuple[str, ...] = Field(
        ("postgres",),
        min_length=1,
        description="The program `postgres` of the cluster's release, and what comes before it.",
    )
    timeout: Duration = Field(timedelta(minutes=30), gt=timedelta(0), description="How long it may take in all.")


@dataclass(frozen=True, slots=True)
class _Place:
    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"


async def restore(settings: Restore, pgbackrest: PgBackRest, backup: Backup) -> Restored:
    """Restore the cluster up to the end of its WAL, and ask the queries.

    Raises ProbeError where it was not tried: another one is under way, there is no room, a program is missing. What went wrong in
    trying is in the result.
    """
    with _alone(settings.folder), _place(settings.folder) as place:
        free = shutil.disk_usage(settings.folder).free
        if backup.size and free < _ROOM * backup.size:
            raise ProbeError(
                f"{settings.folder} has {format_size(free)} free, too little to restore {format_size(backup.size)}.",
                Reason.LIMIT,
            )
        started = time.monotonic()
        try:
            async with asyncio.timeout(settings.timeout.total_seconds()):
                try:
                    await output_of(_command(pgbackrest, place), timeout=settings.timeout)
                except ProbeError as error:
                    if error.reason is Reason.MISSING:
                        raise
                    return Restored(problem=str(error))
                async with _running(settings, place) as problem:
                    if problem:
                        return Restored(problem=problem)
                    seconds = time.monotonic() - started
                    return await asyncio.to_thread(_query, settings, place, seconds)
        except TimeoutError:
            return Restored(problem=f"it was not over within {format_duration(settings.timeout)}")


def _command(settings: PgBackRest, place: _Place) -> list[str]:
    config = [] if settings.config is None else [f"--config={settings.config}"]
    return [
        *settings.command,
        "restore",
        f"--stanza={settings.stanza}",
        *config,
        f"--pg1-path={place.data}",
        f"--tablespace-map-all={place.folder / 'tablespaces'}",
        "--archive-mode=off",
        "--type=default",
    ]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Never two at a time."""
    try:
        lock = os.open(folder / ".restore.lock", os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise ProbeError(f"Folder {folder} cannot be used: {os_reason(error)}.", Reason.MISCONFIGURED) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise ProbeError(f"Another restore into {folder} is under way.") from None
    else:
        yield
    finally:
        os.close(lock)


@contextmanager
def _place(folder: Path) -> Iterator[_Place]:
    """A folder for one restore; what one that was killed left behind is removed first."""
    for left in folder.glob("restore-*"):
        shutil.rmtree(left, ignore_errors=True)
    place = Path(tempfile.mkdtemp(prefix="restore-", dir=folder))
    try:
        (place / "postgresql.conf").touch()
        (place / "pg_hba.conf").write_text("local all all trust\n")
        (place / "data").mkdir(mode=0o700)
        (place / "tablespaces").mkdir(mode=0o700)
        if os.geteuid() == 0:  # PostgreSQL is then run as the owner of the folder
            owner = folder.stat()
            for path in (place, *place.iterdir()):
                os.chown(path, owner.st_uid, owner.st_gid)
        yield _Place(place)
    finally:
        shutil.rmtree(place, ignore_errors=True)


@asynccontextmanager
async def _running(settings: Restore, place: _Place) -> AsyncIterator[str | None]:
    """The restored server from the moment that it has left recovery; yields what is wrong where it does not get there."""
    own = {
        "config_file": place.folder / "postgresql.conf",
        "hba_file": place.folder / "pg_hba.conf",
        "unix_socket_directories": place.folder,
        **_SETTINGS,
    }
    options = [word for name, value in own.items() for word in ("-c", f"{name}={value}")]
    with (place.folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *settings.postgres, "-D", str(place.data), *options,
            stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        while process.returncode is None and not await asyncio.to_thread(_recovered, settings, place):  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(_POLL)
        yield None if process.returncode is None else f"PostgreSQL ended: {_complaint(place)}"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGQUIT)
        try:
            async with asyncio.timeout(20):
                await process.wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _complaint(place: _Place) -> str:
    lines = (place.folder / "log").read_text(errors="replace").splitlines()
    fatal = [line.partition("FATAL:")[2] for line in lines if "FATAL:" in line]
    return one_line(fatal[-1] if fatal else "it gave no reason")


def _connect(settings: Restore, place: _Place, dbname: str) -> Any:
    import psycopg

    return psycopg.connect(
        host=str(place.folder), user=settings.role, dbname=dbname, connect_timeout=3, autocommit=True
    )


def _recovered(settings: Restore, place: _Place) -> bool:
    import psycopg

    try:
        with _connect(settings, place, settings.queries[0].database) as connection:
            row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
    except psycopg.OperationalError as error:
        return "does not exist" in str(error)  # it answers, and has not what is asked for: the queries will say so
    return bool(row == (False,))


def _query(settings: Restore, place: _Place, seconds: float) -> Restored:
    import psycopg

    found: list[float | str] = []
    identifier = ""
    for query in settings.queries:
        try:
            with _connect(settings, place, query.database) as connection:
                (identifier,) = connection.execute("SELECT system_identifier::text FROM pg_control_system()").fetchone()
                connection.execute(f"SET statement_timeout = {int(1000 * settings.timeout.total_seconds())}")
                connection.execute("SET default_transaction_read_only = on")
                rows = connection.execute(query.sql.encode()).fetchall()
            found.append(float(rows[0][0]))
        except psycopg.Error as error:
            found.append(one_line(error.diag.message_primary or "the connection was refused"))
        except (IndexError, TypeError, ValueError):
            found.append("it returned no number")
    return Restored(seconds=seconds, answers=tuple(found), system_identifier=identifier)
