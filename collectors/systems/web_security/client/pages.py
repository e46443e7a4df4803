"""Pages as anybody sees them."""

from __future__ import annotations

from collectors.systems.web_security.client.application import Application
from collectors.systems.web_security.model.csp import nonces
from collectors.systems.web_security.model.looks import Shown
from collectors.systems.web_security.model.pages import enforced_policies
from collectors.systems.web_security.model.words import word
from exporter.reply import Reply

__all__ = ["see_error", "see_page"]


async def see_page(application: Application, path: str) -> Shown:
    """A page, twice where a nonce in its policy has to change."""
    reply = await application.get(path)
    return Shown(reply, await application.get(path) if nonces(enforced_policies(reply)) else None)


async def see_error(application: Application) -> Reply:
    """What is answered to an address that does not exist."""
    return await application.get(f"/pc7x-{word()}")
