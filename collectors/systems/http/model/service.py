"""How a service is reached: the options that every section of services has."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from exporter.http import BaseUrl, HttpSettings, Trust
from exporter.options import Duration, Options, Secret, Size

__all__ = ["RequestOptions", "Service"]


class RequestOptions(Options):
    """How a service may be asked, for the section and for one target."""

    request_timeout: Duration = Field(
        timedelta(seconds=5),
        gt=timedelta(0),
        description="How long a service may take for one answer; keep it below the section's `timeout`.",
    )
    max_bytes: Size = Field(4 * 2**20, gt=0, description="Maximum size of an answer.")


class Service(Options):
    """Where a service is, and how the exporter identifies itself to it."""

    url: BaseUrl = Field(
        description="Address of the service as its callers within the environment reach it, without a path to its endpoints."
    )
    public_url: BaseUrl | None = Field(
        None, description="Address under which the public reaches it; requests to it carry no credentials."
    )
    username: str | None = Field(None, description="User for basic authentication.")
    password: Secret | None = Field(None, description="Password for basic authentication.")
    bearer_token: Secret | None = Field(None, description="Token sent as `Authorization: Bearer`.")
    headers: dict[str, Secret] = Field(default_factory=dict, description="Headers to send to `url`.")
    tls: Trust = Field(Trust(), description="Whom to trust, and who we are, where addresses begin with https://.")

    def reached(self, options: RequestOptions) -> HttpSettings:
        """How `url` is asked."""
        return HttpSettings(
            url=self.url,
            username=self.username,
            password=self.password,
            bearer_token=self.bearer_token,
            headers=self.headers,
            tls=self.tls,
            timeout=options.request_timeout,
            max_bytes=options.max_bytes,
        )

    def reached_publicly(self, options: RequestOptions) -> HttpSettings | None:
        """How `public_url` is asked, as anybody would; None without one."""
        if self.public_url is None:
            return None
        return HttpSettings(
            url=self.public_url,
            tls=Trust(ca_file=self.tls.ca_file, insecure_skip_verify=self.tls.insecure_skip_verify),
            timeout=options.request_timeout,
            max_bytes=options.max_bytes,
        )
