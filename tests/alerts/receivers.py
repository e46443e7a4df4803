"""Who is told: the Alertmanager configuration that ships, with its receivers on loopback, and what they received."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import yaml
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope

from alerts import ALERTMANAGER
from tests.servers.process import LOOPBACK, free_port

Json = dict[str, Any]


@dataclass
class Received:
    """What arrived, in the order of arrival: documents by the path they were sent to, and mails."""

    port: int
    mail_port: int
    documents: list[tuple[str, Json]] = field(default_factory=list)
    mails: list[EmailMessage] = field(default_factory=list)

    def at(self, path: str) -> list[Json]:
        """The documents sent to a path."""
        return [document for where, document in list(self.documents) if where == path]

    @property
    def slack(self) -> list[Json]:
        """The attachments that Slack would show."""
        return [attachment for document in self.at("/slack") for attachment in document["attachments"]]

    async def handle_DATA(self, server: object, session: object, envelope: Envelope) -> str:
        """Take a mail (aiosmtpd calls this)."""
        assert isinstance(envelope.content, bytes)
        message = message_from_bytes(envelope.content, policy=policy.default)
        self.mails.append(message)
        return "250 taken"


@contextmanager
def receiving() -> Iterator[Received]:
    """A web server for webhooks, Slack and PagerDuty, and a mail server."""
    received = Received(0, free_port())

    class Take(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            received.documents.append((self.path, document))
            body = b"ok"
            self.send_response(202 if self.path == "/v2/enqueue" else 200)  # as PagerDuty does
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Nothing: the tests look at what was received."""

    web = ThreadingHTTPServer((LOOPBACK, 0), Take)
    received.port = web.server_address[1]
    thread = Thread(target=web.serve_forever, args=(0.05,))
    mail = Controller(received, hostname=LOOPBACK, port=received.mail_port)
    thread.start()
    mail.start()
    try:
        yield received
    finally:
        mail.stop()
        web.shutdown()
        thread.join()
        web.server_close()


def configuration(folder: Path, received: Received, **timing: str) -> Json:
    """The configuration that ships, with the addresses of these receivers; ``timing`` replaces that of its routes."""
    shipped: Json = yaml.safe_load(ALERTMANAGER.read_text())
    url = f"http://{LOOPBACK}:{received.port}"
    secrets = {"slack-url": f"{url}/slack", "pagerduty-key": "key", "dead-mans-switch-token": "t", "smtp-password": "p"}
    for name, secret in secrets.items():
        (folder / name).write_text(secret)
    shipped["templates"] = [str(ALERTMANAGER.parent / template) for template in shipped["templates"]]
    shipped["global"] |= {"smtp_smarthost": f"{LOOPBACK}:{received.mail_port}", "smtp_require_tls": False}
    shipped["global"] |= {"pagerduty_url": f"{url}/v2/enqueue", "resolve_timeout": "5m"}
    for receiver in shipped["receivers"]:
        for webhook in receiver.get("webhook_configs", ()):
            webhook["url"] = f"{url}/{receiver['name']}"
    for route in (shipped["route"], *shipped["route"]["routes"]):
        route |= timing
    complete: Json = _with_secrets(shipped, folder)
    return complete


def _with_secrets(part: Any, folder: Path) -> Any:
    """The same with every file of secrets in this folder."""
    if isinstance(part, Mapping):
        return {
            key: str(folder / Path(value).name) if key.endswith("_file") else _with_secrets(value, folder)
            for key, value in part.items()
        }
    return [_with_secrets(value, folder) for value in part] if isinstance(part, list) else part
