"""What cannot be seen from outside and has to be declared: users, and the routes to ask."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from exporter.options import Options, Secret

__all__ = ["Cors", "Csrf", "Login", "Parameter", "Path", "Restriction", "User"]


def _path(text: str) -> str:
    if not text.startswith("/") or text.startswith("//") or not text.isprintable() or " " in text or "#" in text:
        raise ValueError("expected a path that starts with one slash, such as /me, without spaces")
    return text


def _origin(text: str) -> str:
    parts = urlsplit(text)
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or text != f"{parts.scheme}://{parts.netloc}".lower()
    ):
        raise ValueError("expected an origin such as https://app.example.com, in lower case and without a path")
    return text


Path = Annotated[str, AfterValidator(_path)]
Origin = Annotated[str, AfterValidator(_origin)]


class Login(Options):
    """How a synthetic user logs in: a POST, the only one that is sent without `allow_intrusive`."""

    path: Path = Field(description="Path that takes the POST, such as /login.")
    fields: dict[str, Secret] = Field(min_length=1, description="Fields to send, such as user and password.")
    form: bool = Field(False, description="Send the fields as a form instead of JSON.")
    token: str | None = Field(
        None,
        description="Where the JSON reply has the bearer token, such as access_token; without it, cookies are sent.",
    )


class User(Options):
    """A synthetic user without rights to change anything: exactly one of the three."""

    bearer_token: Secret | None = Field(None, description="Token sent as `Authorization: Bearer`.")
    cookie: Secret | None = Field(None, description="Cookies to send, as in the header: `session=…`.")
    login: Login | None = Field(None, description="How to get a token or a cookie at every run.")

    @property
    def has_cookies(self) -> bool:
        """Whether cookies are what logs the user in."""
        return self.cookie is not None or (self.login is not None and self.login.token is None)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(given is not None for given in (self.bearer_token, self.cookie, self.login)) != 1:
            raise ValueError("a user needs exactly one of bearer_token, cookie and login")
        return self


class Restriction(Options):
    """A resource that one user may read and others may not."""

    path: Path = Field(description="What to GET.")
    allowed: str = Field(description="User that may read it; the control.")
    refused: tuple[str, ...] = Field(min_length=1, description="Users that may not.")


class Parameter(Options):
    """A parameter that is sent with values of ours, by GET unless `post` is set."""

    path: Path = Field(description="Path of the route; `{value}` in it is replaced by the value.")
    name: str | None = Field(
        None, min_length=1, description="Name of the parameter or field, unless the path has {value}."
    )
    post: Literal["form", "json"] | None = Field(
        None,
        description="Send it by POST, as a form or as JSON, to a route that changes nothing; requires allow_intrusive.",
    )
    fields: dict[str, str] = Field(default_factory=dict, description="What else the route needs, beside the parameter.")
    value: str = Field(
        "apple", pattern=r"^[\w.@-]{1,64}$", description="A value that is accepted; for SQL one that finds something."
    )
    user: str | None = Field(None, description="User that may use the route, where it needs one.")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.name is None) != ("{value}" in self.path):
            raise ValueError("a parameter needs either a name or {value} in its path")
        if self.name is None and (self.post or self.fields):
            raise ValueError("post and fields are for parameters with a name")
        return self


class Cors(Options):
    """Who may read answers from a script on another origin."""

    path: Path = Field("/", description="Path to ask.")
    allowed_origins: tuple[Origin, ...] = Field(
        (), description="Origins that may read it: the control. None by default."
    )
    public: bool = Field(False, description="Anybody may read it, without credentials (`*`).")
    user: str | None = Field(None, description="User that may use the route, where it needs one.")


class Csrf(Options):
    """A POST that changes nothing, and how a page of the application itself would send it."""

    path: Path = Field(description="Route that takes a POST and changes nothing.")
    user: str = Field(description="User whose session cookie is sent.")
    origin: Origin | None = Field(None, description="Origin of the application's own pages; that of url by default.")
    token_path: Path | None = Field(None, description="Path that gives the anti-forgery token, where there is one.")
    token_from: Literal["json", "cookie", "input"] = Field("json", description="Where its reply has the token.")
    token_name: str = Field("token", min_length=1, description="Name of the field, cookie or form input there.")
    send_header: str | None = Field(
        "X-CSRF-Token", description="Header that takes the token; null: a form field named token_name."
    )
    fields: dict[str, str] = Field(default_factory=dict, description="Form fields to send.")
