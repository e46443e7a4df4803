"""Security Configuration"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import TypeVar

from pydantic import Field

from collectors.shared.verdicts import collected, verdict
from collectors.systems.web_security.client.access import ask_as_others, ask_without_rights, confuse_keys
from collectors.systems.web_security.client.application import Application
from collectors.systems.web_security.client.forgery import forge_post
from collectors.systems.web_security.client.origins import see_origins
from collectors.systems.web_security.client.pages import see_error, see_page
from collectors.systems.web_security.client.values import try_sql, try_value, try_xss
from collectors.systems.web_security.judge.access import authentication_problems, authorization_problems
from collectors.systems.web_security.judge.cors import cors_problems
from collectors.systems.web_security.judge.forgery import forgery_problems, same_site_problems
from collectors.systems.web_security.judge.headers import cookie_problems, error_page_problems, header_problems
from collectors.systems.web_security.judge.values import reflection_problems, sql_problems, validation_problems
from collectors.systems.web_security.model.cookies import Cookie, parse_cookies, session_cookies
from collectors.systems.web_security.model.looks import Credentials, Shown
from collectors.systems.web_security.model.options import WebSecurityOptions
from collectors.systems.web_security.model.routes import Cors, Csrf, Parameter, Restriction
from collectors.systems.web_security.model.tokens import expiry
from exporter.collector import Collector, SectionSettings, Target, fetched, item
from exporter.options import Duration
from exporter.verdict import CRITICAL, WARNING, ProbeError, Reason, Result, ok, unknown, unobserved, warning, worst
from exporter.words import counted

T = TypeVar("T")

_MARGIN = timedelta(minutes=2)  # verifiers allow for clocks that differ


class SecurityTarget(Target, WebSecurityOptions):
    """An application."""


class SecurityConfigurationSettings(SectionSettings):
    """Options of the section. It asks slowly, so a run takes minutes."""

    every: Duration = Field(timedelta(hours=1), gt=timedelta(0), description="How often the section is verified.")
    timeout: Duration = Field(
        timedelta(hours=1), gt=timedelta(0), description="How long one item may take before it is `unknown`."
    )
    targets: tuple[SecurityTarget, ...] = Field(min_length=1, description="The applications to check.")


class SecurityConfiguration(Collector[SecurityConfigurationSettings, SecurityTarget]):
    """Asks an application as browsers, strangers and users without rights would, by GET but for what is declared."""

    Settings = SecurityConfigurationSettings
    Target = SecurityTarget
    rights = """\
Synthetic users of the application that can read and change nothing of value: one for protected pages, two for objects that
only one of them may read, and one of the role that functions need. Without users, only headers, CORS and input are checked.
"""

    async def open(self) -> None:
        """Requests are sent one after the other, whichever line asks."""
        self._application = Application(self.target)
        self.resources.push_async_callback(self._application.close)

    async def _each(
        self, option: str, many: Sequence[T], look: Callable[[T], Awaitable[Iterable[Result]]], good: str
    ) -> Result:
        """Look at each of what an option declares; without any the line is unknown."""
        if not many:
            return unknown(
                f"Option {option} of {self.target.name} is not set, so nothing was checked.",
                reason=Reason.NOT_CONFIGURED,
            )
        problems: list[Result] = []
        for one in many:
            try:
                problems += await look(one)
            except ProbeError as why:
                problems.append(unobserved(why))
        return verdict(problems, ok(good))

    @fetched
    async def pages(self) -> list[Shown | ProbeError]:
        """Every page of `paths`, as a stranger sees it."""
        shown: list[Shown | ProbeError] = []
        for path in self.target.paths:
            try:
                shown.append(await see_page(self._application, path))
            except ProbeError as why:
                shown.append(why)
        return shown

    @item("Security headers are configured (CSP, X-Frame-Options, etc.)", severity=WARNING, needs=("option paths",))
    async def security_headers_configured(self) -> Result:
        """Headers tell browsers to stop what an application overlooked: injected scripts, framing, guessed types.

        Each of `paths` is read. A page has a Content-Security-Policy that is enforced and stops injected scripts, which is judged
        by the policy's grammar (nonces, hashes, strict-dynamic; the same nonce twice, or a short one, protects nothing), may be
        framed only by named origins (`frame-ancestors`, else X-Frame-Options), and pages and API routes are sent with nosniff.
        Session cookies are HttpOnly and Secure. A page that does not exist is read as well: an error page without these headers is
        a warning.

        How to fix it: send the header that is named, from the application or from the gateway, with every status.
        """
        problems: list[Result] = []
        for shown in await self.pages():
            problems += (
                [unobserved(shown)]
                if isinstance(shown, ProbeError)
                else header_problems(shown, self.target.session_cookie)
            )
        try:
            problems += error_page_problems(await see_error(self._application))
        except ProbeError as why:
            problems.append(unobserved(why))
        seen = [*(await self._all_cookies())]
        for name in self.target.users:
            login = await self._login_cookies(name)
            problems += cookie_problems(f"{self.target.url} at login", login, self.target.session_cookie, login=True)
            seen += login
        declared = self.target.session_cookie
        if declared is not None and not any(cookie.name == declared for cookie in seen):
            problems.append(
                unknown(
                    f"{self.target.name} set no cookie named {declared} on its paths or at login, so whether scripts can read it "
                    "was not checked.",
                    reason=Reason.MISSING,
                )
            )
        count = counted(len(self.target.paths), "path")
        return verdict(problems, ok(f"The headers of {count} of {self.target.name} protect its users."))

    async def _login_cookies(self, name: str) -> tuple[Cookie, ...]:
        """The cookies by which a user is logged in; those beside a token log nobody in."""
        try:
            who = await self._application.user(name)
        except ProbeError:
            return ()  # the lines that need the user say so
        return who.set_cookies if who.token is None else ()

    @item("CORS policies are properly configured", severity=CRITICAL, needs=("option cors",))
    async def cors_configured(self) -> Result:
        """A policy that lets any origin read answers gives every site what the user sees here.

        Each route of `cors` is read from an unrelated origin, from null, and from origins that resemble each allowed one: as
        prefix, as suffix, as subdomain, in another top-level domain, with a dot replaced, without TLS, on another port; from
        localhost; with a cookie, and some also without, because some frameworks answer differently. A preflight shows whether an
        unrelated origin may send PUT with the user's cookies. The origins of `allowed_origins` are the control: they must be able
        to read it as `user`, with the cookies or, by their preflight, with the token.

        How to fix it: compare whole origins with a list; no patterns, no null, no reflection of what was sent.
        """

        async def look(rule: Cors) -> Iterable[Result]:
            return cors_problems(await see_origins(self._application, rule), rule)

        routes = counted(len(self.target.cors), "route")
        good = f"Only the allowed origins may read {routes} of {self.target.name}."
        return await self._each("cors", self.target.cors, look, good)

    @item("Authentication middleware is active", severity=CRITICAL, needs=("options users and protected",))
    async def authentication_active(self) -> Result:
        """A guard that only looks whether there is a token lets in whoever writes one.

        Each page of `protected` is read by the first of `users`, who must get it, and then without credentials, with garbage, with
        `alg: none`, and with a wrong or an empty signature; a session cookie is forged. A stranger also tries other spellings and
        versions of its path, headers that only proxies should send, and HEAD; the token must not be signed with a well-known
        secret, and at last the user must still get it. A token that the
        exporter itself got and that has expired since, `expired_token` and `foreign_token` are tried, too, and with `jwks_url`
        tokens that are signed with the issuer's public key as if it were a secret. Every one of them must be refused or sent to a
        login.

        How to fix it: verify signature, algorithm, expiry and audience with a library, and look sessions up in their store.
        """
        users = list(self.target.users)
        if not users or not self.target.protected:
            return unknown(
                f"Options users and protected of {self.target.name} are not set, so nobody's credentials were checked.",
                reason=Reason.NOT_CONFIGURED,
            )
        expired = self._expired_token()
        foreign = self.target.foreign_token.get_secret_value() if self.target.foreign_token else None
        genuine = {"a genuine token that has expired": expired, "a token for another audience": foreign}
        unread: list[Result] = []
        try:
            genuine |= await confuse_keys(self._application, await self._application.user(users[0]))
        except ProbeError as why:
            unread.append(unobserved(why))

        async def look(path: str) -> Iterable[Result]:
            access = await ask_as_others(self._application, path, users[0], genuine)
            self._remember(await self._application.user(users[0]))
            return authentication_problems(access, self.target.protected_marker)

        pages = counted(len(self.target.protected), "protected page")
        good = f"{pages} of {self.target.name} refused strangers and forged credentials"
        good += "." if expired else "; an expired token was not tried, because there is none yet."
        return worst(await self._each("protected", self.target.protected, look, good), *unread)

    def _remember(self, who: Credentials) -> None:
        """Keep the newest token, to try it once it has expired."""
        if who.token is not None and (until := expiry(who.token)) is not None:
            held = self.context.memory.get("held")
            if held is None or held[1] + _MARGIN < self.context.now():
                self.context.memory["held"] = (who.token, until)

    def _expired_token(self) -> str | None:
        if self.target.expired_token is not None:
            return self.target.expired_token.get_secret_value()
        token, until = self.context.memory.get("held", (None, None))
        return token if until is not None and until + _MARGIN < self.context.now() else None

    @item("Authorization checks are enforced", severity=CRITICAL, needs=("options users, functions and objects",))
    async def authorization_enforced(self) -> Result:
        """A user who is logged in may still not read what belongs to others, nor use what only administrators may.

        Each of `functions` and `objects` is read by the user who may, who must get it, and by those who may not: each of them is
        first let into the first page of `protected`, so that a refusal is not just an expired session. The first of them also
        tries other spellings and versions of its path and headers that only proxies should send; a stranger reads it, too, and so
        does a forged token of the user who may.

        How to fix it: check the role and the owner in the handler or the query, for every route.
        """
        target = self.target
        if not target.protected:
            return unknown(
                f"Option protected of {target.name} is not set: without a page that every user may read, refusals show nothing.",
                reason=Reason.NOT_CONFIGURED,
            )
        rules = [(rule, "a function") for rule in target.functions] + [(rule, "an object") for rule in target.objects]
        problems: list[Result] = []
        for name in dict.fromkeys(name for rule, _ in rules for name in rule.refused):
            problems += collected(await self._logged_in(name))

        async def look(rule: tuple[Restriction, str]) -> Iterable[Result]:
            return authorization_problems(await ask_without_rights(self._application, rule[0]), rule[1])

        what = f"{counted(len(target.functions), 'function')} and {counted(len(target.objects), 'object')}"
        good = f"{what} of {target.name} were refused to users without the right."
        found = await self._each("functions and objects", rules, look, good)
        if not target.functions or not target.objects:
            missing = "functions" if not target.functions else "objects"
            problems.append(warning(f"{good} Option {missing} is not set, so only the others were checked."))
        return verdict([*problems, found], found) if problems else found

    async def _logged_in(self, name: str) -> Iterator[Result]:
        path = self.target.protected[0]
        try:
            reply = await self._application.get(path, await self._application.user(name))
        except ProbeError as why:
            return iter((unobserved(why),))
        if 200 <= reply.status < 300:
            return iter(())
        sentence = (
            f"{reply.where} answered {reply.status} to user {name}, so what else is refused to this user shows nothing."
        )
        return iter((unknown(sentence, reason=Reason.DENIED),))

    def _harmless(self, parameter: Parameter) -> Parameter:
        """The parameter, if it may be sent. Raises ProbeError where that takes a POST that is not allowed."""
        if parameter.post is not None and not self.target.allow_intrusive:
            raise ProbeError(
                f"Parameter {parameter.name} of {parameter.path} is sent by POST, which requires option allow_intrusive of "
                f"{self.target.name}.",
                Reason.NOT_CONFIGURED,
            )
        return parameter

    @item("Input validation is enabled", severity=WARNING, needs=("option validation",))
    async def input_validation_enabled(self) -> Result:
        """Values of the wrong type that are taken turn up later, as errors or as attacks, where nobody expects them.

        Each parameter of `validation` is sent with its value, which must be accepted, and with a value of another type, which must
        be refused with 400, 404 or 422. Of numbers, `1pc7x`, 20 digits and two values are sent as well: one that is taken or ends
        in 500 is a warning. Malformed JSON is not sent: frameworks refuse that without any validation.

        How to fix it: declare the types of parameters and validate them for all routes (a global pipe, models).
        """

        async def look(parameter: Parameter) -> Iterable[Result]:
            return validation_problems(await try_value(self._application, self._harmless(parameter)))

        good = f"{counted(len(self.target.validation), 'parameter')} of {self.target.name} refused a value of the wrong type."
        return await self._each("validation", self.target.validation, look, good)

    @item("SQL injection protection is active", severity=CRITICAL, needs=("option sql",))
    async def sql_injection_protected(self) -> Result:
        """Whoever can put SQL into a statement reads the whole database.

        Each parameter of `sql` is sent with a value that finds something, with quotes, and with the same value in two parts that
        only a database joins (`app'||'le`, the forms of MySQL and SQL Server, in single and double quotes; `3-1` for numbers,
        `price/**/` for names of columns), and as an operator of document stores that finds the same (`q[$eq]=apple`). No
        condition is changed and nothing is written. Where a part is refused by a WAF and a harmless value is not, the line is
        unknown: set `url` to the application itself. A WAF with the OWASP rules does refuse the joined values and logs them.

        How to fix it: bind parameters; never build statements of strings.
        """

        async def look(parameter: Parameter) -> Iterable[Result]:
            return sql_problems(await try_sql(self._application, self._harmless(parameter)))

        good = f"{counted(len(self.target.sql), 'parameter')} of {self.target.name} took quotes and joined strings as they are."
        return await self._each("sql", self.target.sql, look, good)

    @item("XSS protection is enabled", severity=CRITICAL, needs=("option xss",))
    async def xss_protected(self) -> Result:
        """A page that shows a value as it was sent runs the scripts of whoever sends a link to it.

        Each parameter of `xss` is sent with a word that is followed by the characters that begin tags and end attributes and
        strings. They must not come back as such where they end what the word is in; where a link begins with the word,
        `javascript:` before it must not, and neither must what becomes `<` by one more decoding. Replies that browsers do not
        render, such as JSON, pass.

        How to fix it: escape values in templates by the place that they are in, and add a Content-Security-Policy.
        """

        async def look(parameter: Parameter) -> Iterable[Result]:
            return reflection_problems(await try_xss(self._application, self._harmless(parameter)))

        good = f"{counted(len(self.target.xss), 'parameter')} of {self.target.name} did not bring code into a page."
        return await self._each("xss", self.target.xss, look, good)

    @item(
        "CSRF protection is enabled", severity=CRITICAL, needs=("option csrf and allow_intrusive, or a session cookie",)
    )
    async def csrf_protected(self) -> Result:
        """Browsers send cookies also with requests that other sites make, so a cookie alone does not show who wanted them.

        With `allow_intrusive`, each route of `csrf`, which changes nothing, gets a POST with the session cookie as another site
        would send it, one with Origin: null, as multipart and as plain text, and, where a form field has the token, one with a
        made-up token and with those of a visitor and of another user, which must be refused, and one as the application's own page
        sends it, which must not: the last decides what the others show. Without it only SameSite of the session cookie is read,
        which is at most a warning.

        How to fix it: demand a token or check Origin on every route that changes something, and set SameSite=Lax.
        """
        if not self.target.csrf or not self.target.allow_intrusive:
            return await self._same_site()

        async def look(rule: Csrf) -> Iterable[Result]:
            logged_in = collected(await self._logged_in(rule.user)) if self.target.protected else []
            if logged_in:
                return logged_in
            forgery = await forge_post(self._application, rule)
            session = session_cookies(forgery.cookies, self.target.session_cookie, login=True)
            session += session_cookies(await self._all_cookies(), self.target.session_cookie)
            return forgery_problems(forgery, session, logged_in=bool(self.target.protected))

        routes = counted(len(self.target.csrf), "route")
        good = f"{routes} of {self.target.name} refused a POST of another site and took the application's own."
        return await self._each("csrf", self.target.csrf, look, good)

    async def _all_cookies(self) -> list[Cookie]:
        """The cookies that the pages of `paths` set."""
        shown = [page.reply for page in await self.pages() if isinstance(page, Shown)]
        return [cookie for reply in shown for cookie in parse_cookies(reply.headers.get_list("set-cookie"))]

    async def _same_site(self) -> Result:
        session = session_cookies(await self._all_cookies(), self.target.session_cookie)
        for name in self.target.users:
            session += session_cookies(await self._login_cookies(name), self.target.session_cookie, login=True)
        none = unknown(
            f"{self.target.name} set no session cookie on its paths or at login; declare the line not applicable where no cookie "
            "logs users in, or set csrf and allow_intrusive.",
            reason=Reason.NOT_CONFIGURED,
        )
        return verdict(same_site_problems(self.target.url, session), none)
