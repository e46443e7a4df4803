"""What `pgbackrest info` writes is understood, and what is something else is told."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from collectors.systems.postgresql.client.pgbackrest import read_stanza
from collectors.systems.postgresql.model.pgbackrest import PgBackRest, Stanza
from exporter.verdict import ProbeError

STANZA: dict[str, Any] = {
    "name": "orders",
    "status": {"code": 0, "message": "ok", "lock": {"backup": {"held": False}}},
    "cipher": "none",
    "repo": [{"key": 1, "cipher": "none", "status": {"code": 0, "message": "ok"}}],
    "db": [{"id": 1, "repo-key": 1, "system-id": 7711845448443692536, "version": "15"}],
    "archive": [{"id": "15-1", "database": {"id": 1, "repo-key": 1}, "min": "0" * 24, "max": "0" * 23 + "4"}],
    "backup": [
        {
            "label": "20261124-205902F",
            "type": "full",
            "error": None,
            "timestamp": {"start": 1795553942, "stop": 1795553946},
            "database": {"id": 1, "repo-key": 1},
        }
    ],
}


async def read(directory: Path, text: str, **options: Any) -> Stanza:
    (directory / "info").write_text(text)
    script = f'cat {directory}/info; echo "$@" >{directory}/arguments'
    given = {"stanza": "orders", "command": ["/bin/sh", "-c", script, "pgbackrest"], **options}
    return await read_stanza(PgBackRest.model_validate_json(json.dumps(given)))


async def test_a_stanza_is_read(tmp_path: Path) -> None:
    stanza = await read(tmp_path, json.dumps([{**STANZA, "name": "other"}, STANZA]), config="/etc/pgbackrest.conf")
    assert stanza.backup[0].stopped == datetime(2026, 11, 24, 20, 59, 6, tzinfo=UTC)
    assert stanza.system_ids(stanza.backup[0].database) == {"7711845448443692536"}
    assert stanza.repo[0].cipher == "none"
    arguments = (tmp_path / "arguments").read_text()
    assert arguments == "info --output=json --stanza=orders --config=/etc/pgbackrest.conf\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[]", "knows no stanza orders"),
        ("", "wrote something else than expected"),
        ("WARN: nothing\n[]", "wrote something else than expected"),
        ('[{"name": "orders"}]', "missing required field `status`"),
    ],
)
async def test_something_else_is_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ProbeError, match=told):
        await read(tmp_path, text)


@settings(max_examples=25)  # each runs a program
@given(
    st.text()
    | st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))
)
async def test_whatever_is_written_is_refused_in_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, output: object
) -> None:
    text = output if isinstance(output, str) else json.dumps(output)
    with pytest.raises(ProbeError):
        await read(tmp_path_factory.mktemp("info"), text)


def test_a_command_has_a_program() -> None:
    with pytest.raises(ValidationError):
        PgBackRest.model_validate_json('{"stanza": "orders", "command": []}')
