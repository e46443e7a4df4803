"""Asks an API like OpenAI's for models, limits and costs. What servers write into errors is never shown: it may quote the key."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec
from pydantic import Field, SecretStr

from collectors.shared.attempts import attempt_all
from collectors.shared.decoding import UnixTime, decode
from collectors.systems.openai.model import (
    Answer,
    Budget,
    Costs,
    ModelAnswer,
    ModelEndpoint,
    NeededModel,
    RateLimits,
    Refusal,
    Spending,
    SpendingAlert,
    limits_in,
    refusal_of,
    shutdown_of,
    total_of,
)
from exporter.http import Http, HttpSettings
from exporter.reply import Reply
from exporter.verdict import ProbeError, Reason
from exporter.words import counted

__all__ = ["OpenAIApi", "Organization", "ask_models", "ask_with_a_wrong_key", "costs", "rate_limits", "spending"]

_PAGES = 20
_DAY = 86_400
_URL = "https://api.openai.com/v1"
_WRONG = "sk-checklist-exporter-this-is-no-key"
_NEWER, _OLDER = "max_completion_tokens", "max_tokens"
_QUESTIONS: Mapping[ModelEndpoint, Mapping[str, Any]] = {
    ModelEndpoint.CHAT: {"messages": [{"role": "user", "content": "ping"}], "max_completion_tokens": 16},
    ModelEndpoint.RESPONSES: {"input": "ping", "max_output_tokens": 16},
    ModelEndpoint.EMBEDDINGS: {"input": "ping"},
}


class OpenAIApi(HttpSettings):
    """The API as the product uses it; `bearer_token` is its key (or `headers`, where the key has another header)."""

    url: str = Field(_URL, description="Base URL of OpenAI or of any API like it, with /v1 where that belongs to it.")
    models: tuple[NeededModel, ...] = Field(min_length=1, description="The models that the product uses.")
    completion: bool = Field(
        False,
        description="Whether each run requests a completion of a few tokens from each model: it costs money, and is the only "
        "proof that the key may use the model and that there is credit.",
    )


class Organization(HttpSettings):
    """OpenAI's administration API; `bearer_token` is an admin key, which may only read."""

    url: str = Field(_URL, description="Base URL.")
    project: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_-]{1,100}$", description="Identifier of the project whose rate limits are read."
    )
    budget: Budget | None = Field(None, description="What may be spent in a month.")


class _Model(msgspec.Struct):
    """A model: when it shuts down as OpenAI (`shutdown_date`) and OpenRouter (`expiration_date`) say.

    From when Mistral advises against it (`deprecation`), and whether Groq serves it (`active`). What is of another provider may be
    anything elsewhere.
    """

    id: str
    shutdown_date: str | int | None = None
    expiration_date: Any = None
    deprecation: Any = None
    active: Any = None


class _Models(msgspec.Struct):
    data: list[_Model]


class _Choice(msgspec.Struct):
    """One completion. Gateways put the error of the server behind them in its place, and answer 200."""

    message: dict[str, Any] | None = None
    error: Any = None


class _Completion(msgspec.Struct):
    """What is made of a question: choices of a chat, the output of a response, or embeddings."""

    choices: list[_Choice] = []
    output: list[dict[str, Any]] = []
    data: list[dict[str, Any]] = []
    error: Any = None
    status: str | None = None

    @property
    def is_error(self) -> bool:
        """Whether it holds an error instead."""
        return bool(self.error or self.status == "failed" or any(choice.error for choice in self.choices))

    @property
    def is_empty(self) -> bool:
        """Whether nothing was made."""
        embedded = any(one.get("embedding") for one in self.data)
        return not (embedded or self.output or any(choice.message for choice in self.choices))


class _RateLimit(msgspec.Struct):
    id: str
    model: str
    max_requests_per_1_minute: int
    max_tokens_per_1_minute: int
    max_requests_per_1_day: int | None = None


class _RateLimits(msgspec.Struct):
    data: list[_RateLimit]
    has_more: bool
    last_id: str | None = None


class _Amount(msgspec.Struct):
    value: float | str
    currency: str


class _Cost(msgspec.Struct):
    object: str
    amount: _Amount | None = None


class _Bucket(msgspec.Struct):
    start_time: UnixTime
    end_time: UnixTime
    results: list[_Cost]


class _CostPage(msgspec.Struct):
    data: list[_Bucket]
    has_more: bool
    next_page: str | None = None


class _Channel(msgspec.Struct):
    recipients: list[str] = []


class _Alert(msgspec.Struct):
    id: str
    threshold_amount: int
    notification_channel: _Channel | None = None


class _Alerts(msgspec.Struct):
    data: list[_Alert]
    has_more: bool
    last_id: str | None = None


class _Enforcement(msgspec.Struct):
    status: str | None = None


class _SpendLimit(msgspec.Struct):
    threshold_amount: int
    enforcement: _Enforcement | None = None


async def ask_models(api: OpenAIApi) -> list[ModelAnswer | ProbeError]:
    """What the API answers for each model, in their order, or why that is not known: it must not hide the others."""
    async with Http(api) as http:

        async def ask(model: NeededModel) -> ModelAnswer:
            described = await _describe(http, model)
            return ModelAnswer(model.name, described, await _complete(http, model) if api.completion else None)

        return list(await attempt_all(map(ask, api.models)))


async def ask_with_a_wrong_key(api: OpenAIApi) -> Answer:
    """What the API answers to the same request with a key that is none. Raises ProbeError when it does not answer.

    All else stays: without a header that it demands, the API would refuse the right key as well.
    """
    wrong: dict[str, Any] = {"username": None, "password": None}
    if api.bearer_token is not None:
        wrong["bearer_token"] = SecretStr(_WRONG)
    else:
        wrong["headers"] = dict.fromkeys(api.headers, SecretStr(_WRONG))
    async with Http(api.model_copy(update=wrong)) as http:
        ask = _complete if api.completion else _describe
        return await ask(http, api.models[0])


async def _describe(http: Http, wanted: NeededModel) -> Answer:
    name = wanted.name
    reply = await http.get(f"/models/{quote(name, safe='/:')}", expect=None)
    if reply.status == 200:
        found = decode(reply, _Model)
        if found.id not in (name, f"models/{name}"):  # as Google's does
            raise ProbeError(f"{reply.where} described another model than {name}.", Reason.CONTRADICTED)
        return _described(found, reply.where)
    refusal = refusal_of(reply)
    if reply.status == 404:  # of the model, of a server that only lists them, or of the wrong base URL
        listing = await http.get("/models", expect=None)
        if listing.status != 200:
            return Answer(listing.where, listing.status, refusal_of(listing))
        named = next((model for model in decode(listing, _Models).data if model.id in (name, f"models/{name}")), None)
        if named is None:
            return Answer(listing.where, 200, Refusal.MODEL)
        if refusal is not Refusal.MODEL:
            return _described(named, listing.where)
    return Answer(reply.where, reply.status, refusal)


def _described(model: _Model, where: str) -> Answer:
    expiration, deprecation = (
        value if isinstance(value, str) else None for value in (model.expiration_date, model.deprecation)
    )
    return Answer(
        where,
        200,
        shutdown=shutdown_of(model.shutdown_date or expiration, where),
        deprecated=shutdown_of(deprecation, where),
        active=model.active is not False,
    )


async def _complete(http: Http, model: NeededModel) -> Answer:
    question = {"model": model.name, **_QUESTIONS[model.endpoint]}
    reply = await http.request("POST", f"/{model.endpoint}", json=question, expect=None)
    if reply.status in (400, 422) and _NEWER.encode() in reply.body:  # of what refuses fields that it does not know
        older = {name: value for name, value in question.items() if name != _NEWER} | {_OLDER: question[_NEWER]}
        reply = await http.request("POST", f"/{model.endpoint}", json=older, expect=None)
    limits = limits_in(reply.headers)
    if reply.status != 200:
        return Answer(reply.where, reply.status, refusal_of(reply), limits=limits)
    completion = decode(reply, _Completion)
    if completion.is_error:
        raise ProbeError(f"{reply.where} answered 200 with an error instead of a completion.", Reason.ERROR)
    if completion.is_empty:
        raise ProbeError(f"{reply.where} answered 200 without any completion.", Reason.MALFORMED)
    return Answer(reply.where, 200, limits=limits)


async def rate_limits(organization: Organization) -> dict[str, RateLimits]:
    """The rate limits of the project, by model. Raises ProbeError where they cannot be read whole."""
    path, found, after = f"/organization/projects/{organization.project}/rate_limits", {}, ""
    async with Http(organization) as http:
        for _ in range(_PAGES):
            reply = await _read(http, path, {"limit": "100"} | ({"after": after} if after else {}))
            page = decode(reply, _RateLimits)
            for one in page.data:
                found[one.model] = RateLimits(
                    one.max_requests_per_1_minute,
                    one.max_tokens_per_1_minute,
                    daily_requests=one.max_requests_per_1_day,
                )
            if not page.has_more:
                return found
            after = _next(page.last_id, after, reply)
    raise _too_many(reply)


async def costs(organization: Organization, budget: Budget, now: datetime) -> Costs:
    """What was spent since the calendar month (UTC) began. Raises ProbeError where that cannot be read whole."""
    start = int(now.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp())
    total, until, page, seen = 0.0, start, "", set[int]()
    async with Http(organization) as http:
        for _ in range(_PAGES):
            query = {"start_time": str(start), "bucket_width": "1d", "limit": "31"} | ({"page": page} if page else {})
            reply = await _read(http, "/organization/costs", query)
            part = decode(reply, _CostPage)
            for bucket in part.data:
                if bucket.start_time in seen or bucket.start_time < start:
                    raise ProbeError(f"{reply.where} has a day twice, or one of another month.", Reason.CONTRADICTED)
                seen.add(bucket.start_time)
                until = max(until, bucket.end_time)
                total += total_of(_amounts(bucket, reply.where), budget.currency, reply.where)
            if not part.has_more:
                if (days := (until - start) // _DAY) > len(seen):
                    raise ProbeError(
                        f"{reply.where} has {len(seen)} of {counted(days, 'day')}, so what this month cost is not known.",
                        Reason.CONTRADICTED,
                    )
                return Costs(total, until)
            page = _next(part.next_page, page, reply)
    raise _too_many(reply)


def _amounts(bucket: _Bucket, where: str) -> list[tuple[float | str, str]]:
    amounts = [cost.amount for cost in bucket.results if cost.object == "organization.costs.result"]
    if any(amount is None for amount in amounts):
        raise ProbeError(f"{where} has a cost without its amount.", Reason.MALFORMED)
    return [(amount.value, amount.currency) for amount in amounts if amount is not None]


async def spending(organization: Organization) -> Spending:
    """The alerts on spending and the hard limit. Raises ProbeError where they cannot be read whole."""
    alerts: list[SpendingAlert] = []
    after = ""
    async with Http(organization) as http:
        reply = await _read(http, "/organization/spend_limit", {}, expect=(200, 404))
        limit = decode(reply, _SpendLimit) if reply.status == 200 else None
        if limit is None and refusal_of(reply) is Refusal.OTHER and not reply.body.lstrip().startswith(b"{"):
            raise ProbeError(f"{reply.where} answered 404 with {reply.kind}.", Reason.MALFORMED)
        for _ in range(_PAGES):
            query = {"limit": "100"} | ({"after": after} if after else {})
            reply = await _read(http, "/organization/spend_alerts", query)
            page = decode(reply, _Alerts)
            alerts += (
                SpendingAlert(
                    alert.threshold_amount,
                    sum(1 for one in alert.notification_channel.recipients if one.strip())
                    if alert.notification_channel
                    else 0,
                )
                for alert in page.data
            )
            if not page.has_more:
                break
            after = _next(page.last_id, after, reply)
        else:
            raise _too_many(reply)
    if limit is None:
        return Spending(tuple(alerts))
    enforcing = limit.enforcement is not None and limit.enforcement.status == "enforcing"
    return Spending(tuple(alerts), limit.threshold_amount, enforcing)


async def _read(http: Http, path: str, query: Mapping[str, str], expect: tuple[int, ...] = (200,)) -> Reply:
    reply = await http.get(path, params=query, expect=None)
    if reply.status in expect:
        return reply
    if reply.status in (401, 403):
        raise ProbeError(
            f"{reply.where} answered {reply.status}: the admin key was rejected, or may not read this.", Reason.DENIED
        )
    if reply.status == 429:
        raise ProbeError(f"{reply.where} answered 429: too many requests.", Reason.REFUSED)
    raise ProbeError(f"{reply.where} answered {reply.status} (expected 200).", Reason.MALFORMED)


def _next(page: str | None, before: str, reply: Reply) -> str:
    """The next page. Raises ProbeError where there is said to be one, and none or the same is named."""
    if not page or page == before:
        raise ProbeError(f"{reply.where} broke off before its last page.", Reason.MALFORMED)
    return page


def _too_many(reply: Reply) -> ProbeError:
    return ProbeError(f"{reply.where} has more than {_PAGES} pages, which were not all read.", Reason.LIMIT)
