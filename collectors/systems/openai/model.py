"""What OpenAI's answers mean: refusals by their codes, limits, spending in cents and costs in units of a currency."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
from pydantic import Field, field_validator

from exporter.options import Duration, Options
from exporter.reply import Reply
from exporter.verdict import ProbeError, Reason

__all__ = [
    "Answer",
    "Budget",
    "Costs",
    "ModelAnswer",
    "ModelEndpoint",
    "ModelLimits",
    "NeededModel",
    "RateLimits",
    "Refusal",
    "Spending",
    "SpendingAlert",
    "limits_in",
    "refusal_of",
    "shutdown_of",
    "total_of",
]


class ModelEndpoint(StrEnum):
    """What the product requests of a model."""

    CHAT = "chat/completions"
    RESPONSES = "responses"
    EMBEDDINGS = "embeddings"


class NeededModel(Options):
    """A model that the product uses."""

    name: str = Field(pattern=r"^\S{1,200}$", description="Its identifier, as the product requests it.")
    endpoint: ModelEndpoint = Field(
        ModelEndpoint.CHAT,
        description="Where the product requests it, for `completion`: `chat/completions`, `responses` or `embeddings`; many models "
        "answer at one of them alone.",
    )
    min_requests_per_minute: int | None = Field(
        None, gt=0, description="Requests a minute that the account must allow."
    )
    min_tokens_per_minute: int | None = Field(None, gt=0, description="Tokens a minute that the account must allow.")

    @field_validator("endpoint", mode="before")
    @classmethod
    def _written(cls, value: Any) -> Any:
        return ModelEndpoint(value) if value in list(ModelEndpoint) else value


class ModelLimits(Options):
    """What is expected of models."""

    shutdown_warning: Duration = Field(
        timedelta(days=60), gt=timedelta(0), description="How long before a model's shutdown the line is a warning."
    )
    min_headroom: float = Field(
        0.1, ge=0, le=1, description="Share of a rate limit below which what remains of it is a warning."
    )


class Budget(Options):
    """What may be spent in a calendar month (UTC)."""

    monthly: float = Field(gt=0, description="Amount, in units of the currency: 500 is 500 dollars.")
    currency: str = Field("usd", pattern="^[a-z]{3}$", description="Its currency, in small letters.")
    warn_ratio: float = Field(0.8, gt=0, le=1, description="Share of the amount from which the line is a warning.")


class Refusal(StrEnum):
    """Why a request was refused."""

    KEY = "key"
    ACCOUNT = "account"
    SCOPE = "scope"
    PLACE = "place"
    MODEL = "model"
    QUOTA = "quota"
    RATE = "rate"
    OTHER = "other"


_CODES: Mapping[str, Refusal] = {
    "invalid_api_key": Refusal.KEY,
    "API_KEY_INVALID": Refusal.KEY,  # of Google, in the details of a 400
    "account_deactivated": Refusal.ACCOUNT,
    "organization_deactivated": Refusal.ACCOUNT,
    "ip_not_authorized": Refusal.PLACE,
    "unsupported_country_region_territory": Refusal.PLACE,
    "model_not_found": Refusal.MODEL,
    "DeploymentNotFound": Refusal.MODEL,  # of Azure
    "model_decommissioned": Refusal.MODEL,  # of Groq, with status 400
    "insufficient_quota": Refusal.QUOTA,
    "billing_not_active": Refusal.QUOTA,
    "billing_hard_limit_reached": Refusal.QUOTA,
    "rate_limit_exceeded": Refusal.RATE,
}
_RESET = re.compile(r"(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9}(?:\.\d*)?)s)?(?:(\d{1,9}(?:\.\d*)?)ms)?")
_DAY, _MINUTE, _ROUNDED = 86_400, 61, 0.01
_STATUSES = {401: Refusal.KEY, 402: Refusal.QUOTA, 403: Refusal.SCOPE, 429: Refusal.RATE}


class _Error(msgspec.Struct):
    message: Any = None
    type: str | None = None
    code: str | int | None = None
    details: Any = None

    @property
    def codes(self) -> list[Any]:
        """What may name the cause, the most exact first; Google's is a reason in the details."""
        details = self.details if isinstance(self.details, list) else []
        return [self.code, self.type, *(detail.get("reason") for detail in details if isinstance(detail, dict))]


class _ErrorReply(msgspec.Struct):
    error: _Error | str


def refusal_of(reply: Reply) -> Refusal:
    """Why a reply is not the one that was asked for. OTHER where it is no error of such an API, but of something in between."""
    try:
        replied = msgspec.json.decode(reply.body, type=_ErrorReply | list[_ErrorReply])  # a list of one is of Google
        error = (replied[0] if isinstance(replied, list) else replied).error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, IndexError):
        return Refusal.OTHER
    if isinstance(error, str):
        error = _Error(error)
    for code in error.codes:
        if isinstance(code, str) and code in _CODES:
            return _CODES[code]
    message = str(error.message or "").casefold()
    if reply.status == 400 and message.startswith("incorrect api key"):  # of xAI
        return Refusal.KEY
    if reply.status in (401, 403) and ("missing scope" in message or "insufficient permission" in message):
        return Refusal.SCOPE
    return _STATUSES.get(reply.status, Refusal.OTHER)


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Requests and tokens a minute, and how many of them remain; None where that was not shown.

    `daily_requests` are those a day; `requests_left` remain of these where no limit a minute was shown.
    """

    requests: int | None = None
    tokens: int | None = None
    requests_left: int | None = None
    tokens_left: int | None = None
    daily_requests: int | None = None


def limits_in(headers: Mapping[str, str]) -> RateLimits:
    """The limits that the headers of a completion name. Of which time a limit of requests is, only its reset shows."""

    def number(name: str) -> int | None:
        text = headers.get(f"x-ratelimit-{name}", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None

    requests, left = number("limit-requests"), number("remaining-requests")
    daily = requests is not None and _is_daily(requests, left, headers.get("x-ratelimit-reset-requests", ""))
    return RateLimits(
        None if daily else requests,
        number("limit-tokens"),
        left,
        number("remaining-tokens"),
        requests if daily else None,
    )


def _is_daily(limit: int, left: int | None, reset: str) -> bool:
    """Whether a limit is one of a day: it is not reset within a minute, or by its rate it fills within a day.

    OpenAI and what copies its headers name the time until all of the limit is there again, as in 6m0s.
    """
    parts = _RESET.fullmatch(reset)
    if not reset or parts is None:
        return False
    hours, minutes, seconds, milliseconds = (float(part or 0) for part in parts.groups())
    full = hours * 3600 + minutes * 60 + seconds + milliseconds / 1000
    used = limit - left if left is not None else 0
    return full > _MINUTE or (used > 0 and abs(full * limit / used / _DAY - 1) < _ROUNDED)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one request: None as `refusal` is success. `shutdown` is when the model will shut down, if announced.

    From `deprecated` on its provider advises against it; a model that is not `active` answers nobody.
    """

    where: str
    status: int
    refusal: Refusal | None = None
    shutdown: date | None = None
    deprecated: date | None = None
    active: bool = True
    limits: RateLimits = RateLimits()


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """What the API answered for one model: about it, and to a completion by it, None where none was requested."""

    name: str
    described: Answer
    completed: Answer | None = None


@dataclass(frozen=True, slots=True)
class SpendingAlert:
    """A threshold in cents a month, and how many are notified."""

    cents: int
    recipients: int


@dataclass(frozen=True, slots=True)
class Spending:
    """What watches the spending: alerts and the hard limit in cents, None without one; whether that refuses requests now."""

    alerts: tuple[SpendingAlert, ...] = ()
    limit_cents: int | None = None
    enforcing: bool = False


@dataclass(frozen=True, slots=True)
class Costs:
    """The costs since the month began in units of the currency, and up to which moment (Unix time) they were reported."""

    amount: float
    until: int


def shutdown_of(date_or_time: str | int | None, where: str) -> date | None:
    """The day on which a model shuts down, as a date, a time or Unix time have it. Raises ProbeError for anything else."""
    try:
        if isinstance(date_or_time, int):
            return datetime.fromtimestamp(date_or_time, UTC).date()
        return date.fromisoformat(date_or_time[:10]) if date_or_time else None
    except (ValueError, OverflowError, OSError):
        raise ProbeError(f"{where} has a shutdown date that is none.", Reason.MALFORMED) from None


def total_of(amounts: Iterable[tuple[float | str, str]], currency: str, where: str) -> float:
    """The sum of amounts, each with its currency. Raises ProbeError where one is in another currency or is no number."""
    total = 0.0
    for value, unit in amounts:
        if unit.lower() != currency:
            raise ProbeError(
                f"{where} has costs in a currency other than {currency}, so they were not added up.",
                Reason.CONTRADICTED,
            )
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ProbeError(f"{where} has a cost that is no number.", Reason.MALFORMED)
        total += number
    return total
