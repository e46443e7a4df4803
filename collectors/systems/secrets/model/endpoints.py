"""Where keys are that are judged by themselves: APIs, issuers of tokens, AWS, databases."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field

from collectors.shared.dsn import Dsn
from collectors.systems.secrets.model.access import IamPrincipal
from exporter.http import HttpSettings
from exporter.options import Duration, Options, Secret

__all__ = ["ApiKey", "DatabaseLogin", "KeyOptions", "KeySet", "SampleToken"]


def _accounts(privileged: dict[str, str]) -> dict[str, str]:
    for path, reason in privileged.items():
        if path.count("/") != 1 or not reason.strip():
            raise ValueError(f"expected namespace/name and a reason, not {path}")
    return privileged


class KeySet(HttpSettings):
    """A JSON Web Key Set that an issuer publishes."""


class SampleToken(Options):
    """A token that an application issued. It is read here and sent nowhere; it may have expired."""

    name: str = Field(min_length=1, description="What it is called in sentences.")
    token: Secret = Field(
        description="A JSON Web Token. The secret that signed it is compared with those that everybody knows."
    )


class ApiKey(HttpSettings):
    """An API, with the key as `bearer_token`, `username` and `password`, or among `headers`. Only GET is sent."""

    name: str = Field(min_length=1, description="What the key is called in sentences.")
    allowed: str = Field(pattern=r"^/", description="A path that answers GET with this key, and not without one.")
    forbidden: str = Field(pattern=r"^/", description="A path that exists, and that GET with this key must not read.")


class DatabaseLogin(Options):
    """A PostgreSQL whose sessions are checked."""

    name: str = Field(min_length=1, description="What it is called in sentences.")
    dsn: Dsn = Field(description="Connection string of a role with pg_monitor.")
    timeout: Duration = Field(
        timedelta(seconds=5), gt=timedelta(0), description="How long connecting, and the query, may take."
    )


class KeyOptions(Options):
    """Where keys are that are judged by themselves."""

    jwks: tuple[KeySet, ...] = Field((), description="Key sets of the issuers of tokens.")
    tokens: tuple[SampleToken, ...] = Field(
        (), description="Tokens whose signature is checked for a secret that everybody knows."
    )
    kms_keys: tuple[str, ...] = Field((), description="Keys of AWS KMS, by id, ARN or alias; requires `clients.aws`.")
    aws_secrets: tuple[str, ...] = Field(
        (), description="Secrets of AWS Secrets Manager, by name or ARN; requires `clients.aws`."
    )
    max_secret_age: Duration = Field(
        timedelta(days=90), gt=timedelta(0), description="How long a secret may be in use."
    )
    api_keys: tuple[ApiKey, ...] = Field(
        (), description="Keys for APIs, each with a call that it allows and one that it forbids."
    )
    iam_principals: tuple[IamPrincipal, ...] = Field(
        (), description="Roles and users of AWS, each with actions that it needs and others; requires `clients.aws`."
    )
    review_accounts: bool = Field(
        False, description="Ask the API server what the service accounts of workloads may do, by SubjectAccessReviews."
    )
    privileged_accounts: Annotated[dict[str, str], AfterValidator(_accounts)] = Field(
        default_factory=dict,
        description="Service account that may do everything in the cluster or read all Secrets, as namespace/name, to the "
        "reason why.",
    )
    databases: tuple[DatabaseLogin, ...] = Field(
        (), description="PostgreSQL servers on which each service has a role of its own."
    )
    services: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Service to its workloads, as namespace/name, where several are one service and may share credentials.",
    )
