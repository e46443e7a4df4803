"""A host behind a real nftables firewall, and a blackbox_exporter outside of it, in two network namespaces. Needs root."""

import asyncio
import ctypes
import functools
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.servers.packages import debian, library_environment
from tests.servers.process import LOOPBACK, Server, scratch

T = TypeVar("T")

OUTSIDE, HOST = "127.66.0.1", "127.66.0.2"
OPEN, DROPPED, REJECTED, REFUSED, FORGOTTEN, UNSENT = 8080, 6379, 5432, 9090, 4222, 6333
"""Ports of the host: a service listens on each but REFUSED. The network outside does not let UNSENT out."""

_RULES = f"""
table inet filter {{
  chain input {{
    type filter hook input priority 0; policy drop;
    iif lo accept
    ct state established accept
    tcp dport {{ {OPEN}, {FORGOTTEN}, {UNSENT}, 9116, 9118 }} accept
    tcp dport {REFUSED} reject with tcp reset
    tcp dport {REJECTED} reject with icmpx admin-prohibited
  }}
}}
"""
_EGRESS = f"""
table inet filter {{
  chain output {{
    type filter hook output priority 0; policy accept;
    tcp dport {UNSENT} drop
  }}
}}
"""
_LISTEN = """
import socket, time
kept = [socket.create_server((HOST, port)) for port in PORTS]
time.sleep(3600)
"""
_NEW_NETWORK = 0x40000000


@dataclass(frozen=True)
class Firewalled:
    """Both sides, as they are reached from outside: `vantage` is an exporter there, `inside` one behind the firewall.

    `canary` is a canary pod there, which may connect to all services.
    """

    outside: str
    vantage: str = f"http://{LOOPBACK}:9115"
    inside: str = f"http://{HOST}:9116"
    canary: str = f"http://{HOST}:9118"
    host: str = HOST

    def run(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine in a thread that is outside."""
        results: list[T] = []
        errors: list[BaseException] = []

        def enter() -> None:
            try:
                with (Path("/run/netns") / self.outside).open() as namespace:
                    if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _NEW_NETWORK):
                        raise OSError(ctypes.get_errno(), "setns")
                results.append(asyncio.run(call()))
            except BaseException as error:  # noqa: BLE001 - the test's thread raises it
                errors.append(error)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return results[0]


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def _join(outside: str, inside: str, stack: ExitStack) -> None:
    """Make both namespaces, with a wire between them. Raises CalledProcessError where that is not allowed."""
    for name in (outside, inside):
        _ip("netns", "add", name)
        stack.callback(_ip, "netns", "delete", name)
    _ip("link", "add", "o", "netns", outside, "type", "veth", "peer", "name", "s", "netns", inside)
    for name, device, address in ((outside, "o", OUTSIDE), (inside, "s", HOST)):
        for part in ("all", device):
            _ip("netns", "exec", name, "sysctl", "-qw", f"net.ipv4.conf.{part}.route_localnet=1")
        _ip("-n", name, "addr", "add", f"{address}/24", "dev", device)
        for link in (device, "lo"):
            _ip("-n", name, "link", "set", link, "up")


@contextmanager
def firewalled() -> Iterator[Firewalled]:
    """Set both namespaces up. Skips where that is not possible: it is not a matter of CI."""

    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("nftables is tested in network namespaces, which need root and ip.")
    outside, inside = f"out{os.getpid()}", f"srv{os.getpid()}"
    with ExitStack() as stack:
        folder = stack.enter_context(scratch("firewall"))
        try:
            _join(outside, inside, stack)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"Network namespaces cannot be set up here: {error.stderr.strip()}.")
        root = debian(
            "nftables", "libnftables1", "libedit2", "libnftnl11", "libmnl0", "libxtables12", "libjansson4", "libgmp10"
        )
        for namespace, rules in ((inside, _RULES), (outside, _EGRESS)):
            folder.joinpath("rules.nft").write_text(rules)
            nft: list[str | Path] = [
                "ip",
                "netns",
                "exec",
                namespace,
                root / "usr/sbin/nft",
                "-f",
                folder / "rules.nft",
            ]
            done = subprocess.run(
                nft, env={**os.environ, **library_environment(root)}, capture_output=True, text=True, check=False
            )
            if done.returncode:
                pytest.skip(f"nftables cannot be used here: {done.stderr.strip()[:200]}")
        listen = _LISTEN.replace("HOST", repr(HOST)).replace(
            "PORTS", repr((OPEN, DROPPED, REJECTED, FORGOTTEN, UNSENT))
        )
        services = ["ip", "netns", "exec", inside, "python3", "-c", listen]
        stack.enter_context(Server("services", services, directory=folder, ready=lambda: _listens(inside, HOST, OPEN)))
        configuration = {
            "modules": {"tcp_connect": {"prober": "tcp", "timeout": "1s", "tcp": {"preferred_ip_protocol": "ip4"}}}
        }
        folder.joinpath("blackbox.yml").write_text(json.dumps(configuration))
        program = debian("prometheus-blackbox-exporter") / "usr/bin/prometheus-blackbox-exporter"
        for namespace, address, port in ((outside, LOOPBACK, 9115), (inside, HOST, 9116)):
            options = (f"--config.file={folder / 'blackbox.yml'}", f"--web.listen-address={address}:{port}")
            exporter: list[str | Path] = ["ip", "netns", "exec", namespace, program, *options]
            ready = functools.partial(_listens, namespace, address, port)
            stack.enter_context(Server(f"blackbox-{port}", exporter, directory=folder, ready=ready))
        opened = (f"--open={HOST}:{port}" for port in (OPEN, DROPPED, REJECTED, FORGOTTEN))
        canary: list[str | Path] = [
            "ip",
            "netns",
            "exec",
            inside,
            Path(sys.executable).parent / "checklist-exporter",
            "canary",
        ]
        words: list[str | Path] = [*canary, f"--web.listen-address={HOST}:9118", *opened]
        ready = functools.partial(_listens, inside, HOST, 9118)
        stack.enter_context(Server("canary", words, directory=folder, ready=ready))
        yield Firewalled(outside)


def _listens(namespace: str, host: str, port: int) -> bool:
    connect = f"import socket; socket.create_connection(({host!r}, {port}), 1)"
    done = subprocess.run(
        ["ip", "netns", "exec", namespace, "python3", "-c", connect], check=False, capture_output=True
    )
    return done.returncode == 0
