"""What evidence records are worth: whether the newest one for an item is valid now, in this environment, for this release.

Nothing passes without having been observed: an expired, future, contradicted, unsigned or altered record fails, and what could not
be checked (a link behind a login, an unreadable file) is unknown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from exporter.evidence.errors import BadSignature, Refuted
from exporter.evidence.links import Links, MustContain
from exporter.evidence.objects import Buckets, Objects
from exporter.evidence.people import names_nobody, role_named, same_person
from exporter.evidence.records import Link, Record, RecordFile, end_of, start_of
from exporter.evidence.rules import EvidenceRule
from exporter.evidence.signatures import SigningPolicy
from exporter.evidence.store import MAX_ARTIFACT, Known, Store
from exporter.http import HttpSettings
from exporter.verdict import ProbeError, Reason, Result, Status, failed, ok, unknown, warning, worst
from exporter.words import counted, format_length, listed

__all__ = ["Evidence", "EvidenceRule", "MustContain", "Record", "Refuted", "is_future", "standing"]

_ZONES = timedelta(hours=14)  # a date is over that much earlier in the first time zone
_SKEW = timedelta(minutes=5)  # clocks of those who attest may be off by that much
_MOST_PATIENCE = 60.0  # seconds that reading the folder may take before what was known of it counts no more


class Evidence:
    """The records in a folder of YAML files, and the pages and files that they point to.

    `now` gives the time (aware). `hosts` are the addresses below which links and artefacts may be opened, with their credentials,
    `s3` the buckets from which artefacts may be read: nothing else is ever asked. `allowed_signers` is an OpenSSH allowed_signers
    file whose principals are people and roles, `revoked_keys` a key revocation list or a file of public keys, `roles` are the roles
    that any line asks for.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        now: Callable[[], datetime],
        environment: str = "",
        release: str | None = None,
        expiring_within: timedelta = timedelta(days=14),
        hosts: Sequence[HttpSettings] = (),
        s3: Buckets | None = None,
        allowed_signers: Path | None = None,
        revoked_keys: Path | None = None,
        require_must_contain: MustContain = MustContain.AUTO,
        roles: Iterable[str] = (),
    ) -> None:
        self.folder = folder
        self.environment = environment
        self.release = release
        self.allowed_signers = allowed_signers
        self._policy = SigningPolicy(allowed_signers, revoked_keys) if allowed_signers is not None else None
        self._roles = frozenset(roles)
        self._now = now
        self._expiring_within = expiring_within
        self._links = Links(hosts, require_must_contain)
        self._objects = Objects(s3)
        self._store = Store(folder)
        self._draft: tuple[Record, Path | None] | None = None
        self.refresh()

    async def close(self) -> None:
        """Close every connection."""
        await self._store.close()
        await self._links.close()
        await self._objects.close()

    def refresh(self) -> bool:
        """Read files that came, changed or went since the last time; returns whether any did. Unchanged ones cost one stat.

        May be called in a thread, one at a time: what is being judged meanwhile is judged by what was known before.
        """
        return self._store.refresh()

    def draft(self, record: Record, content: bytes, signature: Path | None) -> None:
        """From now on judge as if `content` with this one record lay in the folder, with its signature at `signature`."""
        known, name = self._store.known, record.file
        files = {**known.files, name: (None, RecordFile((record,), (), content))}
        self._store.known = Known(None, Reason.UNOBSERVED, files)
        self._draft = (record, signature)

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be read, each `file:line:column: what is wrong`, or why the folder could not."""
        return self._store.known.problems if self.folder else ()

    def records(self, item: str | None = None) -> tuple[Record, ...]:
        """Every record, or those for one `section.item`, in order of file and line."""
        if item is not None:
            return tuple(self._store.known.records.get(item, ()))
        return tuple(record for records in self._store.known.records.values() for record in records)

    def without(self, items: Iterable[str]) -> tuple[str, ...]:
        """Those of these `section.item`s for which there is no record at all."""
        return tuple(item for item in items if not self.records(item))

    async def judge(self, section: str, item: str, rule: EvidenceRule, roles: Collection[str] = ()) -> Result:
        """The verdict on the evidence for an item: that of its newest record which is about this environment and release.

        `valid_until` is when it expires, `evidence` the record. A file that cannot be read and may be about the item leaves it
        unknown. `roles` are the names of roles, which are no people, besides those that are known.
        """
        name, known = f"{section}.{item}", self._store.known
        if known.trouble:
            return unknown(known.trouble, reason=known.reason)
        if (seconds := self._store.waiting) > _MOST_PATIENCE:
            return unknown(
                f"Evidence folder {self.folder} does not answer: it is being read for {seconds:.0f} s.",
                reason=Reason.TIMEOUT,
            )
        if unreadable := next((bad for bad in known.unreadable if bad.may_concern(name)), None):
            return unknown(f"Evidence for {name} cannot be read: {unreadable.problem}.", reason=Reason.MALFORMED)
        ranked = self._ranked(known.records.get(name, ()), rule)
        if not ranked and known.unreadable:
            return unknown(
                f"There is no evidence for {name} in what can be read, but {known.unreadable[0].problem}.",
                reason=Reason.MALFORMED,
            )
        if not ranked:
            return failed(f"There is no evidence for {name}.", reason=Reason.MISSING)
        result = await self.weigh(ranked[0], rule, known.content(ranked[0]), roles)
        if result.status.is_ok and rule.approvers > 1:
            result = await self._approved(result, ranked[1:], rule, known, roles)
        if result.status.is_ok and (ahead := [record for record in ranked[1:] if is_future(record, self._now())]):
            where = listed(f"{record.file}:{record.line}" for record in ahead)
            result = replace(result, summary=f"{result.summary} Not counted, dated in the future: {where}.")
        return result

    async def every(self, section: str, item: str, rule: EvidenceRule, roles: Collection[str] = ()) -> list[Result]:
        """The verdict on each record for an item that is about this environment and release, the newest first.

        What keeps any record from being read, and that there is none, is the one verdict instead, as `judge` gives it.
        """
        name, known = f"{section}.{item}", self._store.known
        applying = [record for record in self._ranked(known.records.get(name, ()), rule) if self._applies(record, rule)]
        first = await self.judge(section, item, replace(rule, approvers=1), roles)
        if not applying or not first.evidence:
            return [first]
        others = [await self.weigh(record, rule, known.content(record), roles) for record in applying[1:]]
        return [first, *others]

    async def weigh(self, record: Record, rule: EvidenceRule, content: bytes, roles: Collection[str] = ()) -> Result:
        """The verdict on one record, which was read from a file with this content: standing, signature, artefact and links."""
        held = result = standing(record, rule, self.environment, self.release, self._now(), self._expiring_within)
        if held.status.is_ok:
            try:
                record = await self._signed(record, rule, content, roles)
                result = worst(held, *await self._shown(record))
            except Refuted as refuted:
                result = failed(f"Evidence for {record.item} is not valid: {refuted}", reason=refuted.reason)
            except ProbeError as error:
                result = unknown(f"Evidence for {record.item} was not checked: {error}", reason=error.reason)
        return replace(result, valid_until=held.valid_until, evidence=(record,))

    def _ranked(self, records: Iterable[Record], rule: EvidenceRule) -> list[Record]:
        """The records, first that which counts: the newest that applies here; of one day's, one that says failed.

        One that is dated in the future counts only where it says failed, or where there is no other.
        """
        now = self._now()

        def rank(record: Record) -> tuple[bool, bool, datetime, bool]:
            denies = record.result == "failed"
            counts = denies or not is_future(record, now)
            if denies and not isinstance(record.on, datetime):
                return self._applies(record, rule), counts, end_of(record.on) - timedelta(microseconds=1), denies
            return self._applies(record, rule), counts, start_of(record.on), denies

        return sorted(records, key=rank, reverse=True)

    def _applies(self, record: Record, rule: EvidenceRule) -> bool:
        if not _is_here(record, self.environment):
            return False
        if record.result == "failed" and record.release is None:
            return True  # of every release
        return not rule.bound_to_release or self.release is None or record.release == self.release

    async def _approved(
        self, newest: Result, older: Iterable[Record], rule: EvidenceRule, known: Known, roles: Collection[str]
    ) -> Result:
        """Whether enough different people say the same, each in a valid record made since the last that said failed."""
        held = [newest]
        problems: list[Result] = []
        for record in older:
            if record.result == "failed" or not self._applies(record, rule):
                break
            result = await self.weigh(record, rule, known.content(record), roles)
            if not result.status.is_ok:
                problems.append(result)
            elif not any(same_person(result.evidence[0], other.evidence[0]) for other in held):
                held.append(result)
        if len(held) >= rule.approvers:
            # It is valid for as long as enough of them are.
            held.sort(key=lambda result: result.valid_until or _NEVER, reverse=True)
            return worst(*held[: rule.approvers])
        found = f"Evidence for {newest.evidence[0].item} has {len(held)} of {rule.approvers} approvals"
        people = listed(result.evidence[0].by for result in held)
        unseen = [problem for problem in problems if problem.status is Status.UNKNOWN]
        if len(held) + len(unseen) >= rule.approvers:
            return unseen[0]
        more = f" {problems[0].summary}" if problems else ""
        return replace(
            failed(f"{found}, by {people}; each takes another person's signed record.{more}", reason=Reason.MISSING),
            evidence=tuple(result.evidence[0] for result in held),
        )

    async def _signed(self, record: Record, rule: EvidenceRule, content: bytes, roles: Collection[str]) -> Record:
        """The record, with the key that signed its file, byte for byte as it was read, and all names of whose key it is.

        A signature that nobody asked for, but which is there or is named, must be right as well.
        """
        name = record.signature or f"{Path(record.file).name}.sig"
        if self._draft is not None and self._draft[0] is record and self._draft[1] is not None:
            signature, exists = self._draft[1], True
        else:
            signature, exists = await self._store.beside(record.file, name)
        if not rule.signed and record.signature is None and not exists:
            return record
        if self._policy is None:
            raise ProbeError(
                "evidence.allowed_signers is not configured, so its signature was not verified.", Reason.NOT_CONFIGURED
            )
        roles = {*self._roles, *roles, *self._store.known.roles, *filter(None, (rule.signed_by_role,))}
        if rule.signed and (role := role_named(record.by, roles)):
            raise BadSignature(
                f"{record.by} is the name of a role ({role}), expected the person as in allowed_signers."
            )
        key = await self._policy.signer(content, signature, record.by, end_of(record.on))
        if rule.signed_by_role is not None:
            await self._policy.signer(content, signature, rule.signed_by_role, end_of(record.on))
        signers = self._policy.signers()
        names = signers.names(key, roles)
        if rule.signed and signers.of(key) and record.by not in names:
            raise BadSignature(
                f"allowed_signers lists the key of {signature.name} for {record.by} by a pattern alone, expected the person."
            )
        return record.model_copy(update={"key": key, "names": names})

    async def _shown(self, record: Record) -> list[Result]:
        """What the record's links and artefact show; links that answer share one sentence."""
        if record.artifact is not None:
            await self.artifact(record)
        pages = await self._links.look(record.links, different=True)
        bad = [page for page in pages if not page.status.is_ok]
        return bad or [ok(f"Its {len(pages)} links answer." if len(pages) > 1 else page.summary) for page in pages[:1]]

    async def links(self, links: Iterable[Link]) -> list[Result]:
        """Whether each page answers with the document; a page that wants a login was not seen."""
        return await self._links.look(links)

    async def artifact(self, record: Record) -> bytes:
        """The record's artefact, whose hash is right.

        Raises Refuted when it is missing or another one, ProbeError when not seen.
        """
        artifact = record.artifact
        if artifact is None:
            raise Refuted("the record names no artifact.", Reason.MISSING)
        if artifact.url is not None:
            place = artifact.url
            content, is_login = await self.fetched(artifact.url)
        else:
            assert artifact.path is not None
            place, is_login = artifact.path, False
            content = await self._store.artifact(record.file, artifact.path)
        if (found := hashlib.sha256(content).hexdigest()) != artifact.sha256:
            if is_login:
                raise ProbeError(f"{place} answers with a login page, so the artifact was not checked.", Reason.DENIED)
            raise Refuted(f"{place} has the SHA-256 {found[:12]}…, the record says {artifact.sha256[:12]}….")
        if not content.strip():
            raise Refuted(f"{place} is empty.", Reason.MISSING)
        return content

    async def fetched(self, url: str) -> tuple[bytes, bool]:
        """The bytes at the address of an artefact, and whether they are a login page.

        Raises Refuted when there is nothing, ProbeError when they were not seen.
        """
        if url.startswith("s3://"):
            return await self._objects.content(url, MAX_ARTIFACT), False
        return await self._links.artifact(url, MAX_ARTIFACT)


def is_future(record: Record, now: datetime) -> bool:
    """Whether a record is dated later than clocks and time zones explain."""
    return start_of(record.on) > now + (_SKEW if isinstance(record.on, datetime) else _ZONES)


def _is_here(record: Record, environment: str) -> bool:
    return record.environment is None or record.environment.casefold() == environment.casefold()


def standing(
    record: Record,
    rule: EvidenceRule,
    environment: str,
    release: str | None,
    now: datetime,
    expiring_within: timedelta = timedelta(days=14),
) -> Result:
    """Whether a record is valid now, by what it says itself. Its signature, links and artefact are checked elsewhere."""
    about = f"Evidence for {record.item}"
    start = start_of(record.on)
    if not _is_here(record, environment):
        return failed(
            f"{about} is about the environment {record.environment}, this is {environment or 'unnamed'}.",
            reason=Reason.MISSING,
        )
    if record.result == "failed":
        return failed(
            f"{about} reports failed: {(record.note or f'{record.by} found so on {start:%Y-%m-%d}').rstrip('.')}."
        )
    if rule.bound_to_release and (record.release is None or record.release != release):
        return _for_another_release(record, rule, release)
    if (lacking := _lacking(record, rule)) is not None:
        return failed(f"{about} {lacking}.", reason=Reason.INVALID)
    if is_future(record, now):
        return failed(f"{about} is dated {start:%Y-%m-%d}, which is in the future.", reason=Reason.INVALID)
    expires = min(_later(start, rule.valid_for), end_of(record.valid_until) if record.valid_until else _NEVER)
    last = expires - timedelta(microseconds=1)
    if now >= expires:
        return failed(
            f"{about} expired {format_length(now - expires)} ago ({last:%Y-%m-%d}).",
            reason=Reason.EXPIRED,
            valid_until=expires,
        )
    said = f"{_did(record, rule)} on {start:%Y-%m-%d}"
    if expires - now < expiring_within:
        return warning(f"{said}; expires in {format_length(expires - now)} ({last:%Y-%m-%d}).", valid_until=expires)
    return ok(f"{said}, valid until {last:%Y-%m-%d}.", valid_until=expires)


def _did(record: Record, rule: EvidenceRule) -> str:
    return f"{record.by} {'signed' if rule.signed_by_role else 'attested'} {record.release or record.item}"


def _for_another_release(record: Record, rule: EvidenceRule, release: str | None) -> Result:
    if record.release is None:
        return failed(
            f"Evidence for {record.item} names no release, but it is valid for one release only.", reason=Reason.INVALID
        )
    if release is None:
        return unknown(
            f"{_did(record, rule)}, but which release is running is not configured.", reason=Reason.NOT_CONFIGURED
        )
    role = (rule.signed_by_role or "").replace("_", " ").capitalize().replace("Qa ", "QA ")
    return failed(
        f"{role} signed {record.release}, running {release}." if role else f"{_did(record, rule)}, running {release}.",
        reason=Reason.MISSING,
    )


def _lacking(record: Record, rule: EvidenceRule) -> str | None:
    """What the rule wants and the record does not have."""
    if names_nobody(record.by):
        return f"names nobody: by is {record.by}"
    if rule.signed_by_role not in (None, record.role):
        return f"is signed {f'as {record.role}' if record.role else 'without a role'} (wanted {rule.signed_by_role})"
    if (links := len({link.page for link in record.links})) < rule.links:
        return f"has {counted(links, 'link')} (at least {rule.links} wanted)"
    if missing := [name for name in rule.measured if name not in record.measured]:
        return f"does not measure {' and '.join(missing)}"
    if rule.window and record.window is None:
        return "names no window"
    return "names no artifact" if rule.artifact and record.artifact is None else None


_NEVER = datetime.max.replace(tzinfo=UTC)


def _later(moment: datetime, by: timedelta) -> datetime:
    return moment + by if by < _NEVER - moment else _NEVER
