"""An OCSP responder for the tests' authorities, as servers that staple ask one."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from tests.servers.certificates import Issued, digest_for
from tests.servers.process import LOOPBACK

GOOD, REVOKED, UNKNOWN = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN


def response(
    leaf: Issued,
    *,
    status: ocsp.OCSPCertStatus = GOOD,
    about: Issued | None = None,
    signer: Issued | None = None,
    hours: float | None = 24,
    age: float = 1,
) -> bytes:
    """Return a response (DER) for ``leaf``, signed by its issuer or ``signer``, made ``age`` hours ago and good for ``hours`` more.

    ``about`` makes it speak of another certificate; ``hours=None`` leaves out the end.
    """
    subject = about or leaf
    assert subject.issuer is not None
    signer = signer or subject.issuer
    now = datetime.now(UTC).replace(microsecond=0)
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            cert=subject.certificate,
            issuer=subject.issuer.certificate,
            algorithm=hashes.SHA1(),
            cert_status=status,
            this_update=now - timedelta(hours=age),
            next_update=None if hours is None else now + timedelta(hours=hours),
            revocation_time=now - timedelta(hours=2) if status is REVOKED else None,
            revocation_reason=x509.ReasonFlags.key_compromise if status is REVOKED else None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
    )
    if signer is not subject.issuer:
        builder = builder.certificates([signer.certificate])
    return builder.sign(signer.key, digest_for(signer.key)).public_bytes(Encoding.DER)


@dataclass
class Responder:
    """A responder at ``url`` that answers every request with what ``answer`` gives; ``asked`` counts them."""

    answer: Callable[[], bytes] = lambda: b""
    asked: int = field(default=0)
    url: str = ""


@contextmanager
def responder() -> Iterator[Responder]:
    """Run a responder on a loopback port."""
    state = Responder()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # as nginx asks (RFC 6960 appendix A.1)
            state.asked += 1
            body = state.answer()
            self.send_response(200)
            self.send_header("content-type", "application/ocsp-response")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((LOOPBACK, 0), Handler) as server:
        server.daemon_threads = True
        state.url = f"http://{LOOPBACK}:{server.server_address[1]}/"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
