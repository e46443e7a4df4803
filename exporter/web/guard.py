"""Stands before the application: who may ask, how often, and which headers every response has."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

import bcrypt
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from exporter.web.access import Access, RateLimitOptions

__all__ = ["Bucket", "Guard", "Users"]

#: bcrypt reads no further; a longer password is a wrong one.
MAX_PASSWORD_BYTES = 72


class Users:
    """Checks passwords. A right one costs a bcrypt round once, an unknown user as much as a wrong password."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._verified: dict[str, bytes] = {}
        self._lock = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bcrypt")

    async def admit(self, authorization: bytes, users: Mapping[str, bytes]) -> bool:
        """Whether an Authorization header names one of `users` (name to bcrypt hash) with the right password."""
        user, password = _credentials(authorization)
        if user is None or len(password) > MAX_PASSWORD_BYTES:
            return False
        hashed = users.get(user) or next(iter(users.values()))
        proof = hmac.digest(self._key, hashed + password, hashlib.sha256)
        if self._is_verified(user, proof, users):
            return True
        async with self._lock:
            if self._is_verified(user, proof, users):
                return True
            loop = asyncio.get_running_loop()
            right = await loop.run_in_executor(self._thread, bcrypt.checkpw, password, hashed)
            if right and user in users:
                self._verified[user] = proof
        return right and user in users

    def _is_verified(self, user: str, proof: bytes, users: Mapping[str, bytes]) -> bool:
        return user in users and hmac.compare_digest(self._verified.get(user, b""), proof)

    def close(self) -> None:
        """Let go of the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _credentials(authorization: bytes) -> tuple[str | None, bytes]:
    """User and password of a Basic Authorization header (RFC 7617); no user when it is none."""
    scheme, _, encoded = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return None, b""
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        return (user.decode(), password) if colon else (None, b"")
    except (binascii.Error, UnicodeDecodeError):
        return None, b""


class Bucket:
    """A token bucket: `burst` requests at once, then one in every `interval`."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._limit: RateLimitOptions | None = None
        self._tokens = 0.0
        self._at = 0.0

    def take(self, limit: RateLimitOptions) -> bool:
        """Whether one more request may be answered."""
        if not limit.seconds:
            return True
        now = self._now()
        if limit != self._limit:
            self._limit, self._tokens, self._at = limit, float(limit.burst), now
        self._tokens = min(float(limit.burst), self._tokens + (now - self._at) / limit.seconds)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Guard:
    """ASGI middleware. `access` tells what holds now; `exempt` are the paths that everyone may ask at any rate."""

    def __init__(self, app: ASGIApp, access: Callable[[], Access], users: Users, exempt: Iterable[str]) -> None:
        self._app = app
        self._access = access
        self._users = users
        self._exempt = frozenset(exempt)
        self._bucket = Bucket()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the application answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        access = self._access()

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [header for header in message["headers"] if header[0] not in replaced]
                message = {**message, "headers": [*own, *access.headers]}
            await send(message)

        replaced = {name for name, _ in access.headers}
        if scope["path"] not in self._exempt and (refusal := await self._refusal(scope, access)):
            await _answer(guarded, *refusal)
        else:
            await self._app(scope, receive, guarded)

    async def _refusal(self, scope: Scope, access: Access) -> tuple[int, str, tuple[bytes, bytes] | None] | None:
        if not self._bucket.take(access.rate_limit):
            return 429, "Too many requests.", (b"retry-after", b"1")
        if access.users:
            authorization = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
            if not await self._users.admit(authorization, access.users):
                challenge = b'Basic realm="checklist-exporter", charset="UTF-8"'
                return 401, "Wrong or no user and password.", (b"www-authenticate", challenge)
        return None


async def _answer(send: Send, status: int, text: str, header: tuple[bytes, bytes] | None) -> None:
    body = f"{text}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *([header] if header else [])]})
    await send({"type": "http.response.body", "body": body})
