"""PostgreSQL's connection strings, as libpq reads them."""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, SecretStr

from exporter.options import Secret

__all__ = ["Dsn", "Parameters", "parse_dsn"]

Parameters = Mapping[str, str]


def parse_dsn(dsn: SecretStr) -> list[Parameters]:
    """The connection parameters of every host that a connection string or URI names, in its order.

    A service is looked up in the files in which libpq looks, hosts that are not named in the variables of its environment. Raises
    ValueError, which repeats nothing of the string, when libpq would not understand it.
    """
    import psycopg

    try:
        parsed = psycopg.conninfo.conninfo_to_dict(dsn.get_secret_value())
    except psycopg.ProgrammingError:
        raise ValueError("expected a PostgreSQL connection string such as postgresql://user@host/database") from None
    given = _with_service({name: str(value) for name, value in parsed.items() if value is not None})
    if "service" not in given:
        variables = {name: os.environ.get(f"PG{name.upper()}") for name in ("host", "hostaddr", "port")}
        given = {name: value for name, value in variables.items() if value} | given
    # Each instance is asked by itself, so libpq shall not choose among them.
    for choice in ("target_session_attrs", "load_balance_hosts"):
        given.pop(choice, None)
    lists = {name: given[name].split(",") for name in ("host", "hostaddr", "port") if name in given}
    hosts = lists.get("host") or lists.get("hostaddr") or [""]
    # What libpq takes for the host, the port and the database is then the rest of a password.
    if any("@" in host for host in hosts) or "@" in _path(dsn.get_secret_value()):
        raise ValueError("expected @, / and : in a password to be percent-encoded (%40, %2F, %3A)")
    if any(len(values) not in (1, len(hosts)) for values in lists.values()):
        raise ValueError("expected as many ports and addresses as hosts")
    return [given | {name: values[i % len(values)] for name, values in lists.items()} for i in range(len(hosts))]


def _understood(dsn: SecretStr) -> SecretStr:
    parse_dsn(dsn)
    return dsn


Dsn = Annotated[Secret, AfterValidator(_understood)]
"""A connection string or URI that libpq understands."""


def _with_service(given: dict[str, str]) -> dict[str, str]:
    """The parameters with those of the service that they name; as they are where no file names it, which libpq will report."""
    if not (service := given.get("service") or os.environ.get("PGSERVICE")):
        return given
    folders = (os.environ.get("PGSYSCONFDIR"), "/etc/postgresql-common", "/etc")
    places = [Path(folder) / "pg_service.conf" for folder in folders if folder]
    own = os.environ.get("PGSERVICEFILE")
    for place in (Path(own) if own else Path.home() / ".pg_service.conf", *places):
        services = configparser.RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#",))
        with suppress(OSError, UnicodeDecodeError, configparser.Error):
            services.read_string(place.read_text(encoding="utf-8"))
        if services.has_section(service):
            return dict(services.items(service)) | {name: value for name, value in given.items() if name != "service"}
    return given


def _path(dsn: str) -> str:
    """What follows the hosts in a URI, up to its parameters; empty for a connection string of another form."""
    scheme, _, rest = dsn.strip().partition("://")
    return rest.partition("?")[0].partition("/")[2] if scheme in ("postgresql", "postgres") else ""
