"""Tools that apply migrations to a PostgreSQL database: Knex and TypeORM, Django, Flyway, Liquibase (``migrations/``)."""

import os
import shutil
import subprocess
import sys

from tests.servers.applications.programs import READY_SECONDS, SOURCES
from tests.servers.packages import maven_classpath, node_program, npm_packages, python_packages, skip_or_fail

_FOLDER = SOURCES / "migrations"
_DRIVER = "org.postgresql:postgresql:42.7.7"


def _run(*command: object, check: bool = True, **environment: str) -> None:
    subprocess.run(
        [str(part) for part in command],
        cwd=_FOLDER,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        check=check,
        capture_output=True,
        timeout=READY_SECONDS,
    )


def by_node(tool: str, command: str, url: str, count: int, *, check: bool = True) -> None:
    """Have ``knex`` or ``typeorm`` bring the first migrations up (``latest``) or the last one down (``rollback``)."""
    modules = npm_packages(_FOLDER) / "node_modules"
    _run(node_program(), "run.js", tool, command, count, check=check, DATABASE_URL=url, NODE_PATH=str(modules))


def django(url: str, *arguments: str) -> None:
    """Run ``manage.py migrate``; the app is ``shop``, its migrations are 0001_initial, 0002_orders and 0003_prices."""
    packages = python_packages("Django>=5.2,<5.3", "psycopg[binary]==3.3.9")
    paths = f"{packages}:{_FOLDER}"
    _run(
        sys.executable, "-m", "django", "migrate", *arguments, DATABASE_URL=url, PYTHONPATH=paths, DJANGO_SETTINGS_MODULE="settings"
    )  # fmt: skip


def flyway(url: str, target: str) -> None:
    """Have Flyway migrate to version 1 or 1.10."""
    _run(java(), "-cp", _flyway_jars(), "Migrate.java", f"jdbc:{url}", "flyway", target)


def liquibase(url: str, *, slow: bool = False) -> subprocess.Popen[bytes]:
    """Begin Liquibase's update, to the changesets users, orders and view of shop; a ``slow`` one sleeps at last."""
    command = ("--changelog-file=liquibase.sql", f"--url=jdbc:{url}", "--username=postgres", "update")
    labels = () if slow else ("--label-filter=!slow",)
    program = (java(), "-cp", _liquibase_jars(), "liquibase.integration.commandline.LiquibaseCommandLine")
    return subprocess.Popen(
        [*program, *command, *labels], cwd=_FOLDER, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def java() -> str:
    """Return the path of Java."""
    return shutil.which("java") or skip_or_fail("There is no Java. Install it: `apt-get install default-jre-headless`.")


def _flyway_jars() -> str:
    module = "org.flywaydb:flyway-"
    return maven_classpath(f"{module}core:13.12.0", f"{module}database-postgresql:13.12.0", _DRIVER)


def _liquibase_jars() -> str:
    return maven_classpath("org.liquibase:liquibase-core:4.33.0", "info.picocli:picocli:4.7.7", _DRIVER)


def build() -> None:
    """Fetch what comes from Maven, so that tests find it."""
    _flyway_jars()
    _liquibase_jars()
