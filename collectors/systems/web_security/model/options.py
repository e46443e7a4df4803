"""An application: where it is, who its synthetic users are, and which of its routes may be asked."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

from pydantic import Field, model_validator

from collectors.systems.web_security.model.routes import Cors, Csrf, Parameter, Path, Restriction, User
from exporter.http import BaseUrl, Trust
from exporter.options import Duration, Options, Secret

__all__ = ["WebSecurityOptions"]


class WebSecurityOptions(Options):
    """An application: where it is, who its synthetic users are, and which of its routes may be asked."""

    url: BaseUrl = Field(description="Base URL of the application.")
    headers: dict[str, Secret] = Field(default_factory=dict, description="Headers to send with every request.")
    tls: Trust = Field(Trust(), description="TLS: trusted authorities and client certificate.")
    request_timeout: Duration = Field(timedelta(seconds=10), gt=timedelta(0), description="Timeout of one request.")
    pause: Duration = Field(
        timedelta(seconds=10), ge=timedelta(0), description="Time between two requests: six a minute."
    )
    allow_intrusive: bool = Field(
        False, description="Allow the POSTs of `csrf`; everything else is a GET, a preflight or a login."
    )
    paths: tuple[Path, ...] = Field(("/",), min_length=1, description="Pages and API routes whose headers are checked.")
    session_cookie: str | None = Field(
        None, description="Name of the session cookie; recognized by its name by default."
    )
    users: dict[str, User] = Field(default_factory=dict, description="Synthetic users, by a name of your own.")
    protected: tuple[Path, ...] = Field((), description="What only logged-in users may GET; each user must be able to.")
    protected_marker: str | None = Field(None, description="Text of those pages that only a logged-in user is shown.")
    expired_token: Secret | None = Field(None, description="A genuine token that has expired, to be refused.")
    jwks_url: BaseUrl | None = Field(
        None,
        description="Key set that the issuer of tokens publishes: none of its keys may be taken for a shared secret.",
    )
    foreign_token: Secret | None = Field(None, description="A valid token for another audience, to be refused.")
    functions: tuple[Restriction, ...] = Field((), description="Functions that only some roles may use.")
    objects: tuple[Restriction, ...] = Field((), description="Objects of one user that others may not read.")
    validation: tuple[Parameter, ...] = Field((), description="Parameters with a type, such as a number.")
    sql: tuple[Parameter, ...] = Field((), description="Parameters that select rows of a database.")
    xss: tuple[Parameter, ...] = Field((), description="Parameters that are shown in a page.")
    cors: tuple[Cors, ...] = Field((), description="Routes that scripts may ask from other origins.")
    csrf: tuple[Csrf, ...] = Field((), description="Routes that take a POST from a session.")

    @model_validator(mode="after")
    def _known_users(self) -> Self:
        named = [name for rule in (*self.functions, *self.objects) for name in (rule.allowed, *rule.refused)]
        parameters = (*self.validation, *self.sql, *self.xss)
        named += [user for user in (*(one.user for one in parameters), *(one.user for one in self.cors)) if user]
        named += [one.user for one in self.csrf]
        if unknown := sorted(set(named) - set(self.users)):
            raise ValueError(f"no user is named {unknown[0]}, expected one of users")
        for rule in (*self.functions, *self.objects):
            if rule.allowed in rule.refused:
                raise ValueError(f"{rule.path} both allows and refuses {rule.allowed}")
        return self
