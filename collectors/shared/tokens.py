"""Forms of tokens that services publish: what is a secret whatever it is called."""

from __future__ import annotations

import functools
import importlib
import re

__all__ = ["known_tokens"]

#: Plugins of detect-secrets that recognise tokens by their form alone. Twilio's takes account numbers for secrets, and that of npm
#: takes minutes for a long line with many addresses.
_PLUGINS = (
    "artifactory", "azure_storage_key", "discord", "github_token", "gitlab_token", "mailchimp", "openai", "pypi_token",
    "sendgrid", "slack", "square_oauth", "stripe", "telegram_token",
)  # fmt: skip
#: Prefixes that services publish and detect-secrets 1.5 does not know.
_FURTHER = re.compile(
    r"(?:\b|(?=:))(?:AIza[\w-]{35}|sk-(?:ant|proj|svcacct)-[\w-]{20,}|github_pat_\w{30,}|npm_[A-Za-z0-9]{36}|hv[sb]\.[\w-]{24,}|dckr_pat_[\w-]{20,}"
    r"|do[opr]_v1_[0-9a-f]{64}|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}|glsa_\w{32,}|xapp-\d-[\w-]{20,}|SK[0-9a-f]{32}\b|ya29\.[\w-]{20,}"
    r"|:_authToken=\s?[\"']?(?:npm_\w{20,}|[0-9A-Fa-f-]{36}\b)|whsec_[A-Za-z0-9+/]{24,}|hf_[A-Za-z]{34}|atlasv1\.[\w-]{40,}|lin_api_\w{32,}|tfp_\w{40,})"
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
