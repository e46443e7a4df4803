"""Ports of this machine for servers that are about to be started."""

from __future__ import annotations

import secrets
import socket
import sys

__all__ = ["LOOPBACK", "free_port"]

LOOPBACK = "127.0.0.1"
#: Below those that the kernel gives to outgoing connections: such a one would be gone before the server listens.
_PORTS = range(10_240, 32_768)
_given: set[int] = set()


def free_port(*, also: int = 0) -> int:
    """Return a loopback port on which nobody listens, and which nobody else is given here while this process lives.

    `also` asks for a second free port at that distance (Redis Cluster's bus listens 10,000 above the port of its node).
    """
    while True:
        port = secrets.choice(_PORTS[: len(_PORTS) - also])
        if all(_reserve(number) for number in {port, port + also}):
            _given.update({port, port + also})
            return port


def _reserve(port: int) -> bool:
    if port in _given:
        return False
    claim = socket.socket(socket.AF_UNIX)
    try:
        if sys.platform == "linux":
            claim.bind(f"\0checklist-exporter/port/{port}")  # an abstract name has one holder, and is gone with it
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((LOOPBACK, port))
    except OSError:
        claim.close()
        return False
    claim.detach()
    return True
