"""Postfix 3.7 with Cyrus SASL from Debian, unpacked: one master on loopback with a port for each way in which it may answer."""

from __future__ import annotations

import os
import pwd
import shutil
import smtplib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers.certificates import Issued, authority
from tests.servers.packages import debian, library_environment
from tests.servers.process import LOOPBACK, Server, free_port, scratch
from tests.servers.smtp import PASSWORD, USER

_PACKAGES = (
    *("postfix", "sasl2-bin", "libsasl2-2", "libsasl2-modules", "libsasl2-modules-db", "libdb5.3", "libicu72"),
    *("libnsl2", "libtirpc3", "libssl3"),
)
_OWNER, _GROUP = "mail", "uucp"  # users of Debian's base system: the package would make its own
_QUEUES = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "saved", "trace")

#: What each port does otherwise than a submission that is in order.
SERVICES = {
    "submission": "",
    "smtps": "-o smtpd_tls_wrappermode=yes",
    "broken": "-o smtpd_sasl_path=broken",
    "greylists": "-o smtpd_recipient_restrictions=permit_sasl_authenticated,defer -o smtpd_relay_restrictions=defer",
    "defers_relay": "-o smtpd_relay_restrictions=permit_sasl_authenticated,defer_unauth_destination",
    "refuses_senders": "-o smtpd_sender_restrictions=reject -o smtpd_delay_reject=no",
    "refuses_clients": "-o smtpd_client_restrictions=reject -o smtpd_delay_reject=no",
    "refuses_addresses": "-o smtpd_client_restrictions=reject",
    "owned_senders": "-o smtpd_sender_restrictions=reject_sender_login_mismatch -o smtpd_sender_login_maps=static:other",
    "trusts_addresses": "-o mynetworks=127.0.0.0/8 -o smtpd_relay_restrictions=permit_mynetworks,reject",
    "unencrypted": "-o smtpd_tls_security_level=none -o smtpd_tls_auth_only=no",
    "in_the_clear": "-o smtpd_tls_auth_only=no",
    "without_login": "-o smtpd_sasl_auth_enable=no",
    "self_signed": "-o smtpd_tls_cert_file={0}/self.pem -o smtpd_tls_key_file={0}/self.key",
    "refuses_names": "-o smtpd_helo_restrictions=reject",
    "few_errors": "-o smtpd_hard_error_limit=1",
    "expiring": "-o smtpd_tls_cert_file={0}/soon.pem -o smtpd_tls_key_file={0}/soon.key",
    "expired": "-o smtpd_tls_cert_file={0}/old.pem -o smtpd_tls_key_file={0}/old.key",
}
_OTHERS = """\
cleanup unix n - n - 0 cleanup
rewrite unix - - n - - trivial-rewrite
tlsmgr unix - - n 1000? 1 tlsmgr
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
qmgr unix n - n 300 1 qmgr
discard unix - - n - - discard
error unix - - n - - error
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix(Server):
    """`ports` are those of `SERVICES`; `mail` is what it has logged."""

    def __init__(self, folder: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("Postfix starts as root alone, and gives its rights up by itself.")
        self._root = debian(*_PACKAGES)
        self.folder = folder
        self.ports = {name: free_port() for name in SERVICES}
        self._config = folder / "config"
        libraries = library_environment(self._root)["LD_LIBRARY_PATH"]
        self._environment = {
            "LD_LIBRARY_PATH": f"{self._root}/usr/lib/postfix:{libraries}",
            "MAIL_CONFIG": str(self._config),
            "SASL_PATH": str(next(self._root.glob("usr/lib/*/sasl2"))),
        }
        self._write()
        super().__init__(
            "postfix",
            [self._root / "usr/lib/postfix/sbin/master", "-d", "-c", self._config],
            directory=folder,
            env=self._environment,
            ready=self._greets,
            deadline=120,
        )

    @property
    def mail(self) -> str:
        """What it has logged."""
        log = self.folder / "mail.log"
        return log.read_text() if log.exists() else ""

    @property
    def queued(self) -> list[Path]:
        """Messages that it holds."""
        return [
            path
            for queue in ("active", "deferred", "hold")
            for path in (self.folder / "queue" / queue).rglob("*")
            if path.is_file()
        ]

    def _greets(self) -> bool:
        with smtplib.SMTP(LOOPBACK, self.ports["submission"], timeout=10) as client:
            return client.noop()[0] == 250

    def _write(self) -> None:
        queue, data = self.folder / "queue", self.folder / "data"
        for path in (self._config, self._config / "sasl", queue, data, queue / "pid"):
            path.mkdir()
        for name in (*_QUEUES, "private"):
            (queue / name).mkdir(mode=0o700)
            shutil.chown(queue / name, _OWNER)
        for name in ("maildrop", "public"):
            (queue / name).mkdir(mode=0o730)
            shutil.chown(queue / name, _OWNER, _GROUP)
        shutil.chown(data, _OWNER)
        authority().issue(LOOPBACK).write(self._config, "mail")
        Issued.root(LOOPBACK).write(self._config, "self")
        authority().issue(LOOPBACK, days=-1, age=3).write(self._config, "old")
        authority().issue(LOOPBACK, days=3).write(self._config, "soon")
        (self._config / "sasl/smtpd.conf").write_text(
            f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nmech_list: plain login\nsasldb_path: {self._config}/users\n"
        )
        # A store of passwords that does not answer.
        (self._config / "sasl/broken.conf").write_text(
            f"pwcheck_method: saslauthd\nmech_list: plain login\nsaslauthd_path: {self._config}/nobody\n"
        )
        subprocess.run(
            [self._root / "usr/sbin/saslpasswd2", "-c", "-p", "-u", "shop.test", "-f", self._config / "users", USER],
            env={**os.environ, **self._environment},
            input=PASSWORD,
            text=True,
            timeout=60,
            check=True,
        )
        shutil.chown(self._config / "users", _OWNER)
        services = (
            f"{LOOPBACK}:{self.ports[name]} inet n - n - - smtpd {options.format(self._config)}\n"
            for name, options in SERVICES.items()
        )
        (self._config / "master.cf").write_text("".join(services) + _OTHERS)
        settings = {
            "compatibility_level": "3.6",
            "queue_directory": queue,
            "data_directory": data,
            "daemon_directory": self._root / "usr/lib/postfix/sbin",
            "command_directory": self._root / "usr/sbin",
            "shlib_directory": self._root / "usr/lib/postfix",
            "meta_directory": self._root / "etc/postfix",
            "mail_owner": _OWNER,
            "setgid_group": _GROUP,
            "default_privs": pwd.getpwnam("nobody").pw_name,
            "import_environment": f"{' '.join(self._environment)} LANG=C",
            "maillog_file": self.folder / "mail.log",
            "maillog_file_prefixes": self.folder,
            "inet_interfaces": LOOPBACK,
            "inet_protocols": "ipv4",
            "myhostname": "mail.shop.test",
            "mydestination": "",
            "mynetworks": "",
            "alias_maps": "",
            "smtpd_tls_security_level": "may",
            "smtpd_tls_auth_only": "yes",
            "smtpd_tls_cert_file": self._config / "mail.pem",
            "smtpd_tls_key_file": self._config / "mail.key",
            "smtpd_sasl_auth_enable": "yes",
            "smtpd_sasl_local_domain": "shop.test",
            "smtpd_sasl_mechanism_filter": "plain, login",
            "smtpd_relay_restrictions": "permit_sasl_authenticated, reject",
            "default_transport": "discard",
        }
        (self._config / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))


@contextmanager
def postfix() -> Iterator[Postfix]:
    """A Postfix with its user."""
    with scratch("postfix") as folder, Postfix(folder) as server:
        yield server
