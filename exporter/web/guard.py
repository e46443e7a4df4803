"""In front of the application: who may ask, how often, and which headers every response has."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import bcrypt
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from exporter.web.access import Access, RateLimitOptions
from exporter.web.departures import Gone, Watched

__all__ = ["Bucket", "Guard", "TooManyLogins", "Users", "network"]

#: bcrypt reads no further; a longer password is a wrong one.
MAX_PASSWORD_BYTES = 72


#: Failed logins that one address may make at once, and how many a second in the long run.
FAILURES = 10
FAILURES_PER_SECOND = 1.0
#: Logins of one address that wait to be checked; the oldest gives way.
WAITING = 4
#: Addresses whose failures are remembered.
ADDRESSES = 4096


class TooManyLogins(Exception):
    """The address has too many logins that failed or wait to be checked."""


class _Attempt:
    """A user and a password to be checked, for everyone who sent this pair at the same time."""

    def __init__(self, address: str, user: str, password: bytes, hashed: bytes, proof: bytes) -> None:
        self.address = address
        self.user = user
        self.password = password
        self.hashed = hashed
        self.proof = proof
        self.waiting = 0
        self.right: asyncio.Future[bool] = asyncio.get_running_loop().create_future()


class _Address:
    """The logins of one address: those that wait, newest last, and how many may still fail now."""

    def __init__(self, now: float) -> None:
        self.waiting: list[_Attempt] = []
        self._failures = float(FAILURES)
        self._at = now

    def left(self, now: float) -> float:
        """How many logins may fail now."""
        self._failures = min(float(FAILURES), self._failures + (now - self._at) * FAILURES_PER_SECOND)
        self._at = now
        return self._failures

    def fail(self) -> None:
        """Count a failed login."""
        self._failures -= 1


class Users:
    """Checks passwords, one at a time. A right one costs bcrypt once; every wrong one costs the same, whoever it is for.

    Who has logged in once never waits. Each address has its own limits, and addresses take turns, so that guesses of one hold up
    no other.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._key = secrets.token_bytes(32)
        self._verified: dict[str, bytes] = {}
        self._attempts: dict[bytes, _Attempt] = {}
        self._addresses: OrderedDict[str, _Address] = OrderedDict()
        self._costs = 0
        self._news = asyncio.Event()
        self._working: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bcrypt")

    def verified(self, authorization: bytes, users: Mapping[str, bytes]) -> bool:
        """Whether an Authorization header is one that was right before, for one of `users` (name to bcrypt hash)."""
        user, password = _credentials(authorization)
        return user is not None and user in users and self._is_verified(user, self._proof(user, password, users[user]))

    async def admit(self, authorization: bytes, users: Mapping[str, bytes], address: str = "") -> bool:
        """Whether an Authorization header names one of `users` (name to bcrypt hash) with the right password.

        Raises TooManyLogins when it was not checked, since `address` has too many.
        """
        user, password = _credentials(authorization)
        if user is None or len(password) > MAX_PASSWORD_BYTES:
            return False
        hashed = users.get(user) or max(users.values(), key=_cost)
        proof = self._proof(user, password, hashed)
        if user in users and self._is_verified(user, proof):
            return True
        attempt = self._attempts.get(proof) or self._enqueue(_Attempt(address, user, password, hashed, proof), users)
        attempt.waiting += 1
        try:
            right = await asyncio.shield(attempt.right)
        finally:
            attempt.waiting -= 1
            if not attempt.waiting and not attempt.right.done():  # nobody waits for it any more
                self._drop(attempt)
        return right and user in users

    def _enqueue(self, attempt: _Attempt, users: Mapping[str, bytes]) -> _Attempt:
        address = self._addresses.get(attempt.address)
        if address is None:
            address = self._addresses[attempt.address] = _Address(self._now())
            self._forget()
        if len(address.waiting) >= WAITING:
            oldest = address.waiting[0]
            self._drop(oldest)
            oldest.right.set_exception(TooManyLogins())
            oldest.right.exception()  # known to be retrieved, whoever waits for it
        address.waiting.append(attempt)
        self._attempts[attempt.proof] = attempt
        self._costs = max(map(_cost, users.values()))
        self._news.set()
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work(), name="logins")
        return attempt

    def _forget(self) -> None:
        """Keep no more than `ADDRESSES`: the least recent of those for which nothing waits go."""
        for name in list(self._addresses)[: max(0, len(self._addresses) - ADDRESSES)]:
            if not self._addresses[name].waiting:
                del self._addresses[name]

    def _drop(self, attempt: _Attempt) -> None:
        self._attempts.pop(attempt.proof, None)
        if (address := self._addresses.get(attempt.address)) and attempt in address.waiting:
            address.waiting.remove(attempt)

    async def _work(self) -> None:
        """Check what waits, address by address in turn, the newest of each first, until nothing waits."""
        while any(address.waiting for address in self._addresses.values()):
            attempt = self._next()
            if attempt is None:  # all that wait have failed too often: one of them may go on soon
                self._news.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(1 / FAILURES_PER_SECOND / 4):
                        await self._news.wait()
                continue
            right = await asyncio.get_running_loop().run_in_executor(self._thread, _check, attempt, self._costs)
            self._attempts.pop(attempt.proof, None)
            if right:
                self._verified[attempt.user] = attempt.proof
            elif address := self._addresses.get(attempt.address):
                address.fail()
            if not attempt.right.done():
                attempt.right.set_result(right)

    def _next(self) -> _Attempt | None:
        now = self._now()
        for name, address in self._addresses.items():
            if address.waiting and address.left(now) >= 1:
                self._addresses.move_to_end(name)
                return address.waiting.pop()
        return None

    def _proof(self, user: str, password: bytes, hashed: bytes) -> bytes:
        """Stands for a user with a password and its hash, without them."""
        parts = (user.encode(), password, hashed)
        return hmac.digest(self._key, b"".join(len(part).to_bytes(4) + part for part in parts), hashlib.sha256)

    def _is_verified(self, user: str, proof: bytes) -> bool:
        return hmac.compare_digest(self._verified.get(user, b""), proof)

    def close(self) -> None:
        """Let go of the thread."""
        if self._working is not None:
            self._working.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)


def _check(attempt: _Attempt, costs: int) -> bool:
    """Whether the password is right. A wrong one costs as much as the costliest hash: 2^c + 2^c + ... + 2^(n-1) = 2^n rounds."""
    try:
        right = bcrypt.checkpw(attempt.password, attempt.hashed)
        if not right:
            for cost in range(_cost(attempt.hashed), costs):
                bcrypt.checkpw(attempt.password, b"$2b$%02d$" % cost + attempt.hashed[7:])
    except ValueError:  # what bcrypt takes for no password
        return False
    return right


def _cost(hashed: bytes) -> int:
    """The binary logarithm of a bcrypt hash's rounds."""
    return int(hashed[4:6])


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
    """ASGI middleware. `access` gives the access in force; `exempt` are the paths that everyone may ask at any rate."""

    def __init__(
        self, app: ASGIApp, access: Callable[[], Awaitable[Access]], users: Users, exempt: Iterable[str]
    ) -> None:
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
        access = await self._access()
        watched: Receive = receive

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [header for header in message["headers"] if header[0] not in replaced]
                message = {**message, "headers": [*own, *access.headers]}
            await send(message)

        replaced = {name for name, _ in access.headers}
        if scope["path"] not in self._exempt:
            if access.users and not self._users.verified(authorization := _authorization(scope), access.users):
                watched = Watched(receive)
                login = self._users.admit(authorization, access.users, _address(scope))
                try:
                    right = await watched.unless_gone(login)
                except Gone:
                    return
                except TooManyLogins:
                    await _answer(guarded, 429, "Too many failed logins from this address.", _RETRY)
                    return
                if not right:
                    await _answer(guarded, 401, "User or password is wrong or missing.", _CHALLENGE)
                    return
            if not self._bucket.take(access.rate_limit):  # strangers take none of the rate that users have
                await _answer(guarded, 429, "Too many requests.", _RETRY)
                return
        await self._app(scope, watched, guarded)


_CHALLENGE = (b"www-authenticate", b'Basic realm="checklist-exporter", charset="UTF-8"')
_RETRY = (b"retry-after", b"1")


def _authorization(scope: Scope) -> bytes:
    return next((value for name, value in scope["headers"] if name == b"authorization"), b"")


def _address(scope: Scope) -> str:
    """Who asks: an IPv4 address, or the /64 network of an IPv6 one, all of which one host may have."""
    client = scope.get("client")
    return network(client[0]) if client else ""


def network(host: str) -> str:
    """The part of an address that stands for one host; the address itself where it is none."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, 64), strict=False))


async def _answer(send: Send, status: int, text: str, header: tuple[bytes, bytes]) -> None:
    body = f"{text}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode()), header]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
