"""Asks trackers for open issues. An empty list counts only where the account sees the label or project that it asked for."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import msgspec
from pydantic import Field, field_validator

from collectors.shared.decoding import decode
from collectors.systems.issues.model import OpenIssues, count_at
from exporter.http import Http, HttpSettings
from exporter.options import Options
from exporter.verdict import ProbeError, Reason

__all__ = ["GitHub", "GitLab", "IssueTrackers", "Jira", "JsonTracker", "open_issues"]

_PAGE = 100
_PAGES = 20
_KEPT = 6
_PROJECT = re.compile(r"[A-Z][A-Z0-9_]{1,50}")


class GitHub(HttpSettings):
    """GitHub's REST API; `bearer_token` is one that may read issues."""

    url: str = Field("https://api.github.com", description="Base URL; https://HOST/api/v3 for Enterprise Server.")
    repositories: tuple[str, ...] = Field(min_length=1, description="Repositories, as owner/name.")
    label: str = Field(
        "launch-blocker", pattern=r"^[^,]{1,100}$", description="Label of the issues that must be closed."
    )

    @field_validator("repositories")
    @classmethod
    def _names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if any(not re.fullmatch(r"[\w.-]{1,100}/[\w.-]{1,100}", name) for name in names):
            raise ValueError("expected repositories as owner/name")
        return names


class GitLab(HttpSettings):
    """GitLab's REST API; `headers: {PRIVATE-TOKEN: …}` or `bearer_token` is one with the scope read_api."""

    url: str = Field("https://gitlab.com", description="Base URL, without /api/v4.")
    projects: tuple[str, ...] = Field(min_length=1, description="Projects, as group/name.")
    label: str = Field(
        "launch-blocker", pattern=r"^[^,]{1,100}$", description="Label of the issues that must be closed."
    )


class Jira(HttpSettings):
    """Jira Cloud's REST API (v3); `username` and `password` are an address and an API token."""

    project: str = Field(description="Key of the project.")
    jql: str = Field(
        "labels = launch-blocker",
        min_length=1,
        max_length=1000,
        description="Condition of the issues that must be done, in JQL without ORDER BY.",
    )

    @field_validator("project")
    @classmethod
    def _key(cls, project: str) -> str:
        if not _PROJECT.fullmatch(project):
            raise ValueError("expected the key of a project, such as SHOP")
        return project


class JsonTracker(HttpSettings):
    """Any API that answers GET with JSON that has the number or the list of open issues."""

    params: dict[str, str] = Field(default_factory=dict, description="Query parameters.")
    open_issues: str = Field(
        description="JSON pointer (RFC 6901), such as `/total`, to a number or to a list that is not paged."
    )

    @field_validator("open_issues")
    @classmethod
    def _pointer(cls, pointer: str) -> str:
        if pointer and not pointer.startswith("/"):
            raise ValueError("expected a JSON pointer such as /total")
        return pointer


class IssueTrackers(Options):
    """Where it is asked which issues are open."""

    github: GitHub | None = Field(None, description="Issues of repositories on GitHub; pull requests do not count.")
    gitlab: GitLab | None = Field(None, description="Issues of projects on GitLab.")
    jira: Jira | None = Field(None, description="Issues of a project in Jira.")
    json_api: JsonTracker | None = Field(None, description="Any other API that answers in JSON.")

    @property
    def any(self) -> bool:
        """Whether any is configured."""
        return any((self.github, self.gitlab, self.jira, self.json_api))


_GIVEN_UP = {"not_planned": "not planned", "duplicate": "a duplicate"}
"""What GitHub calls it when an issue is closed without a fix."""
_NO_FIX = (
    "won't do",
    "won't fix",
    "wont do",
    "wont fix",
    "duplicate",
    "cannot reproduce",
    "won't resolve",
    "as designed",
    "works as designed",
    "not a bug",
    "not reproducible",
    "cannot be reproduced",
    "out of scope",
    "obsolete",
    "rejected",
    "withdrawn",
    "deferred",
    "postponed",
    "declined",
    "incomplete",
    "invalid",
    "abandoned",
    "known error",
)
"""Jira's resolutions that are none."""


class _GitHubIssue(msgspec.Struct):
    number: int
    state: str = "open"
    state_reason: str | None = None
    pull_request: dict[str, Any] | None = None


class _GitLabLinks(msgspec.Struct):
    duplicate: str | None = msgspec.field(name="closed_as_duplicate_of", default=None)


class _GitLabIssue(msgspec.Struct):
    iid: int
    moved_to: int | None = msgspec.field(name="moved_to_id", default=None)
    links: _GitLabLinks | None = msgspec.field(name="_links", default=None)

    @property
    def given_up(self) -> str | None:
        """As what it was closed, where that is no fix: it goes on elsewhere, under labels of its own."""
        if self.moved_to is not None:
            return "moved"
        return "a duplicate" if self.links and self.links.duplicate else None


class _JiraResolution(msgspec.Struct):
    name: str = ""


class _JiraFields(msgspec.Struct):
    resolution: _JiraResolution | None = None


class _JiraIssue(msgspec.Struct):
    key: str
    fields: _JiraFields | None = None

    @property
    def given_up(self) -> str | None:
        """Its resolution, where that is no fix."""
        name = self.fields.resolution.name if self.fields and self.fields.resolution else ""
        return name if name.lower().strip().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'") in _NO_FIX else None


class _JiraPage(msgspec.Struct):
    issues: list[_JiraIssue]
    next: str | None = msgspec.field(name="nextPageToken", default=None)
    last: bool | None = msgspec.field(name="isLast", default=None)


async def open_issues(trackers: IssueTrackers) -> list[OpenIssues]:
    """The open issues of every tracker that is configured. Raises ProbeError when one cannot be read whole."""
    found: list[OpenIssues] = []
    if trackers.github is not None:
        found += await _github(trackers.github)
    if trackers.gitlab is not None:
        found += await _gitlab(trackers.gitlab)
    if trackers.jira is not None:
        found.append(await _jira(trackers.jira))
    if trackers.json_api is not None:
        async with Http(trackers.json_api) as http:
            reply = await http.get(params=trackers.json_api.params)
        if 'rel="next"' in reply.headers.get("link", ""):
            raise ProbeError(
                f"{reply.where} answers with one page of several, so not all issues were read.", Reason.LIMIT
            )
        count = count_at(reply.json(), trackers.json_api.open_issues, reply.where)
        found.append(OpenIssues(trackers.json_api.url, count))
    return found


async def _github(settings: GitHub) -> list[OpenIssues]:
    found = []
    headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
    async with Http(settings) as http:
        for repository in settings.repositories:
            where = f"GitHub repository {repository}"
            label = await http.get(
                f"/repos/{repository}/labels/{quote(settings.label, safe='')}", headers=headers, expect=(200, 404)
            )
            if label.status == 404:
                raise _no_label(where, settings.label)
            keys: list[str] = []
            for page in range(1, _PAGES + 1):
                params = {"state": "open", "labels": settings.label, "per_page": str(_PAGE), "page": str(page)}
                reply = await http.get(f"/repos/{repository}/issues", params=params, headers=headers)
                part = decode(reply, list[_GitHubIssue])
                keys += (f"#{issue.number}" for issue in part if issue.pull_request is None and issue.state == "open")
                if 'rel="next"' not in reply.headers.get("link", "") and len(part) < _PAGE:
                    break
            else:
                raise _too_many(where)
            params = {"state": "closed", "labels": settings.label, "sort": "updated", "per_page": str(_PAGE)}
            reply = await http.get(f"/repos/{repository}/issues", params=params, headers=headers)
            given_up = {
                f"#{issue.number}": _GIVEN_UP[issue.state_reason]
                for issue in decode(reply, list[_GitHubIssue])
                if issue.pull_request is None and issue.state_reason in _GIVEN_UP
            }
            found.append(OpenIssues(where, len(keys), tuple(keys[:_KEPT]), given_up=given_up))
    return found


async def _gitlab(settings: GitLab) -> list[OpenIssues]:
    found = []
    async with Http(settings) as http:
        for project in settings.projects:
            where, path = f"GitLab project {project}", f"/api/v4/projects/{quote(project, safe='')}"
            label = await http.get(f"{path}/labels/{quote(settings.label, safe='')}", expect=(200, 404))
            if label.status == 404:
                raise _no_label(where, settings.label)
            keys: list[str] = []
            for page in range(1, _PAGES + 1):
                params = {"state": "opened", "labels": settings.label, "per_page": str(_PAGE), "page": str(page)}
                reply = await http.get(f"{path}/issues", params=params)
                part = decode(reply, list[_GitLabIssue])
                keys += (f"#{issue.iid}" for issue in part)
                if not reply.headers.get("x-next-page") and len(part) < _PAGE:
                    break
            else:
                raise _too_many(where)
            params = {"state": "closed", "labels": settings.label, "order_by": "updated_at", "per_page": str(_PAGE)}
            closed = decode(await http.get(f"{path}/issues", params=params), list[_GitLabIssue])
            given_up = {f"#{issue.iid}": issue.given_up for issue in closed if issue.given_up}
            found.append(OpenIssues(where, len(keys), tuple(keys[:_KEPT]), given_up=given_up))
    return found


async def _jira(settings: Jira) -> OpenIssues:
    where = f"Jira project {settings.project}"
    keys: list[str] = []
    token: str | None = None
    async with Http(settings) as http:
        # A search by nobody, or of a project that the account may not see, is answered with 200 and no issues.
        await http.get("/rest/api/3/myself")
        await http.get(f"/rest/api/3/project/{settings.project}")
        for _ in range(_PAGES):
            params = {
                "jql": f'project = "{settings.project}" AND statusCategory != Done AND ({settings.jql})',
                "fields": "key",
                "maxResults": str(_PAGE),
            } | ({"nextPageToken": token} if token else {})
            page = decode(await http.get("/rest/api/3/search/jql", params=params), _JiraPage)
            keys += (issue.key for issue in page.issues)
            if (token := page.next) is None and page.last is False:
                raise ProbeError(f"{where} broke off before its last page of issues.", Reason.MALFORMED)
            if token is None or page.last:
                done = await _done(http, settings)
                given_up = {issue.key: issue.given_up for issue in done if issue.given_up}
                return OpenIssues(where, len(keys), tuple(keys[:_KEPT]), bool(keys or done), given_up)
    raise _too_many(where)


async def _done(http: Http, settings: Jira) -> list[_JiraIssue]:
    """The latest issues that are done, with their resolutions.

    Jira has no list of labels that must hold the one that is meant: one that is misspelled has no issue, not even a done one.
    """
    params = {
        "jql": f'project = "{settings.project}" AND statusCategory = Done AND ({settings.jql}) ORDER BY updated DESC',
        "fields": "resolution",
        "maxResults": str(_PAGE),
    }
    return decode(await http.get("/rest/api/3/search/jql", params=params), _JiraPage).issues


def _no_label(where: str, label: str) -> ProbeError:
    return ProbeError(
        f"{where} has no label {label}, or the account may not see it, so open issues were not counted.", Reason.MISSING
    )


def _too_many(where: str) -> ProbeError:
    return ProbeError(f"{where} has more than {_PAGE * _PAGES} open issues, which were not all read.", Reason.LIMIT)
