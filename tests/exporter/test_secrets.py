"""A secret in every option that takes one, and servers that send back whatever they are sent: none of it is shown anywhere."""

from __future__ import annotations

import base64
import itertools
import json
import re
import socketserver
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from pydantic import BaseModel, SecretStr

from exporter.catalogue import Catalogue
from exporter.config import Config, ConfigError, client_kinds, load, section_kinds
from exporter.options_reader import shapes
from tests.exporter.test_daemon import Exporter
from tests.servers.process import wait_until

HTTP = {"username": "sre", "password": "canary", "bearer_token": "canary", "headers": {"X-Scope-OrgID": "canary"}}


def configuration(port: int) -> dict[str, Any]:
    """Every section and client that takes secrets, all of one server; each `canary` stands for a secret of its own."""
    address = f"127.0.0.1:{port}"
    http = {"url": f"http://{address}", "timeout": "1s", **HTTP}
    often = {"every": "2s", "timeout": "2s"}
    aws = {
        "region": "eu-central-1",
        "access_key_id": "sre",
        "secret_access_key": "canary",
        "session_token": "canary",
        "endpoint_url": http["url"],
        "timeout": "1s",
    }
    service = {"name": "shop", "selector": '{app="shop"}'}
    application = {"targets": [{"name": "a", "url": http["url"], **HTTP}]}
    engines = {"prefect": {**http, "work_pools": ["a"]}, "temporal": {**http, "task_queues": [{"name": "a"}]}}
    dsn = f"postgresql://sre:canary@{address}/"
    logins = {
        "a": {"username": "sre", "password": "canary"},
        "b": {"token": "canary"},
        "c": {"nkey_seed": "canary"},
    }
    keys = {
        "jwks": [http],
        "tokens": [{"name": "a", "token": "canary"}],
        "api_keys": [{"name": "a", **http, "allowed": "/a", "forbidden": "/b"}],
        "databases": [{"name": "a", "dsn": dsn}],
    }
    orders = {"query": "SELECT 1", "conditions": ["rows == 1"]}
    step = {"method": "POST", "path": "/", "fields": {"password": "canary"}, "headers": {"X-Key": "canary"}}
    flow = {
        "url": http["url"],
        "timeout": "1s",
        "totp": {"secret": "canary"},
        "steps": [
            {**step, "name": "login", "conditions": ["status < 600"], "extract": {"token": "text"}},
            {
                **step,
                "name": "second factor",
                "fields": {"otp": "$(otp)"},
                "headers": {},
                "conditions": ["status < 600"],
            },
            {**step, "name": "me", "headers": {"A": "$(token)"}, "conditions": ["json.status == 'a'"]},
        ],
    }
    on_call = {
        "pagerduty": {**http, "token": "canary", "escalation_policies": ["P1"]},
        "opsgenie": {**http, "token": "canary", "schedules": ["S1"]},
        "json_api": {**http, "levels": ["/primary"]},
    }
    return {
        "state": {"dsn": dsn},
        "clients": {
            **dict.fromkeys(("alertmanager", "blackbox", "grafana", "loki", "prometheus"), http),
            "jaeger": {**http, "otlp": http},
            "kubernetes": {"kubeconfig": "kubeconfig.yaml"},
            "aws": aws,
        },
        "sections": {
            **{name: {**often, **application} for name in ("api_service", "frontend")},
            "orchestrator_service": {**often, "targets": [{**application["targets"][0], **engines}]},
            "data_service": {
                **often,
                "targets": [
                    {
                        "name": "a",
                        "url": http["url"],
                        **HTTP,
                        "database_clients": {"dsn": dsn, "client_name": "a"},
                        "cache_clients": {"redis": address, "password": "canary", "client_name": "a"},
                        "queue_clients": {"monitoring": http, "client_name": "a"},
                    }
                ],
            },
            "backend_api": {
                **often,
                "targets": [
                    {
                        "name": "a",
                        "url": http["url"],
                        **HTTP,
                        "migrations": {"dsn": dsn, "expected_heads": ["a1"]},
                        "workers": {"framework": "celery", "redis": address, "password": "canary"},
                    }
                ],
            },
            "backups": {
                **often,
                "databases": [
                    {
                        "name": "a",
                        "dsn": dsn,
                        "rds": {"instance": "a"},
                        "walg": {"environment": {"AWS_SECRET_ACCESS_KEY": "canary"}, "command": ["env"]},
                        "restic": {
                            "repository": "canary",
                            "password": "canary",
                            "environment": {"AWS_SECRET_ACCESS_KEY": "canary"},
                            "command": ["env"],
                            "host": "a",
                            "paths": ["/a"],
                        },
                    }
                ],
            },
            "data_validation": {
                **often,
                "targets": [
                    {
                        "name": "a",
                        "dsn": dsn,
                        "copies": [{"name": "b", "source": dsn, "source_query": "SELECT 1"}],
                        "reports": [{"name": "c", "target": "prod", "url": http}],
                        "migration_reports": [{"name": "d", "target": "prod", "url": http}],
                    }
                ],
            },
            "configuration_verification": {**often, "targets": [{"name": "a", **keys}], **keys},
            "disaster_recovery": {
                **often,
                "on_call": on_call,
                "recovery_points": [
                    {
                        "store": "orders",
                        "at_most": "5m",
                        "dsn": dsn,
                        "pgbackrest": {"stanza": "orders", "command": ["false"]},
                    },
                    {
                        "store": "billing",
                        "at_most": "5m",
                        "dsn": dsn,
                        "walg": {"environment": {"AWS_SECRET_ACCESS_KEY": "canary"}, "command": ["env"]},
                    },
                ],
            },
            "smoke_tests": {
                **often,
                "targets": [
                    {
                        "name": name,
                        "allow_intrusive": True,
                        "api": {**http, "endpoints": [{"path": "/a", "conditions": ["json.status == 'a'"]}]},
                        "authentication": flow,
                        "ai_pipeline": {**http, "path": "/a", "body": "{}", "conditions": ["json.status == 'a'"]},
                        "database": {"dsn": dsn, "timeout": "1s"},
                        "cache": {"address": address, "password": "canary", "timeout": "1s"},
                        "queue": {"address": address, "timeout": "1s", **credentials},
                    }
                    for name, credentials in logins.items()
                ],
            },
            "openai": {
                **often,
                "api": {**http, "models": [{"name": "a", "min_requests_per_minute": 1}], "completion": True},
                "organization": {**http, "project": "a", "budget": {"monthly": 1}},
            },
            "payments": {
                **often,
                "api": http,
                "keys": [{"name": "a", "key": "canary"}],
                "webhooks": [{"url": f"http://{address}/a", "events": ["a"], "signing_secret": "canary"}],
            },
            "communications": {
                **often,
                "smtp": {
                    "host": "127.0.0.1",
                    "port": port,
                    "username": "sre",
                    "password": "canary",
                    "sender": "a@example.com",
                    "recipient": "b@example.com",
                    "timeout": "1s",
                },
                "twilio": {**http, "account": f"AC{'0' * 32}", "sms_numbers": ["+15005550006"]},
                "templates": {**http, "path": "/{name}", "required": ["a"], "filled": ["/a"]},
            },
            "performance_tuning": {
                **often,
                "databases": [{"name": "a", "dsn": dsn, "pgbouncer": dsn}],
                "caches": [{"name": "a", "nodes": [address], "password": "canary"}],
                "sites": [{"name": "a", **http}],
            },
            "kubernetes": {
                **often,
                "targets": [{"name": "a", "ingress_requests": [http]}],
                "ingress_requests": [http],
            },
            "postgresql": {
                **often,
                "targets": [
                    {
                        "name": "a",
                        "dsn": f"postgresql://sre:canary@{address}/",
                        "pgbouncer": f"postgresql://sre:canary@{address}/pgbouncer",
                        "patroni": http,
                    }
                ],
            },
            "redis": {
                **often,
                "targets": [
                    {
                        "name": "a",
                        "mode": "sentinel",
                        "nodes": [address],
                        "sentinels": [address],
                        "password": "canary",
                        "sentinel_password": "canary",
                        "data_volume": "/data",
                    }
                ],
            },
            "neo4j": {
                **often,
                "targets": [{"name": "a", "servers": [{"bolt": address}], "username": "sre", "password": "canary"}],
            },
            "qdrant": {**often, "targets": [{"name": "a", "nodes": [{"url": http["url"]}], "api_key": "canary"}]},
            "nats": {
                **often,
                "targets": [
                    {
                        "name": name,
                        "nodes": [{"server": address, "monitoring": http}],
                        "callout": {"password": "canary", "token": "canary"},
                        **credentials,
                    }
                    for name, credentials in logins.items()
                ],
            },
            "metrics_collection": {**often, "marker_wait": "1s", "services": [{**service, "marker": http}]},
            "logging": {
                **often,
                "marker_wait": "1s",
                "marker_settle": "500ms",
                "services": [
                    {**service, "marker": {"request": http}},
                    {**service, "name": "till", "marker": {"push": {**http, "labels": {"app": "till"}}}},
                ],
            },
            "monitoring_stack": {**often, "marker_wait": "1s", "trace_services": ["shop"]},
            "network_security": {**often, "hosts": [{"host": "127.0.0.1", "open": [port], "closed": [1]}]},
            "security_configuration": {
                **often,
                "targets": [
                    {
                        "name": "a",
                        "url": http["url"],
                        "pause": "0s",
                        "request_timeout": "1s",
                        "headers": {"X-Key": "canary"},
                        "expired_token": "canary",
                        "foreign_token": "canary",
                        "users": {
                            "alice": {"bearer_token": "canary"},
                            "bob": {"cookie": "session=canary"},
                            "carol": {"login": {"path": "/login", "fields": {"password": "canary"}}},
                        },
                        "protected": ["/me"],
                        "objects": [{"path": "/orders/1", "allowed": "alice", "refused": ["bob", "carol"]}],
                    }
                ],
            },
            "alerting": often,
            "final_checklist": {
                **often,
                "status_page": http,
                "on_call": on_call,
                "registries": [http],
                "issues": {
                    "github": {**http, "repositories": ["a/b"]},
                    "gitlab": {**http, "projects": ["a/b"]},
                    "jira": {**http, "project": "SHOP"},
                    "json_api": {**http, "open_issues": "/total"},
                },
            },
        },
        "custom": [
            {
                "section": "Shop",
                "line": "The shop answers",
                "http": {**http, "endpoints": [{"path": "/a", "conditions": ["json.status == 'a'"]}]},
            },
            {"section": "Shop", "line": "Orders come in", "sql": {**orders, "dsn": dsn}},
            {"section": "Shop", "line": "Payments come in", "sql": {**orders, "targets": [{"name": "a", "dsn": dsn}]}},
            {
                "section": "Shop",
                "line": "The licence is valid",
                "command": {"command": ["env"], "env": {"KEY": "canary"}, "conditions": ["text == 'a'"]},
            },
        ],
        "evidence": {"folder": "evidence", "hosts": [http], "s3": {**aws, "buckets": ["a"]}},
    }


#: A secret of a second factor has no digits but 2 to 7.
_LETTERS = str.maketrans("0123456789", "abcdefghij")


def numbered(value: Any, found: list[str]) -> Any:
    """The value with a number, in letters, behind each `canary`, all of which are `found`."""
    if isinstance(value, Mapping):
        return {key: numbered(inner, found) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [numbered(inner, found) for inner in value]
    if isinstance(value, str) and "canary" in value:
        number = str(len(found)).translate(_LETTERS)
        found.append(f"canary{number}" * 20)  # long, so that a text that is cut is cut inside
        return value.replace("canary", found[-1])
    return value


def places(value: Any, where: tuple[str, ...] = (), *, named: bool = False) -> Iterator[tuple[str, ...]]:
    """The keys that lead to each canary, without indexes of lists and the names of headers, fields, users and variables."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            deeper = where if named else (*where, key)
            yield from places(
                inner, deeper, named=not named and key in ("headers", "fields", "users", "environment", "env")
            )
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for inner in value:
            yield from places(inner, where)
    elif isinstance(value, str) and "canary" in value:
        yield where


def secrets(model: type[BaseModel], where: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The keys that lead to each option that takes a secret."""
    for name, option in model.model_fields.items():
        kinds = list(shapes(option.annotation))
        for kind in kinds:
            if kind is SecretStr:
                yield (*where, name)
            elif isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from secrets(kind, (*where, name))
            elif get_origin(kind):
                kinds += [shape for inner in get_args(kind) for shape in shapes(inner)]


def test_every_option_that_takes_a_secret_is_tried() -> None:
    catalogue = Catalogue.load()
    wanted = set(secrets(Config, ())) | set(secrets(catalogue.custom.Line, ("custom",)))
    for group, kinds in (("clients", client_kinds(catalogue)), ("sections", section_kinds(catalogue))):
        for name, kind in kinds.items():
            wanted |= set(secrets(kind, (group, name)))
    assert set(places(configuration(1))) == wanted


class _Mirror(socketserver.BaseRequestHandler):
    """Sends back what it gets: of HTTP requests as the error that it answers, of all else as it is."""

    received = b""
    count = itertools.count()

    def handle(self) -> None:
        self.request.settimeout(10)
        with suppress(OSError):
            while data := self.request.recv(65536):
                _Mirror.received += data
                self.request.sendall(self._answer(data.decode("latin-1")) if re.match(rb"[A-Z]+ /", data) else data)

    @staticmethod
    def _answer(said: str) -> bytes:
        said = "-" * (next(_Mirror.count) * 17 % 60) + said  # texts that are cut are cut in several places
        body = json.dumps(dict.fromkeys(("status", "errorType", "error", "message"), said))
        status = 200 if len(said) % 2 and "of-kubernetes" not in said else 400
        head = f"HTTP/1.1 {status} {said.splitlines()[0]}\r\nX-Said: {said.splitlines()[-3]}\r\n"
        return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@pytest.fixture
def mirror() -> Iterator[int]:
    """The port of a server that sends back whatever it is sent."""
    with _Server(("127.0.0.1", 0), _Mirror) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: a
contexts: [{name: a, context: {cluster: a, user: a}}]
clusters: [{name: a, cluster: {server: "http://127.0.0.1:PORT"}}]
users: [{name: a, user: {token: canary-of-kubernetes}}]
"""


class _Configured(Exporter):
    """An exporter whose configuration is all of `more`."""

    def configure(self, more: str = "") -> None:
        (self.folder / "config.yaml").write_text(more)


def test_no_secret_is_shown_whatever_servers_say(tmp_path: Path, mirror: int) -> None:
    hidden: list[str] = []
    written = numbered(configuration(mirror), hidden)
    (tmp_path / "kubeconfig.yaml").write_text(KUBECONFIG.replace("PORT", str(mirror)))
    with _Configured(tmp_path, more=json.dumps(written), flags=("--log.level=debug", "--enable-commands")) as exporter:

        def all_ran() -> bool:
            items = json.loads(exporter.get("/api/v1/items"))["items"]
            sections = {*written["sections"], "shop"}
            return all(item["last_run"] for item in items if item["section"] in sections and item["targets"])

        wait_until(all_ran, what="everything was looked at", deadline=120)
        items = json.loads(exporter.get("/api/v1/items"))["items"]
        pages = [exporter.get(f"/items/{item['section']}/{item['item']}") for item in items if item["targets"]]
        shown = "\n".join(
            [*pages, *map(exporter.get, ("/", "/metrics", "/api/v1/items", "/api/v1/transitions")), exporter.logged()]
        )
    sent = [secret for secret in hidden if secret.encode() in _Mirror.received]
    assert len(sent) > 10
    assert "<secret>" in shown  # some of what the servers said was told
    assert not re.findall(r".{0,80}canary(?:\d|-of).{0,80}", shown)
    for secret in hidden:
        assert base64.b64encode(f"sre:{secret}".encode()).decode().rstrip("=") not in shown


@pytest.mark.parametrize(
    "written",
    [
        "password_file: hunter2-hunter2",
        "password_file: /hunter2/hunter2",
        "password_file: 20021984200219842002",
        "password_file: *hunter2",
        "password_file: !hunter2 x",
        "password: *hunter2",
        "password: !hunter2 x",
        "password: [hunter2]",
        "password: {hunter2-hunter2: 1}",
        "passwort: hunter2",
        "password: hunter2\n        password_file: hunter2",
    ],
)
def test_a_secret_in_the_wrong_place_is_not_printed(tmp_path: Path, written: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "sections:\n  redis:\n    targets:\n"
        f'      - name: a\n        nodes: ["127.0.0.1:6379"]\n        data_volume: /data\n        {written}\n'
    )
    with pytest.raises(ConfigError) as raised:
        load(config)
    assert "config.yaml:7:" in str(raised.value) or "config.yaml:8:" in str(raised.value)
    assert "hunter2" not in str(raised.value)
    assert "2002198" not in str(raised.value)


def test_a_secret_too_short_to_be_hidden_is_reported(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    target = 'name: a, nodes: ["127.0.0.1:6379"], data_volume: /data'
    config.write_text(f"sections: {{redis: {{targets: [{{{target}, password: abc}}]}}}}\n")
    told = [str(warned) for warned in load(config).warnings]
    where = f"{config}:1:87: sections.redis.targets[0].password"
    assert told == [
        f"{where}: a secret of fewer than 4 characters is not hidden in sentences and logs: use a longer one"
    ]
