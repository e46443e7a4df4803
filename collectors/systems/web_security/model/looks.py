"""What was asked of an application and what it answered, for the judges."""

from __future__ import annotations

import base64
import html
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from collectors.systems.web_security.model.cookies import Cookie
from collectors.systems.web_security.model.pages import media_type, words
from exporter.reply import Reply

__all__ = ["Access", "Credentials", "CrossOrigin", "Forgery", "Origins", "Sent", "Shown", "SqlTrial", "ValueTrial"]

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who asks: a bearer token, basic authentication or cookies, and how the login set these."""

    token: str | None = field(default=None, repr=False)
    basic: str | None = field(default=None, repr=False)
    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)
    set_cookies: tuple[Cookie, ...] = field(default=(), repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """The request headers that carry them."""
        headers = {"Authorization": f"Bearer {self.token}".strip()} if self.token is not None else {}
        if self.basic is not None:
            headers["Authorization"] = f"Basic {base64.b64encode(self.basic.encode()).decode()}"
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return headers


@dataclass(frozen=True, slots=True)
class Shown:
    """A page, and the same page again where its policy trusts a nonce."""

    reply: Reply
    again: Reply | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """A resource: the answer to who may read it, and what was answered to others, by what they presented."""

    control: Reply
    user: str
    knocks: Mapping[str, Reply]
    stranger: Reply | None = None
    """The answer to nobody, where `knocks` are those of users."""
    forged: Mapping[str, Reply] = field(default_factory=dict)
    """The answers to forged credentials of who may read it, where `knocks` are those of users."""
    respelled: tuple[Reply, ...] = ()
    """The answers by other spellings of the path, to nobody, or to the first of `knocks` where these are users."""
    older: tuple[Reply, ...] = ()
    """The answers of other versions of the API to the same."""
    disguised: Mapping[str, Reply] = field(default_factory=dict)
    """The answers to the same with headers that only proxies and frameworks should send, by what these pretend."""
    nowhere: Reply | None = None
    """The answer to the same for a path that does not exist: the others have to be told from it."""
    without_body: Reply | None = None
    """The answer to HEAD of nobody."""
    again: Reply | None = None
    """The answer to the user after everybody else."""
    guessable: bool = False
    """Whether the user's token is signed with a secret that is known."""


@dataclass(frozen=True, slots=True)
class CrossOrigin:
    """The answer to a script on another origin."""

    kind: str
    origin: str
    cookie: bool
    reply: Reply


@dataclass(frozen=True, slots=True)
class Origins:
    """The answers of one route to no origin, to allowed ones and to others."""

    plain: Reply
    allowed: tuple[CrossOrigin, ...]
    others: tuple[CrossOrigin, ...]
    credentialed: bool = False
    """Whether the allowed origins need the user's cookies."""
    preflights: tuple[CrossOrigin, ...] = ()
    """The answers to preflights of allowed origins that send Authorization."""
    foreign_preflights: tuple[CrossOrigin, ...] = ()
    """The answers to preflights of an unrelated origin, and of none (null), that want to send PUT."""


@dataclass(frozen=True, slots=True)
class ValueTrial:
    """The answers of one parameter to a value that is fine and to one that is not."""

    control: Reply
    answer: Reply
    sent: str
    absent: Sent | None = None
    """What was answered to a value of the right type that is not there."""
    odd: Mapping[str, Reply] = field(default_factory=dict)
    """The answers to values of which a part is right, by what they are."""
    link: Reply | None = None
    """The answer to `javascript:` and the value, where a link began with it."""
    encoded: Reply | None = None
    """The answer to `<` in the encodings of `model.reflection`, which a page must not resolve."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A value and what was answered to it."""

    value: str
    reply: Reply


@dataclass(frozen=True, slots=True)
class SqlTrial:
    """The answers of one parameter, as `model.sql` names what was sent."""

    parameter: str
    baseline: tuple[Sent, Sent]
    absent: Sent
    quotes: Mapping[str, Reply]
    joins: Mapping[str, Sent]
    confirmations: Mapping[str, tuple[Sent, ...]]
    operators: Mapping[str, tuple[Sent, Sent]] = field(default_factory=dict)
    """The answers to operators of document stores: to one that finds the value, and to the same one with nonsense."""

    @property
    def finds(self) -> frozenset[str]:
        """The words that both baselines have more often than what nonsense gets: they show that the value finds something."""
        first, second = (_words(sent, sent.value) for sent in self.baseline)
        return frozenset((first & second) - _words(self.absent, self.baseline[0].value))

    def other_page(self, reply: Reply) -> bool:
        """Whether a reply is no page of this route: it lacks most of what the route shows whatever was looked for."""
        known = words(self.baseline[0].reply) & words(self.baseline[1].reply) & words(self.absent.reply)
        return media_type(reply) != media_type(self.absent.reply) or 2 * len(known & words(reply)) < len(known)

    def shows(self, sent: Sent) -> bool:
        """Whether a value has found what the baseline did."""
        value = self.baseline[0].value
        shown, absent = _words(sent, value), _words(self.absent, value)
        found = self.finds
        return (
            bool(found)
            and sent.reply.status == self.baseline[0].reply.status
            and all(shown[word] > absent[word] for word in found)
        )


@dataclass(frozen=True, slots=True)
class Forgery:
    """The answers of one route to a POST of another site, and of the application's own page."""

    cookies: tuple[Cookie, ...]
    foreign: Reply
    own: Reply
    own_has_token: bool
    others: Mapping[str, Reply] = field(default_factory=dict)
    """The answers to other ways in which another site may send it, by who sent it."""
    by_get: Reply | None = None
    """The answer to a GET of the route by the user."""
    in_header: Mapping[str, Reply] = field(default_factory=dict)
    """The answers to tokens of other sessions in a header, which browsers do not send for other sites, by whose they are."""


def _words(sent: Sent, value: str) -> Counter[str]:
    """The words of a page and how often it has them. What was sent counts as the value itself: many pages repeat it."""
    text = html.unescape(sent.reply.text).replace("\\u0027", "'")
    return Counter(_WORD.findall(text.replace(sent.value, value)))
