"""SSL/TLS Certificates"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from socket import AF_INET, AF_INET6, AF_UNSPEC
from typing import TypeVar

from pydantic import Field

from collectors.systems.tls.client import handshake as handshakes
from collectors.systems.tls.client.client_hello import ALL_SIGNATURES, EDDSA, first_flight, offer, suites_for
from collectors.systems.tls.client.tcp import resolve
from collectors.systems.tls.judge import (
    LEGACY,
    MODERN,
    STAPLE_TRIES,
    Seen,
    everywhere,
    judge_certificates,
    judge_chains,
    judge_hsts,
    judge_presented,
    judge_staples,
    judge_suites,
    judge_versions,
    lacks_staple,
)
from collectors.systems.tls.model import certificates, cipher_suites
from collectors.systems.tls.model.addresses import Address
from collectors.systems.tls.model.hello import Accepted, Answer, Flight, Refused, Version
from collectors.systems.tls.model.options import AddressFamily, TlsLimits, TlsTarget
from collectors.systems.tls.model.pages import Pages
from collectors.systems.tls.model.starttls import NotOffered
from exporter.collector import Collector, SectionSettings, fetched, item
from exporter.http import Http, HttpSettings, Trust
from exporter.options import Duration, Secret
from exporter.reply import Reply
from exporter.verdict import CRITICAL, INFO, WARNING, ProbeError, Reason, Result, ok

T = TypeVar("T")

_CONNECTIONS = 8
_TOGETHER = 100
"""Most suites in one hello, as in those of one family."""
_STAPLE_PAUSE = timedelta(seconds=2)
_CLOSED_PAUSE = timedelta(seconds=0.3)
_FAMILIES = {AddressFamily.ANY: AF_UNSPEC, AddressFamily.IPV4: AF_INET, AddressFamily.IPV6: AF_INET6}


@dataclass(frozen=True, slots=True)
class WeakSuites:
    """What an address answers to weak suites, and the bits of its Diffie-Hellman group (None when it uses none)."""

    answers: Mapping[tuple[Version, str], Answer | ProbeError]
    dh_bits: int | None


class TlsCertificatesSettings(SectionSettings, TlsLimits):
    """Servers whose TLS is verified, from where the exporter runs."""

    every: Duration = Field(timedelta(minutes=5), gt=timedelta(0), description="How often the section is verified.")
    timeout: Duration = Field(
        timedelta(seconds=60), gt=timedelta(0), description="How long one item may take before it is `unknown`."
    )
    targets: tuple[TlsTarget, ...] = Field(min_length=1, description="Endpoints that speak TLS.")


class TlsCertificates(Collector[TlsCertificatesSettings, TlsTarget]):
    """Looks at every address of every endpoint as its clients would, and as an attacker with old software would."""

    Settings = TlsCertificatesSettings
    Target = TlsTarget

    async def open(self) -> None:
        """Connections are bounded over the run, and made one after the other at each address: its limits are no refusals."""
        self._places = asyncio.Semaphore(_CONNECTIONS)
        self._turns: dict[Address, asyncio.Lock] = {}
        self._timeout = self.target.connection_timeout.total_seconds()

    @asynccontextmanager
    async def _turn(self, address: Address) -> AsyncIterator[None]:
        async with self._turns.setdefault(address, asyncio.Lock()), self._places:
            yield

    @fetched
    async def addresses(self) -> tuple[Address, ...]:
        """Every address that is checked. Raises ProbeError when the name is not resolved in time."""
        family = _FAMILIES[self.target.address_family]
        hosts = self.target.addresses or (self.target.host,)
        try:
            async with asyncio.timeout(self._timeout):
                found = [await self.blocking(resolve, host, self.target.port, family) for host in hosts]
        except TimeoutError:
            raise ProbeError(
                f"The name {self.target.host} was not resolved within {self._timeout:g} s.", Reason.TIMEOUT
            ) from None
        return tuple(dict.fromkeys(address for addresses in found for address in addresses))

    async def _at_each_address(self, look: Callable[[Address], Awaitable[T]]) -> Seen[T]:
        addresses = await self.addresses()
        answers = await asyncio.gather(*(look(address) for address in addresses), return_exceptions=True)
        return {address: _seen(answer) for address, answer in zip(addresses, answers, strict=True)}

    @fetched
    async def served(self) -> Seen[certificates.Presented]:
        """The certificates that each address presents: one, or one for each kind of key and each backend."""
        return await self._at_each_address(self._certificates)

    async def _certificates(self, address: Address) -> certificates.Presented:
        """Each distinct chain that an address presents: in several looks, and to clients that take one kind of key alone."""
        found = [await self._first_handshake(address)]
        unseen: ProbeError | None = None
        try:
            await self._look_again(address, found)
        except ProbeError as error:  # what was seen before counts all the same
            unseen = error
        # Of chains that are the same the one with a staple: some servers staple from the second handshake on.
        chains = {one.sent: one for one in sorted(found, key=lambda one: bool(one.staple))}
        return certificates.Presented(tuple(chains.values()), unseen)

    async def _first_handshake(self, address: Address) -> certificates.Served:
        """What an address presents: where it refuses current clients, to those that take any curve. Raises ProbeError."""
        try:
            return await self._handshake(address)
        except handshakes.NotServed as refusal:
            try:
                shown = await self._first_flight(address, cipher_suites.ECDHE_ECDSA)
            except ProbeError:
                raise refusal from None
            if not isinstance(shown, Flight) or not shown.certificates:
                raise
            return handshakes.read_certificates(shown.certificates, address)

    async def _look_again(self, address: Address, found: list[certificates.Served]) -> None:
        """Add to what was found what further looks show. Raises ProbeError."""
        found += [await self._handshake(address) for _ in range(self.target.looks - 1)]
        for keys in found[0].other_keys:
            found += await self._with_keys(address, keys)
        if any(one.tls_1_3 for one in found):  # and perhaps nothing else
            for keys in (*found[0].other_keys, certificates.Keys.EDDSA):
                found += await self._with_keys(address, keys, tls_1_3=True)
        eddsa = await self._first_flight(address, cipher_suites.ECDHE_ECDSA, EDDSA)
        if isinstance(eddsa, Flight) and eddsa.certificates:
            found.append(handshakes.read_certificates(eddsa.certificates, address))

    async def _with_keys(
        self, address: Address, keys: certificates.Keys, *, tls_1_3: bool = False
    ) -> list[certificates.Served]:
        """The chain for this kind of key, if there is one. Raises ProbeError where a closed connection may have other reasons."""
        for pause in timedelta(0), _CLOSED_PAUSE:
            try:
                return [await self._handshake(address, keys, pause, tls_1_3=tls_1_3)]
            except handshakes.NotServed as refusal:
                if refusal.explicit:
                    return []
            except ProbeError as error:
                if not tls_1_3 or error.reason is not Reason.MALFORMED:
                    raise
                return []  # it chose an older version, which was not offered
        # Closed twice: then it must still show what it showed before, or it is in trouble.
        return [await self._handshake(address, pause=_CLOSED_PAUSE)]

    async def _handshake(
        self,
        address: Address,
        keys: certificates.Keys = certificates.Keys.ANY,
        pause: timedelta = timedelta(0),
        *,
        tls_1_3: bool = False,
    ) -> certificates.Served:
        name, starttls = self.target.expected_name, self.target.starttls
        async with self._turn(address):
            await asyncio.sleep(pause.total_seconds())
            return await handshakes.handshake(
                address, name, timeout=self._timeout, keys=keys, tls_1_3=tls_1_3, starttls=starttls
            )

    async def _first_flight(
        self, address: Address, suites: Iterable[int], signatures: str = ALL_SIGNATURES
    ) -> Flight | Refused:
        """What the server says in clear to these suites and signatures; what was closed without an alert is asked again."""
        answer: Flight | Refused = Refused(None)
        for pause in timedelta(0), _CLOSED_PAUSE:
            async with self._turn(address):
                await asyncio.sleep(pause.total_seconds())
                answer = await first_flight(
                    address,
                    Version.TLS_1_2,
                    suites,
                    server_name=self.target.expected_name,
                    timeout=self._timeout,
                    signatures=signatures,
                    starttls=self.target.starttls,
                )
            if isinstance(answer, Flight) or answer.explicit:
                break
        return answer

    @fetched
    async def stapled(self) -> Seen[certificates.Presented]:
        """As `served`, after further handshakes where a staple was missing."""
        served = await self.served()

        async def ask(address: Address) -> certificates.Presented:
            presented = served[address]
            if isinstance(presented, ProbeError):
                raise presented
            for _ in range(STAPLE_TRIES - 1):
                if not any(lacks_staple(one) for one in presented.chains):
                    break
                await asyncio.sleep(_STAPLE_PAUSE.total_seconds())
                presented = await self._certificates(address)
            return presented

        return await self._at_each_address(ask)

    @fetched
    async def versions(self) -> Seen[Mapping[Version, Answer | ProbeError]]:
        """What each address answers to each version of the protocol."""
        return await self._at_each_address(self._versions)

    async def _versions(self, address: Address) -> Mapping[Version, Answer | ProbeError]:
        answers = await self._offers(address, {version: (version, suites_for(version)) for version in MODERN})
        if all(isinstance(answer, ProbeError) for answer in answers.values()):
            raise next(answer for answer in answers.values() if isinstance(answer, ProbeError))
        legacy = {version: (version, suites_for(version)) for version in LEGACY}
        return answers | await self._confirmed(address, legacy, answers, often=True)

    @fetched
    async def weak_suites(self) -> Seen[WeakSuites]:
        """What each address answers to each family of weak suites, in each version that it speaks, and its DH group."""
        versions = await self.versions()

        async def ask(address: Address) -> WeakSuites:
            answers = versions[address]
            if isinstance(answers, ProbeError):
                raise answers
            spoken = {answer.version for answer in answers.values() if isinstance(answer, Accepted)}
            if not spoken:
                raise ProbeError(
                    f"{address} agreed to no version of TLS, so its cipher suites could not be checked.", Reason.REFUSED
                )
            # TLS 1.2 may have been refused as a whole and a weak suite alone be accepted: servers have their own order.
            spoken.add(Version.TLS_1_2)
            offers = {
                (version, family): (version, offered)
                for version in sorted(spoken)
                for family, suites in self.target.tls_policy.families.items()
                if (offered := tuple(suite for suite in suites if suite in suites_for(version)))
            }
            unseen = {(version, ""): answer for version, answer in answers.items() if isinstance(answer, ProbeError)}
            found = await self._confirmed(address, offers, answers) | unseen
            if not any(isinstance(answer, Accepted) for answer in found.values()):
                found |= await self._weak_elsewhere(address, spoken)
            try:
                group = await self._first_flight(address, cipher_suites.DHE)
            except ProbeError as error:
                return WeakSuites(found | {(Version.TLS_1_2, "DHE"): error}, None)
            return WeakSuites(found, group.dh_bits if isinstance(group, Flight) else None)

        return await self._at_each_address(ask)

    async def _weak_elsewhere(
        self, address: Address, versions: Iterable[Version]
    ) -> Mapping[tuple[Version, str], Answer | ProbeError]:
        """The weak suites that one of several backends accepts: all families together are offered in as many `looks`."""
        families = self.target.tls_policy.families
        for version in sorted(versions):
            every = tuple(
                sorted({suite for suites in families.values() for suite in suites} & set(suites_for(version)))
            )
            for start in range(0, len(every), _TOGETHER):
                answer = await self._offer_often(address, version, every[start : start + _TOGETHER])
                if isinstance(answer, Accepted):
                    family = next(name for name, suites in families.items() if answer.suite in suites)
                    return {(version, family): answer}
        return {}

    async def _offers(
        self, address: Address, offers: Mapping[T, tuple[Version, tuple[int, ...]]], *, often: bool = False
    ) -> dict[T, Answer | ProbeError]:
        """What an address answers to each offer, one after the other; `often`: in as many `looks`."""
        ask = self._offer_often if often else self._offer
        return {key: await ask(address, version, suites) for key, (version, suites) in offers.items()}

    async def _offer_often(self, address: Address, version: Version, suites: Iterable[int]) -> Answer | ProbeError:
        """What an address answers to an offer in several looks: that it accepts, in any, else the least certain answer."""
        suites = tuple(suites)
        least: Answer | ProbeError | None = None
        for _ in range(self.target.looks):
            answer = await self._offer(address, version, suites)
            if isinstance(answer, Accepted) or (isinstance(answer, ProbeError) and answer.reason is Reason.TIMEOUT):
                return answer  # a server that leaves one hello unanswered leaves the next one, too
            if least is None or isinstance(answer, ProbeError) or (_is_doubtful(answer) and isinstance(least, Refused)):
                least = answer
        assert least is not None, "there is at least one look"
        return least

    async def _offer(
        self, address: Address, version: Version, suites: Iterable[int], pause: timedelta = timedelta(0)
    ) -> Answer | ProbeError:
        """What an address answers to an offer; before it, nothing connects to the address for as long as `pause` says."""
        name, starttls = self.target.expected_name, self.target.starttls
        try:
            async with self._turn(address):
                await asyncio.sleep(pause.total_seconds())
                return await offer(address, version, suites, server_name=name, timeout=self._timeout, starttls=starttls)
        except NotOffered:
            raise
        except ProbeError as why:
            return why

    async def _confirmed(
        self,
        address: Address,
        offers: Mapping[T, tuple[Version, tuple[int, ...]]],
        versions: Mapping[Version, Answer | ProbeError],
        *,
        often: bool = False,
    ) -> dict[T, Answer | ProbeError]:
        """What an address answers to each offer, where closing the connection counts as a refusal only if it is certain.

        A server that is about to die, or that limits how often or from how many connections it is asked, closes connections, too.
        So what was closed is offered twice more, when the server has had time to forget the connection before. Then, in the same
        way, it is offered what it accepted before: that it must still accept.
        """
        answers = await self._offers(address, offers, often=often)
        accepted = [version for version, answer in versions.items() if isinstance(answer, Accepted)]
        if not accepted:
            return answers
        known = max(accepted)
        for key in [key for key, answer in answers.items() if _is_doubtful(answer)]:
            for pause in _CLOSED_PAUSE, 2 * _CLOSED_PAUSE:
                if not _is_doubtful(again := await self._offer(address, *offers[key], pause)):
                    break
            else:
                control = await self._offer(address, known, suites_for(known), _CLOSED_PAUSE)
                if not isinstance(control, Accepted):
                    again = ProbeError(
                        f"{address} no longer accepts what it accepted before, so what it refused meanwhile proves nothing.",
                        Reason.REFUSED,
                    )
            answers[key] = again
        return answers

    @fetched
    async def pages(self) -> Seen[tuple[Pages, ...]]:
        """What each address answers to a browser, in several looks: one backend of many may differ."""

        async def ask(address: Address) -> tuple[Pages, ...]:
            return tuple([await self._pages(address) for _ in range(self.target.looks)])

        return await self._at_each_address(ask)

    async def _pages(self, address: Address) -> Pages:
        nowhere = f"/checklist-exporter-{secrets.token_hex(8)}"
        async with self._turn(address):
            first, missing = await self._get(f"https://{address}", self.target.port, 443, "/", nowhere)
            plain: tuple[Reply, ...] = ()
            if self.target.http_port:
                where = replace(address, sockaddr=(address.host, self.target.http_port, *address.sockaddr[2:]))
                plain = await self._get(f"http://{where}", self.target.http_port, 80, "/", nowhere)
        return Pages(first, missing, plain)

    async def _get(self, url: str, port: int, default_port: int, *paths: str) -> tuple[Reply, ...]:
        """The pages at these paths, over a connection that is closed again."""
        name = self.target.expected_name
        trust = Trust(ca_file=self.target.ca_file or handshakes.PUBLIC_ROOTS, server_name=name)
        host = f"[{name}]" if ":" in name else name
        headers = {"Host": Secret(host if port == default_port else f"{host}:{port}")}
        settings = HttpSettings(url=url, headers=headers, tls=trust, timeout=self.target.connection_timeout)
        async with Http(settings) as http:
            return tuple([await http.get(path, expect=None) for path in paths])

    @item("SSL certificates are valid and not expired", severity=CRITICAL, needs=("targets",))
    async def certificates_valid(self) -> Result:
        """A certificate that has expired, is for another name or is not trusted turns every client away at once.

        Every address of the endpoint is asked, by name (SNI), for its certificates: several times (`looks`), and in TLS 1.2 and 1.3
        for one of each kind of key (RSA, ECDSA, Ed25519). Each certificate up to the root must be valid now and for some time to
        come, and acceptable for TLS servers; the server's own must be for the name, and trusted; keys have at least 2048 bits (RSA)
        or 256 bits (on P-256, P-384, P-521, Ed25519 or Ed448) and no signature uses SHA-1 or MD5. Unless `https` is false, what
        Chrome or Firefox refuses is a warning.

        To fix it, renew the certificate, reload every replica, and have the renewal automated and its failures alerted.
        """
        roots, now = handshakes.roots(self.target.ca_file), self.context.now()
        return everywhere(
            await self.served(),
            lambda seen: judge_presented(seen, lambda chains: judge_certificates(self.target, chains, roots, now)),
        )

    @item("Certificate chain is complete", severity=CRITICAL, needs=("targets",))
    async def chain_complete(self) -> Result:
        """Browsers fetch or remember missing intermediate certificates; other clients fail, so the defect shows late and elsewhere.

        The certificates are taken as the server sent them and traced to a trusted root, with nothing else at hand: no bundle, no
        cache, no download. Certificates that are sent without being needed, the root too, are a warning: they cost every handshake.
        The cross-signed form of a root is needed by older clients.

        To fix it, configure the certificate with its intermediates (often named fullchain.pem).
        """
        roots = handshakes.roots(self.target.ca_file)
        return everywhere(
            await self.served(),
            lambda seen: judge_presented(seen, lambda chains: judge_chains(self.target, chains, roots)),
        )

    @item("TLS 1.2+ is enforced (TLS 1.0/1.1 disabled)", severity=CRITICAL, needs=("targets",))
    async def tls_1_2_enforced(self) -> Result:
        """Versions before TLS 1.2 are broken and deprecated (RFC 8996); whoever still accepts them can be forced to use them.

        SSL 3, TLS 1.0 and TLS 1.1 are offered one by one, in several `looks`, with every cipher suite they had; the server must
        refuse, with an alert or by closing the connection, and must agree to TLS 1.2 or 1.3 when asked in the same way.

        To fix it, set the lowest version (nginx: ssl_protocols TLSv1.2 TLSv1.3).
        """
        return everywhere(await self.versions(), lambda answers: judge_versions(self.target, answers))

    @item("Strong cipher suites are configured", severity=WARNING, needs=("targets",))
    async def strong_ciphers_configured(self) -> Result:
        """A weak cipher suite that a server accepts can be read, forged or forced upon others.

        Each family of weak suites is offered alone, in each version that the server speaks, and must be refused: NULL, anonymous,
        EXPORT, RC4, DES and 3DES; with `tls_policy: strict` also RSA key exchange and CBC with SHA-1. Then all are offered together
        in several `looks`. A Diffie-Hellman group of less than 2048 bits is a warning, one of less than 1024 bits fails.

        To fix it, use the intermediate configuration that Mozilla publishes for your server.
        """
        return everywhere(await self.weak_suites(), lambda weak: judge_suites(self.target, weak.answers, weak.dh_bits))

    @item("HSTS headers are configured", severity=WARNING, needs=("targets",))
    async def hsts_configured(self) -> Result:
        """Without Strict-Transport-Security (RFC 6797) the first request of a browser may go, and stay, unencrypted.

        The header is read over https, as browsers do, in several `looks` on the first page and on one that does not exist; with
        `http_port` the plain port must redirect both to https. A target with `https: false` is declared to serve no browsers.

        To fix it, send it on every reply (nginx: add_header … always).
        """
        if not self.target.serves_https:
            declared = f"starttls: {self.target.starttls}" if self.target.starttls else "https: false"
            return ok(
                f"{self.target.endpoint} is declared not to serve HTTP ({declared}), so HSTS has no meaning for it."
            )
        return everywhere(await self.pages(), lambda looks: judge_hsts(self.target, looks))

    @item("OCSP stapling is enabled", severity=INFO, needs=("targets",))
    async def ocsp_stapling_enabled(self) -> Result:
        """A stapled OCSP response shows clients that the certificate is not revoked; few ask the responder themselves.

        The staple must be there in at most three handshakes (some servers fetch it only after the first), be about this
        certificate, signed by its issuer or a responder that the issuer authorised, say GOOD and be valid now; with less than a
        tenth of its validity left it is a warning. A certificate that names no responder has nothing to staple, unless it demands
        it (must-staple).

        To fix it, turn stapling on (nginx: ssl_stapling on, with a resolver) and let the server reach the responder.
        """
        roots, now = handshakes.roots(self.target.ca_file), self.context.now()
        return everywhere(
            await self.stapled(),
            lambda seen: judge_presented(seen, lambda chains: judge_staples(self.target, chains, roots, now)),
        )


def _is_doubtful(answer: Answer | ProbeError) -> bool:
    return isinstance(answer, Refused) and not answer.explicit


def _seen(answer: T | BaseException) -> T | ProbeError:
    """What a look gave, when that is something to judge; anything unforeseen is raised."""
    if isinstance(answer, BaseException) and not isinstance(answer, ProbeError):
        raise answer
    return answer
