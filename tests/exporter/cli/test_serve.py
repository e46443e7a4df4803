"""Tests of `serve` and `healthcheck`, together and apart."""

from __future__ import annotations

import json
import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.cli import main
from exporter.cli.shared import ExitCode
from tests.exporter.cli.conftest import Ended
from tests.exporter.samples import LINES
from tests.servers.certificates import Issued
from tests.servers.pages import Pages
from tests.servers.process import answers, free_port, listening, wait_until

Run = Callable[..., Ended]


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as reply:
        return str(reply.read().decode())


def test_serves_until_told_to_stop(until_done: Run, evidence: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    seen: dict[str, object] = {}

    def act() -> None:
        seen["healthcheck"] = main(
            ["healthcheck", "--web.listen-address", address, "--web.external-url", "https://sre/p"]
        )
        seen["metrics"] = "checklist_item_ok{" in read(f"http://{address}/p/m")
        seen["items"] = len(json.loads(read(f"http://{address}/p/api/v1/items"))["items"])

    ended = until_done(
        *("serve", f"--config.file={evidence}", f"--web.listen-address={address}", "--web.telemetry-path=/m"),
        *("--web.external-url=https://sre/p", "--log.format=json"),
        ready=lambda: answers(f"http://{address}/p/-/healthy"),
        act=act,
    )
    assert seen == {"healthcheck": 0, "metrics": True, "items": LINES}
    assert ended.code == 0
    assert all(json.loads(line)["level"] in ("info", "warn") for line in ended.err.splitlines())
    first = [json.loads(line)["msg"] for line in ended.err.splitlines() if json.loads(line)["level"] == "info"][:4]
    assert [line.partition(" ")[0] for line in first] == [
        "checklist-exporter",
        "Configuration:",
        "Sections:",
        "Listening:",
    ]
    assert first[1] == f"Configuration: {evidence}"
    assert first[3] == f"Listening: http://{address}; metrics at /p/m"


def test_without_a_configuration_it_says_how_to_begin(until_done: Run) -> None:
    address = f"127.0.0.1:{free_port()}"
    ended = until_done(
        *("serve", f"--web.listen-address={address}"),
        ready=lambda: answers(f"http://{address}/-/healthy"),
        act=lambda: None,
    )
    assert (
        "Configuration: none, so nothing is configured and every line is unknown. To begin, write a file" in ended.err
    )
    assert "Sections: none configured" in ended.err


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--web.telemetry-path=/", "--web.telemetry-path cannot be '/': pages of the exporter are there.\n"),
        ("--web.telemetry-path=/-/healthy", "--web.telemetry-path cannot be '/-/healthy'"),
        ("--web.telemetry-path=/{x}", "--web.telemetry-path takes a path of letters"),
        ("--web.route-prefix=/a b", "--web.route-prefix takes a path of letters"),
        ("--web.external-url=sre.example.com", "--web.external-url takes a URL such as"),
        ("--web.external-url=http://[", "--web.external-url takes a URL such as"),
        (
            "--web.external-url=https://sre:hunter2@example.com",
            "--web.external-url takes a URL without user and password.",
        ),
    ],
)
def test_addresses_and_paths_that_cannot_be_served(run: Run, flag: str, said: str) -> None:
    ended = run("serve", flag)
    assert ended.code == ExitCode.CONFIGURATION
    assert ended.err.startswith(said)
    assert "hunter2" not in ended.err


def test_healthcheck_over_tls(until_done: Run, tmp_path: Path) -> None:
    certificate, key = Issued.root().issue("checklist.example.com").write(tmp_path, "server")
    web = tmp_path / "web.yaml"
    web.write_text(f"tls_server_config: {{cert_file: {certificate}, key_file: {key}}}\n")
    port, codes = free_port(), []

    def act() -> None:
        flags = ("healthcheck", f"--web.listen-address=:{port}", "--web.config.file", str(web))
        wait_until(lambda: not main([*flags]), "the exporter to be healthy")
        codes.append(main([*flags]))
        codes.append(main([*flags[:2]]))

    flags = ("serve", f"--web.listen-address=:{port}", "--web.config.file", web)
    ended = until_done(*flags, ready=lambda: listening(port), act=act)
    assert ended.code == 0
    assert codes == [0, ExitCode.FAILED]


@pytest.mark.parametrize("version", ["TLS12", "TLS13"])
def test_healthcheck_where_clients_need_a_certificate(until_done: Run, tmp_path: Path, version: str) -> None:
    authority = Issued.root()
    certificate, key = authority.issue("checklist.example.com").write(tmp_path, "server")
    root, _ = authority.write(tmp_path, "root")
    web = tmp_path / "web.yaml"
    web.write_text(
        f"tls_server_config: {{cert_file: {certificate}, key_file: {key}, client_ca_file: {root},"
        f" client_auth_type: RequireAndVerifyClientCert, max_version: {version}}}\n"
    )
    port, codes = free_port(), []
    flags = (f"--web.listen-address=127.0.0.1:{port}", "--web.config.file", str(web))
    ended = until_done(
        "serve", *flags, ready=lambda: listening(port), act=lambda: codes.append(main(["healthcheck", *flags]))
    )
    assert (ended.code, codes) == (0, [0])
    assert "its health is shown only to clients with a certificate" in ended.out
    assert main(["healthcheck", *flags]) == ExitCode.FAILED


def test_an_address_that_is_taken(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = run("serve", f"--web.listen-address={address}")
    assert ended.code == ExitCode.CONFIGURATION
    assert ended.err.startswith(f"{address} cannot be listened on: Address already in use")


def test_healthcheck_of_nothing(run: Run) -> None:
    port = free_port()
    ended = run("healthcheck", f"--web.listen-address=0.0.0.0:{port}")
    assert ended.code == ExitCode.FAILED
    assert ended.err.startswith(f"localhost:{port} does not answer: ")


def test_healthcheck_of_an_unhealthy_exporter(run: Run, pages: Pages) -> None:
    pages.add("/-/healthy", "The scheduler last ticked 90 s ago (limit 30 s).", status=503)
    ended = run("healthcheck", f"--web.listen-address={pages.url.removeprefix('http://')}")
    assert ended.code == ExitCode.FAILED
    assert ended.err.endswith(" answers 503: The scheduler last ticked 90 s ago (limit 30 s).\n")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--web.listen-address=here",), "--web.listen-address takes HOST:PORT, not 'here'.\n"),
        (("--web.config.file=/nowhere/web.yaml",), "/nowhere/web.yaml cannot be read: "),
    ],
)
def test_healthcheck_with_wrong_flags(run: Run, flags: tuple[str, ...], said: str) -> None:
    ended = run("healthcheck", *flags)
    assert ended.code == ExitCode.CONFIGURATION
    assert ended.err.startswith(said)


def test_healthcheck_of_a_web_config_without_tls(run: Run, tmp_path: Path, pages: Pages) -> None:
    pages.add("/-/healthy", "Fine.")
    web = tmp_path / "web.yaml"
    web.write_text("basic_auth_users: {}\n")
    flags = (f"--web.listen-address={pages.url.removeprefix('http://')}", f"--web.config.file={web}")
    assert run("healthcheck", *flags).out == "Fine.\n"
