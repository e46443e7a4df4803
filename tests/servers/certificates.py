"""Certificate authorities of the tests' own: roots, intermediates and certificates with every defect that a server may show."""

import ipaddress
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Literal, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from tests.servers.packages import debian, library_environment
from tests.servers.process import scratch

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
KeyKind = Literal["ec", "ed25519", "rsa", "rsa-weak", "ec-weak"]


def new_key(kind: KeyKind) -> Key:
    """Generate a key: EC P-256, Ed25519 or RSA of 2048 bits; the weak ones are P-192 and RSA of 1024 bits."""
    match kind:
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case "ec":
            return ec.generate_private_key(ec.SECP256R1())
        case "ec-weak":
            return ec.generate_private_key(ec.SECP192R1())
        case "rsa":
            return rsa.generate_private_key(65537, 2048)
        case "rsa-weak":
            return rsa.generate_private_key(65537, 1024)


def digest_for(key: Key) -> hashes.SHA256 | None:
    """Return what to sign with beside this key; Ed25519 has its own."""
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()


@dataclass(frozen=True)
class Issued:
    """A certificate with its key, and the authority that issued it (None: itself)."""

    certificate: x509.Certificate
    key: Key
    issuer: "Issued | None" = None

    @property
    def pem(self) -> bytes:
        """The certificate alone."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key, without a passphrase."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def chain_pem(self) -> bytes:
        """The certificate and its intermediates, without the root: what a server should send."""
        if self.issuer is None or self.issuer.issuer is None:
            return self.pem
        return self.pem + self.issuer.chain_pem

    def write(self, folder: Path, name: str, chain: bytes | None = None) -> tuple[Path, Path]:
        """Write the chain to send (``chain_pem`` unless given) and the key; return their paths."""
        files = folder / f"{name}.pem", folder / f"{name}.key"
        files[0].write_bytes(self.chain_pem if chain is None else chain)
        files[1].write_bytes(self.key_pem)
        return files

    @classmethod
    def root(cls, name: str = "Test Root", **options: object) -> Self:
        """A self-signed authority."""
        return cls(*_sign(name, None, ca=True, **options))  # type: ignore[arg-type]

    def intermediate(self, name: str = "Test Intermediate", **options: object) -> "Issued":
        """An authority below this one."""
        return Issued(*_sign(name, self, ca=True, **options), self)  # type: ignore[arg-type]

    def issue(self, *names: str, **options: object) -> "Issued":
        """A server's certificate for these names and addresses; see ``_sign`` for what may be wrong with it."""
        return Issued(*_sign(names[0] if names else "nameless", self, names=names, **options), self)  # type: ignore[arg-type]

    def signed_with_sha1(self) -> "Issued":
        """The same certificate, signed again by its issuer with SHA-1, which only OpenSSL's program still does."""
        assert self.issuer is not None
        request = x509.CertificateSigningRequestBuilder(self.certificate.subject)
        for extension in self.certificate.extensions:
            if not isinstance(extension.value, x509.AuthorityKeyIdentifier):
                request = request.add_extension(extension.value, extension.critical)
        root = debian("openssl", "libssl3")
        command = "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -sha1 -days 365 -copy_extensions copyall"
        with scratch("sha1") as folder:
            signed = request.sign(self.key, digest_for(self.key))
            (folder / "request.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
            self.issuer.write(folder, "ca", self.issuer.pem)
            again = subprocess.run(
                [root / "usr/bin/openssl", *command.split()],
                cwd=folder,
                env=library_environment(root),
                capture_output=True,
                check=True,
            )
        return replace(self, certificate=x509.load_pem_x509_certificate(again.stdout))


def key_usage(*allowed: str) -> x509.KeyUsage:
    """What a key may be used for, by the names of ``x509.KeyUsage``."""
    usages: tuple[str, ...] = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
    )
    usages += ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{usage: usage in allowed for usage in usages})


_AUTHORITY_USAGE = key_usage("digital_signature", "key_cert_sign", "crl_sign")  # signatures: of OCSP responses
_CRITICAL = (x509.BasicConstraints, x509.KeyUsage, x509.NameConstraints)


def _sign(
    name: str,
    issuer: Issued | None,
    *,
    ca: bool = False,
    names: Sequence[str] = (),
    kind: KeyKind = "ec",
    key: Key | None = None,
    days: float = 365,
    age: float = 1,
    responder: str | None = None,
    must_staple: bool = False,
    usage: x509.ObjectIdentifier | None = None,
    identified: bool = True,
    extensions: Sequence[x509.ExtensionType] = (),
    without: Sequence[type[x509.ExtensionType]] = (),
) -> tuple[x509.Certificate, Key]:
    """Sign a certificate that began ``age`` days ago and ends in ``days`` days (either may be negative).

    Unless ``identified`` it lacks the Authority Key Identifier that strict verifiers demand; many private authorities set none.
    ``extensions`` replace those of their kind, and kinds ``without`` are left out.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    key = key or new_key(kind)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=age))
        .not_valid_after(now + timedelta(days=days))
    )
    signer = issuer.key if issuer else key
    wanted: list[x509.ExtensionType] = [
        x509.BasicConstraints(ca=ca, path_length=None),
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
    ]
    if identified:
        wanted.append(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()))
    if ca:
        wanted.append(_AUTHORITY_USAGE)
    if names:
        wanted.append(x509.SubjectAlternativeName([_general_name(one) for one in names]))
    if not ca:
        wanted.append(x509.ExtendedKeyUsage([usage or ExtendedKeyUsageOID.SERVER_AUTH]))
    if responder:
        access = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(responder))
        wanted.append(x509.AuthorityInformationAccess([access]))
    if must_staple:
        wanted.append(x509.TLSFeature([x509.TLSFeatureType.status_request]))
    replaced = {type(one) for one in extensions}
    for one in [*(one for one in wanted if type(one) not in replaced), *extensions]:
        if type(one) not in without:
            builder = builder.add_extension(one, critical=isinstance(one, _CRITICAL))
    return builder.sign(signer, digest_for(signer)), key


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@cache
def authority() -> Issued:
    """The tests' root, one for all of them."""
    return Issued.root()


@cache
def intermediate() -> Issued:
    """The tests' intermediate below it."""
    return authority().intermediate()
