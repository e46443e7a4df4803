"""What APIs answer to a key, and key sets of issuers. Only GET is sent."""

from __future__ import annotations

from collectors.systems.secrets.model.access import Answers
from collectors.systems.secrets.model.endpoints import ApiKey, KeySet
from collectors.systems.secrets.model.tokens import SigningKey, parse_jwks
from exporter.http import Http

__all__ = ["fetch_keys", "try_key"]


async def fetch_keys(settings: KeySet) -> list[SigningKey]:
    """The signing keys of a key set. Raises ProbeError without an answer that is one."""
    http = Http(settings)
    try:
        reply = await http.get()
    finally:
        await http.close()
    return parse_jwks(reply.body, settings.url)


async def try_key(key: ApiKey) -> Answers:
    """The statuses of the allowed path without the key, of the allowed path, and of the forbidden one. Raises ProbeError."""
    stranger = Http(key.model_copy(update={"bearer_token": None, "username": None, "password": None, "headers": {}}))
    owner = Http(key)
    try:
        unknown = (await stranger.get(key.allowed, expect=None)).status
        allowed = (await owner.get(key.allowed, expect=None)).status
        forbidden = (await owner.get(key.forbidden, expect=None)).status
    finally:
        await stranger.close()
        await owner.close()
    return Answers(unknown, allowed, forbidden)
