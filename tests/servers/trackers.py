"""A small GitHub, GitLab and Jira with one repository or project: which issues it has is what a test says."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
import pytest

from tests.servers.web import Handler, served

TOKEN = "canary-tracker-5d1e"
LABEL = "launch-blocker"


@dataclass
class Issue:
    """An issue, or on GitHub a pull request."""

    number: int
    labels: tuple[str, ...] = (LABEL,)
    open: bool = True
    pull_request: bool = False
    reason: str | None = None


@dataclass
class Trackers:
    """`issues` are those of shop/web, which `labels` may be given; nothing else exists. `status` answers everything, if set."""

    url: str
    issues: list[Issue] = field(default_factory=list)
    labels: set[str] = field(default_factory=lambda: {LABEL})
    status: int = 0
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str, query: dict[str, str], credentials: set[str]) -> tuple[int, Any]:
        """Return status and document."""
        if self.status:
            return self.status, {"message": "no"}
        allowed = any(TOKEN in given or given == "Basic YTpj" for given in credentials)
        if path == "/rest/api/3/search/jql":  # Jira answers nobody, too: with nothing
            self.asked.append(query["jql"])
            return 200, self._jira(query) if allowed else {"issues": [], "isLast": True}
        if not allowed:
            return 401, {"message": "Bad credentials"}
        if path in ("/rest/api/3/myself", "/rest/api/3/project/SHOP"):
            return 200, {}
        for prefix, project in (("/repos/", "shop/web"), ("/api/v4/projects/", "shop%2Fweb")):
            if path == f"{prefix}{project}/issues":
                return 200, self._listed(query)
            if path.startswith(f"{prefix}{project}/labels/"):
                name = unquote(path.rpartition("/")[2])
                return (200, {"name": name}) if name in self.labels else (404, {"message": "Not Found"})
        return 404, {"message": "Not Found"}

    def _listed(self, query: dict[str, str]) -> list[dict[str, Any]]:
        wanted = [issue for issue in self.issues if query["labels"] in issue.labels]
        wanted = [issue for issue in wanted if issue.open is (query["state"] in ("open", "opened"))]
        size, page = int(query.get("per_page", 30)), int(query.get("page", 1))
        return [
            {"number": issue.number, "iid": issue.number, "state": "open" if issue.open else "closed"}
            | {"state_reason": issue.reason, "moved_to_id": 7 if issue.reason == "moved" else None}
            | {"_links": {"closed_as_duplicate_of": "https://x/1" if issue.reason == "duplicate" else None}}
            | ({"pull_request": {"url": "https://api.github.com/"}} if issue.pull_request else {})
            for issue in wanted[size * (page - 1) : size * page]
        ]

    def _jira(self, query: dict[str, str]) -> dict[str, Any]:
        found = [issue for issue in self.issues if issue.open is ("statusCategory != Done" in query["jql"])]
        keys = [
            {
                "id": str(issue.number),
                "key": f"SHOP-{issue.number}",
                "fields": {"resolution": {"name": issue.reason or "Done"}},
            }
            for issue in found
        ]
        at = int(query.get("nextPageToken", 0))
        page = keys[at : at + 50]  # fewer than were asked for
        return {"issues": page} | ({"nextPageToken": str(at + 50)} if at + 50 < len(keys) else {"isLast": True})


@pytest.fixture
def trackers() -> Iterator[Trackers]:
    """Trackers without issues."""

    class Asked(Handler):
        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(asked.query).items()}
            given = {self.headers.get(name, "") for name in ("Authorization", "PRIVATE-TOKEN")}
            status, document = state.answer(asked.path, query, given)
            self.reply(status, msgspec.json.encode(document))

    with served(Asked) as url:
        state = Trackers(url)
        yield state
