"""The long-running exporter: an engine on a schedule, its web server, signals and reloads."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import platform
import signal
import socket
import ssl
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from exporter import logs
from exporter.catalogue import CatalogueError
from exporter.config import ConfigError, Loaded, StateOptions, load, load_default, position_of
from exporter.database import Database
from exporter.election import Election
from exporter.ending import end_in_time
from exporter.engine import Engine, shared
from exporter.exposition import Exposition
from exporter.health import Health
from exporter.history import History
from exporter.options_reader import Problem
from exporter.plan import Job
from exporter.replica import Replica
from exporter.runner import utc_now
from exporter.schedule import Schedule
from exporter.shared_database import SharedDatabase
from exporter.storage import InUse, Storage
from exporter.threads import Stuck, Threads
from exporter.trace import Traces
from exporter.web import Options, bind, create_app
from exporter.web import serve as serve_web
from exporter.web.access import AccessFile
from exporter.words import counted

__all__ = ["ServeOptions", "serve"]

log = logging.getLogger(__name__)

#: How often files that change by themselves (evidence, rotated secrets) are checked.
WATCH_SECONDS = 2.0
#: A reload that takes longer is given up: a file, or the evidence's folder, does not answer. The next one tries again.
RELOAD_SECONDS = 120.0
#: SIGTERM ends everything within five seconds: this is what requests and runs under way, then connections may take of it.
STOP_SECONDS = 2.5
CLOSE_SECONDS = 1.0
#: When Python looks for garbage: a full search stops everything, for 0.2 s with the results of 10,000 targets, and finds little.
GARBAGE = (2_000, 10, 100)
#: For how long the interpreter may be a thread's that others wait for. Each scrape waits several times while a reload is read.
TURN_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What the command line of `serve` says. Without `config_file` the bundled checklist is shown with nothing configured."""

    config_file: Path | None = None
    listen_addresses: tuple[str, ...] = (":9876",)
    web_config_file: Path | None = None
    web: Options = field(default_factory=Options)
    enable_commands: bool = False

    def external_url(self, scheme: str = "http") -> str:
        """Where people reach the pages, without a slash at its end: as configured, else by the first address listened on.

        An address of every interface stands for this machine's name, as in Prometheus.
        """
        if self.web.external_url:
            return self.web.external_url.rstrip("/")
        host, _, port = self.listen_addresses[0].rpartition(":")
        anywhere = host in ("", "0.0.0.0", "[::]")  # noqa: S104  # read, not listened on
        return f"{scheme}://{socket.gethostname() if anywhere else host}:{port}{self.web.base}"


async def serve(options: ServeOptions) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises ConfigError or CatalogueError when the configuration cannot be used, ListenError when an address cannot be had,
    and whatever ended one of the parts that must not end, for a supervisor to start the process again.
    """
    health = Health(version("checklist-exporter"), started_at=utc_now())
    changed = asyncio.Event()
    with _leaving_at_once(changed):
        access = AccessFile(options.web_config_file)
        with _garbage_left():
            loaded = _load(options.config_file)
        sockets = bind(options.listen_addresses)
        for line in _announcement(options, loaded, "https" if access.tls else "http", health.version):
            log.info("%s", line)
        traces = Traces(logs.redact) if options.web.enable_debug else None
        daemon = _made(options, loaded, health, sockets, traces)
    exposition = Exposition(daemon.engine.state, health)
    app = create_app(
        daemon.engine.state,
        exposition,
        health,
        history=daemon.history,
        reload=daemon.reload,
        now=utc_now,
        options=options.web,
        access=access.fresh,
        traces=traces,
    )

    async def current_tls() -> ssl.SSLContext:
        context = (await access.fresh()).tls
        assert context is not None, "access never gives up TLS"
        return context

    tls = current_tls if access.tls else None
    health.external_url = options.external_url("https" if tls else "http")
    try:
        await daemon.start()
        if changed.is_set():
            daemon.reload_soon()
        await daemon.until_stopped(serve_web(app, sockets, tls=tls), exposition.run())
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await daemon.close()


def _made(
    options: ServeOptions, loaded: Loaded, health: Health, sockets: Iterable[socket.socket], traces: Traces | None
) -> _Daemon:
    """The exporter; raises ConfigError, with the sockets closed, where another one has its history file."""
    try:
        return _Daemon(options.config_file, loaded, health, commands=options.enable_commands, traces=traces)
    except InUse as error:
        for opened in sockets:
            opened.close()
        why = f"{loaded.config.state.file} cannot be used: {error}; stop that one, or give this one another file"
        file = options.config_file or Path()
        at = position_of(file, "state", "file")  # only a configuration file names a history file
        raise ConfigError((Problem(str(file), at.line, at.column, "state.file", why),)) from None


@contextmanager
def _leaving_at_once(changed: asyncio.Event) -> Iterator[None]:
    """Until the exporter has begun there is nothing to bring to an end: SIGTERM ends it, also as a container's first process.

    The kernel sends that one no signal that it does not handle. SIGHUP sets `changed`: what it is about may have been read already.
    Both stay so until the exporter begins, unless something is raised before.
    """

    def leave(number: int, _: object) -> None:
        os._exit(128 + number)

    handlers = {signal.SIGTERM: leave, signal.SIGHUP: lambda *_: changed.set()}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    except BaseException:
        for number, handler in before.items():
            signal.signal(number, handler)
        raise


def _announcement(options: ServeOptions, loaded: Loaded, scheme: str, version: str) -> Iterator[str]:
    """What a start logs, a line each: version, configuration file, sections, addresses."""
    yield f"checklist-exporter {version} on Python {platform.python_version()}"
    sections = sorted(loaded.config.sections)
    if options.config_file is None:
        yield (
            "Configuration: none, so nothing is configured and every line is unknown. To begin, write a file with the sections "
            "to verify (`checklist-exporter list` shows the requirements of each line) and pass it with --config.file."
        )
    else:
        yield f"Configuration: {options.config_file}"
    verified = sum(bool(item.targets) for item in loaded.plan.items)
    lines = f"{verified} of {counted(len(loaded.plan.items), 'line')} verified"
    yield f"Sections: {', '.join(sections) or 'none configured'}; {lines}"
    addresses = ", ".join(f"{scheme}://{address}" for address in options.listen_addresses)
    yield f"Listening: {addresses}; metrics at {options.web.prefix}{options.web.telemetry_path}"


@contextmanager
def _garbage_left() -> Iterator[None]:
    """Look for no garbage meanwhile: that stops all threads, the longer the more there is, and loading makes none but much else."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _load(path: Path | None) -> Loaded:
    loaded = load(path) if path else load_default()
    for warned in loaded.warnings:
        log.warning("%s", warned)
    return loaded


class _Daemon:
    """An engine on a schedule, which follows signals and files."""

    def __init__(
        self,
        config_file: Path | None,
        loaded: Loaded,
        health: Health,
        *,
        commands: bool = False,
        traces: Traces | None = None,
    ) -> None:
        self._config_file = config_file
        self._health = health
        self._stopping = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._threads = Threads(places=2)
        self._reloads: set[asyncio.Task[Any]] = set()
        state = loaded.config.state
        election = Election(loaded.config.leader_election) if loaded.config.leader_election else None
        self._storage = _storage(state, election)
        self.history = History(self._storage, keep=state.keep, now=utc_now)
        self.engine = Engine(loaded, history=self.history, commands=commands, traces=traces)
        self._schedule = Schedule(self.engine.run, self._tick, health=health, now=utc_now)
        self._secrets = _stamps(self._secret_files(loaded))
        self._replica: Replica | None = None
        if election is not None and isinstance(self._storage, SharedDatabase):
            self._replica = Replica(
                election, self._storage, self.engine, health, self._begin_runs, self._schedule.clear
            )

    async def _begin_runs(self) -> None:
        await self._schedule.replace(self.engine.loaded.plan.jobs, self._last_runs())

    async def start(self) -> None:
        """Begin to verify, and to listen to signals."""
        loop = asyncio.get_running_loop()

        def stop(*_: object) -> None:
            end_in_time()
            loop.call_soon_threadsafe(self._stopping.set)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)  # has a signal wake a loop that sleeps
            signal.signal(number, stop)  # is called also while the loop is blocked
        loop.add_signal_handler(signal.SIGHUP, self.reload_soon)
        gc.collect()
        gc.freeze()  # what the start made stays: it is not gone through in every search for garbage
        gc.set_threshold(*GARBAGE)
        sys.setswitchinterval(TURN_SECONDS)
        self._schedule.start()
        if self._replica is None:
            await self._begin_runs()
        self._health.reload_success_at = utc_now()
        self._health.ready = True

    async def until_stopped(self, *parts: Any) -> None:
        """Run the parts until a signal says stop; raises what ended one of them before."""
        assert self._schedule.ticking is not None
        parts = (*parts, self._watch(), self._stopping.wait(), *((self._replica.run(),) if self._replica else ()))
        tasks = [asyncio.ensure_future(part) for part in parts]
        tasks.append(self._schedule.ticking)
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._health.ready = False
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=STOP_SECONDS)

    async def close(self) -> None:
        """End runs under way, close every connection, write down what is left; only then may another replica lead."""
        try:
            await self._schedule.stop()
            await self.engine.close()
        finally:
            if self._replica is not None:
                await self._replica.release()

    async def _tick(self) -> None:
        await self.engine.state.tick()
        self._health.history_error = self.history.trouble or (self._replica.trouble if self._replica else None)

    def _last_runs(self) -> dict[str, datetime]:
        """When each job last ran before the restart, for those whose last run is still about what is configured now.

        That is not so when one of its items is new or a file of the configuration was written since, nor of evidence, which
        may be bound to a release that the environment names.
        """
        runs = {
            (view.planned.section, view.planned.item, target.target): target.last_run
            for view in self.engine.state.views()
            for target in view.targets
        }
        written = max((_written(file) for file in self.engine.loaded.files), default=0.0)
        last: dict[str, datetime] = {}
        for job in self.engine.loaded.plan.jobs:
            seen = [runs[job.section, item, job.target] for item in job.items]
            known = [moment for moment in seen if moment is not None and moment.timestamp() > written]
            if len(known) == len(seen) and not _takes_evidence(job):
                last[job.id] = min(known)
        return last

    # -- what changes while it runs

    async def _watch(self) -> None:
        """Follow evidence and secret files. Configuration and checklist wait for a reload, as everywhere in this field.

        Each on its own: a folder that does not answer does not keep the other from being followed.
        """
        await asyncio.gather(self._watch_evidence(), self._watch_secrets())

    async def _watch_evidence(self) -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if await asyncio.to_thread(self.engine.evidence.refresh):
                self._schedule.hurry(job for job in self.engine.loaded.plan.jobs if _takes_evidence(job))

    async def _watch_secrets(self) -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            secrets = await asyncio.to_thread(_stamps, self._secret_files(self.engine.loaded))
            if secrets != self._secrets:
                self._secrets = secrets
                log.info("A secret file changed: reloading the configuration.")
                await self.reload()

    def _secret_files(self, loaded: Loaded) -> set[Path]:
        """The files that options such as `password_file` name."""
        return set(loaded.files) - {self._config_file, Path(loaded.checklist.name)}

    def reload_soon(self) -> None:
        """Reload, unless a reload is still to begin: that one reads what changed."""
        if len(self._reloads) > 1:
            return
        task = asyncio.ensure_future(self.reload())
        self._reloads.add(task)  # the loop itself keeps only a weak reference
        task.add_done_callback(self._reloads.discard)

    async def reload(self) -> str | None:
        """Load the configuration again and take it over; returns why not when it cannot be used: then the last good one stays."""
        async with self._reloading:
            before = self.engine.loaded
            try:
                async with asyncio.timeout(RELOAD_SECONDS):
                    with _garbage_left():
                        loaded = await self._threads.run("reload", lambda: _load(self._config_file))
                    looked = await self.engine.replace(loaded)
            except (ConfigError, CatalogueError) as error:
                return self._not_reloaded(str(error))
            except (TimeoutError, Stuck):
                return self._not_reloaded(f"it could not be read and prepared within {RELOAD_SECONDS:g} s")
            except Exception as error:  # a mistake of ours must not end what verifies well
                self._health.reload_successful = False
                log.exception("The configuration was not reloaded, the last good one stays.")
                return (
                    f"The configuration was not reloaded ({type(error).__name__}, see the log); "
                    "the last good one stays in force."
                )
            if loaded.config.leader_election != before.config.leader_election:
                log.warning("The options of `leader_election` changed and apply after a restart.")
            if loaded.config.state != before.config.state and not self._only_logs_in_otherwise(loaded, before):
                log.warning(
                    "The options of `state` changed and apply after a restart; until then history is stored as before."
                )
            afresh = shared(loaded) != shared(before)
            if self.engine.state.leads:
                await self._schedule.replace(self.engine.loaded.plan.jobs, looked, afresh=afresh)
            elif self._replica is not None:
                self._replica.reread()
            self._secrets = await asyncio.to_thread(_stamps, self._secret_files(loaded))
            self._health.reload_successful = True
            self._health.reload_success_at = utc_now()
            log.info("The configuration was reloaded.")
            return None

    def _only_logs_in_otherwise(self, loaded: Loaded, before: Loaded) -> bool:
        """Whether no more of the options of `state` changed than a password or a user, which are used from now on."""
        new, old = loaded.config.state, before.config.state
        if new.dsn is None or new.model_copy(update={"dsn": old.dsn}) != old:
            return False
        return isinstance(self._storage, SharedDatabase) and self._storage.use(new.dsn.get_secret_value())

    def _not_reloaded(self, why: str) -> str:
        self._health.reload_successful = False
        log.error("The configuration was not reloaded, the last good one stays: %s", why)
        return why


def _storage(state: StateOptions, election: Election | None) -> Storage | None:
    """Where the history outlives the process; None where it does not. Where there is an election, its winner alone may write."""
    if state.dsn is not None:
        holder, may_lead = (election.identity, lambda: election.leads) if election else ("", None)
        dsn = state.dsn.get_secret_value()
        return SharedDatabase(dsn, keep=state.keep, now=utc_now, holder=holder, may_lead=may_lead)
    return Database(state.file, keep=state.keep, now=utc_now) if state.file else None


def _written(file: Path) -> float:
    """When a file was last written; for one that is gone, the end of time."""
    try:
        return file.stat().st_mtime
    except OSError:
        return float("inf")


def _takes_evidence(job: Job) -> bool:
    declared = job.collector.items()
    return any(declared[name].evidence is not None for name in job.items)


def _stamps(files: Iterable[Path]) -> dict[Path, tuple[int, int, int] | None]:
    """What shows whether a file is another one than before."""
    stamps: dict[Path, tuple[int, int, int] | None] = {}
    for file in files:
        try:
            found = file.stat()
        except OSError:
            stamps[file] = None
        else:
            stamps[file] = (found.st_mtime_ns, found.st_size, found.st_ino)
    return stamps
