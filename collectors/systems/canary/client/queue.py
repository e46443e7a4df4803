"""A message of one's own in JetStream: stored by a stream with as many copies as those of the applications, and delivered."""

from __future__ import annotations

import time
from typing import Any

from collectors.systems.canary.client.options import QueueOptions
from collectors.systems.canary.model import STREAM, QueueTrip, Unwritten
from collectors.systems.nats.client.connection import Connection, Login, connected
from exporter.verdict import ProbeError, Reason
from exporter.words import one_line

__all__ = ["queue_trip"]

_SUBJECT = f"{STREAM}.canary"
_SECOND = 10**9
_NOT_FOUND, _OVERLAPS, _NOT_CLUSTERED = 10059, 10065, 10074


async def queue_trip(options: QueueOptions, nonce: str) -> QueueTrip:
    """Publish `nonce`, and have a consumer deliver it. Raises Unwritten when JetStream does not do it; ProbeError otherwise."""
    login = Login(
        options.username,
        options.password,
        options.token,
        options.nkey_seed,
        options.credentials_file,
        options.tls,
        options.timeout,
    )
    async with connected(options.address, login) as connection:
        try:
            copies = await _stream(connection, options)
            started = time.perf_counter()
            delivered = await _delivered(connection, nonce)
            return QueueTrip(options.address, copies, delivered, time.perf_counter() - started)
        except ProbeError as why:
            if why.reason is not Reason.TIMEOUT:
                raise
            await connection.ping()  # the server is there: JetStream is what is silent
            raise Unwritten(
                f"{str(why).removesuffix('.')}, although it answers PING: JetStream has no leader or no quorum.",
                Reason.DOWN,
            ) from None


async def _stream(connection: Connection, options: QueueOptions) -> int:
    """How many copies the canaries' stream has; it is made where there is none."""
    reply = await _ask(connection, f"$JS.API.STREAM.INFO.{STREAM}")
    if _code(reply) == _NOT_FOUND:
        reply = await _ask(
            connection,
            f"$JS.API.STREAM.CREATE.{STREAM}",
            {
                "name": STREAM,
                "subjects": [_SUBJECT],
                "num_replicas": options.replicas,
                "max_msgs": 10,
                "max_age": 300 * _SECOND,
                "discard": "old",
                "retention": "limits",
                "storage": "file",
            },
        )
    if _code(reply) == _NOT_CLUSTERED:
        raise ProbeError(
            f"NATS {connection.address} is not clustered, so there is no stream with {options.replicas} copies; set `replicas: 1`.",
            Reason.MISCONFIGURED,
        )
    if _code(reply) == _OVERLAPS:
        raise ProbeError(
            f"Another stream of NATS {connection.address} takes the messages of {_SUBJECT}, so stream {STREAM} cannot be created.",
            Reason.MISCONFIGURED,
        )
    _succeeded(connection, reply, f"stream {STREAM}")
    config = reply.get("config")
    config = config if isinstance(config, dict) else {}
    copies = config.get("num_replicas")
    if config.get("subjects") != [_SUBJECT] or not isinstance(copies, int):
        raise ProbeError(
            f"Stream {STREAM} of NATS {connection.address} has other subjects than {_SUBJECT}, so nothing was published to it.",
            Reason.MISCONFIGURED,
        )
    if config.get("storage") != "file" or config.get("no_ack") or config.get("sealed"):
        raise ProbeError(
            f"Stream {STREAM} of NATS {connection.address} is kept in memory, sealed, or acknowledges nothing, so it proves "
            "nothing about others; delete it.",
            Reason.MISCONFIGURED,
        )
    if copies < options.replicas:
        raise ProbeError(
            f"Stream {STREAM} of NATS {connection.address} has {copies} of {options.replicas} copies (option `replicas`): it "
            "would work while streams with more copies do not.",
            Reason.MISCONFIGURED,
        )
    return copies


async def _delivered(connection: Connection, nonce: str) -> object:
    """What a consumer gets that begins with the message that was published."""
    stored = await _ask(connection, _SUBJECT, {"nonce": nonce})
    _succeeded(connection, stored, f"a message to {_SUBJECT}")
    consumer = {
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": stored.get("seq"),
        "ack_policy": "none",
        "inactive_threshold": 30 * _SECOND,
    }
    made = await _ask(connection, f"$JS.API.CONSUMER.CREATE.{STREAM}", {"stream_name": STREAM, "config": consumer})
    _succeeded(connection, made, f"a consumer of {STREAM}")
    try:
        message = await _ask(connection, f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{made.get('name')}", message=True)
    finally:
        await _forget(connection, f"$JS.API.CONSUMER.DELETE.{STREAM}.{made.get('name')}")
    return message.get("nonce")


async def _forget(connection: Connection, subject: str) -> None:
    try:
        await connection.request(subject)
    except ProbeError:  # without the right to delete, the consumer goes by itself
        return


async def _ask(connection: Connection, subject: str, body: object = None, *, message: bool = False) -> dict[str, Any]:
    reply = await connection.request(subject, body, message=message)
    if reply is None:
        raise Unwritten(
            f"Nobody answers {subject} on NATS {connection.address}: JetStream is off, or the stream has no leader.",
            Reason.DOWN,
        )
    return reply


def _code(reply: dict[str, Any]) -> object:
    error = reply.get("error")
    return error.get("err_code") if isinstance(error, dict) else None


def _succeeded(connection: Connection, reply: dict[str, Any], what: str) -> None:
    """Raise Unwritten when the reply is an error."""
    error = reply.get("error")
    if error:
        text = error.get("description") if isinstance(error, dict) else error
        raise Unwritten(f"NATS {connection.address} refuses {what}: {one_line(text)}.", Reason.DOWN)
