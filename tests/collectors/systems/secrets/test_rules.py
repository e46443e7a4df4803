"""The rules find every secret and placeholder of the corpus, take nothing harmless for one, and repeat no value."""

from __future__ import annotations

import pytest

from collectors.systems.secrets.model.rules import (
    Finding,
    Sort,
    in_arguments,
    in_setting,
    in_text,
    is_credential,
    shown,
)
from tests.collectors.systems.secrets import corpus


def secrets(found: tuple[Finding, ...]) -> list[Finding]:
    """Those of the findings that are secrets."""
    return [one for one in found if one.sort is Sort.SECRET]


@pytest.mark.parametrize(("name", "value"), corpus.SECRET_SETTINGS)
def test_a_secret_in_a_setting_is_found(name: str, value: str) -> None:
    found = secrets(in_setting(name, value))
    assert found
    assert not any(corpus.canary() in str(one) for one in found)


def test_a_token_of_a_service_is_found_under_any_name() -> None:
    assert [value[:12] for name, value in corpus.service_tokens() if not secrets(in_setting(name, value))] == []


@pytest.mark.parametrize(("name", "text"), corpus.SECRET_FILES)
def test_a_secret_in_a_file_is_found(name: str, text: str) -> None:
    found = secrets(in_text(name, text))
    assert found
    assert not any(corpus.canary() in str(one) for one in found)


@pytest.mark.parametrize("arguments", corpus.ARGUMENTS)
def test_a_secret_on_a_command_line_is_found(arguments: tuple[str, ...]) -> None:
    found = secrets(in_arguments(arguments))
    assert found
    assert not any(corpus.canary() in str(one) for one in found)


@pytest.mark.parametrize(("name", "value"), corpus.HARMLESS_SETTINGS)
def test_a_harmless_setting_is_neither_secret_nor_placeholder(name: str, value: str) -> None:
    assert in_setting(name, value) == ()


@pytest.mark.parametrize(("name", "text"), corpus.HARMLESS_FILES)
def test_a_harmless_file_has_neither_secret_nor_placeholder(name: str, text: str) -> None:
    assert in_text(name, text) == ()


@pytest.mark.parametrize(("name", "value"), corpus.PLACEHOLDERS)
def test_a_placeholder_is_found_in_a_setting_and_in_a_file(name: str, value: str) -> None:
    assert any(one.sort is Sort.PLACEHOLDER for one in in_setting(name, value))
    if not set("{<,") & set(value):
        assert any(one.sort is Sort.PLACEHOLDER for one in in_text("app.env", f"A=b\n{name}={value}\n"))


def test_further_secrets_are_found() -> None:
    settings = [(one, secrets(in_setting(*one))) for one in corpus.FURTHER_SETTINGS]
    files = [(one, secrets(in_text(*one))) for one in corpus.FURTHER_FILES]
    commands = [(one, secrets(in_arguments(one))) for one in corpus.FURTHER_ARGUMENTS]
    found: list[tuple[tuple[str, ...], list[Finding]]] = [*settings, *files, *commands]
    assert [one for one, several in found if not several] == []
    assert corpus.canary() not in str([several for _, several in found])


def test_further_placeholders_are_found() -> None:
    def missed(name: str, value: str, *, alone: bool) -> bool:
        found = in_setting(name, value) if alone else in_text("app.env", f"A=b\n{name}={value}\n")
        return not any(one.sort is Sort.PLACEHOLDER for one in found)

    settings = (*corpus.FURTHER_PLACEHOLDERS, *corpus.LONE_PLACEHOLDERS)
    assert [one for one in settings if missed(*one, alone=True)] == []
    listed = [one for one in corpus.FURTHER_PLACEHOLDERS if not set("{<,") & set(one[1])]
    assert [one for one in listed if missed(*one, alone=False)] == []


def test_further_harmless_settings_are_neither() -> None:
    assert [(one, in_setting(*one)) for one in corpus.FURTHER_HARMLESS if in_setting(*one)] == []
    assert [(one, in_text(*one)) for one in corpus.FURTHER_HARMLESS_FILES if in_text(*one)] == []


@pytest.mark.parametrize("value", ["my-super-secret-key", "jwt_secret_key", "thisisasecret", "test-secret-2"])
def test_a_secret_as_tutorials_write_it_is_a_placeholder(value: str) -> None:
    assert any(one.sort is Sort.PLACEHOLDER for one in in_setting("JWT_SECRET", value))
    assert not any(one.sort is Sort.PLACEHOLDER for one in in_setting("EXISTING_SECRET", value))


def test_a_name_that_is_a_token_is_not_shown() -> None:
    token = "ghp" + "_" + "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8"
    assert token not in shown(token)
    assert shown("DB_PASSWORD") == "DB_PASSWORD"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("DB_PASSWORD", True), ("DATABASE_URL", True), ("PGPASSWORD", True), ("POSTGRES_USER", True),
        ("API_KEY", False), ("DB_HOST", False), ("JWT_SECRET", False),
    ],
)  # fmt: skip
def test_names_of_credentials_of_databases(name: str, expected: bool) -> None:
    assert is_credential(name) is expected


def test_reading_a_large_file_takes_no_time() -> None:
    text = (
        '{"panels": ['
        + ",".join('{"title": "Requests", "expr": "sum(rate(x[5m]))", "id": 12}' for _ in range(9000))
        + "]}\n"
    )
    assert in_text("dashboard.json", text) == ()
    assert in_text("blob.txt", "a" * 2**18) == ()  # one word
