"""States that the applications of the tests do not show, judged without a server."""

from __future__ import annotations

from collections.abc import Iterable

import httpx
import pytest

from collectors.systems.web_security.judge.access import authentication_problems, authorization_problems
from collectors.systems.web_security.judge.cors import cors_problems
from collectors.systems.web_security.judge.forgery import forgery_problems, same_site_problems
from collectors.systems.web_security.judge.headers import header_problems
from collectors.systems.web_security.judge.values import reflection_problems, sql_problems, validation_problems
from collectors.systems.web_security.model.cookies import parse_cookies
from collectors.systems.web_security.model.looks import (
    Access,
    CrossOrigin,
    Forgery,
    Origins,
    Sent,
    Shown,
    SqlTrial,
    ValueTrial,
)
from collectors.systems.web_security.model.routes import Cors
from exporter.reply import Reply
from exporter.verdict import Result, Status

WHERE = "GET https://shop.example/me"
SAFE = {"content-security-policy": "default-src 'self'; frame-ancestors 'none'", "x-content-type-options": "nosniff"}


def reply(
    status: int = 200, body: str = "", *, kind: str = "application/json", headers: Iterable[tuple[str, str]] = ()
) -> Reply:
    return Reply(WHERE, status, httpx.Headers([("content-type", kind), *headers]), body.encode())


def statuses(problems: Iterable[Result]) -> set[Status]:
    return {problem.status for problem in problems}


def trial(found: str, absent: str, joined: str, confirmed: str, *, quotes: dict[str, Reply] | None = None) -> SqlTrial:
    """A search whose answers are these texts."""
    value, sent = Sent("apple", reply(body=found)), "app'||'le"
    return SqlTrial(
        "parameter q",
        (value, value),
        Sent("zzzzzzzzz", reply(body=absent)),
        quotes or {"'": reply(), '"': reply(), "')": reply()},
        {"PostgreSQL, Oracle or SQLite": Sent(sent, reply(body=joined))},
        {"PostgreSQL, Oracle or SQLite": (Sent("app'||'lexx", reply(body=confirmed)),)},
    )


@pytest.mark.parametrize(
    ("found", "absent", "joined", "confirmed", "status"),
    [
        ('["apple"]', "[]", '["apple"]', "[]", Status.FAILED),
        (
            "Results for apple: apple 3 EUR",
            "Results for zzzzzzzzz: none",
            "Results for app&#39;||&#39;le: apple 3 EUR",
            "none",
            Status.FAILED,
        ),
        ("Results for apple: apple 3 EUR", "Results for zzzzzzzzz: none", "Results for app'||'le: none", "none", None),
        (
            "No results for apple",
            "No results for zzzzzzzzz",
            "No results for app'||'le",
            "none",
            Status.UNKNOWN,
        ),  # an echo
        ('["apple"]', "[]", '["apple"]', '["apple"]', None),  # special characters are dropped
    ],
)
def test_only_what_a_database_joins_is_an_injection(
    found: str, absent: str, joined: str, confirmed: str, status: Status | None
) -> None:
    assert statuses(sql_problems(trial(found, absent, joined, confirmed))) == ({status} if status else set())


def test_errors_of_a_database_and_crashes_on_one_quote_are_told_from_other_crashes() -> None:
    def seen(quotes: dict[str, Reply]) -> set[Status]:
        calm = {"'": reply(), '"': reply(), "')": reply()}
        return statuses(sql_problems(trial('["apple"]', "[]", "[]", "[]", quotes=calm | quotes)))

    assert seen({"'": reply(200, "ORA-00933: SQL command not properly ended")}) == {Status.FAILED}
    assert Status.FAILED in seen({"'": reply(500), "''": reply(200)})
    assert seen({"'": reply(500), "''": reply(500)}) == {Status.UNKNOWN}
    assert seen({"'": reply(400)}) == set()
    assert seen({"'": reply(403)}) == {Status.UNKNOWN}


def test_a_login_page_with_200_is_a_refusal_and_anything_else_is_not() -> None:
    login = reply(200, "<form><input type=password></form>", kind="text/html")
    access = Access(
        reply(200, "secret"), "alice", {"no credentials": login, "alg: none": reply(302), "garbage": reply(401)}
    )
    assert statuses(authentication_problems(access, None)) == set()
    assert statuses(authentication_problems(Access(login, "alice", {}), None)) == {Status.UNKNOWN}
    busy = Access(reply(200, "secret"), "alice", {"no credentials": reply(429), "garbage": reply(503)})
    assert statuses(authentication_problems(busy, None)) == {Status.UNKNOWN}
    marked = Access(reply(200, "Your orders"), "alice", {"no credentials": reply(200, "Welcome")})
    assert statuses(authentication_problems(marked, "Your orders")) == set()
    assert statuses(authentication_problems(marked, None)) == {Status.UNKNOWN}  # may be an error with status 200
    itself = Access(reply(200, "x"), "alice", {"no credentials": reply(301, headers=[("location", "/me/")])})
    assert statuses(authentication_problems(itself, None)) == {Status.UNKNOWN}


def test_a_403_of_another_server_is_not_the_applications() -> None:
    ours = [("x-powered-by", "Express"), ("x-frame-options", "DENY"), ("etag", "1")]
    knocks = {"no credentials": reply(401, headers=ours), "alg: none": reply(403)}
    problems = list(authentication_problems(Access(reply(200, "x", headers=ours), "alice", knocks), None))
    assert statuses(problems) == {Status.UNKNOWN}
    assert "refused alg: none (403)" in problems[0].summary


def test_a_200_with_other_content_is_neither_a_refusal_nor_a_leak() -> None:
    control = reply(200, '{"id": "alice-1", "total": 12, "items": ["apple", "pear"]}')
    refusal = Access(control, "alice", {"bob": reply(200, '{"error": "not yours"}')})
    assert statuses(authorization_problems(refusal, "an object")) == {Status.UNKNOWN}
    leak = Access(control, "alice", {"bob": control})
    assert statuses(authorization_problems(leak, "an object")) == {Status.FAILED}
    assert statuses(authorization_problems(Access(control, "alice", {"bob": reply(404)}), "an object")) == set()


def test_cors_is_judged_by_the_allowed_origin_alone() -> None:
    def seen(*headers: tuple[str, str], rule: Cors | None = None, origin: str = "https://x.example") -> set[Status]:
        other = CrossOrigin("an unrelated origin", origin, True, reply(headers=headers))
        return statuses(cors_problems(Origins(reply(), (), (other,)), rule or Cors()))

    assert seen(("access-control-allow-credentials", "true")) == set()
    assert seen(("access-control-allow-origin", "https://x.example")) == {Status.FAILED}
    assert seen(("access-control-allow-origin", "*")) == {Status.FAILED}
    assert seen(("access-control-allow-origin", "*"), rule=Cors(public=True)) == set()
    assert seen(("access-control-allow-origin", "null"), origin="null") == {Status.FAILED}
    twice = (("access-control-allow-origin", "*"), ("access-control-allow-origin", "https://x.example"))
    assert seen(*twice) == set()  # browsers refuse that
    missing = CrossOrigin("allowed", "https://app.example", False, reply())
    rule = Cors(allowed_origins=("https://app.example",))
    assert statuses(cors_problems(Origins(reply(), (missing,), ()), rule)) == {Status.FAILED}


def test_an_answer_by_origin_without_vary_is_a_warning() -> None:
    allowed = CrossOrigin(
        "allowed", "https://a.example", False, reply(headers=[("access-control-allow-origin", "https://a.example")])
    )
    other = CrossOrigin("an unrelated origin", "https://x.example", True, reply())
    rule = Cors(allowed_origins=("https://a.example",))
    assert statuses(cors_problems(Origins(reply(), (allowed,), (other,)), rule)) == {Status.WARNING}


def test_headers_of_pages_and_of_apis() -> None:
    def seen(kind: str, *headers: tuple[str, str]) -> set[Status]:
        return statuses(header_problems(Shown(reply(kind=kind, headers=headers)), None))

    assert seen("text/html", *SAFE.items()) == set()
    assert seen("application/json", ("x-content-type-options", "nosniff")) == set()
    assert seen("application/json") == {Status.FAILED}
    assert seen("text/html", *SAFE.items(), ("set-cookie", "sid=1; HttpOnly")) == {
        Status.FAILED
    }  # over TLS, not Secure
    assert seen("text/html", *SAFE.items(), ("set-cookie", "sid=1; HttpOnly; Secure")) == set()
    assert seen("text/html", *SAFE.items(), ("x-powered-by", "Express")) == {Status.WARNING}
    nonce = ("content-security-policy", "script-src 'nonce-abc'; base-uri 'none'; frame-ancestors 'none'")
    page = reply(kind="text/html", headers=[nonce, ("x-content-type-options", "nosniff")])
    assert statuses(header_problems(Shown(page, page), None)) == {Status.FAILED}


def test_a_forged_post_that_redirects_shows_nothing_unless_the_user_is_logged_in() -> None:
    lax, none = (parse_cookies([f"sid=1; SameSite={mode}"]) for mode in ("Lax", "None"))
    both = Forgery((), reply(302), reply(302), own_has_token=True)
    assert statuses(forgery_problems(both, list(none), logged_in=False)) == {Status.UNKNOWN}
    assert statuses(forgery_problems(both, list(none), logged_in=True)) == {Status.FAILED}
    assert statuses(forgery_problems(both, list(lax), logged_in=True)) == {Status.WARNING}
    refused = Forgery((), reply(403), reply(201), own_has_token=True)
    assert statuses(forgery_problems(refused, list(none), logged_in=True)) == set()
    assert statuses(forgery_problems(Forgery((), reply(403), reply(403), own_has_token=True), [], logged_in=True)) == {
        Status.UNKNOWN
    }
    assert statuses(forgery_problems(Forgery((), reply(422), reply(422), own_has_token=False), [], logged_in=True)) == {
        Status.UNKNOWN
    }
    assert statuses(same_site_problems("shop", list(lax))) == {Status.WARNING}
    assert Status.UNKNOWN in statuses(same_site_problems("shop", list(none)))


def test_values_that_are_refused_crash_or_meet_a_waf() -> None:
    def seen(answer: Reply) -> set[Status]:
        return statuses(validation_problems(ValueTrial(reply(), answer, "pc7x")))

    assert [seen(reply(status)) for status in (400, 404, 422)] == [set(), set(), set()]
    assert [seen(reply(status)) for status in (200, 500)] == [{Status.FAILED}, {Status.FAILED}]
    assert [seen(reply(status)) for status in (403, 401, 302)] == [{Status.UNKNOWN}] * 3
    hidden = ValueTrial(reply(kind="text/html"), reply(kind="text/html"), "pc7xabcd")
    assert statuses(reflection_problems(hidden)) == {Status.UNKNOWN}  # the page does not show the value
