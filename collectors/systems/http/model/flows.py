"""Flows of several requests, such as a login and what follows."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

from pydantic import Field, model_validator

from collectors.systems.http.model.conditions import Condition
from collectors.systems.http.model.otp import OTP, Totp
from collectors.systems.http.model.steps import Step
from exporter.http import BaseUrl, HttpSettings, Trust
from exporter.options import Duration, Options

__all__ = ["Flow"]


class Flow(Options):
    """A synthetic user's login and what follows, at most once in five minutes."""

    url: BaseUrl = Field(description="Address of the API.")
    tls: Trust = Field(Trust(), description="TLS: trusted authorities and client certificate.")
    timeout: Duration = Field(timedelta(seconds=5), gt=timedelta(0), description="Timeout of one request in total.")
    locked_when: Condition = Field(
        "status == 423",
        description="How an answer shows that the account is locked: the line is unknown, and nothing is sent for an hour.",
    )
    totp: Totp | None = Field(
        None, description="Second factor of the synthetic user: `$(otp)` in a step is its password of the moment."
    )
    steps: tuple[Step, ...] = Field(min_length=2, description="The requests, in their order.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        known: set[str] = set()
        used: set[str] = set()
        for step in self.steps:
            if OTP in step.extract and self.totp is not None:
                raise ValueError(f"the step {step.name} extracts $({OTP}), which `totp` gives")
            if unknown := sorted(step.used() - known - ({OTP} if self.totp else set())):
                raise ValueError(
                    f"the step {step.name} uses $({unknown[0]}), which no earlier step extracts (write $$( for the characters)"
                )
            used |= step.used()
            known |= set(step.extract)
        if self.totp is not None and OTP not in used:
            raise ValueError(f"expected a step that uses $({OTP}), as `totp` is set")
        if not used - ({OTP} if self.totp else set()):
            raise ValueError("expected a step that uses a variable: without one nothing depends on the login")
        if unused := sorted(known - used):
            raise ValueError(f"the variable {unused[0]} is extracted, and no later step uses it")
        if len({step.name for step in self.steps}) < len(self.steps):
            raise ValueError("expected steps with different names")
        return self

    def reached(self) -> HttpSettings:
        """How the API is asked."""
        return HttpSettings(url=self.url, tls=self.tls, timeout=self.timeout, max_bytes=2**20)
