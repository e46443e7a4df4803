"""Servers that still speak what OpenSSL 3 cannot: tlslite-ng (SSL 3, RC4, 3DES, NULL, anonymous) and Java 17 (DES, EXPORT)."""

import shutil
import socket
import socketserver
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from tlslite.api import HandshakeSettings, TLSConnection, X509CertChain, parsePEMKey
from tlslite.constants import ExtensionType
from tlslite.errors import BaseTLSException
from tlslite.messages import ServerHello

from tests.servers.certificates import Issued
from tests.servers.packages import skip_or_fail
from tests.servers.process import LOOPBACK, Server, free_port, listening, scratch

SSL_3, TLS_1_0, TLS_1_1, TLS_1_2, TLS_1_3 = (3, 0), (3, 1), (3, 2), (3, 3), (3, 4)
Version = tuple[int, int]


class _BeforeRfc5746(TLSConnection):  # type: ignore[misc]
    def _sendMsg(self, message: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(message, ServerHello) and message.extensions:
            message.extensions = [one for one in message.extensions if one.extType != ExtensionType.renegotiation_info]
        return super()._sendMsg(message, *arguments, **options)


@contextmanager
def tlslite_server(
    certificate: Issued,
    *,
    oldest: Version = TLS_1_2,
    newest: Version = TLS_1_2,
    ciphers: Sequence[str] = ("aes128gcm", "aes128"),
    exchanges: Sequence[str] | None = None,
    anonymous: bool = False,
    secure_renegotiation: bool = True,
    group: tuple[int, int] | None = None,
) -> Iterator[int]:
    """Serve TLS in these versions with these ciphers (tlslite's names) on a loopback port, which is given.

    Without ``secure_renegotiation`` it does not answer that extension, as servers from before RFC 5746. ``group`` are generator and
    prime of its Diffie-Hellman group.
    """
    settings = HandshakeSettings()
    settings.minVersion, settings.maxVersion = oldest, newest
    settings.versions = [version for version in [*settings.versions, SSL_3] if oldest <= version <= newest]
    settings.cipherNames = list(ciphers)
    settings.macNames = ["sha", "sha256", "sha384", "md5", "aead"]
    if group:
        settings.dhParams = group
    if exchanges:
        settings.keyExchangeNames = list(exchanges)
    chain = X509CertChain()
    chain.parsePemList(certificate.chain_pem.decode())
    traditional = certificate.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    key = parsePEMKey(traditional, private=True)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.settimeout(5)
            connection = (TLSConnection if secure_renegotiation else _BeforeRfc5746)(self.request)
            with suppress(BaseTLSException, OSError):
                if anonymous:
                    connection.handshakeServer(anon=True, settings=settings)
                else:
                    connection.handshakeServer(certChain=chain, privateKey=key, settings=settings)
                connection.close()

    class ThreadingServer(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True
        address_family = socket.AF_INET

        def handle_error(self, *_: object) -> None:
            """Keep quiet: tlslite-ng stumbles over what it does not expect, such as ALPN when it has none."""

    with ThreadingServer((LOOPBACK, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


_JAVA = """
import java.io.FileInputStream;
import java.security.KeyStore;
import java.security.Security;
import javax.net.ssl.*;

public class Legacy {
  public static void main(String[] args) throws Exception {
    Security.setProperty("jdk.tls.disabledAlgorithms", "");
    Security.setProperty("jdk.tls.legacyAlgorithms", "");
    Security.setProperty("jdk.certpath.disabledAlgorithms", "");
    char[] password = "changeit".toCharArray();
    KeyStore keys = KeyStore.getInstance("PKCS12");
    keys.load(new FileInputStream(args[1]), password);
    KeyManagerFactory managers = KeyManagerFactory.getInstance("PKIX");
    managers.init(keys, password);
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(managers.getKeyManagers(), null, null);
    SSLServerSocket server = (SSLServerSocket) context.getServerSocketFactory()
        .createServerSocket(Integer.parseInt(args[0]), 50, java.net.InetAddress.getByName("127.0.0.1"));
    server.setEnabledProtocols(args[2].split(","));
    server.setEnabledCipherSuites(args[3].split(","));
    while (true) {
      SSLSocket client = (SSLSocket) server.accept();
      client.setSoTimeout(3000);
      try { client.startHandshake(); } catch (Exception expected) { }
      try { client.close(); } catch (Exception expected) { }
    }
  }
}
"""


@contextmanager
def java_server(
    certificate: Issued, *, versions: Sequence[str], suites: Sequence[str], properties: Mapping[str, str] | None = None
) -> Iterator[int]:
    """Serve TLS on a loopback port, which is given, with Java's names of versions (``TLSv1``) and suites.

    ``properties`` are those of the system, such as ``jdk.tls.allowLegacyMasterSecret``.
    """
    java = shutil.which("java")
    if java is None:
        skip_or_fail("Java cannot be had: no program `java` on the path (17 still speaks DES and EXPORT).")
    with scratch("java-tls") as folder:
        store = pkcs12.serialize_key_and_certificates(
            b"server", certificate.key, certificate.certificate, None, BestAvailableEncryption(b"changeit")
        )
        (folder / "keys.p12").write_bytes(store)
        (folder / "Legacy.java").write_text(_JAVA)
        port = free_port()
        defined = [f"-D{name}={value}" for name, value in (properties or {}).items()]
        argv = [java, "-Xms16m", "-Xmx64m", "-XX:TieredStopAtLevel=1", *defined, "Legacy.java", str(port), "keys.p12"]
        with Server(
            "java-tls", [*argv, ",".join(versions), ",".join(suites)], directory=folder, ready=lambda: listening(port)
        ):
            yield port
