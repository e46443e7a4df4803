"""Whether backups are fresh and complete, and all WAL that they need is archived."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from collectors.shared.copies import size_problems
from collectors.shared.verdicts import collected, verdict
from collectors.systems.postgresql.model.instance import Archiver
from collectors.systems.postgresql.model.options import ClusterLimits
from collectors.systems.postgresql.model.pgbackrest import Archive, Backup, RepositorySchedule, Segments, Stanza
from collectors.systems.postgresql.model.segments import Lineage, segment_name, segment_number
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, ok, unknown, warning
from exporter.words import counted, format_length, format_size, listed

__all__ = [
    "archive_of",
    "file_problems",
    "judge_archive",
    "judge_archiver",
    "judge_backup",
    "judge_encryption",
    "judge_retention",
    "newest_backup",
    "restorable_problems",
]

#: How far clocks of two hosts may differ before a date counts as one of the future.
_CLOCKS = timedelta(minutes=5)


def _ours(stanza: Stanza, cluster: str, timeline: int | None) -> list[Backup]:
    """The backups of this cluster. What was taken on a later timeline is of a copy that was promoted."""
    return [
        backup
        for backup in stanza.backup
        if cluster in stanza.system_ids(backup.database)
        and (timeline is None or backup.timeline is None or backup.timeline <= timeline)
    ]


def newest_backup(stanza: Stanza, cluster: str, timeline: int | None, now: datetime) -> Backup | None:
    """The newest backup of the cluster with this system identifier, up to its timeline, that is not dated in the future."""
    past = [backup for backup in _ours(stanza, cluster, timeline) if backup.stopped <= now + _CLOCKS]
    return max(past, key=lambda backup: backup.stopped, default=None)


def archive_of(stanza: Stanza, backup: Backup) -> Archive | None:
    """Where the repository that holds a backup keeps the WAL of its cluster."""
    return next((archive for archive in stanza.archive if archive.database == backup.database), None)


def judge_backup(
    stanza: Stanza,
    cluster: str,
    now: datetime,
    limits: ClusterLimits,
    timeline: int | None = None,
    schedules: Mapping[int, RepositorySchedule] | None = None,
) -> Result:
    """Whether the stanza holds a recent, complete backup without bad pages of the cluster with this system identifier.

    `timeline` is the primary's, None where it is not known. Of several repositories each has to be in order; where another one has
    a recent backup, an old one is a warning. `schedules` are limits of repositories with another schedule, by their number.
    """
    newest = newest_backup(stanza, cluster, timeline, now)
    good = unknown("No backup.")
    if newest is not None:
        age = now - newest.stopped
        good = ok(f"{_seen(newest, age)}.", backup_age_seconds=age.total_seconds())
    repositories = stanza.by_repository()
    allowed = {key: _allowed(limits, (schedules or {}).get(key)) for key in repositories}
    if len(repositories) < 2:
        limits = next(iter(allowed.values()), limits)
        return verdict(_backup_problems(stanza, cluster, timeline, now, limits), good)
    found = {
        key: collected(_backup_problems(held, cluster, timeline, now, allowed[key], f" in repository {key}"))
        for key, held in repositories.items()
    }
    spare = any(not problems for problems in found.values())
    problems = [_aged(problem) if spare else problem for each in found.values() for problem in each]
    return verdict(problems, good)


def _allowed(limits: ClusterLimits, schedule: RepositorySchedule | None) -> ClusterLimits:
    """The limits of a repository."""
    own = {name: value for name, value in schedule or () if value is not None}
    return limits.model_copy(update=own)


def _aged(problem: Result) -> Result:
    """A backup that is only too old, while another repository has a recent one."""
    return warning(problem.summary) if problem.reason is Reason.LIMIT else problem


def _seen(backup: Backup, age: timedelta, where: str = "") -> str:
    return f"Backup {backup.label}{where} was complete {max(0.0, age.total_seconds()) / 3600:.1f} h ago"


def _backup_problems(
    stanza: Stanza, cluster: str, timeline: int | None, now: datetime, limits: ClusterLimits, where: str = ""
) -> Iterator[Result]:
    """What is wrong with the backups of a stanza, or of one of its repositories, of which `where` is the name."""
    if stanza.status.code != 0:
        yield failed(
            f"pgBackRest stanza {stanza.name}{where} is not well: {stanza.status.message}.", reason=Reason.DOWN
        )
        return
    ours = _ours(stanza, cluster, timeline)
    if not ours:
        known = [backup for backup in stanza.backup if cluster in stanza.system_ids(backup.database)]
        held = f"{counted(len(stanza.backup), 'backup')} of other clusters" if stanza.backup else "no backup"
        if known:
            held = f"{counted(len(known), 'backup')} of a copy on timeline {known[0].timeline}"
        yield failed(
            f"pgBackRest stanza {stanza.name}{where} holds {held} and none of cluster {cluster}.",
            reason=Reason.MISSING,
        )
        return
    newest = newest_backup(stanza, cluster, timeline, now)
    if newest is not None:
        yield from _newest_problems(ours, newest, now, limits, where)
    for backup in ours:
        if backup.stopped > now + _CLOCKS:
            ahead = format_length(backup.stopped - now)
            yield unknown(
                f"Backup {backup.label} is dated {ahead} in the future: a clock is wrong, so how old backups are is not known.",
                reason=Reason.CONTRADICTED,
            )


def _newest_problems(
    ours: Sequence[Backup], newest: Backup, now: datetime, limits: ClusterLimits, where: str
) -> Iterator[Result]:
    by_label = {backup.label: backup for backup in ours if backup.database.repo_key == newest.database.repo_key}
    needed = [newest.label, *(newest.reference or ())]
    for label in needed:
        if label not in by_label:
            yield failed(f"Backup {newest.label}{where} needs backup {label}, which is gone.", reason=Reason.MISSING)
        elif by_label[label].error:
            yield failed(f"Backup {label}{where} holds pages with wrong checksums.", reason=Reason.DOWN)
    before = sorted(
        (one for one in by_label.values() if one.stopped < newest.stopped), key=lambda one: one.stopped, reverse=True
    )
    if newest.size:
        yield from size_problems(f"Backup {newest.label}{where}", newest.size, [one.size for one in before if one.size])
    age = now - newest.stopped
    if age > limits.backup_max_age:
        seen = _seen(newest, age, where)
        yield failed(f"{seen} (limit {format_duration(limits.backup_max_age)}).", reason=Reason.LIMIT)
    full = max(
        (backup for backup in ours if backup.type == "full" and backup.stopped <= now + _CLOCKS),
        key=lambda backup: backup.stopped,
        default=None,
    )
    if full is not None and now - full.stopped > limits.full_backup_max_age:
        yield failed(
            f"The newest full backup{where}, {full.label}, was complete {format_length(now - full.stopped)} ago "
            f"(limit {format_duration(limits.full_backup_max_age)}).",
            reason=Reason.LIMIT,
        )


_MANIFEST = "backup.manifest"
_NO_FILES = {".", _MANIFEST, f"{_MANIFEST}.copy"}

#: Programs that report success and store nothing.
_IDLE_PROGRAMS = {":", "true", "exit", "echo", "printf", "test", "["}


def _stores(command: str) -> bool:
    """Whether an archive_command could store a segment: one of its parts hands it to a program that does something."""
    without_redirections = re.sub(r"\d*>+(&\d|\s*\S+)", "", command)
    return any(_stores_alone(part) for part in re.split(r"&&|\|\||[;|]", without_redirections))


def _stores_alone(command: str) -> bool:
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    program = words[0].rpartition("/")[2] if words else ""
    return program not in _IDLE_PROGRAMS and words[-1:] != ["/dev/null"] and re.search(r"%[pf]", command) is not None


def _forgives(command: str) -> bool:
    """Whether an archive_command reports success although it failed: what comes last, after `||` or `;`, always succeeds."""
    *others, last = re.split(r"\|\||;", re.sub(r"\d*>+(&\d|\s*\S+)", "", command))
    words = last.split()
    return bool(others) and (words[:1] in ([":"], ["true"], ["echo"]) or words == ["exit", "0"])


def judge_archiver(archiver: Archiver, limits: ClusterLimits) -> Result:
    """Whether PostgreSQL archives its WAL, by what it reports itself."""
    measured: dict[str, Any] = {"wal_segments_waiting": float(archiver.ready)}
    if archiver.oldest_ready_age is not None:
        measured["wal_waiting_seconds"] = max(0.0, archiver.oldest_ready_age)
    waiting = counted(archiver.ready, "segment waits", "segments wait")
    return verdict(_archiver_problems(archiver, limits), ok(f"WAL is archived, {waiting}.", **measured))


def _archiver_problems(archiver: Archiver, limits: ClusterLimits) -> Iterator[Result]:
    if archiver.archive_mode == "off":
        yield failed("WAL archiving is off (archive_mode).", reason=Reason.MISCONFIGURED)
        return
    if not archiver.archive_library and not _stores(archiver.archive_command):
        yield failed(f"archive_command stores nothing: {archiver.archive_command!r}.", reason=Reason.MISCONFIGURED)
    elif not archiver.archive_library and _forgives(archiver.archive_command):
        yield warning(
            f"archive_command reports success also where it fails, so that segments are lost: {archiver.archive_command!r}."
        )
    if archiver.ready > limits.max_ready:
        yield failed(
            f"{counted(archiver.ready, 'WAL segment waits', 'WAL segments wait')} to be archived (limit {limits.max_ready}).",
            reason=Reason.LIMIT,
        )
    if archiver.oldest_ready_age is not None and archiver.oldest_ready_age > limits.max_ready_age.total_seconds():
        yield failed(
            f"WAL segment {archiver.oldest_ready} has waited {format_length(timedelta(seconds=archiver.oldest_ready_age))} to be "
            f"archived (limit {format_duration(limits.max_ready_age)}).",
            reason=Reason.LIMIT,
        )
    if archiver.last_failed_time and (
        archiver.last_archived_time is None or archiver.last_failed_time >= archiver.last_archived_time
    ):
        yield failed(
            f"Archiving of {archiver.last_failed_wal} failed at {archiver.last_failed_time:%F %T %Z}.",
            reason=Reason.DOWN,
        )
    elif archiver.last_archived_time is None:
        yield unknown("No WAL segment was archived since the statistics were reset.")


def judge_archive(
    archive: Archive | None,
    segments: Segments,
    backup: Backup,
    archiver: Archiver,
    stanza: str,
    repository: str = "the repository",
    lineage: Lineage | None = None,
) -> Result:
    """Whether a repository holds all WAL from the start of a backup up to what PostgreSQL believes to be archived.

    `segments` have to be listed after `archiver` was asked; `repository` is its name in a sentence; `lineage` leads from the
    backup's timeline to the primary's, where the repository holds its history.
    """
    ours = sorted(name for name in (*segments.whole, *segments.cut) if int(name[:8], 16) <= archiver.timeline)
    name = repository[0].upper() + repository[1:]
    good = ok(f"{name} holds WAL up to {ours[-1]}." if ours else f"{name} holds WAL.")
    problems = (
        *_lineage_problems(lineage, backup, archiver, repository),
        *_cut_problems(segments, backup, archiver, repository),
        *_archive_problems(archive, ours, backup, archiver, stanza, repository, lineage),
    )
    return verdict(problems, good)


def _lineage_problems(lineage: Lineage | None, backup: Backup, archiver: Archiver, repository: str) -> Iterator[Result]:
    """Whether a restore finds its way from the timeline of a backup to the primary's, by the history file of that."""
    now, then = archiver.timeline, backup.timeline
    if then is None or then == now:
        return
    if lineage is None:
        if (archiver.last_archived_wal or "").startswith(f"{now:08X}"):  # the history is archived before any segment
            yield failed(
                f"{repository[0].upper()}{repository[1:]} lacks {now:08X}.history: after backup {backup.label} on timeline {then} "
                f"nothing of timeline {now} can be restored.",
                reason=Reason.MISSING,
            )
        return
    size, stop = archiver.segment_size, backup.archive.stop or ""
    ends = {fork.timeline: fork.position for fork in lineage.forks}
    if then not in ends or (stop and segment_number(stop, size) > ends[then] // size):
        yield failed(
            f"Backup {backup.label} is of a copy: timeline {now} does not descend from what timeline {then} held by then.",
            reason=Reason.CONTRADICTED,
        )


def _cut_problems(segments: Segments, backup: Backup, archiver: Archiver, repository: str) -> Iterator[Result]:
    """Segments from the start of a backup on that lack a part, as those that were stored on a full disk do."""
    start, stop = backup.archive.start or "", backup.archive.stop or ""
    for name, size in sorted(segments.cut.items()):
        if name[8:] >= start[8:] and int(name[:8], 16) <= archiver.timeline:
            lost = f"backup {backup.label} needs it and cannot be restored"
            if name[8:] > stop[8:]:
                lost = f"after backup {backup.label} nothing later can be restored"
            yield failed(
                f"{repository[0].upper()}{repository[1:]} holds WAL segment {name} with {format_size(size)} only: {lost}.",
                reason=Reason.INVALID,
            )


def file_problems(backup: Backup, folders: Mapping[str, Collection[str]], repository: str) -> Iterator[Result]:
    """Whether the files of a backup, and of those that it needs, are there: what the folder of each holds, by its label."""
    gone = [
        label
        for label, held in folders.items()
        if not set(held) - _NO_FILES or (label == backup.label and _MANIFEST not in held)
    ]
    if gone:
        yield failed(
            f"The files of backup {listed(gone, 3)} are gone from {repository}, which still lists it: {backup.label} cannot be "
            "restored.",
            reason=Reason.MISSING,
        )


def _archive_problems(
    archive: Archive | None,
    ours: Sequence[str],
    backup: Backup,
    archiver: Archiver,
    stanza: str,
    repository: str,
    lineage: Lineage | None,
) -> Iterator[Result]:
    if archive is None or not ours:
        yield failed(
            f"pgBackRest stanza {stanza} holds no WAL of timelines up to {archiver.timeline} in {repository}.",
            reason=Reason.MISSING,
        )
        return
    held = {segment_number(name, archiver.segment_size) for name in ours}
    # A backup label file is named after its segment; a timeline's history file is no segment.
    archived = re.match(r"[0-9A-F]{24}(?!\.partial)", archiver.last_archived_wal or "")
    if backup.archive.start and backup.archive.stop:
        start, stop = (
            segment_number(name, archiver.segment_size) for name in (backup.archive.start, backup.archive.stop)
        )
        last = max(stop, min(segment_number(archived[0], archiver.segment_size) if archived else stop, max(held)))
        missing = [number for number in range(start, last + 1) if number not in held]
        if needed := [number for number in missing if number <= stop]:
            names = listed(
                (segment_name(number, int(backup.archive.start[:8], 16), archiver.segment_size) for number in needed), 3
            )
            yield failed(
                f"Backup {backup.label} needs WAL from {backup.archive.start} to {backup.archive.stop}, but {repository} lacks "
                f"{names}: it cannot be restored.",
                reason=Reason.MISSING,
            )
        elif missing:
            timeline = lineage.timeline_of(missing[0], archiver.segment_size) if lineage else archiver.timeline
            first = segment_name(missing[0], timeline, archiver.segment_size)
            yield failed(
                f"{repository[0].upper() + repository[1:]} lacks {counted(len(missing), 'WAL segment')} after backup "
                f"{backup.label}, the first {first}: nothing later can be restored.",
                reason=Reason.MISSING,
            )
    else:
        yield unknown(f"Backup {backup.label} does not name the WAL that it needs.")
    if archived and max(held) < segment_number(archived[0], archiver.segment_size):
        yield failed(
            f"PostgreSQL believes WAL segment {archived[0]} to be archived, but {repository} ends at {ours[-1]}.",
            reason=Reason.CONTRADICTED,
        )


def judge_retention(stanza: Stanza, cluster: str, retention: timedelta, min_fulls: int, now: datetime) -> Result:
    """Whether the repository holds full backups of this cluster as old as they have to be retained."""
    fulls = sorted(backup.stopped for backup in _ours(stanza, cluster, None) if backup.type == "full")
    if not fulls:
        return failed(
            f"pgBackRest stanza {stanza.name} holds no full backup of cluster {cluster}.", reason=Reason.MISSING
        )
    age = now - fulls[0]
    held = f"pgBackRest stanza {stanza.name} holds {counted(len(fulls), 'full backup')}, the oldest {format_length(age)} old"
    seconds = age.total_seconds()
    if age < retention:
        sentence = f"{held} (retention {format_duration(retention)})."
        return failed(sentence, reason=Reason.LIMIT, oldest_backup_age_seconds=seconds)
    if len(fulls) < min_fulls:
        sentence = f"{held} (at least {min_fulls} wanted)."
        return failed(sentence, reason=Reason.LIMIT, oldest_backup_age_seconds=seconds)
    return ok(f"{held}.", oldest_backup_age_seconds=seconds)


def restorable_problems(
    backups: Sequence[Backup], labels: Collection[str], segments: Collection[str], size: int, repository: int
) -> Iterator[Result]:
    """Whether a repository has the folders of its backups, and the WAL that each needs; `size` is that of a segment, in bytes."""
    held = {segment_number(name, size) for name in segments}
    gone = [backup.label for backup in backups if backup.label not in labels]
    without = [
        backup.label
        for backup in backups
        if backup.archive.start
        and backup.archive.stop
        and not held.issuperset(
            range(segment_number(backup.archive.start, size), segment_number(backup.archive.stop, size) + 1)
        )
    ]
    for what, found in (("files are", gone), ("WAL is", without)):
        if found:
            yield failed(
                f"{counted(len(found), 'full backup')} of repository {repository} cannot be restored, as "
                f"{'its' if len(found) == 1 else 'their'} {what} gone: {listed(found, 3)}.",
                reason=Reason.MISSING,
            )


def judge_encryption(stanza: Stanza) -> Result:
    """Whether pgBackRest encrypts what it stores, in every repository of the stanza."""
    if not stanza.repo:
        return unknown(f"pgBackRest stanza {stanza.name} names no repository, so its encryption was not checked.")
    plain = [str(repository.key) for repository in stanza.repo if repository.cipher == "none"]
    if plain:
        return failed(
            f"pgBackRest does not encrypt repository {listed(plain)} of stanza {stanza.name}.",
            reason=Reason.MISCONFIGURED,
        )
    return ok(f"pgBackRest encrypts stanza {stanza.name} ({stanza.repo[0].cipher}).")
