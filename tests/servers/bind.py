"""BIND 9.18 from Debian: an authoritative server for the zone `test`, and `broken.test`, which it cannot load."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import dns.exception
import dns.message
import dns.query

from tests.servers.packages import debian, library_environment
from tests.servers.process import LOOPBACK, Server, free_port, scratch

_LIBRARIES = (
    *(
        "bind9-libs",
        "libuv1",
        "libnghttp2-14",
        "libjson-c5",
        "liblmdb0",
        "libmaxminddb0",
        "libfstrm0",
        "libprotobuf-c1",
    ),
    *("libcap2", "libjemalloc2", "libxml2", "libicu72", "libgssapi-krb5-2", "libkrb5-3", "libk5crypto3"),
    *("libkrb5support0", "libkeyutils1", "libcom-err2"),
)


class Bind(Server):
    """It answers on `port`, by UDP and TCP. `records` are the lines of the zone."""

    def __init__(self, folder: Path, records: Sequence[str]) -> None:
        root = debian("bind9", *_LIBRARIES)
        self.port = free_port()
        soa = "@ IN SOA ns.test. admin.test. 1 3600 600 86400 1\n@ IN NS ns.test.\nns IN A 127.0.0.1\n"
        (folder / "test.zone").write_text("$ORIGIN test.\n$TTL 1\n" + soa + "\n".join(records) + "\n")
        (folder / "broken.zone").write_text("this is no zone\n")
        (folder / "named.conf").write_text(
            f'options {{ directory "{folder}"; listen-on port {self.port} {{ {LOOPBACK}; }}; listen-on-v6 {{ none; }}; '
            f'recursion no; pid-file "{folder}/pid"; session-keyfile "{folder}/key"; managed-keys-directory "{folder}"; }};\n'
            "controls { };\n"
            f'zone "test" {{ type primary; file "{folder}/test.zone"; }};\n'
            f'zone "broken.test" {{ type primary; file "{folder}/broken.zone"; }};\n'
        )
        super().__init__(
            "named",
            [root / "usr/sbin/named", "-c", folder / "named.conf", "-f"],
            directory=folder,
            env=library_environment(root),
            ready=lambda: bool(self.texts("ns.test", "A")),
            deadline=60,
        )

    def texts(self, name: str, kind: str = "TXT") -> list[str]:
        """What the server itself answers, as text."""
        try:
            reply = dns.query.udp(dns.message.make_query(name, kind), LOOPBACK, timeout=2, port=self.port)
        except (dns.exception.DNSException, OSError):
            return []
        return [record.to_text() for records in reply.answer for record in records]


def txt(name: str, *strings: str) -> str:
    """A TXT record as a zone file has it; each string of at most 255 characters."""
    return f"{name} IN TXT " + " ".join('"' + string.replace('"', '\\"') + '"' for string in strings)


def zone(texts: Mapping[str, str | Sequence[str]]) -> list[str]:
    """TXT records by name: one for a text, several for a sequence of texts."""
    return [
        txt(name, value)
        for name, values in texts.items()
        for value in ([values] if isinstance(values, str) else values)
    ]


@contextmanager
def bind(records: Sequence[str]) -> Iterator[Bind]:
    """Run BIND with these lines in the zone `test`."""
    with scratch("bind") as folder, Bind(folder, records) as server:
        yield server
