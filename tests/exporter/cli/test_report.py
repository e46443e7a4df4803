"""Tests of `report`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import bcrypt
import pytest

from exporter.checklist import Checklist
from exporter.cli.shared import ExitCode
from exporter.document import schema
from tests.exporter.cli.conftest import LINES, Ended, custom
from tests.exporter.test_daemon import exporting
from tests.servers.exporters import Exposition
from tests.servers.pages import Pages
from tests.servers.process import free_port, wait_until

Run = Callable[..., Ended]


def test_markdown_is_the_checklist_ticked(run: Run, tmp_path: Path) -> None:
    config = custom(tmp_path, *LINES)
    ended = run("report", "--config.file", config)
    assert ended.code == ExitCode.OK
    ticked = {line.text: line.ticked for line in Checklist.parse(ended.out, "report").lines}
    assert ticked == {"Replica drilled": True, "Restore drilled": False}


def test_of_a_section_only_its_lines_are_printed(run: Run, tmp_path: Path) -> None:
    ended = run("report", "--config.file", custom(tmp_path, *LINES), "--section", "drill")
    lines = Checklist.parse(ended.out, "report").lines
    assert {line.text: line.ticked for line in lines} == {"Replica drilled": True, "Restore drilled": False}
    ended = run("report", "--section", "redis")
    assert len(Checklist.parse(ended.out, "report").lines) == 7


@pytest.mark.parametrize("form", ["table", "sarif", "html"])
def test_every_form_names_the_lines(run: Run, tmp_path: Path, form: str) -> None:
    config = custom(tmp_path, *LINES)
    ended = run("report", "--config.file", config, "--format", form)
    assert ended.code == ExitCode.OK
    assert "Restore drilled" in ended.out or "restore_drilled" in ended.out


def test_an_exporter_that_does_not_answer_gives_no_report(run: Run, tmp_path: Path) -> None:
    ended = run("report", "--config.file", custom(tmp_path, *LINES), "--url", f"http://127.0.0.1:{free_port()}")
    assert ended.code == ExitCode.UNKNOWN
    assert "the connection was refused" in ended.err


def test_what_is_no_exporter_gives_no_report(run: Run, tmp_path: Path) -> None:
    with Exposition("up 1") as page:
        ended = run("report", "--config.file", custom(tmp_path, *LINES), "--url", f"http://127.0.0.1:{page.port}")
    assert ended.code == ExitCode.UNKNOWN


NO_ITEMS: tuple[object, ...] = (3, [3], [{}])
WHOLE = {"environment": "", "release": None, "generated_at": "2026-11-24T12:00:00Z"}


@pytest.mark.parametrize(
    "body",
    [
        *("[]", "{}", '{"items": 3}', '{"items": []}'),
        *(json.dumps({**WHOLE, "items": items}) for items in NO_ITEMS),
        json.dumps({**WHOLE, "items": [dict.fromkeys(schema()["$defs"]["item"]["required"], "odd")]}),
    ],
)
def test_what_answers_in_json_but_is_no_exporter(run: Run, pages: Pages, body: str) -> None:
    pages.add("/api/v1/items", body, content_type="application/json")
    ended = run("report", "--url", pages.url)
    assert ended.code == ExitCode.UNKNOWN
    assert ended.err == f"{pages.url} is not a checklist-exporter: its /api/v1/items has no items.\n"


@pytest.mark.parametrize("url", ["127.0.0.1:9876", "http://", "http://sre:canary@127.0.0.1:9876"])
def test_what_is_no_address_gives_no_report(run: Run, url: str) -> None:
    ended = run("report", "--url", url)
    assert ended.code == ExitCode.CONFIGURATION
    assert ended.err.startswith("--url takes the address of an exporter such as http://127.0.0.1:9876")
    assert "canary" not in ended.err


def test_a_report_of_what_an_exporter_tells_only_to_its_users(run: Run, tmp_path: Path) -> None:
    web, access = tmp_path / "web.yaml", tmp_path / "access.yaml"
    web.write_text(f"basic_auth_users: {{sre: {bcrypt.hashpw(b'canary', bcrypt.gensalt(4)).decode()}}}\n")
    (tmp_path / "password").write_text("canary\n")
    with exporting(tmp_path, flags=(f"--web.config.file={web}",)) as exporter:
        access.write_text(f"url: http://127.0.0.1:{exporter.port}\nusername: sre\npassword_file: password\n")
        ended = run("report", "--http.config.file", access, "--format", "json")
        assert (ended.code, len(json.loads(ended.out)["items"])) == (ExitCode.OK, 205)
        (tmp_path / "password").write_text("canary-of-old\n")
        refused = run("report", "--http.config.file", access)
        assert (refused.code, refused.out) == (ExitCode.UNKNOWN, "")
        assert "/api/v1/items answered 401" in refused.err
        assert "canary" not in refused.err


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            "url: sre.example.com\n",
            "access.yaml:1:1: url: found 'sre.example.com' of type string, expected an address that starts",
        ),
        ("url: http://127.0.0.1\nuser: sre\n", "access.yaml:2:1: user: unknown key; did you mean 'username'?"),
        ("", "access.yaml:1:1: the file is empty"),
        (None, "access.yaml:1:1: the file cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_does_not_say_where_the_exporter_is(
    run: Run, tmp_path: Path, content: str | None, told: str
) -> None:
    access = tmp_path / "access.yaml"
    if content is not None:
        access.write_text(content)
    ended = run("report", "--http.config.file", access)
    assert ended.code == ExitCode.CONFIGURATION
    assert told in ended.err


def test_an_exporter_has_one_address(run: Run, tmp_path: Path) -> None:
    ended = run("report", "--url", "http://127.0.0.1:9876", "--http.config.file", tmp_path / "access.yaml")
    assert (ended.code, ended.err) == (
        ExitCode.CONFIGURATION,
        "Either --url or --http.config.file: the file has the address in it.\n",
    )


def test_a_report_of_what_an_exporter_knows(run: Run, tmp_path: Path) -> None:
    with exporting(tmp_path) as exporter:
        exporter.attest()
        wait_until(lambda: exporter.item()["status"] == "ok", what="the record is seen")
        url = f"http://127.0.0.1:{exporter.port}"
        config = tmp_path / "config.yaml"
        ended = run("report", "--config.file", config, "--url", url, "--section", "final_checklist", "--format", "json")
        assert {item["section"] for item in json.loads(ended.out)["items"]} == {"final_checklist"}
        address = f"127.0.0.1:{exporter.port}"
        healthy = run("healthcheck", "--web.listen-address", address)
        assert (healthy.code, "is healthy" in healthy.out) == (0, True)
    gone = run("healthcheck", "--web.listen-address", address)
    assert (gone.code, "does not answer" in gone.err) == (ExitCode.FAILED, True)
    assert run("healthcheck", "--web.listen-address", "nonsense").code == ExitCode.CONFIGURATION


def _report(environment: str, **statuses: str) -> str:
    """An items document of lines of the section `redis`."""
    item = dict.fromkeys(schema()["$defs"]["item"]["required"]) | {"section": "redis", "group": "infrastructure"}
    items = [
        item
        | {"item": name, "line": f"{name} | *holds*", "status": status, "severity": "critical", "summary": "Seen <b>."}
        for name, status in statuses.items()
    ]
    return json.dumps({**WHOLE, "environment": environment, "items": items})


@pytest.fixture
def sites(pages: Pages) -> list[str]:
    """Options that name two exporters: the second has a line that the first does not have, and lacks one."""
    answers = {
        "production": _report("production", one="ok", two="failed"),
        "staging": _report("staging", one="unknown", three="ok"),
    }
    for name, answer in answers.items():
        pages.add(f"/{name}/api/v1/items", answer, content_type="application/json")
    return [option for name in answers for option in ("--url", f"{pages.url}/{name}")]


def test_several_exporters_stand_side_by_side(run: Run, sites: list[str]) -> None:
    ended = run("report", *sites)
    assert ended.code == ExitCode.OK
    assert ended.out.splitlines() == [
        "- production: 1 ok, 1 failed; 1 critical does not pass.",
        "- staging: 1 ok, 1 unknown; 1 critical does not pass.",
        "",
        "| Line | production | staging |",
        "|---|---|---|",
        "| **redis** | | |",
        r"| one \| \*holds\* | ok | unknown: Seen \<b\>. |",
        r"| two \| \*holds\* | failed: Seen \<b\>. | no such line |",
        r"| three \| \*holds\* | no such line | ok |",
    ]
    table = run("report", *sites, "--format", "table")
    assert "redis.two: production failed, staging no such line\n" in table.out
    page = run("report", *sites, "--format", "html").out
    assert "<b>." not in page
    assert "3 lines differ between the environments." in page
    reports = json.loads(run("report", *sites, "--format", "json").out)["reports"]
    assert [report["report"]["environment"] for report in reports] == ["production", "staging"]


def test_exporters_of_one_environment_have_different_names(run: Run, pages: Pages, sites: list[str]) -> None:
    pages.add("/staging/api/v1/items", _report("production", one="ok"), content_type="application/json")
    ended = run("report", *sites)
    names = [f"production {site.removeprefix('http://')}" for site in sites[1::2]]
    assert f"| Line | {names[0]} | {names[1]} |" in ended.out


def test_an_exporter_that_does_not_answer_leaves_the_column_of_the_other(run: Run, sites: list[str]) -> None:
    ended = run("report", "--url", f"http://127.0.0.1:{free_port()}", *sites[:2], "--section", "redis")
    assert ended.code == ExitCode.UNKNOWN, "what could not be asked is not ok"
    assert "the connection was refused" in ended.err
    assert "| no such line | ok |" not in ended.out
    assert "| not reached | ok |" in ended.out


def test_a_report_of_several_has_no_form_that_is_about_one(run: Run, sites: list[str]) -> None:
    ended = run("report", *sites, "--format", "junit")
    assert (ended.code, ended.err) == (
        ExitCode.CONFIGURATION,
        "A report of several exporters has the formats table, markdown, html, json, not junit.\n",
    )
