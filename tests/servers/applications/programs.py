"""Start the applications: NestJS (``nest/``), FastAPI (``fastapi/``, with its workers and migrations) and Next.js (``next/``).

``with nest(directory, THROTTLE="on") as api:`` gives an Application with ``url``; keyword arguments are the environment variables
that switch its behaviours:

- nest: ``NAME DATABASE_URL REDIS_URL`` · ``HEALTH=down|html|plain`` · ``HEALTH_UNTHROTTLED=1`` · ``METRICS=html|bare`` ·
  ``SHUTDOWN_HOOKS=0 DRAIN_MS SLOW_MS`` · ``THROTTLE=on|named LIMIT TTL_MS`` · ``DOCS=0`` · ``HELMET=0 CSP=off`` ·
  ``CORS=strict|reflect|suffix|null|star ORIGIN`` · ``AUTH=off|decode AUTHORIZATION=0 OWNERSHIP=0`` · ``VALIDATION=0`` ·
  ``LOGOUT=0 LOCK_AFTER TOTP`` · ``SQLI=1 SQL_LEAK=0`` · ``XSS=1 ECHO=json`` ·
  ``CSRF=1 SAMESITE COOKIE_SECURE=1 COOKIE_HTTPONLY=0`` · ``LOG=off|secrets``.
  Paths: ``/ /login /refresh /logout /me /admin/users /orders/USER-N /items?page= /search?q= /echo?q= /slow /big /csrf
  /change /health /metrics /docs /docs-json``. Any user's password is ``synthetic``; ``admin`` is the admin.
- fastapi: ``DATABASE_URL REDIS_URL NATS_URL NAME`` · ``HEALTH=deep|shallow|html|lying`` · ``DOCS=public|no-ui|off ROOT_PATH`` ·
  ``CORS=strict|star|null|suffix CREDENTIALS=1`` · ``AUTH=decode|off`` · ``LIMIT=5/minute`` ·
  ``SQLI=1 SQL_ERRORS=swallowed|leaked`` · ``XSS=1`` · ``METRICS=off`` · ``SLOW`` · ``JOB`` ·
  ``OPENAI_URL OPENAI_KEY ASK=direct|apology|canned QUEUE=stuck``.
- next: ``API_URL MARKER AUTH=off`` at run time; ``BACKEND_URL`` (the rewrite of /bff) is fixed when it is built.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.servers.packages import node_program, npm_build, npm_packages, python_packages
from tests.servers.process import LOOPBACK, Server, answers, free_port, listening

SOURCES = Path(__file__).parent
#: A busy machine needs that long for what takes a second on a quiet one.
READY_SECONDS = 120.0


class Application(Server):
    """A running application; ``url`` is its address, without a slash at its end."""

    port: int

    @property
    def url(self) -> str:
        """Where it is reached."""
        return f"http://{LOOPBACK}:{self.port}"


def _directory(directory: Path, name: str, port: int) -> Path:
    own = directory / f"{name}-{port}"
    own.mkdir(parents=True)
    return own


@contextmanager
def nest(directory: Path, **switches: str) -> Iterator[Application]:
    """Run the NestJS application."""
    modules, port = npm_packages(SOURCES / "nest"), free_port()
    environment = {"PORT": str(port), "HOST": LOOPBACK, "NODE_PATH": str(modules / "node_modules"), **switches}
    application = Application(
        "nest",
        [node_program(), SOURCES / "nest/main.js"],
        directory=_directory(directory, "nest", port),
        env=environment,
        ready=lambda: listening(port),
        deadline=READY_SECONDS,
    )
    application.port = port
    with application:
        yield application


def fastapi_packages() -> Path:
    """Return the folder with FastAPI, ARQ, Dramatiq and Alembic, for PYTHONPATH."""
    return python_packages(*_requirements("requirements.txt"))


def celery_packages() -> Path:
    """Return the folder with Celery, whose Redis client is newer than ARQ's may be."""
    return python_packages(*_requirements("requirements-celery.txt"))


def rq_packages() -> Path:
    """Return the folder with RQ, whose Redis client is newer than ARQ's may be."""
    return python_packages("rq==2.12.0", "redis>=6.1")


_PACKAGES = {"celery": celery_packages, "rq": rq_packages}


def _requirements(name: str) -> list[str]:
    return (SOURCES / "fastapi" / name).read_text().split()


@contextmanager
def fastapi(
    directory: Path, *, module: str = "app", needs: Sequence[str] = (), **switches: str
) -> Iterator[Application]:
    """Run the FastAPI application, or another one of its folder such as ``traps`` with what it ``needs``, by uvicorn."""
    port = free_port()
    packages = ":".join(str(folder) for folder in (fastapi_packages(), *map(python_packages, needs)))
    application = Application(
        "fastapi",
        [sys.executable, "-m", "uvicorn", f"{module}:app", "--host", LOOPBACK, "--port", str(port)],
        directory=_directory(directory, "fastapi", port),
        env={"PYTHONPATH": f"{packages}:{SOURCES / 'fastapi'}", "PYTHONDONTWRITEBYTECODE": "1", **switches},
        ready=lambda: listening(port),
        deadline=READY_SECONDS,
    )
    application.port = port
    with application:
        yield application


def alembic(url: str, *arguments: str) -> str:
    """Run Alembic's command on a database (``postgresql+psycopg://…``); return what it prints.

    The history is a1, then b2 and c3, and a branch d4 from a1: the heads are c3 and d4.
    """
    environment = {"PYTHONPATH": str(fastapi_packages()), "PYTHONDONTWRITEBYTECODE": "1", "ALEMBIC_URL": url}
    return subprocess.run(
        [sys.executable, "-m", "alembic", "-c", SOURCES / "fastapi/alembic.ini", *arguments],
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        text=True,
        timeout=READY_SECONDS,
    ).stdout


@contextmanager
def worker(directory: Path, kind: str, redis_url: str, ready: str, **switches: str) -> Iterator[Server]:
    """Run a worker (``arq``, ``celery``, ``dramatiq`` or ``rq``) until its log shows ``ready``."""
    packages = _PACKAGES.get(kind, fastapi_packages)()
    program = {
        "arq": ["arq", "worker.WorkerSettings"],
        "celery": ["celery", "-A", "worker:celery", "worker", "--pool=solo", "--loglevel=info"],
        "dramatiq": ["dramatiq", "worker:broker", "--processes=1", "--threads=1"],
        "rq": ["rq.cli", "worker", f"--url={redis_url}", "--name=rq-1", "default"],
    }[kind]
    server = Server(
        kind,
        [sys.executable, "-m", *program],
        directory=_directory(directory, kind, free_port()),
        env={
            "PYTHONPATH": f"{packages}:{SOURCES / 'fastapi'}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "REDIS_URL": redis_url,
            "KIND": kind,
            **switches,
        },
        ready=lambda: ready in server.log.read_text(errors="replace"),
        deadline=READY_SECONDS,
        stop_signal=signal.SIGTERM,
    )
    with server:
        yield server


_SEND = {
    "arq": "import asyncio, arq, worker\n"
    "async def send(): await (await arq.create_pool(worker.WorkerSettings.redis_settings)).enqueue_job('work')\n"
    "asyncio.run(send())",
    "celery": "import worker; worker.work.delay()",
    "dramatiq": "import worker; worker.work.send()",
    "rq": "import os, redis, rq; rq.Queue(connection=redis.Redis.from_url(os.environ['REDIS_URL'])).enqueue('worker.work')",
}


def send_task(kind: str, redis_url: str) -> None:
    """Send one task as a service would, for a worker of this kind."""
    packages = _PACKAGES.get(kind, fastapi_packages)()
    environment = {"PYTHONPATH": f"{packages}:{SOURCES / 'fastapi'}", "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run(
        [sys.executable, "-c", _SEND[kind]],
        env={**os.environ, **environment, "REDIS_URL": redis_url, "KIND": kind},
        check=True,
        capture_output=True,
        timeout=READY_SECONDS,
    )


def _bullmq(redis_url: str, queues: str, prefix: str) -> dict[str, str]:
    modules = npm_packages(SOURCES / "bullmq") / "node_modules"
    return {"NODE_PATH": str(modules), "REDIS_URL": redis_url, "QUEUES": queues, "PREFIX": prefix}


@contextmanager
def bullmq_worker(directory: Path, redis_url: str, queues: str, prefix: str = "bull") -> Iterator[Server]:
    """Run a worker of BullMQ for queues (with commas between), once it is ready for all of them."""
    server = Server(
        "bullmq",
        [node_program(), SOURCES / "bullmq/run.js", "work"],
        directory=_directory(directory, "bullmq", free_port()),
        env=_bullmq(redis_url, queues, prefix),
        ready=lambda: all(f"ready for {name}\n" in server.log.read_text() for name in queues.split(",")),
        deadline=READY_SECONDS,
    )
    with server:
        yield server


def bullmq(redis_url: str, queue: str, *what: str, prefix: str = "bull") -> None:
    """Do to a queue of BullMQ what an application does: ``add`` a task (its data and options as JSON), ``pause``, ``resume``."""
    subprocess.run(
        [node_program(), SOURCES / "bullmq/run.js", *what],
        env={**os.environ, **_bullmq(redis_url, queue, prefix)},
        check=True,
        capture_output=True,
        timeout=READY_SECONDS,
    )


def next_build() -> Path:
    """Return the folder of the standalone server, with static files and public folder beside it, built once into the cache."""

    def standalone(project: Path, folder: Path) -> None:
        shutil.copytree(project / ".next/standalone", folder, dirs_exist_ok=True, symlinks=True)
        shutil.copytree(project / ".next/static", folder / ".next/static")
        shutil.copytree(project / "public", folder / "public")

    return npm_build(SOURCES / "next", ["node_modules/.bin/next", "build"], standalone, NEXT_TELEMETRY_DISABLED="1")


@contextmanager
def next_server(directory: Path, *, copy: bool = False, **switches: str) -> Iterator[Application]:
    """Run the Next.js application. ``copy`` gives it files of its own, in ``directory``'s ``standalone``, which a test may spoil.

    The rewrite of /bff goes to port 38199, where nothing listens unless a test does.
    """
    build, port = next_build(), free_port()
    own = _directory(directory, "next", port)
    # Next writes the pages that it renders anew into its folder, which other tests share.
    if copy or os.access(build, os.W_OK):
        build = Path(shutil.copytree(build, own / "standalone", symlinks=True))
    application = Application(
        "next",
        [node_program(), build / "server.js"],
        directory=own,
        env={"PORT": str(port), "HOSTNAME": LOOPBACK, "NEXT_TELEMETRY_DISABLED": "1", **switches},
        ready=lambda: answers(f"http://{LOOPBACK}:{port}/robots.txt"),
        deadline=READY_SECONDS,
    )
    application.port = port
    with application:
        yield application
