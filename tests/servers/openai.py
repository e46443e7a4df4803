"""A small OpenAI: models, completions, limits and costs as a test says, shaped as its OpenAPI document describes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from tests.servers.web import JSON, Handler, served

KEY = "sk-canary-4f19d07b"
ADMIN_KEY = "sk-admin-canary-77ab21"


def error(code: str | None, message: str = "No.", kind: str = "invalid_request_error") -> dict[str, Any]:
    """Return an error as the API words it."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


@dataclass
class OpenAIServer:
    """What it answers. `key_header` has the key instead of Authorization; without the header `demanded` it answers 401.

    `forced` gives a path's status and document, whatever is asked; `asked` are the requests in their order.

    `complete` makes the answer of the last question, `tokens` are what that has used.
    """

    url: str
    models: dict[str, str | None] = field(default_factory=dict)
    any_key: bool = False
    key_header: str = ""
    demanded: str = ""
    lists_only: bool = False
    fields: dict[str, Any] = field(default_factory=dict)
    """What a model has beside, or in place of, what OpenAI's have."""
    wrong_key: tuple[int, Any] | None = None
    unknown_fields: int | None = None
    """The status with which a question that has the newer limit of tokens is refused."""
    headers: dict[str, str] = field(default_factory=dict)
    rate_limits: dict[str, tuple[int, int]] = field(default_factory=dict)
    daily: dict[str, int] = field(default_factory=dict)
    days: list[list[dict[str, Any]]] = field(default_factory=list)
    month: datetime | None = None
    alerts: list[tuple[int, list[str]]] = field(default_factory=list)
    spend_limit: tuple[int, str | None] | None = None
    page: int = 100
    forced: dict[str, tuple[int, Any]] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, list[str]]]] = field(default_factory=list)
    complete: Callable[[str], str] = lambda _: "pong"
    tokens: int = 12
    question: str = ""
    named: frozenset[str] = frozenset()

    def answer(self, method: str, path: str, query: dict[str, list[str]], key: str) -> tuple[int, Any]:
        """Return status and document."""
        self.asked.append((method, path, query))
        admin = path.startswith("/organization/")
        if key != (ADMIN_KEY if admin else KEY) and (admin or not self.any_key) and self.wrong_key:
            return self.wrong_key
        if key != (ADMIN_KEY if admin else KEY) and (admin or not self.any_key):
            return 401, error("invalid_api_key", f"Incorrect API key provided: {key}.")
        if path in self.forced:
            return self.forced[path]
        if path == "/chat/completions" and self.unknown_fields and "max_completion_tokens" in self.named:
            detail = [{"type": "extra_forbidden", "loc": ["body", "max_completion_tokens"]}]
            message = {"detail": detail}
            return self.unknown_fields, {"object": "error", "message": message, "type": "invalid_request_error"}
        if path == "/chat/completions":
            return 200, self.completion()
        if path == "/models":
            return 200, {"object": "list", "data": [self.model(name) for name in self.models]}
        if path.startswith("/models/") and not self.lists_only:
            name = path.removeprefix("/models/")
            if name in self.models:
                return 200, self.model(name)
            return 404, error("model_not_found", f"The model '{name}' does not exist")
        return self.organization(path, query)

    def organization(self, path: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        """Return what the administration API answers."""
        if path == "/organization/costs":
            return 200, self.costs(query)
        if path == "/organization/projects/proj_shop/rate_limits":
            return 200, self.limits(query)
        if path == "/organization/spend_alerts":
            return 200, self.spend_alerts(query)
        if path == "/organization/spend_limit" and self.spend_limit is not None:
            return 200, self.limit()
        return 404, error(None, f"Invalid URL (GET {path})")

    def model(self, name: str) -> dict[str, Any]:
        """Return a model."""
        shutdown = self.models[name]
        return {
            "id": name,
            "object": "model",
            "created": 1686935002,
            "owned_by": "openai",
            "shutdown_date": shutdown,
        } | self.fields

    def completion(self) -> dict[str, Any]:
        """Return a completion."""
        message = {"role": "assistant", "content": self.complete(self.question), "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1741569952,
            "model": "gpt-5",
            "choices": [choice],
            "usage": {"prompt_tokens": self.tokens - 1, "completion_tokens": 1, "total_tokens": self.tokens},
        }

    def limits(self, query: dict[str, list[str]]) -> dict[str, Any]:
        """Return a page of the project's rate limits."""
        found = [
            {
                "object": "project.rate_limit",
                "id": f"rl_{model}",
                "model": model,
                "max_requests_per_1_minute": requests,
                "max_tokens_per_1_minute": tokens,
                **({"max_requests_per_1_day": self.daily[model]} if model in self.daily else {}),
            }
            for model, (requests, tokens) in self.rate_limits.items()
        ]
        return self._paged(found, query)

    def spend_alerts(self, query: dict[str, list[str]]) -> dict[str, Any]:
        """Return a page of the alerts."""
        found = [
            {
                "id": f"alert_{number}",
                "object": "organization.spend_alert",
                "threshold_amount": cents,
                "currency": "USD",
                "interval": "month",
                "notification_channel": {"type": "email", "recipients": people, "subject_prefix": None},
            }
            for number, (cents, people) in enumerate(self.alerts)
        ]
        return self._paged(found, query)

    def limit(self) -> dict[str, Any]:
        """Return the hard limit."""
        assert self.spend_limit is not None
        return {
            "object": "organization.spend_limit",
            "threshold_amount": self.spend_limit[0],
            "currency": "USD",
            "interval": "month",
            "enforcement": {"status": self.spend_limit[1]},
        }

    def costs(self, query: dict[str, list[str]]) -> dict[str, Any]:
        """Return a page of days; seven unless a limit is given, as the document says."""
        assert self.month is not None
        most = min(int(query.get("limit", ["7"])[0]), self.page)
        first = int(query.get("page", ["0"])[0])
        days = [
            {
                "object": "bucket",
                "start_time": int((self.month + timedelta(days=number)).timestamp()),
                "end_time": int((self.month + timedelta(days=number + 1)).timestamp()),
                "results": results,
            }
            for number, results in enumerate(self.days)
        ]
        more = first + most < len(days)
        return {
            "object": "page",
            "data": days[first : first + most],
            "has_more": more,
            "next_page": str(first + most) if more else None,
        }

    def _paged(self, found: list[dict[str, Any]], query: dict[str, list[str]]) -> dict[str, Any]:
        after = query.get("after", [""])[0]
        first = next((number for number, one in enumerate(found, 1) if one["id"] == after), 0)
        data = found[first : first + self.page]
        return {
            "object": "list",
            "data": data,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
            "has_more": first + self.page < len(found),
        }


def cost(value: float | str, currency: str = "usd") -> dict[str, Any]:
    """Return one cost of a day."""
    return {
        "object": "organization.costs.result",
        "amount": {"value": value, "currency": currency},
        "line_item": None,
        "project_id": None,
    }


@pytest.fixture
def openai_server() -> Iterator[OpenAIServer]:
    """An API without models."""

    class Asked(Handler):
        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            key = self.headers.get(state.key_header or "Authorization", "").removeprefix("Bearer ")
            if not key or (state.demanded and state.demanded not in self.headers):
                self.reply(401, msgspec.json.encode(error(None, "Missing credentials")), JSON)
                return
            status, document = state.answer(self.command, asked.path, parse_qs(asked.query), key)
            body = document if isinstance(document, bytes) else msgspec.json.encode(document)
            self.reply(status, body, {**state.headers, **JSON})

        def do_POST(self) -> None:
            body = msgspec.json.decode(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
            state.named = frozenset(body)
            state.question = str((body.get("messages") or [{}])[-1].get("content", ""))
            self.do_GET()

    with served(Asked) as url:
        state = OpenAIServer(url)
        yield state
