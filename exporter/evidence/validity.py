"""What evidence records are worth: whether the newest one for an item holds now, in this environment, for this release.

Nothing passes without having been seen: an expired, future, contradicted, unsigned or altered record fails, and what could not be
looked at (a link behind a login, an unreadable file) is unknown.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from exporter.evidence.records import (
    PRINTABLE,
    Link,
    Record,
    RecordFile,
    Unreadable,
    end_of,
    read_records,
    record_files,
    start_of,
)
from exporter.evidence.signatures import BadSignature, verify
from exporter.http import Http, HttpSettings
from exporter.positioned_yaml import YamlError, read_bounded
from exporter.reply import Reply
from exporter.verdict import ProbeError, Result, failed, ok, unknown, unobserved, warning, worst

__all__ = ["Evidence", "EvidenceRule", "Record", "Refuted", "read_artifact", "standing"]

T = TypeVar("T")

log = logging.getLogger(__name__)

_ZONES = timedelta(hours=14)  # a date is over that much earlier in the first time zone
_SKEW = timedelta(minutes=5)  # clocks of those who attest may be off by that much
_REDIRECTS = (301, 302, 303, 307, 308)
_LOGIN = re.compile(r"/(?:log[-_]?[io]n|sign[-_]?[io]n|sso|saml2?|oauth2?|auth|authorize)(?:[/.]|$)", re.IGNORECASE)
_PASSWORD = re.compile(rb"<input\b[^<>]*\btype\s*=\s*[\"']?password\b", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>")
_CONNECTIONS = 4
_MOST_PATIENCE = 60.0  # seconds that reading the folder may take before what was known of it counts no more
_MAX_PAGE = 4 * 2**20
_MAX_ARTIFACT = 16 * 2**20


class Refuted(Exception):
    """An artefact or link is seen not to be what the record says. The item becomes `failed`."""


@dataclass(frozen=True, slots=True)
class EvidenceRule:
    """How evidence for an item is judged.

    `valid_for` is how long a record holds at most. With `signed_by_role` it takes a signature by a key that allowed_signers lists
    both for the person and for the role. With `bound_to_release` it holds for the running release alone. `links` is how many
    links it needs at least, `measured` the numbers; `artifact` whether it needs the document itself, `window` whether a period.
    """

    valid_for: timedelta
    signed_by_role: str | None = None
    bound_to_release: bool = False
    links: int = 0
    measured: tuple[str, ...] = ()
    artifact: bool = False
    window: bool = False


@dataclass(frozen=True)
class _Known:
    """What was read from a folder at one time: its files by name, each with the stamp by which a change is noticed."""

    trouble: str | None
    files: Mapping[str, tuple[object, RecordFile]]

    @cached_property
    def records(self) -> Mapping[str, Sequence[Record]]:
        """The records by the item that they are about."""
        found: dict[str, list[Record]] = {}
        for _, file in self.files.values():
            for record in file.records:
                found.setdefault(record.item, []).append(record)
        return found

    @cached_property
    def unreadable(self) -> tuple[Unreadable, ...]:
        """What could not be read."""
        return tuple(unreadable for _, file in self.files.values() for unreadable in file.unreadable)

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be read, or why nothing could, in words."""
        return (self.trouble,) if self.trouble else tuple(unreadable.problem for unreadable in self.unreadable)


class Evidence:
    """The records in a folder of YAML files, and the pages and files that they point to.

    `now` gives the time (aware). `hosts` are the addresses below which links and artefacts may be opened, with their credentials:
    nothing else is ever asked. `allowed_signers` is an OpenSSH allowed_signers file whose principals are people and roles.
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
        allowed_signers: Path | None = None,
    ) -> None:
        self.folder = folder
        self.environment = environment
        self.release = release
        self.allowed_signers = allowed_signers
        self._now = now
        self._expiring_within = expiring_within
        self._hosts = [Http(host, connections=_CONNECTIONS) for host in hosts]
        self._places = asyncio.Semaphore(_CONNECTIONS)  # a request's time must not pass while it waits for a connection
        self._calls: dict[tuple[Any, ...], asyncio.Task[Any]] = {}
        self._known = _Known("No evidence folder is configured.", {})
        self._reading_since: float | None = None
        self.refresh()

    async def close(self) -> None:
        """Let go of every connection."""
        calls = list(self._calls.values())
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, *(http.close() for http in self._hosts), return_exceptions=True)

    # Reading

    def refresh(self) -> bool:
        """Read files that came, changed or went since the last time; returns whether any did. Unchanged ones cost one stat.

        May be called in a thread, one at a time: what is being judged meanwhile is judged by what was known before.
        """
        if self.folder is None:
            return False
        before = self._known
        self._reading_since = time.monotonic()
        try:
            known = _Known(None, self._read(self.folder))
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            known = _Known(f"Evidence folder {self.folder} cannot be read: {why}.", before.files)
        finally:
            self._reading_since = None
        if (known.trouble, known.files) == (before.trouble, before.files):
            return False
        self._known = known
        for problem in known.problems:
            if problem not in before.problems:
                log.warning("Evidence cannot be read: %s", problem)
        return True

    def _read(self, folder: Path) -> dict[str, tuple[object, RecordFile]]:
        files = {}
        for path in record_files(folder):
            name = str(path.relative_to(folder))
            stamp = _stamp(path)
            known = self._known.files.get(name)
            files[name] = known if known and stamp and known[0] == stamp else (stamp, read_records(path, name))
        return files

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be read, each `file:line:column: what is wrong`, or why the folder could not."""
        return self._known.problems if self.folder else ()

    def records(self, item: str | None = None) -> tuple[Record, ...]:
        """Every record, or those for one `section.item`, in order of file and line."""
        if item is not None:
            return tuple(self._known.records.get(item, ()))
        return tuple(record for records in self._known.records.values() for record in records)

    # Judging

    async def judge(self, section: str, item: str, rule: EvidenceRule) -> Result:
        """The verdict on the evidence for an item: that of its newest record which is about this environment and release.

        `valid_until` is when it expires, `evidence` the record. A file that cannot be read and may be about the item leaves it
        unknown.
        """
        name, known = f"{section}.{item}", self._known
        if known.trouble:
            return unknown(known.trouble)
        since = self._reading_since
        if since is not None and (seconds := time.monotonic() - since) > _MOST_PATIENCE:
            return unknown(f"Evidence folder {self.folder} does not answer: it is being read for {seconds:.0f} s.")
        if unreadable := next((bad for bad in known.unreadable if bad.may_concern(name)), None):
            return unknown(f"Evidence for {name} cannot be read: {unreadable.problem}.")
        record = self._newest(known.records.get(name, ()), rule)
        if record is None and known.unreadable:
            return unknown(f"There is no evidence for {name} in what can be read, but {known.unreadable[0].problem}.")
        if record is None:
            return failed(f"There is no evidence for {name}.")
        held = result = standing(record, rule, self.environment, self.release, self._now(), self._expiring_within)
        if held.status.is_ok:
            try:
                record = await self._signed(record, rule, known.files[record.file][1].content)
                result = worst(held, *await self._shown(record))
            except (BadSignature, Refuted) as refuted:
                result = failed(f"Evidence for {name} does not hold: {refuted}")
            except ProbeError as cannot:
                result = unknown(f"Evidence for {name} was not seen: {cannot}")
        return replace(result, valid_until=held.valid_until, evidence=(record,))

    def _newest(self, records: Iterable[Record], rule: EvidenceRule) -> Record | None:
        """The newest record that applies here; of one day's, one that says failed. Where none applies, the newest of all."""

        def rank(record: Record) -> tuple[bool, datetime, bool]:
            applies = record.environment in (None, self.environment)
            if rule.bound_to_release and self.release is not None:
                applies = applies and record.release == self.release
            denies = record.result == "failed"
            if denies and not isinstance(record.on, datetime):
                return applies, end_of(record.on) - timedelta(microseconds=1), denies
            return applies, start_of(record.on), denies

        return max(records, key=rank, default=None)

    async def _signed(self, record: Record, rule: EvidenceRule, content: bytes) -> Record:
        """The record, with the key that signed its file, byte for byte as it was read.

        A signature that nobody asked for, but which is there or is named, must be right as well.
        """
        name = record.signature or f"{Path(record.file).name}.sig"
        signature, exists = await self._apart(self._beside, record.file, name)
        if rule.signed_by_role is None and record.signature is None and not exists:
            return record
        if self.allowed_signers is None:
            raise ProbeError("evidence.allowed_signers is not configured, so its signature was not verified.")
        key = await verify(content, signature, self.allowed_signers, record.by)
        if rule.signed_by_role is not None:
            await verify(content, signature, self.allowed_signers, rule.signed_by_role)
        return record.model_copy(update={"key": key})

    async def _apart(self, call: Callable[..., T], *args: Any) -> T:
        """Look at files in a thread. Where the file system hangs, whoever wants the same waits for the same call."""
        key = (call, *args)
        if (task := self._calls.get(key)) is None:

            def done(task: asyncio.Task[T]) -> None:
                del self._calls[key]
                task.cancelled() or task.exception()  # seen, also where nobody waits any more

            task = self._calls[key] = asyncio.create_task(asyncio.to_thread(call, *args))
            task.add_done_callback(done)
        try:
            return cast("T", await asyncio.shield(task))
        except asyncio.CancelledError:
            if task.cancelled() and not cast("asyncio.Task[Any]", asyncio.current_task()).cancelling():
                raise ProbeError("The evidence was closed while it was read.") from None
            raise

    def _beside(self, file: str, path: str) -> tuple[Path, bool]:
        """A file that the record in `file` names, relative to it, and whether it exists.

        Raises Refuted for one outside the evidence folder.
        """
        assert self.folder is not None
        found = (self.folder / file).parent / path
        try:
            inside, exists = found.resolve().is_relative_to(self.folder.resolve()), found.exists()
        except (OSError, RuntimeError):  # a loop of symbolic links, a folder that may not be looked into
            raise ProbeError(f"{path} cannot be followed.") from None
        if not inside:
            raise Refuted(f"{path} is outside the evidence folder.")
        return found, exists

    async def _shown(self, record: Record) -> list[Result]:
        """What the record's links and artefact show; links that answer share one sentence."""
        if record.artifact is not None:
            await self.artifact(record)
        pages = await self.links(record.links)
        bad = [page for page in pages if not page.status.is_ok]
        return bad or [ok(f"Its {len(pages)} links answer." if len(pages) > 1 else page.summary) for page in pages[:1]]

    # Links and artefacts

    async def links(self, links: Iterable[Link]) -> list[Result]:
        """Whether each page answers with the document; a page that wants a login was not seen."""
        pages = {(link.page, link.must_contain): None for link in links}
        return list(await asyncio.gather(*(self._link(url, text) for url, text in pages)))

    async def _link(self, url: str, must_contain: str | None) -> Result:
        try:
            page = await self._open(url, _MAX_PAGE)
        except Refuted as refuted:
            return failed(str(refuted))
        except ProbeError as cannot:
            return unobserved(cannot)
        login = asks_for_password(page)
        # A login page repeats in its fields which page was asked for: there only what can be read on it counts.
        if must_contain is not None and must_contain in (_TAG.sub("", page.text) if login else page.text):
            return ok(f"{url} answers and contains {must_contain!r}.")
        if login:
            return unknown(f"{url} answers with a login page, so the document was not seen.")
        if must_contain is not None:
            return failed(f"{url} does not contain {must_contain!r}.")
        if not page.body.strip():
            return failed(f"{url} is an empty page.")
        return ok(f"{url} answers.")

    async def artifact(self, record: Record) -> bytes:
        """The record's artefact, whose hash is right.

        Raises Refuted when it is missing or another one, ProbeError when not seen.
        """
        artifact = record.artifact
        if artifact is None:
            raise Refuted("the record names no artifact.")
        if artifact.url is not None:
            place, page = artifact.url, await self._open(artifact.url, _MAX_ARTIFACT)
            content = page.body
        else:
            assert artifact.path is not None
            place, page = artifact.path, None
            content = await self._apart(self._read_artifact, record.file, artifact.path)
        if (found := hashlib.sha256(content).hexdigest()) != artifact.sha256:
            if page is not None and asks_for_password(page):
                raise ProbeError(f"{place} answers with a login page, so the artifact was not seen.")
            raise Refuted(f"{place} has the SHA-256 {found[:12]}…, the record says {artifact.sha256[:12]}….")
        return content

    def _read_artifact(self, file: str, path: str) -> bytes:
        found, _ = self._beside(file, path)
        return read_artifact(found, path)

    async def _open(self, url: str, limit: int) -> Reply:
        """GET a page below one of the hosts, following redirects there alone; raises Refuted when it does not exist."""
        asked = url
        for _ in range(4):
            http, path = self._below(url)
            async with self._places:
                reply = await http.get(path, expect=None, max_bytes=limit)
            if reply.status not in _REDIRECTS or "location" not in reply.headers:
                break
            url = _redirected(url, reply.headers["location"])
            if _LOGIN.search(urlsplit(url).path):
                raise ProbeError(f"{asked} redirects to a login page, so the document was not seen.")
        else:
            raise ProbeError(f"{asked} was redirected more than three times.")
        if reply.status in (404, 410):
            raise Refuted(f"{asked} does not exist ({reply.status}).")
        if reply.status != 200:
            raise ProbeError(f"{asked} answered {reply.status} (expected 200), so the document was not seen.")
        return reply

    def _below(self, url: str) -> tuple[Http, str]:
        """The connections for an address, and the path below their base."""
        for http in self._hosts:
            path = url.removeprefix(http.settings.url)
            if path != url and PRINTABLE.fullmatch(path) and path[:1] in ("", "/", "?") and not _climbs(path):
                return http, path
        raise ProbeError(f"{url} is not below any of evidence.hosts, so it was not opened.")


def standing(
    record: Record,
    rule: EvidenceRule,
    environment: str,
    release: str | None,
    now: datetime,
    expiring_within: timedelta = timedelta(days=14),
) -> Result:
    """Whether a record holds now, by what it says itself. Its signature, links and artefact are looked at elsewhere."""
    about = f"Evidence for {record.item}"
    start = start_of(record.on)
    if record.result == "failed":
        return failed(
            f"{about} says failed: {(record.note or f'{record.by} found so on {start:%Y-%m-%d}').rstrip('.')}."
        )
    if record.environment not in (None, environment):
        return failed(f"{about} is about the environment {record.environment}, this is {environment or 'unnamed'}.")
    if rule.bound_to_release and (record.release is None or record.release != release):
        return _for_another_release(record, rule, release)
    if (lacking := _lacking(record, rule)) is not None:
        return failed(f"{about} {lacking}.")
    if start > now + (_SKEW if isinstance(record.on, datetime) else _ZONES):
        return failed(f"{about} is dated {start:%Y-%m-%d}, which is in the future.")
    expires = min(_later(start, rule.valid_for), end_of(record.valid_until) if record.valid_until else _NEVER)
    last = expires - timedelta(microseconds=1)
    if now >= expires:
        return failed(f"{about} expired {age(now - expires)} ago ({last:%Y-%m-%d}).", valid_until=expires)
    said = f"{_did(record, rule)} on {start:%Y-%m-%d}"
    if expires - now < expiring_within:
        return warning(f"{said}; expires in {age(expires - now)} ({last:%Y-%m-%d}).", valid_until=expires)
    return ok(f"{said}, valid until {last:%Y-%m-%d}.", valid_until=expires)


def _did(record: Record, rule: EvidenceRule) -> str:
    return f"{record.by} {'signed' if rule.signed_by_role else 'attested'} {record.release or record.item}"


def _for_another_release(record: Record, rule: EvidenceRule, release: str | None) -> Result:
    if record.release is None:
        return failed(f"Evidence for {record.item} names no release, but it holds for one release only.")
    if release is None:
        return unknown(f"{_did(record, rule)}, but which release is running is not configured.")
    role = (rule.signed_by_role or "").replace("_", " ").capitalize().replace("Qa ", "QA ")
    return failed(
        f"{role} signed {record.release}, running {release}." if role else f"{_did(record, rule)}, running {release}."
    )


def _lacking(record: Record, rule: EvidenceRule) -> str | None:
    """What the rule wants and the record does not have."""
    if rule.signed_by_role not in (None, record.role):
        return f"is signed {f'as {record.role}' if record.role else 'without a role'} (wanted {rule.signed_by_role})"
    if (links := len({link.page for link in record.links})) < rule.links:
        return f"has {links} links (at least {rule.links} wanted)"
    if missing := [name for name in rule.measured if name not in record.measured]:
        return f"does not measure {' and '.join(missing)}"
    if rule.window and record.window is None:
        return "names no window"
    return "names no artifact" if rule.artifact and record.artifact is None else None


_NEVER = datetime.max.replace(tzinfo=UTC)


def _later(moment: datetime, by: timedelta) -> datetime:
    return moment + by if by < _NEVER - moment else _NEVER


def age(length: timedelta) -> str:
    """A length of time in its largest whole unit: `12 days`, `1 hour`."""
    seconds = max(0, int(length.total_seconds()))
    unit, size = next(((unit, size) for unit, size in _AGES if seconds >= size), ("second", 1))
    count = seconds // size
    return f"{count} {unit}{'' if count == 1 else 's'}"


_AGES = (("day", 86_400), ("hour", 3600), ("minute", 60))


def _climbs(path: str) -> bool:
    """Whether a server may take a path for one above it: encoded dots and backslashes count to some."""
    return ".." in re.split(r"[/\\]", unquote(re.split(r"[?#]", path, maxsplit=1)[0]))


def _redirected(url: str, location: str) -> str:
    try:
        return urldefrag(urljoin(url, location)).url
    except ValueError:
        raise ProbeError(f"{url} redirects to an address that is none.") from None


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None  # gone meanwhile: reading it says so
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def read_artifact(path: Path, name: str) -> bytes:
    """The bytes of a file that is called `name`. Raises Refuted when there is none, ProbeError when they cannot be read."""
    if path.exists() and not path.is_file():
        raise Refuted(f"{name} is no regular file.")
    try:
        return read_bounded(path, _MAX_ARTIFACT)
    except FileNotFoundError:
        raise Refuted(f"{name} does not exist.") from None
    except OSError as error:
        raise ProbeError(f"{name} cannot be read: {error.strerror}.") from None
    except YamlError as error:
        raise ProbeError(f"{name}: {error.problem}.") from None


def asks_for_password(reply: Reply) -> bool:
    """Whether a reply is an HTML page with a password field: a login page, whatever its status and address."""
    return "html" in reply.headers.get("content-type", "html") and _PASSWORD.search(reply.body) is not None
