"""What a TLS endpoint's answers mean, case by case, without a server."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa

from collectors.systems.tls.client import handshake as handshakes
from collectors.systems.tls.judge import (
    LEGACY,
    MODERN,
    everywhere,
    judge_certificates,
    judge_chains,
    judge_hsts,
    judge_staples,
    judge_suites,
    judge_versions,
)
from collectors.systems.tls.model import certificates
from collectors.systems.tls.model.addresses import Address
from collectors.systems.tls.model.hello import Accepted, Answer, Refused, Version
from collectors.systems.tls.model.options import TlsTarget
from collectors.systems.tls.model.pages import Pages, hsts_directives
from exporter.reply import Reply
from exporter.verdict import ProbeError, Result, Status, failed, ok, unknown
from tests.servers.certificates import Issued, authority, intermediate
from tests.servers.process import scratch

NAME = "shop.example.com"
TARGET = TlsTarget(name="shop", endpoint=f"{NAME}:443")
ADDRESSES = [Address(socket.AF_INET, (f"192.0.2.{number}", 443)) for number in (1, 2, 3)]


@pytest.fixture
def roots() -> Iterator[certificates.Roots]:
    with scratch("roots") as folder:
        yield roots_of(folder, authority())


def roots_of(folder: Path, *authorities: Issued) -> certificates.Roots:
    (folder / "ca.pem").write_bytes(b"".join(one.pem for one in authorities))
    return handshakes.roots(folder / "ca.pem")


def served(*sent: Issued) -> certificates.Served:
    return certificates.Served(tuple(one.certificate for one in sent), b"")


def judge(roots: certificates.Roots, *sent: Issued, now: datetime | None = None, target: TlsTarget = TARGET) -> Result:
    return judge_certificates(target, [served(*sent)], roots, now or datetime.now(UTC))


@pytest.mark.parametrize(
    ("lifetime", "left", "status"),
    [
        (365, 21.1, Status.OK),
        (365, 20.9, Status.WARNING),
        (365, 7.1, Status.WARNING),
        (365, 6.9, Status.FAILED),
        (90, 21.1, Status.OK),
        (45, 15.1, Status.OK),
        (45, 14.9, Status.WARNING),
        (45, 4.9, Status.FAILED),
        (6, 2.1, Status.OK),
        (6, 1.9, Status.WARNING),
        (6, 0.6, Status.FAILED),
        (6, -0.1, Status.FAILED),
    ],
)
def test_how_long_a_certificate_still_holds(
    roots: certificates.Roots, lifetime: float, left: float, status: Status
) -> None:
    leaf = intermediate().issue(NAME, age=lifetime - left, days=left)
    result = judge(roots, leaf, intermediate())
    assert result.status is status
    assert result.measurements["certificate_expiry_seconds"] == pytest.approx(left * 86400, abs=60)


def test_the_critical_limit_is_never_above_the_other(roots: certificates.Roots) -> None:
    target = TARGET.model_copy(update={"min_days": 2, "critical_days": 30})
    leaf = intermediate().issue(NAME, days=3)
    assert judge(roots, leaf, intermediate(), target=target).status is Status.OK


def test_an_intermediate_that_ends_before_the_certificate(roots: certificates.Roots) -> None:
    short = authority().intermediate("Short", days=10.5, age=300)
    result = judge(roots, short.issue(NAME), short)
    assert result.status is Status.WARNING
    assert result.summary.startswith(f"Certificate Short of {NAME}:443 expires on ")
    assert "in 10 days (limit 21 days)" in result.summary


def test_a_certificate_that_is_not_valid_yet(roots: certificates.Roots) -> None:
    result = judge(roots, intermediate().issue(NAME, age=-2), intermediate())
    assert result.status is Status.FAILED
    assert "is not valid before" in result.summary


def test_an_expired_certificate_that_is_sent_without_need(roots: certificates.Roots) -> None:
    old = Issued.root("Cross", days=-1, age=900)
    result = judge(roots, intermediate().issue(NAME), intermediate(), old)
    assert result.status is Status.WARNING
    assert "also sends Cross, which expired on" in result.summary


@pytest.mark.parametrize(
    ("kind", "said"),
    [("rsa-weak", "RSA key of 1024 bits (limit 2048)"), ("ec-weak", "elliptic-curve key of 192 bits (limit 256)")],
)
def test_a_weak_key(roots: certificates.Roots, kind: str, said: str) -> None:
    result = judge(roots, intermediate().issue(NAME, kind=kind), intermediate())
    assert result.status is Status.FAILED
    assert said in result.summary


def test_a_weak_key_of_an_intermediate(roots: certificates.Roots) -> None:
    weak = authority().intermediate("Weak", kind="rsa-weak")
    result = judge(roots, weak.issue(NAME), weak)
    assert f"Certificate Weak of {NAME}:443 has an RSA key of 1024 bits" in result.summary


def test_a_key_of_a_kind_that_browsers_do_not_take(roots: certificates.Roots) -> None:
    leaf = intermediate().issue(NAME, key=dsa.generate_private_key(2048))
    result = judge(roots, leaf, intermediate())
    assert "has a key that is neither RSA nor on an elliptic curve" in result.summary


def test_a_signature_with_sha_1(roots: certificates.Roots) -> None:
    leaf = intermediate().issue(NAME).signed_with_sha1()
    assert isinstance(leaf.certificate, x509.Certificate)
    result = judge(roots, leaf, intermediate())
    assert result.status is Status.FAILED
    assert "is signed with SHA1." in result.summary


def test_an_authority_under_its_own_former_key_is_no_root(roots: certificates.Roots) -> None:
    """Its issuer has its own name, as that of a root, and clients verify the signature."""
    renewed = intermediate().intermediate("Test Intermediate").signed_with_sha1()
    assert renewed.certificate.issuer == renewed.certificate.subject
    result = judge(roots, renewed.issue(NAME), renewed, intermediate())
    assert result.status is Status.FAILED
    assert "Certificate Test Intermediate of" in result.summary
    assert "is signed with SHA1." in result.summary


def test_several_names(roots: certificates.Roots) -> None:
    many = intermediate().issue("a.example.com", "b.example.com", "c.example.com", "d.example.com")
    assert (
        "but for a.example.com, b.example.com, c.example.com and 1 more." in judge(roots, many, intermediate()).summary
    )
    assert "but for no name at all." in judge(roots, intermediate().issue(), intermediate()).summary


def test_chains_of_each_kind_of_key(roots: certificates.Roots) -> None:
    complete, alone = served(intermediate().issue(NAME), intermediate()), served(intermediate().issue(NAME))
    assert judge_chains(TARGET, [complete], roots).status is Status.OK
    assert judge_chains(TARGET, [complete, alone], roots).status is Status.FAILED


def test_a_trusted_self_signed_certificate(tmp_path: Path) -> None:
    own = Issued.root(NAME, names=[NAME])
    result = judge_chains(TARGET, [served(own)], roots_of(tmp_path, own))
    assert result.status is Status.OK
    assert result.measurements == {"chain_length": 1}


def answers(**given: Answer | ProbeError) -> dict[Version, Answer | ProbeError]:
    usual = dict.fromkeys(LEGACY, Refused(70)) | {version: Accepted(version, 0xC02F) for version in MODERN}
    return usual | {Version[name]: answer for name, answer in given.items()}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ok(f"{NAME}:443 refuses SSL 3, TLS 1.0 and TLS 1.1 and speaks TLS 1.2 and TLS 1.3.")),
        ({"TLS_1_3": ProbeError("Silent.")}, ok(f"{NAME}:443 refuses SSL 3, TLS 1.0 and TLS 1.1 and speaks TLS 1.2.")),
        ({"TLS_1_0": ProbeError("Silent.")}, unknown("Silent.")),
        (
            {"TLS_1_0": ProbeError("Silent."), "SSL_3": Accepted(Version.SSL_3, 5)},
            failed(f"{NAME}:443 accepts SSL 3 (limit TLS 1.2)."),
        ),
        (
            {"TLS_1_2": Accepted(Version.TLS_1_1, 0x2F), "TLS_1_3": Refused(70)},
            failed(f"{NAME}:443 accepts TLS 1.1 (limit TLS 1.2)."),
        ),
        (
            {"TLS_1_2": Refused(40), "TLS_1_3": Refused(70)},
            unknown(
                f"{NAME}:443 agreed to no version of TLS, not even TLS 1.2 and TLS 1.3, so its refusals prove nothing."
            ),
        ),
    ],
)
def test_versions(given: dict[str, Answer | ProbeError], expected: Result) -> None:
    assert judge_versions(TARGET, answers(**given)) == expected


def test_suites() -> None:
    refused = {(Version.TLS_1_2, "RC4"): Refused(40), (Version.TLS_1_2, "3DES"): Refused(40)}
    assert judge_suites(TARGET, refused).status is Status.OK
    doubtful = refused | {(Version.TLS_1_2, "DES"): ProbeError("Silent.")}
    assert judge_suites(TARGET, doubtful) == unknown("Silent.")
    accepted = doubtful | {
        (version, "RC4"): Accepted(version, 0x0005) for version in (Version.TLS_1_0, Version.TLS_1_2)
    }
    assert judge_suites(TARGET, accepted) == failed(
        f"{NAME}:443 accepts weak cipher suites: RC4 (TLS_RSA_WITH_RC4_128_SHA)."
    )


@pytest.mark.parametrize(
    ("value", "age"),
    [
        ("max-age=31536000", "31536000"),
        ('Max-Age="31536000" ; includeSubDomains', "31536000"),
        (" ; max-age = 0 ; preload;", "0"),
        ("", None),
        ("max-age", None),
        ("max-age=-1", None),
        ("max-age=1y", None),
        ("max-age=١", None),
        ('max-age="1', None),
        ("max-age=1; max-age=2", None),
        ("max-age=31536000000", "31536000000"),
    ],
)
def test_hsts_directives(value: str, age: str | None) -> None:
    directives = hsts_directives(value)
    assert (directives["max-age"] if directives else None) == age


def reply(status: int = 200, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply("GET https://192.0.2.1/", status, httpx.Headers(named), b"")


def test_only_the_first_hsts_header_counts() -> None:
    headers = httpx.Headers(
        [("Strict-Transport-Security", "max-age=1"), ("Strict-Transport-Security", "max-age=31536000")]
    )
    both = replace(reply(), headers=headers)
    assert judge_hsts(TARGET, [Pages(both, both)]).status is Status.FAILED


@pytest.mark.parametrize(
    ("plain", "status"),
    [
        (reply(301, location=f"https://{NAME}/"), Status.OK),
        (reply(303, location=f"https://{NAME}/"), Status.OK),
        (reply(308, location=f"https://www.{NAME}/"), Status.OK),
        (reply(301, location=f"http://{NAME}/"), Status.FAILED),
        (reply(301, location="/login"), Status.FAILED),
        (reply(301), Status.FAILED),
        (reply(302, location="https://[broken"), Status.FAILED),
        (reply(200, location=f"https://{NAME}/"), Status.FAILED),
        (reply(404), Status.FAILED),
    ],
)
def test_redirects(plain: Reply, status: Status) -> None:
    good = reply(strict_transport_security="max-age=63072000")
    assert judge_hsts(TARGET, [Pages(good, good, (plain,))]).status is status


def test_a_staple_of_a_certificate_that_is_its_own_issuer(tmp_path: Path) -> None:
    own = Issued.root(NAME, names=[NAME])
    garbage = replace(served(own), staple=b"garbage")
    result = judge_staples(TARGET, [garbage], roots_of(tmp_path, own), datetime.now(UTC))
    assert result.summary == f"The OCSP response stapled for {NAME} by {NAME}:443 is not an OCSP response."


def test_a_verdict_that_holds_everywhere_is_told_once() -> None:
    result = everywhere(dict.fromkeys(ADDRESSES, 5), lambda seen: ok("All is well.", left_seconds=seen))
    assert result == ok("All is well.", left_seconds=5)


def test_a_verdict_says_where_it_holds() -> None:
    seen = dict(zip(ADDRESSES, (1, 2, 2), strict=True))
    result = everywhere(seen, lambda one: failed("It is two.", n=one) if one == 2 else ok("It is one.", n=one))
    assert result == failed("At 192.0.2.2, 192.0.2.3: It is two.", n=1)


def test_what_could_not_be_seen_says_so_itself() -> None:
    seen = {ADDRESSES[0]: 1, ADDRESSES[1]: ProbeError("192.0.2.2:443 refused the connection.")}
    assert everywhere(seen, lambda _: ok("Well.")) == unknown("192.0.2.2:443 refused the connection.")
    assert everywhere(seen, lambda _: failed("Bad.")).status is Status.FAILED


def test_lengths_of_time() -> None:
    short = TARGET.model_copy(update={"hsts_min_age": timedelta(days=1)})
    for seconds, told in ((3600, "1 hour"), (120, "2 minutes"), (1, "1 second")):
        header = reply(strict_transport_security=f"max-age={seconds}")
        assert f"holds for {told} (limit 1d)" in judge_hsts(short, [Pages(header, header)]).summary
