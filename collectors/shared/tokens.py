"""Forms of tokens that services publish: what is a secret whatever it is called."""

from __future__ import annotations

import functools
import importlib
import re

__all__ = ["known_tokens"]

#: Plugins of detect-secrets that recognise tokens by their form alone. Twilio's takes account numbers for secrets, that of Telegram
#: names of disks, and that of npm takes minutes for a long line with many addresses.
_PLUGINS = (
    "artifactory", "azure_storage_key", "discord", "github_token", "gitlab_token", "mailchimp", "openai", "pypi_token",
    "sendgrid", "slack", "square_oauth", "stripe",
)  # fmt: skip
#: Prefixes that services publish and detect-secrets 1.5 does not know.
_FURTHER = re.compile(
    r"(?:\b|(?=:))(?:AIza[\w-]{35}|sk-(?:ant|proj|svcacct)-[\w-]{20,}|github_pat_\w{30,}|npm_[A-Za-z0-9]{36}|hv[sb]\.[\w-]{24,}|dckr_pat_[\w-]{20,}"
    r"|do[opr]_v1_[0-9a-f]{64}|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}|glsa_\w{32,}|xapp-\d-[\w-]{20,}|SK[0-9a-f]{32}\b|ya29\.[\w-]{20,}"
    r"|:_authToken=\s?[\"']?(?:npm_\w{20,}|[0-9A-Fa-f-]{36}\b)|whsec_[A-Za-z0-9+/]{24,}|hf_[A-Za-z]{34}|atlasv1\.[\w-]{40,}|lin_api_\w{32,}|tfp_\w{40,}"
    r"|dp\.(?:pt|st|ct|sa|scim|audit)\.(?:[\w-]+\.)?\w{40,}|dapi[0-9a-f]{32}|https://[\w-]+\.webhook\.office\.com/webhookb2/\S{60,}"
    r"|rubygems_[0-9a-f]{48}|sntry[su]_\w{40,}|pul-[0-9a-f]{40}|pnu_[a-z0-9]{36}|rdme_[a-z0-9]{70}|dt0c01\.[A-Z0-9]{24}\.[A-Z0-9]{64}"
    r"|v1\.0-[0-9a-f]{24}-[0-9a-f]{146}|LTAI[A-Za-z0-9]{16,20}\b|sm_(?:pat|aat|sat)_\w{16}|sha256~[\w-]{43}|s-s4t2(?:ud|af)-[0-9a-f]{64}"
    r"|[ps]at\.[\w-]{22}\.[0-9a-f]{24}\.\w{20}|API-[A-Z0-9]{26}\b|sgp_(?:[0-9a-f]{16}_|local_)?[0-9a-f]{40}|shippo_(?:live|test)_[0-9a-f]{40}"
    r"|gl(?:dt|rt|ft|soat|cbt|ptt|imt|agent|oas)-[\w-]{20,}|FLWSECK-[0-9a-f]{32}-X|ntn_\w{40,}|sbp_[0-9a-f]{40}|pplx-\w{40,}|NRAK-[A-Z0-9]{27}|PMAK-[0-9a-f]{24}-[0-9a-f]{34}"
    r"|pscale_(?:tkn|pw|oauth)_[\w.-]{32,}|https://discord(?:app)?\.com/api/webhooks/\d{15,}/[\w-]{40,}|ATATT3xFfGF0\S{100,}"
    r"|\bkey-[0-9a-f]{32}\b|glc_\w{32,}|\b\d{8,10}:AA[\w-]{33}\b"
    r"|AAAA[\w-]{7}:APA91b[\w-]{100,})"
)


@functools.cache
def known_tokens() -> tuple[re.Pattern[str], ...]:
    """The forms of tokens that are known. The library is imported by whoever looks for the first time: it takes half a second."""
    patterns = [_FURTHER]
    for plugin in _PLUGINS:
        module = importlib.import_module(f"detect_secrets.plugins.{plugin}")
        for value in vars(module).values():
            if isinstance(value, type) and value.__module__ == module.__name__:
                patterns += getattr(value, "denylist", ())
    return tuple(patterns)
