"""Writing evidence: a record that is complete, valid, signed when asked, and never written over another one."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from exporter.evidence.errors import Refuted
from exporter.evidence.records import Record, parse_records
from exporter.evidence.rules import ReportReader
from exporter.evidence.signatures import sign, verify
from exporter.evidence.store import read_artifact
from exporter.evidence.validity import Evidence, EvidenceRule, is_future, standing
from exporter.positioned_yaml import YamlError, load_yaml
from exporter.verdict import ProbeError, Result, Status
from exporter.words import listed

__all__ = ["Attested", "NotAttested", "Situation", "attest", "reported"]


_SAID = {"result": "passed or failed", "by": "who attests it, as in allowed_signers when signed"}
"""The keys that every record has, and what is wanted of their values."""


class NotAttested(Exception):
    """No record was written."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What the configuration says about evidence: where it lies, and what it is judged against.

    `evidence` is what the daemon would judge by; a record that would not pass there is not written. `line` then gives the verdict
    on the line itself, with that evidence.
    """

    folder: Path
    now: datetime
    environment: str = ""
    release: str | None = None
    allowed_signers: Path | None = None
    evidence: Evidence | None = None
    line: Callable[[Evidence], Awaitable[Result]] | None = None


@dataclass(frozen=True, slots=True)
class Attested:
    """A record that was written: its file, its signature if it has one, and the verdict on it."""

    path: Path
    signature: Path | None
    record: Record
    standing: Result


Ask = Callable[[str, str], str]
"""Asks a person for the value of a key; the second argument says what is wanted. An empty answer leaves it out."""


async def attest(
    situation: Situation,
    item: str,
    rule: EvidenceRule,
    given: Mapping[str, Any],
    *,
    ask: Ask | None = None,
    key: Path | None = None,
    file: str | None = None,
    force: bool = False,
) -> Attested:
    """Write a record for `item` (`section.item`), judged by `rule`, into the evidence folder.

    `given` are keys of a record and their values (None is left out); `artifact` may be just a path in the folder, or an address
    that the evidence may open, whose hash is then taken. What `rule` wants and `given` lacks is asked for with `ask`, or raises
    NotAttested without it; a record that says failed lacks nothing but who found it. `key` is the OpenSSH private key to sign
    with. `file` is the name below the folder, `<item>.<date>.yaml` by default.

    Raises NotAttested, with nothing written, also when the file exists, the record is not valid, its signature would not be
    accepted, or, unless `force`, when it would not pass: by the code that the daemon judges with.
    """
    given = {name: value for name, value in given.items() if value is not None}
    fetched: dict[str, bytes] = {}
    if isinstance(artifact := given.get("artifact"), str):
        fetched[artifact] = await _content(situation, (situation.folder / (file or item)).parent, artifact)
        if rule.reads is not None:
            given = _reported(given, artifact, fetched[artifact], rule.reads, ask)
    written: dict[str, Any] = {"item": item} | _completed(given, situation, rule, ask)
    path = situation.folder / (file or f"{item}.{str(written['on'])[:10]}.yaml")
    if not _inside(path, situation.folder) or path.suffix not in (".yaml", ".yml") or _hidden(path, situation.folder):
        raise NotAttested(f"{path.name} is not a .yaml file in the evidence folder, or is hidden.")
    if path.exists():
        raise NotAttested(f"{path} exists already and was left as it is; choose another file.")
    if isinstance(artifact := written.get("artifact"), str):
        if artifact not in fetched:  # it was asked for
            fetched[artifact] = await _content(situation, path.parent, artifact)
        place = {"url" if _is_address(artifact) else "path": artifact}
        written["artifact"] = place | {"sha256": hashlib.sha256(fetched[artifact]).hexdigest()}
    name = str(path.resolve().relative_to(situation.folder.resolve()))
    record, content = _record(written, path.name)
    record = record.model_copy(update={"file": name})
    if rule.signed and key is None:
        raise NotAttested(f"Evidence for {item} must be signed: give the private key with --key.")

    async def judged(signature: Path | None) -> Result:
        verdict = await _verdict(situation, record, content, rule, signature)
        if not force and (why := _refusal(situation, record, rule, verdict)) is not None:
            raise NotAttested(f"Not written, since it would not pass: {why}")
        return verdict

    try:
        signature, verdict = await _write(path, content, record, rule, key, situation.allowed_signers, judged)
    except OSError as error:
        raise NotAttested(f"{path} was not written: {error.strerror}.") from None
    return Attested(path, signature, record, verdict)


async def _verdict(
    situation: Situation, record: Record, content: bytes, rule: EvidenceRule, signature: Path | None
) -> Result:
    """The daemon's verdict on the record, and where that passes, on the line."""
    if (evidence := situation.evidence) is None:
        return standing(record, rule, situation.environment, situation.release, situation.now)
    evidence.draft(record, content, signature)
    verdict = await evidence.weigh(record, rule, content)
    if not verdict.status.is_ok or situation.line is None:
        return verdict
    line = await situation.line(evidence)
    return line if any(shown.file == record.file for shown in line.evidence) else verdict


def _refusal(situation: Situation, record: Record, rule: EvidenceRule, verdict: Result) -> str | None:
    """Why a record is not to be written; one that says failed need not pass."""
    if is_future(record, situation.now):
        return f"it is dated {record.on}, which is in the future."
    if record.result == "failed" or verdict.status.is_ok:
        return None
    if verdict.status is Status.UNKNOWN and situation.evidence is None:
        return None
    return verdict.summary


def _completed(given: Mapping[str, Any], situation: Situation, rule: EvidenceRule, ask: Ask | None) -> dict[str, Any]:
    """What is written: what is given, what the situation says, and what had to be asked for."""

    def needed(name: str, wanted: str) -> str:
        if ask is None or not (answer := ask(name, wanted).strip()):
            raise NotAttested(f"{name} is missing: {wanted}.")
        return answer

    written = dict(given)
    written.setdefault("on", f"{situation.now:%Y-%m-%dT%H:%M:%SZ}")
    if situation.environment:
        written.setdefault("environment", situation.environment)
    if situation.release is not None and rule.bound_to_release:
        written.setdefault("release", situation.release)
    if rule.signed_by_role is not None:
        written.setdefault("role", rule.signed_by_role)
    for name, wanted in _SAID.items():
        written[name] = written.get(name) or needed(name, wanted)
    if written["result"] == "failed":  # counts whatever else it says
        return written
    for name, wanted in _texts(rule):
        written[name] = written.get(name) or needed(name, wanted)
    if rule.window and "window" not in written:
        written["window"] = {
            "start": needed("window.start", "when the period begins, a date or a time with its offset"),
            "end": needed("window.end", "when it ends; a date counts to the end of the day"),
        }
    measured = dict(written.get("measured", {}))
    for name in rule.measured:
        measured[name] = measured[name] if name in measured else _number(name, needed(f"measured.{name}", "a number"))
    links = list(written.get("links", ()))
    while len(links) < rule.links:
        links.append(needed("links", f"address of a page that shows it ({len(links) + 1} of {rule.links})"))
    return written | ({"measured": measured} if measured else {}) | ({"links": links} if links else {})


def _is_address(artifact: str) -> bool:
    return artifact.startswith(("http://", "https://", "s3://"))


async def _content(situation: Situation, folder: Path, artifact: str) -> bytes:
    """The bytes of an artifact: of a file, or of an address that the evidence may open."""
    try:
        if not _is_address(artifact):
            if not _inside(folder / artifact, situation.folder):
                raise NotAttested(f"Artifact {artifact} is not in the evidence folder.")
            return read_artifact(folder / artifact, artifact)
        if situation.evidence is None:
            raise NotAttested(f"Artifact {artifact} was not opened: there is no configuration that allows it.")
        content, is_login = await situation.evidence.fetched(artifact)
    except (Refuted, ProbeError) as error:
        raise NotAttested(f"Artifact {error}") from None
    if is_login:
        raise NotAttested(f"Artifact {artifact} answers with a login page.")
    return content


def reported(name: str, value: str) -> str | int:
    """The value of a key of `report` as records have it: some keys are numbers."""
    is_number = name in ("exit_code", "examined") and value.isascii() and value.isdigit()
    return int(value) if is_number else value


def _reported(
    given: Mapping[str, Any], artifact: str, content: bytes, reads: ReportReader, ask: Ask | None
) -> dict[str, Any]:
    """What is given, with what the report says itself: its numbers and when it ended. What it lacks is asked for."""
    try:
        summary = reads(content)
    except ProbeError as error:
        raise NotAttested(f"Artifact {artifact}: {error}") from None
    said = dict(given.get("report", {}))
    needed = () if given.get("result") == "failed" else summary.lacks
    if (lacking := [name for name in needed if name not in said]) and ask is None:
        raise NotAttested(
            f"The {summary.format} report does not say its {listed(lacking)}: give "
            f"{' '.join(f'--report {name}=…' for name in lacking)}."
        )
    for name in lacking:
        if ask is not None and (answer := ask(f"report.{name}", f"which the {summary.format} report lacks").strip()):
            said[name] = reported(name, answer)
    filled = dict(given) | {"measured": {**summary.measured, **given.get("measured", {})}}
    if "on" not in given and (ended := summary.finished):
        filled["on"] = f"{ended:%Y-%m-%dT%H:%M:%SZ}"
    return filled | ({"report": said} if said else {})


def _texts(rule: EvidenceRule) -> Iterator[tuple[str, str]]:
    """The further keys whose values are texts that a record that passes cannot leave out, and what is wanted of them."""
    if rule.bound_to_release:
        yield "release", "the release that it is about"
    if rule.artifact:
        yield "artifact", "path of the document, in the evidence folder"


def _number(name: str, answer: str) -> float:
    try:
        number = float(answer)
    except ValueError:
        raise NotAttested(f"measured.{name} is {answer!r}, a number was wanted.") from None
    return int(number) if number.is_integer() else number


def _inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _hidden(path: Path, folder: Path) -> bool:
    """Whether a file inside the folder is one of those that are not read there."""
    return any(part.startswith(".") for part in path.resolve().relative_to(folder.resolve()).parts)


def _record(written: Mapping[str, Any], name: str) -> tuple[Record, bytes]:
    """The record as it will be read, and its bytes."""
    content = "".join(_lines(written)).encode()
    read = parse_records(content, name)
    if read.unreadable:
        raise NotAttested(f"The record would not be valid: {read.unreadable[0].problem}.")
    return read.records[0], content


def _lines(written: Mapping[str, Any]) -> Iterator[str]:
    for key, value in written.items():
        if isinstance(value, list | tuple):
            yield f"{key}:\n"
            yield from (f"  - {_scalar(entry)}\n" for entry in value)
        elif isinstance(value, Mapping):
            yield f"{key}:\n"
            yield from (f"  {_scalar(name)}: {_scalar(entry)}\n" for name, entry in value.items())
        else:
            yield f"{key}: {_scalar(value)}\n"


def _scalar(value: Any) -> str:
    """As plain text where that reads back the same, else as JSON, which is YAML too."""
    if isinstance(value, str):
        try:
            if load_yaml(value, "").value == value:
                return value
        except YamlError:
            pass
    return msgspec.json.encode(value).decode()


async def _write(
    path: Path,
    content: bytes,
    record: Record,
    rule: EvidenceRule,
    key: Path | None,
    allowed_signers: Path | None,
    judged: Callable[[Path | None], Awaitable[Result]],
) -> tuple[Path | None, Result]:
    """Put the record (after its signature, so that it is never seen without) in place, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".attest-", dir=path.parent) as draft:
        drafted = Path(draft, path.name)
        _synced(drafted, content)
        if key is None:
            verdict = await judged(None)
            _publish(drafted, path)
            return None, verdict
        try:
            signed = await sign(drafted, key)
            if allowed_signers is not None:
                for principal in filter(None, (record.by, rule.signed_by_role)):
                    await verify(content, signed, allowed_signers, principal)
        except (ProbeError, Refuted) as error:
            raise NotAttested(str(error)) from None
        verdict = await judged(signed)
        signature = path.with_name(f"{path.name}.sig")
        _publish(signed, signature)
        try:
            _publish(drafted, path)
        except BaseException:
            signature.unlink()
            raise
        return signature, verdict


def _synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _publish(draft: Path, path: Path) -> None:
    """Give a finished file its name; unlike a rename, a link never replaces what is there."""
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        raise NotAttested(f"{path} exists already and was left as it is; choose another file.") from None
