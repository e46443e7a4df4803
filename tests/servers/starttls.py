"""Servers of protocols that turn to TLS on request: aiosmtpd, Dovecot, vsftpd, OpenLDAP, PostgreSQL, MariaDB, Prosody."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink

from tests.servers.packages import debian, library_environment
from tests.servers.postgresql import Postgres, postgresql_15
from tests.servers.process import LOOPBACK, Server, free_port, listening, scratch, unprivileged

Files = tuple[Path, Path] | None
"""The chain and the key that a server has for TLS; None where it speaks in clear only."""


@contextmanager
def aiosmtpd(files: Files) -> Iterator[int]:
    """SMTP, by aiosmtpd; the port is given."""
    context = None
    if files:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
    controller = Controller(Sink(), hostname=LOOPBACK, port=free_port(), tls_context=context)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


_DOVECOT = """
protocols = imap pop3
listen = 127.0.0.1
base_dir = {folder}/run
state_dir = {folder}/run
libexec_dir = {root}/usr/lib/dovecot
log_path = /dev/stderr
default_internal_user = nobody
default_internal_group = nogroup
default_login_user = nobody
mail_location = maildir:{folder}/mail
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
passdb {{
  driver = static
  args = nopassword=y
}}
import_environment = LD_LIBRARY_PATH TZ
{tls}
"""


@contextmanager
def dovecot(files: Files, protocol: str) -> Iterator[int]:
    """IMAP or POP3, by Dovecot 2.3; the port is given."""
    root = debian(
        *("dovecot-core", "dovecot-imapd", "dovecot-pop3d", "libexttextcat-2.0-0", "libsodium23", "libunwind8")
    )
    ports = {"imap": free_port(), "pop3": free_port()}
    tls = f"ssl = yes\nssl_cert = <{files[0]}\nssl_key = <{files[1]}" if files else "ssl = no"
    libraries = root / "usr/lib/dovecot"
    env = library_environment(root)
    with scratch("dovecot") as folder:
        env["LD_LIBRARY_PATH"] = f"{folder}:{libraries}:{libraries}/modules/old-stats:{env['LD_LIBRARY_PATH']}"
        # The folder of the module for TLS is compiled in: in a copy of the library it is one below the working directory.
        library = (libraries / "libdovecot.so.0").read_bytes()
        library = library.replace(b"/usr/lib/dovecot/modules\0", b"./" * 8 + b"/modules\0")
        (folder / "libdovecot.so.0").write_bytes(library)
        (folder / "run").mkdir(mode=0o755)
        (folder / "run/modules").symlink_to(libraries / "modules")
        (folder / "dovecot.conf").write_text(_DOVECOT.format(folder=folder, root=root, tls=tls, **ports))
        # As dovecot would, which looks for doveconf where the package is installed.
        started_by: list[str | Path] = [
            root / "usr/bin/doveconf",
            "-f",
            "service=master",
            "-m",
            "master",
            "-c",
            folder / "dovecot.conf",
            "-e",
        ]
        argv: list[str | Path] = [*started_by, root / "usr/sbin/dovecot", "-F", "-c", folder / "dovecot.conf"]
        with Server("dovecot", argv, directory=folder, env=env, ready=lambda: all(map(listening, ports.values()))):
            yield ports[protocol]


@contextmanager
def vsftpd(files: Files) -> Iterator[int]:
    """FTP, by vsftpd 3; the port is given."""
    root, port = debian("vsftpd", "libwrap0", "libcap2"), free_port()
    settings = {
        "listen": "YES",
        "listen_address": LOOPBACK,
        "listen_port": str(port),
        "background": "NO",
        "anonymous_enable": "YES",
        "ftp_username": "nobody",
    }
    if files:
        settings |= {"ssl_enable": "YES", "rsa_cert_file": str(files[0]), "rsa_private_key_file": str(files[1])}
    with scratch("vsftpd") as folder:
        settings["secure_chroot_dir"] = str(folder)
        (folder / "vsftpd.conf").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        argv = [root / "usr/sbin/vsftpd", folder / "vsftpd.conf"]
        env = library_environment(root)
        with Server("vsftpd", argv, directory=folder, env=env, ready=lambda: listening(port)):
            yield port


@contextmanager
def slapd(files: Files) -> Iterator[int]:
    """LDAP, by OpenLDAP 2.5; the port is given."""
    root, port = debian("slapd", "libltdl7", "libldap-2.5-0", "libsasl2-2", "libodbc2", "libwrap0"), free_port()
    with scratch("slapd") as folder:
        tls = f"TLSCertificateFile {files[0]}\nTLSCertificateKeyFile {files[1]}\n" if files else ""
        (folder / "slapd.conf").write_text(f"{tls}database config\n")
        argv: list[str | Path] = [
            root / "usr/sbin/slapd",
            "-f",
            folder / "slapd.conf",
            "-h",
            f"ldap://{LOOPBACK}:{port}",
            "-d",
            "0",
        ]
        env = library_environment(root)
        with Server("slapd", argv, directory=folder, env=env, ready=lambda: listening(port)):
            yield port


@contextmanager
def postgres(files: Files) -> Iterator[int]:
    """PostgreSQL 15; the port is given."""
    user = unprivileged()
    with scratch("postgres", user) as folder:
        settings = {}
        if files:
            for file, name in zip(files, ("server.crt", "server.key"), strict=True):
                shutil.copy(file, folder / name)
                (folder / name).chmod(0o600)
                if user:
                    shutil.chown(folder / name, user)
            settings = {
                "ssl": "on",
                "ssl_cert_file": f"{folder}/server.crt",
                "ssl_key_file": f"{folder}/server.key",
            }
        with Postgres(postgresql_15(), folder, "tls").initialize(**settings) as server:
            yield server.port


@contextmanager
def mariadb(files: Files) -> Iterator[int]:
    """MySQL, by MariaDB 10.11, without accounts; the port is given."""
    root, port = debian("mariadb-server-core", "liburing2", "libaio1", "libnuma1"), free_port()
    with scratch("mariadb") as folder:
        (folder / "data").mkdir()
        tls = [f"--ssl-cert={files[0]}", f"--ssl-key={files[1]}"] if files else ["--skip-ssl"]
        argv: list[str | Path] = [root / "usr/sbin/mariadbd", "--no-defaults", "--skip-grant-tables", "--user=root"]
        argv += [f"--datadir={folder}/data", f"--bind-address={LOOPBACK}", f"--port={port}", f"--socket={folder}/sock"]
        argv += [f"--lc-messages-dir={root}/usr/share/mysql", f"--plugin-dir={folder}", "--innodb=OFF", *tls]
        argv += ["--default-storage-engine=MyISAM"]
        env = library_environment(root)
        with Server("mariadb", argv, directory=folder, env=env, ready=lambda: listening(port)):
            yield port


_PROSODY = """
run_as_root = true
data_path = "{folder}"
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {port} }}
c2s_direct_tls_ports = {{ }}
s2s_ports = {{ }}
modules_enabled = {{ "saslauth", {module} }}
modules_disabled = {{ "s2s", {disabled} }}
allow_unencrypted_plain_auth = true
c2s_require_encryption = false
log = "*console"
{tls}
VirtualHost "mail.example.com"
"""


@contextmanager
def prosody(files: Files) -> Iterator[int]:
    """XMPP for mail.example.com, by Prosody 0.12; the port is given."""
    root = debian(
        "prosody", "lua5.4", "liblua5.4-0", "lua-socket", "lua-sec", "lua-expat", "lua-filesystem", "lua-bitop"
    )
    port, libraries = free_port(), next(root.glob("usr/lib/*-linux-gnu*"))
    tls = f'ssl = {{ certificate = "{files[0]}"; key = "{files[1]}" }}' if files else ""
    modules = {"module": '"tls"', "disabled": ""} if files else {"module": "", "disabled": '"tls"'}
    with scratch("prosody") as folder:
        (folder / "prosody.cfg.lua").write_text(_PROSODY.format(folder=folder, port=port, tls=tls, **modules))
        program = (root / "usr/bin/prosody").read_text().replace("'/usr/lib/prosody", f"'{root}/usr/lib/prosody")
        (folder / "prosody.lua").write_text(program.replace("'/etc/prosody'", f"'{folder}'"))
        env = library_environment(root)
        env["LUA_PATH"] = f"{root}/usr/share/lua/5.4/?.lua;{root}/usr/share/lua/5.4/?/init.lua;;"
        env["LUA_CPATH"] = f"{libraries}/lua/5.4/?.so;;"
        argv: list[str | Path] = [
            root / "usr/bin/lua5.4",
            folder / "prosody.lua",
            "-F",
            "--config",
            folder / "prosody.cfg.lua",
        ]
        with Server("prosody", argv, directory=folder, env=env, ready=lambda: listening(port)):
            yield port


SERVERS: Mapping[str, Callable[[Files], AbstractContextManager[int]]] = {
    "smtp": aiosmtpd,
    "imap": lambda files: dovecot(files, "imap"),
    "pop3": lambda files: dovecot(files, "pop3"),
    "ftp": vsftpd,
    "ldap": slapd,
    "postgres": postgres,
    "mysql": mariadb,
    "xmpp": prosody,
}
"""What starts a server of each protocol."""
