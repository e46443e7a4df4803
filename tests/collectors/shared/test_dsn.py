"""A connection string that libpq would not understand is an error of the configuration, wherever one may be given."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.config import ConfigError, load

WRONG = "postgres//sre:canary@db/shop"


@pytest.mark.parametrize(
    ("section", "options", "key"),
    [
        (
            "backend_api",
            f"{{name: shop, url: 'http://shop', migrations: {{expected_heads: [a1], dsn: '{WRONG}'}}}}",
            "migrations.dsn",
        ),
        (
            "data_validation",
            (
                "{name: shop, dsn: 'postgresql://db/shop', "
                f"copies: [{{name: orders, source_query: SELECT 1, source: '{WRONG}'}}]}}"
            ),
            "copies[0].source",
        ),
        (
            "configuration_verification",
            f"{{name: shop, databases: [{{name: orders, dsn: '{WRONG}'}}]}}",
            "databases[0].dsn",
        ),
        ("postgresql", f"{{name: shop, dsn: '{WRONG}'}}", "dsn"),
        ("postgresql", f"{{name: shop, dsn: 'postgresql://db/shop', pgbouncer: '{WRONG}'}}", "pgbouncer"),
    ],
)
def test_it_is_refused_with_file_line_and_key(tmp_path: Path, section: str, options: str, key: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"sections:\n  {section}:\n    targets:\n      - {options}\n")
    with pytest.raises(ConfigError) as raised:
        load(file)
    (line,) = str(raised.value).splitlines()
    assert line.startswith(f"{file}:4:")
    assert f"sections.{section}.targets[0].{key}: expected a PostgreSQL connection string" in line
    assert "canary" not in line
