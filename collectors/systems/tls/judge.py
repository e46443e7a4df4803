"""What is wanted of a TLS endpoint, and what its answers mean. Nothing here asks anything.

Judges raise nothing for what a server sent: whatever it is, there is a verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeAlias, TypeVar
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID

from collectors.shared.verdicts import verdict
from collectors.systems.tls.model import certificates, cipher_suites, ocsp
from collectors.systems.tls.model.addresses import Address
from collectors.systems.tls.model.hello import Accepted, Answer, Version
from collectors.systems.tls.model.options import TlsTarget
from collectors.systems.tls.model.pages import Pages, hsts_directives
from collectors.systems.tls.model.starttls import NotOffered
from exporter.options import format_duration
from exporter.reply import Reply
from exporter.verdict import ProbeError, Reason, Result, failed, ok, unknown, unobserved, warning, worst
from exporter.words import counted, format_length

T = TypeVar("T")

LEGACY = (Version.SSL_3, Version.TLS_1_0, Version.TLS_1_1)
MODERN = (Version.TLS_1_2, Version.TLS_1_3)
STAPLE_TRIES = 3
_MIN_RSA_BITS, _MIN_EC_BITS = 2048, 256  # CA/Browser Forum Baseline Requirements §6.1.5
_MIN_DH_BITS = 2048  # RFC 9325 §4.4
_BROKEN_DH_BITS = 1024  # below it no current client connects, and one that does can be read
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
"""Those that clients of TLS accept for certificates by default."""
_EDDSA = (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)
_STAPLE_SHARE = 0.1  # a responder renews a response long before this part of its life is left


Seen: TypeAlias = Mapping[Address, T | ProbeError]
"""What was seen at each address, or why nothing was."""


def everywhere(seen: Seen[T], judge: Callable[[T], Result]) -> Result:
    """One verdict on all addresses. A sentence that is not true of all says of which; of a measurement the smallest is kept."""
    results = {
        address: _unseen(sight) if isinstance(sight, ProbeError) else judge(sight) for address, sight in seen.items()
    }
    where: dict[tuple[str, str], list[str]] = {}
    for address, result in results.items():
        where.setdefault((result.status, result.summary), []).append(address.host)
    named = []
    for address, result in results.items():
        hosts = where[result.status, result.summary]
        shared = len(hosts) == len(results) or isinstance(seen[address], ProbeError)
        named.append(result if shared else replace(result, summary=f"At {', '.join(hosts)}: {result.summary}"))
    return replace(worst(*named), measurements=_smallest(named))


def _unseen(error: ProbeError) -> Result:
    """`unknown`, but for a server that does not offer TLS: whatever is wanted of its TLS is false."""
    return failed(str(error), reason=error.reason) if isinstance(error, NotOffered) else unobserved(error)


def _smallest(results: Iterable[Result]) -> dict[str, float]:
    smallest: dict[str, float] = {}
    for result in results:
        for name, value in result.measurements.items():
            smallest[name] = min(value, smallest.get(name, value))
    return smallest


def _all(results: Sequence[Result]) -> Result:
    return replace(worst(*results), measurements=_smallest(results))


def judge_presented(
    presented: certificates.Presented, judge: Callable[[Sequence[certificates.Served]], Result]
) -> Result:
    """What `judge` says of the chains that were seen; never ok where a further look did not succeed."""
    result = judge(presented.chains)
    return result if presented.unseen is None else _all([result, _unseen(presented.unseen)])


def judge_certificates(
    target: TlsTarget, all_served: Sequence[certificates.Served], roots: certificates.Roots, now: datetime
) -> Result:
    """Whether the certificates that one address presents are accepted now, and for long enough."""
    kinds = _kinds(all_served)
    judged = [_judge_certificate(target, served, kinds[served.leaf], roots, now) for served in all_served]
    if target.serves_https and all(isinstance(served.leaf.public_key(), _EDDSA) for served in all_served):
        kind = certificates.kind_of_key(all_served[0].leaf)
        judged.append(
            warning(f"{target.endpoint} presents only certificates with {kind} keys, which browsers do not accept.")
        )
    return _all(judged)


def _kinds(all_served: Sequence[certificates.Served]) -> Mapping[x509.Certificate, str]:
    """What to add to each of a server's own certificates when they have several kinds of keys, so that one knows which."""
    kinds = {served.leaf: f" ({certificates.kind_of_key(served.leaf)})" for served in all_served}
    return kinds if len(set(kinds.values())) > 1 else dict.fromkeys(kinds, "")


def _judge_certificate(
    target: TlsTarget, served: certificates.Served, kind: str, roots: certificates.Roots, now: datetime
) -> Result:
    title = _name(served.leaf) + kind
    try:
        path, untrusted = roots.path(served.sent), None
    except certificates.Untrusted as error:
        path, untrusted = served.sent, str(error)
    end = min(certificate.not_valid_after_utc for certificate in path)
    good = ok(
        f"{title} of {target.endpoint} is valid until {_date(end)}.",
        certificate_expiry_seconds=(end - now).total_seconds(),
    )
    return verdict(_certificate_problems(target, served, title, path, untrusted, now), good)


def _certificate_problems(
    target: TlsTarget,
    served: certificates.Served,
    title: str,
    path: Sequence[x509.Certificate],
    untrusted: str | None,
    now: datetime,
) -> Iterator[Result]:
    if not certificates.matches(served.leaf, target.expected_name):
        yield failed(
            f"{title} of {target.endpoint} is not for {target.expected_name} but for {_names(served.leaf)}.",
            reason=Reason.MISCONFIGURED,
        )
    if untrusted:
        yield failed(f"{title} of {target.endpoint} is not trusted: {untrusted}.", reason=Reason.MISCONFIGURED)
    subjects = {
        certificate: f"{title if certificate == served.leaf else _name(certificate)} of {target.endpoint}"
        for certificate in path
    }
    for certificate, why in certificates.unfit_for_servers(path):
        yield failed(f"{subjects[certificate]} is not accepted by TLS clients: {why}.", reason=Reason.MISCONFIGURED)
    if certificates.lacks_signatures(served.leaf):
        yield warning(
            f"{title} of {target.endpoint} has a key usage without digital signatures, by which it would have to prove itself in "
            "TLS 1.3 and in every suite with forward secrecy: Chrome refuses it."
        )
    if target.serves_https and certificates.is_authority(served.leaf):
        yield warning(
            f"{title} of {target.endpoint} is one of an authority (CA:TRUE): Firefox refuses it for a server."
        )
    for certificate, subject in subjects.items():
        yield from _date_problems(subject, certificate, target, now)
        is_root = certificate == path[-1] and certificate.issuer == certificate.subject
        yield from _strength_problems(subject, certificate, is_root=is_root)
        yield from _curve_problems(subject, certificate, is_leaf=certificate == served.leaf)
    for certificate in served.sent:
        end = certificate.not_valid_after_utc
        if certificate not in path and end <= now:
            yield warning(f"{target.endpoint} also sends {_subject(certificate)}, which expired on {_date(end)}.")


def _date_problems(subject: str, certificate: x509.Certificate, target: TlsTarget, now: datetime) -> Iterator[Result]:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    lifetime, left = end - begin, end - now
    wanted = min(timedelta(days=target.min_days), lifetime / 3)
    critical = min(timedelta(days=target.critical_days), lifetime / 9, wanted)
    if begin > now:
        yield failed(f"{subject} is not valid before {_date(begin)}.")
    elif left <= timedelta(0):
        yield failed(f"{subject} expired on {_date(end)}.", reason=Reason.EXPIRED)
    elif left < wanted:
        limit = critical if left < critical else wanted
        summary = f"{subject} expires on {_date(end)}, in {format_length(left)} (limit {format_length(limit)})."
        yield failed(summary, reason=Reason.LIMIT) if left < critical else warning(summary)


def _strength_problems(subject: str, certificate: x509.Certificate, *, is_root: bool) -> Iterator[Result]:
    key = certificate.public_key()
    match key:
        case rsa.RSAPublicKey() if key.key_size < _MIN_RSA_BITS:
            yield failed(
                f"{subject} has an RSA key of {key.key_size} bits (limit {_MIN_RSA_BITS}).", reason=Reason.LIMIT
            )
        case ec.EllipticCurvePublicKey() if key.key_size < _MIN_EC_BITS:
            yield failed(
                f"{subject} has an elliptic-curve key of {key.key_size} bits (limit {_MIN_EC_BITS}).",
                reason=Reason.LIMIT,
            )
        case rsa.RSAPublicKey() | ec.EllipticCurvePublicKey() | ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            pass
        case _:
            yield failed(f"{subject} has a key that is neither RSA nor on an elliptic curve.")
    digest = certificate.signature_hash_algorithm
    # Nobody verifies the signature of a root under itself: it proves nothing.
    if isinstance(digest, hashes.SHA1 | hashes.MD5) and not is_root:
        yield failed(f"{subject} is signed with {digest.name.upper()}.")


def _curve_problems(subject: str, certificate: x509.Certificate, *, is_leaf: bool) -> Iterator[Result]:
    """Keys on curves on which no server can prove itself to a current client, and with which few verify an authority."""
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.key_size < _MIN_EC_BITS or key.curve.name in _CURVES:
        return
    sentence = f"{subject} has a key on the curve {key.curve.name}, which"
    if is_leaf:
        yield failed(f"{sentence} TLS clients do not accept by default.", reason=Reason.MISCONFIGURED)
    else:
        yield warning(f"{sentence} OpenSSL verifies, but not browsers and programs in Go.")


def judge_chains(target: TlsTarget, all_served: Sequence[certificates.Served], roots: certificates.Roots) -> Result:
    """Whether what one address sends leads to a root without help."""
    kinds = _kinds(all_served)
    return _all([_judge_chain(target, served, kinds[served.leaf], roots) for served in all_served])


def _judge_chain(target: TlsTarget, served: certificates.Served, kind: str, roots: certificates.Roots) -> Result:
    count = counted(len(served.sent), "certificate") + kind
    try:
        path = roots.path(served.sent)
    except certificates.Untrusted as error:
        if not error.incomplete:  # reported by certificates_valid
            return ok(
                f"{target.endpoint} sends {count} that lead to a trusted root, which does not accept them: {error}."
            )
        return failed(
            f"{target.endpoint} sends {count} from which no trusted root is reached: {error}.", reason=Reason.MISSING
        )
    # A root's cross-signed form is sent for older clients that do not know the root.
    needless = [
        _subject(certificate)
        for place, certificate in enumerate(served.sent)
        if (certificate not in path[:-1] and not _is_cross_signed(certificate, path))
        or certificate in served.sent[:place]
    ]
    if needless and len(path) > 1:
        summary = f"{target.endpoint} sends a complete chain{kind} and, needlessly, {', '.join(needless)}."
        return warning(summary, chain_length=len(path))
    summary = f"{target.endpoint} sends {count}, complete up to the root {_subject(path[-1])}."
    return ok(summary, chain_length=len(path))


def _is_cross_signed(certificate: x509.Certificate, path: Sequence[x509.Certificate]) -> bool:
    return certificate.issuer != certificate.subject and any(
        certificates.same_authority(certificate, other) for other in path[1:]
    )


def judge_versions(target: TlsTarget, answers: Mapping[Version, Answer | ProbeError]) -> Result:
    """Whether one address refuses every version before TLS 1.2."""
    spoken = sorted({answer.version for answer in answers.values() if isinstance(answer, Accepted)})
    old = [version for version in spoken if version in LEGACY]
    if old:
        return failed(f"{target.endpoint} accepts {_list(old)} (limit {Version.TLS_1_2}).", reason=Reason.MISCONFIGURED)
    for version in LEGACY:
        if isinstance(answer := answers[version], ProbeError):
            return unobserved(answer)
    if not spoken:
        return unknown(
            f"{target.endpoint} agreed to no version of TLS, not even {_list(MODERN)}, so its refusals prove nothing.",
            reason=Reason.REFUSED,
        )
    return ok(f"{target.endpoint} refuses {_list(LEGACY)} and speaks {_list(spoken)}.")


def judge_suites(
    target: TlsTarget, answers: Mapping[tuple[Version, str], Answer | ProbeError], dh_bits: int | None = None
) -> Result:
    """Whether one address refuses every family of weak suites. `dh_bits` is the size of its Diffie-Hellman group, if it has one."""
    good = ok(f"{target.endpoint} accepts no weak cipher suites ({', '.join(target.tls_policy.families)}).")
    if dh_bits is not None:
        good = replace(good, measurements={"dh_group_bits": dh_bits})
    return verdict(_suite_problems(target, answers, dh_bits), good)


def _suite_problems(
    target: TlsTarget, answers: Mapping[tuple[Version, str], Answer | ProbeError], dh_bits: int | None
) -> Iterator[Result]:
    accepted = {
        f"{family} ({cipher_suites.SUITES[answer.suite]})": None
        for (_, family), answer in answers.items()
        if isinstance(answer, Accepted)
    }
    if accepted:
        yield failed(
            f"{target.endpoint} accepts weak cipher suites: {', '.join(accepted)}.", reason=Reason.MISCONFIGURED
        )
    for answer in answers.values():
        if isinstance(answer, ProbeError):
            yield unobserved(answer)
    if dh_bits is not None and dh_bits < _BROKEN_DH_BITS:
        yield failed(
            f"{target.endpoint} accepts DHE with a group of {dh_bits} bits, which can be broken (limit {_MIN_DH_BITS}).",
            reason=Reason.LIMIT,
        )
    elif dh_bits is not None and dh_bits < _MIN_DH_BITS:
        yield warning(f"{target.endpoint} accepts DHE with a group of {dh_bits} bits (limit {_MIN_DH_BITS}).")


def judge_hsts(target: TlsTarget, looks: Sequence[Pages]) -> Result:
    """Whether one address sends HSTS with every reply in every look, and leads plain HTTP to https."""
    return _all([_judge_pages(target, pages) for pages in looks])


def _judge_pages(target: TlsTarget, pages: Pages) -> Result:
    results = [
        _judge_hsts_header(target, pages.first, "its first page"),
        _judge_hsts_header(target, pages.missing, f"a page that does not exist (status {pages.missing.status})"),
    ]
    redirects = [_judge_redirect(target, reply) for reply in pages.plain]
    results += [next((one for one in redirects if not one.status.is_ok), redirects[0])] if redirects else []
    return _all(results)


def _judge_hsts_header(target: TlsTarget, reply: Reply, page: str) -> Result:
    values = reply.headers.get_list("strict-transport-security")
    if not values:
        return failed(
            f"{target.endpoint} sends no Strict-Transport-Security header with {page}.", reason=Reason.MISSING
        )
    directives = hsts_directives(values[0])  # browsers process the first alone (RFC 6797 §8.1)
    if directives is None:
        return failed(
            f"{target.endpoint} sends a Strict-Transport-Security header with {page} that browsers ignore as malformed.",
            reason=Reason.MISCONFIGURED,
        )
    seconds = int(directives["max-age"])
    if seconds < target.hsts_min_age.total_seconds():
        held = f"{format_length(timedelta(seconds=seconds))} (limit {format_duration(target.hsts_min_age)})"
        return failed(
            f"{target.endpoint} sends HSTS with {page} that holds for {held}.",
            reason=Reason.LIMIT,
            hsts_max_age_seconds=seconds,
        )
    if target.hsts_include_subdomains and "includesubdomains" not in directives:
        summary = f"{target.endpoint} sends HSTS with {page} without includeSubDomains."
        return failed(summary, reason=Reason.MISCONFIGURED, hsts_max_age_seconds=seconds)
    return ok(
        f"{target.endpoint} sends HSTS that holds for {counted(seconds // 86400, 'day')}.", hsts_max_age_seconds=seconds
    )


def _judge_redirect(target: TlsTarget, reply: Reply) -> Result:
    asked = f"Port {target.http_port} of {target.host}"
    try:
        leads_to = urlsplit(reply.headers.get("location", ""))
        port = leads_to.port
    except ValueError:  # not a URL
        leads_to, port = urlsplit(""), None
    if reply.status not in (301, 302, 303, 307, 308) or leads_to.scheme != "https":
        return failed(
            f"{asked} answers {reply.where} with {reply.status}, no redirect to https.", reason=Reason.MISCONFIGURED
        )
    if port is not None and port == target.http_port:
        return failed(
            f"{asked} redirects to https on the same port, which does not serve TLS.", reason=Reason.MISCONFIGURED
        )
    return ok(f"{asked} redirects to https.")


def lacks_staple(served: certificates.Served) -> bool:
    """Whether nothing was stapled where something should have been."""
    return not served.staple and (ocsp.responder(served.leaf) is not None or ocsp.demands_staple(served.leaf))


def judge_staples(
    target: TlsTarget, all_served: Sequence[certificates.Served], roots: certificates.Roots, now: datetime
) -> Result:
    """Whether one address vouches, with a staple, that each of its certificates is not revoked."""
    kinds = _kinds(all_served)
    return _all([_judge_staple(target, served, kinds[served.leaf], roots, now) for served in all_served])


def _judge_staple(
    target: TlsTarget, served: certificates.Served, kind: str, roots: certificates.Roots, now: datetime
) -> Result:
    subject = f"{_name(served.leaf)}{kind} of {target.endpoint}"
    if not served.staple:
        if ocsp.demands_staple(served.leaf):
            return failed(
                f"{subject} demands a staple (must-staple) and nothing was stapled in {STAPLE_TRIES} tries.",
                reason=Reason.MISSING,
            )
        if ocsp.responder(served.leaf):
            return failed(
                f"{subject} names an OCSP responder and nothing was stapled in {STAPLE_TRIES} tries.",
                reason=Reason.MISSING,
            )
        return ok(f"{subject} names no OCSP responder, so there is nothing to staple.")
    issuer = _issuer(served, roots)
    if issuer is None:
        return unknown(f"{subject} comes without its issuer, so the stapled response could not be verified.")
    try:
        since, until = ocsp.good_until(served.staple, served.leaf, issuer, now)
    except ocsp.BadStaple as error:
        return failed(f"The OCSP response stapled for {_subject(served.leaf)}{kind} by {target.endpoint} {error}.")
    left = until - now
    expiry = f"{subject} has a staple that expires on {_date(until)}"
    if left < (until - since) * _STAPLE_SHARE:
        return warning(f"{expiry}, in {format_length(left)}.", ocsp_expiry_seconds=left.total_seconds())
    return ok(f"{expiry}.", ocsp_expiry_seconds=left.total_seconds())


def _issuer(served: certificates.Served, roots: certificates.Roots) -> x509.Certificate | None:
    try:
        path = roots.path(served.sent)
    except certificates.Untrusted:
        return None
    return path[1] if len(path) > 1 else path[0]


def _name(certificate: x509.Certificate) -> str:
    return f"Certificate {_subject(certificate)}"


def _subject(certificate: x509.Certificate) -> str:
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    text = str(common[0].value) if common else certificate.subject.rfc4514_string()
    return (text or f"number {certificate.serial_number:x}")[:80]


def _names(certificate: x509.Certificate) -> str:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return "no name at all"
    shown = [str(name.value)[:80] for name in names]
    return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")


def _date(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _list(versions: Iterable[Version]) -> str:
    *most, last = map(str, versions)
    return f"{', '.join(most)} and {last}" if most else last
