"""Harmless values that a database reads otherwise than a program that is careful."""

from __future__ import annotations

import re
import secrets
import string

__all__ = ["NAME", "NUMBER", "OPERATORS", "QUOTES", "confirmations", "database_error", "joins", "names", "nonsense"]

QUOTES = ("'", '"', "')")

NUMBER, NAME = "a number", "the name of a column"
"""What a value may be in a statement that is no string: `4-1` is 3 there, and `price/**/` is price."""

OPERATORS = ("$eq", "$in", "$regex")
"""Operators of MongoDB that find the value itself, and no more than it does."""

_JOINS = {
    "PostgreSQL, Oracle or SQLite": "'||'",
    "MySQL": "' '",
    "SQL Server": "'+'",
    "SQLite within double quotes": '"||"',
    "MySQL within double quotes": '" "',
}
_ERROR = re.compile(
    r"SQLSTATE\[?|PostgreSQL.{0,40}ERROR|PSQLException|psycopg\d?\.|PG::\w*Error|unterminated quoted string"
    r"|You have an error in your SQL syntax|mysqli?_\w+\(|MySqlException|ORA-\d{5}|Unclosed quotation mark"
    r"|System\.Data\.SqlClient|sqlite3?\.\w*Error|SQLITE_ERROR|near \"[^\"]{1,40}\": syntax error|JDBCException|QueryFailedError",
)


def nonsense(value: str, longer: int = 4) -> str:
    """A value that finds nothing, of the same kind, as long as the probes are: the control for a firewall that refuses them."""
    if value.isdecimal():
        return str(1_900_000_000 + secrets.randbelow(99_999_999))
    return "".join(secrets.choice(string.ascii_lowercase) for _ in range(len(value) + longer))


def joins(value: str) -> dict[str, str]:
    """Database to a value that only this database makes the given one of: `app'||'le`, and `4-1` for numbers."""
    left, right = _halves(value)
    values = {database: f"{left}{between}{right}" for database, between in _JOINS.items()}
    if value.isdecimal():
        values[NUMBER] = f"{int(value) + 1}-1"
    return values


def names(value: str) -> dict[str, str]:
    """The same for what may name a column, which no quotes begin: `price/**/`."""
    return {NAME: f"{value}/**/"} if value.isidentifier() else {}


def confirmations(value: str, database: str) -> tuple[str, ...]:
    """Values that the database does not make the given one of, though a program that drops special characters may."""
    left, right = _halves(value)
    if database == NUMBER:
        return (f"{int(value) + 2}-1",)
    if database == NAME:
        return f"{value}//", f"{value}xx/**/", f"{left}/**/{right}"  # a search by words finds the first as well
    between = _JOINS[database]
    return f"{left}{between}{right}xx", f"{left}{between}{between[-1]}{right}"


def _halves(value: str) -> tuple[str, str]:
    cut = (len(value) + 1) // 2
    return value[:cut], value[cut:]


def database_error(text: str) -> bool:
    """Whether a text is what a database says when it does not understand a statement."""
    return _ERROR.search(text) is not None
