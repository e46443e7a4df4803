"""One application, asked slowly: nothing that one answer sets is sent with the next request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from http.cookies import CookieError, SimpleCookie
from typing import Literal
from urllib.parse import quote, urlencode

from collectors.shared.tasks import started
from collectors.systems.web_security.model.cookies import parse_cookies
from collectors.systems.web_security.model.looks import Credentials
from collectors.systems.web_security.model.options import WebSecurityOptions
from collectors.systems.web_security.model.routes import Login, Parameter, User
from collectors.systems.web_security.model.tokens import expiry
from exporter.http import Http, HttpSettings
from exporter.reply import Reply
from exporter.verdict import ProbeError, Reason

__all__ = ["Application", "Form"]

Form = Literal["form", "json", "multipart", "text"]
"""How the fields of a POST are sent."""

_AGENT = "checklist-exporter (security_configuration; harmless checks, see the operators of this environment)"
_MAX_BYTES = 2**20
_SOON = timedelta(seconds=20)
_FORM = "application/x-www-form-urlencoded"


class Application:
    """Sends one request after the other, at least `pause` apart, each by a connection and without cookies of its own."""

    def __init__(self, options: WebSecurityOptions) -> None:
        self.options = options
        self._turn = asyncio.Lock()
        self._next = 0.0
        self._logins: dict[str, asyncio.Task[Credentials]] = {}

    async def get(
        self, path: str, who: Credentials | None = None, *, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """GET as somebody, or as a stranger. Raises ProbeError where there is no reply; every status is one."""
        return await self._send("GET", path, who, headers or {}, None)

    async def head(self, path: str) -> Reply:
        """HEAD as a stranger. Raises ProbeError where there is no reply."""
        return await self._send("HEAD", path, None, {}, None)

    async def preflight(self, path: str, origin: str, method: str, header: str | None = None) -> Reply:
        """Ask, as browsers do first and without credentials, whether scripts on an origin may send something."""
        headers = {"Origin": origin, "Access-Control-Request-Method": method}
        if header is not None:
            headers["Access-Control-Request-Headers"] = header
        return await self._send("OPTIONS", path, None, headers, None)

    async def send_value(self, parameter: Parameter, value: object, suffix: str = "") -> Reply:
        """Send a route a value for its parameter; raises ProbeError as `get` and `login` do.

        `suffix` is put after the name of the parameter, where that is not in a JSON document.
        """
        who = await self.user(parameter.user) if parameter.user else None
        if parameter.name is None:
            return await self.get(parameter.path.replace("{value}", quote(str(value), safe="")), who)
        if parameter.post == "json":
            content = json.dumps({**parameter.fields, parameter.name: value}).encode()
            return await self._send("POST", parameter.path, who, {"Content-Type": "application/json"}, content)
        pairs = [*parameter.fields.items(), *((parameter.name + suffix, str(one)) for one in _several(value))]
        if parameter.post == "form":
            return await self._send("POST", parameter.path, who, {"Content-Type": _FORM}, urlencode(pairs).encode())
        mark = "&" if "?" in parameter.path else "?"
        return await self.get(f"{parameter.path}{mark}{urlencode(pairs)}", who)

    async def post(
        self, path: str, who: Credentials | None, *, fields: Mapping[str, str], headers: Mapping[str, str], form: Form
    ) -> Reply:
        """POST fields as a form of some type, or as JSON. Raises ProbeError where there is no reply."""
        kind, content = _encoded(fields, form)
        return await self._send("POST", path, who, {"Content-Type": kind, **headers}, content.encode())

    async def _send(
        self, method: str, path: str, who: Credentials | None, headers: Mapping[str, str], content: bytes | None
    ) -> Reply:
        options = self.options
        settings = HttpSettings(
            url=options.url,
            headers=options.headers,
            tls=options.tls,
            timeout=options.request_timeout,
            max_bytes=_MAX_BYTES,
        )
        sent = {"User-Agent": _AGENT, **(who.headers if who else {}), **headers}
        async with self._turn:
            clock = asyncio.get_running_loop()
            await asyncio.sleep(self._next - clock.time())
            try:
                async with Http(settings, connections=1) as http:
                    return await http.request(method, path, headers=sent, content=content, expect=None)
            finally:
                self._next = clock.time() + options.pause.total_seconds()

    async def user(self, name: str) -> Credentials:
        """The credentials of a synthetic user, who logs in once a run, and again when the token expires.

        Raises ProbeError when that does not succeed.
        """
        user = self.options.users[name]
        if user.login is None:
            return _static(user)
        held = self._logins.get(name)
        if held is None or _expires_soon(held):
            held = self._logins[name] = started(self._login(user.login))
        return await asyncio.shield(held)

    async def _login(self, login: Login) -> Credentials:
        fields = {key: value.get_secret_value() for key, value in login.fields.items()}
        reply = await self.post(login.path, None, fields=fields, headers={}, form="form" if login.form else "json")
        if reply.status not in (200, 201, 204, 302, 303):
            raise ProbeError(f"{reply.where} answered {reply.status} to the login of a synthetic user.", Reason.DENIED)
        cookies = parse_cookies(reply.headers.get_list("set-cookie"))
        if login.token is None:
            if not cookies:
                raise ProbeError(f"{reply.where} set no cookie at the login of a synthetic user.", Reason.DENIED)
            return Credentials(cookies={cookie.name: cookie.value for cookie in cookies}, set_cookies=cookies)
        found = reply.json()
        for key in login.token.split("."):
            found = found.get(key) if isinstance(found, dict) else None
        if not isinstance(found, str) or not found.isprintable() or not found.isascii():
            raise ProbeError(
                f"{reply.where} answered without {login.token}, where a token was expected.", Reason.MALFORMED
            )
        return Credentials(token=found, set_cookies=cookies)

    async def close(self) -> None:
        """End logins that nobody waits for any more."""
        for task in self._logins.values():
            task.cancel()
        await asyncio.gather(*self._logins.values(), return_exceptions=True)


def _encoded(fields: Mapping[str, str], form: Form) -> tuple[str, str]:
    """The content type and the body by which fields are sent."""
    match form:
        case "json":
            return "application/json", json.dumps(dict(fields))
        case "form":
            return _FORM, urlencode(fields)
        case "text":
            return "text/plain", "".join(f"{name}={value}\r\n" for name, value in fields.items())
        case _:
            mark = "pc7x-of-the-checklist-exporter"
            parts = (
                f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
                for name, value in fields.items()
            )
            return f"multipart/form-data; boundary={mark}", f"{''.join(parts)}--{mark}--\r\n"


def _several(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else [value]


def _expires_soon(login: asyncio.Task[Credentials]) -> bool:
    """Whether a token will have expired when it is used: a run takes minutes, many tokens live no longer."""
    if not login.done() or login.cancelled() or login.exception() is not None:
        return False
    token = login.result().token
    until = expiry(token) if token is not None else None
    return until is not None and until < datetime.now(UTC) + _SOON


def _static(user: User) -> Credentials:
    if user.bearer_token is not None:
        return Credentials(token=user.bearer_token.get_secret_value())
    assert user.cookie is not None
    try:
        cookies = {name: morsel.value for name, morsel in SimpleCookie(user.cookie.get_secret_value()).items()}
    except CookieError:
        cookies = {}
    if not cookies:
        raise ProbeError("The cookie of a synthetic user is not of the form name=value.", Reason.NOT_CONFIGURED)
    return Credentials(cookies=cookies)
