"""What APIs answer to a key, and key sets of issuers. Only GET is sent."""

from __future__ import annotations

from collectors.systems.secrets.model.access import Answers
from collectors.systems.secrets.model.endpoints import ApiKey, KeySet
from collectors.systems.secrets.model.tokens import SigningKey, parse_jwks
from exporter.http import Http

__all__ = ["fetch_keys", "try_key"]


async def fetch_keys(settings: KeySet) -> list[SigningKey]:
    """The signing keys of a key set. Raises ProbeError without an answer that is one."""
    async with Http(settings) as http:
        reply = await http.get()
    return parse_jwks(reply.body, settings.url)


async def try_key(key: ApiKey) -> Answers:
    """The statuses of the allowed path without the key, of the allowed path, and of the forbidden one. Raises ProbeError."""
    nobody = key.model_copy(update={"bearer_token": None, "username": None, "password": None, "headers": {}})
    async with Http(nobody) as stranger, Http(key) as owner:
        unknown = (await stranger.get(key.allowed, expect=None)).status
        allowed = (await owner.get(key.allowed, expect=None)).status
        forbidden = (await owner.get(key.forbidden, expect=None)).status
    return Answers(unknown, allowed, forbidden)
