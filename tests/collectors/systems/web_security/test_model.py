"""Policies, cookies, tokens and reflections, as browsers and verifiers read them."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
import pytest

from collectors.systems.web_security.model.cookies import parse_cookies, session_cookies
from collectors.systems.web_security.model.csp import (
    allows_eval,
    frames_limited,
    nonces,
    parse_policies,
    script_weaknesses,
    shared_hosts,
    unquoted_keywords,
)
from collectors.systems.web_security.model.pages import enforced_policies, has_nosniff, referrer_policy
from collectors.systems.web_security.model.reflection import Context, reflected
from collectors.systems.web_security.model.sql import confirmations, joins, nonsense
from collectors.systems.web_security.model.tokens import expiry, forged
from exporter.reply import Reply


def page(body: str = "", kind: str = "text/html; charset=utf-8", **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply("GET https://shop.example/", 200, httpx.Headers({"content-type": kind, **named}), body.encode())


@pytest.mark.parametrize(
    "policy",
    [
        "default-src 'self'",
        "default-src 'none'; style-src 'unsafe-inline'",
        "script-src 'nonce-r4nd0m' 'unsafe-inline'",
        "script-src 'sha256-abcd=' 'unsafe-inline'",
        "script-src 'strict-dynamic' 'nonce-r4nd0m' https: 'unsafe-inline'",
        "SCRIPT-SRC 'SELF'",
        "script-src 'self'; script-src *",  # the first counts
        "script-src unsafe-inline",  # a host of that name
        "default-src *, script-src 'self'",  # both are enforced
        "default-src *; script-src-elem 'self'; script-src-attr 'none'",
        "script-src 'self' https://*.shop.com",
        "default-src *; sandbox allow-forms",  # no script runs
    ],
)
def test_policies_that_stop_injected_scripts(policy: str) -> None:
    assert script_weaknesses(parse_policies([policy])) == []


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("default-src 'self' 'unsafe-inline'", "allows inline scripts"),
        ("script-src 'self' 'UNSAFE-INLINE'", "allows inline scripts"),
        ("script-src 'unsafe-inline' 'nonce-'", "allows inline scripts"),  # no nonce by the grammar
        ("script-src https:", "from anywhere (https:)"),
        ("script-src *", "from anywhere (*)"),
        ("script-src 'self' data:", "from anywhere (data:)"),
        ("frame-ancestors 'none'", "does not restrict scripts"),
        ("script-src 'self'; script-src-elem *", "from anywhere"),
        ("script-src 'self'; script-src-attr 'unsafe-inline'", "allows inline scripts"),
        ("script-src 'self' https://*.com", "from anywhere (https://*.com)"),
        ("script-src 'self' *.co.uk", "from anywhere (*.co.uk)"),
        ("default-src\N{NO-BREAK SPACE}'self'", "does not restrict scripts"),
        ("default-src *; sandbox allow-scripts", "from anywhere (*)"),
    ],
)
def test_policies_that_do_not(policy: str, words: str) -> None:
    assert words in " ".join(script_weaknesses(parse_policies([policy])))


def test_what_a_policy_trusts_by_mistake() -> None:
    shared = parse_policies(["script-src 'self' https://unpkg.com *.github.io https://unpkg.com/react@19/"])
    assert shared_hosts(shared) == ["https://unpkg.com", "*.github.io"]
    assert shared_hosts((*shared, *parse_policies(["script-src 'self'"]))) == []  # both are enforced
    assert unquoted_keywords(parse_policies(["default-src self; script-src 'self' Unsafe-Inline"])) == [
        "unsafe-inline",
        "self",
    ]


def test_frames_are_limited_by_the_header_that_counts() -> None:
    assert frames_limited(parse_policies(["frame-ancestors 'self'"]), [])
    assert not frames_limited(parse_policies(["frame-ancestors *"]), ["DENY"])
    assert frames_limited(parse_policies(["default-src 'self'"]), ["sameorigin"])
    assert not frames_limited((), ["ALLOW-FROM https://a.example"])
    assert not frames_limited(parse_policies([], ["frame-ancestors 'none'"]), [])


def test_a_policy_in_the_page_counts_and_a_report_only_one_does_not() -> None:
    meta = """<head><meta http-equiv="content-security-policy" content="script-src 'nonce-abc' 'unsafe-eval'"></head>"""
    assert nonces(enforced_policies(page(meta))) == {"abc"}
    assert allows_eval(enforced_policies(page(meta)))
    assert enforced_policies(page(meta.replace("head", "body"))) == ()
    assert enforced_policies(page(content_security_policy_report_only="default-src 'none'")) == ()


def test_other_headers_are_read_as_browsers_do() -> None:
    assert has_nosniff(page(x_content_type_options="NoSniff"))
    assert not has_nosniff(page(x_content_type_options="sniff, nosniff"))
    assert referrer_policy(page(referrer_policy="no-referrer, unsafe-url")) == "unsafe-url"
    assert referrer_policy(page(referrer_policy="unsafe-url, strict-origin, unheard-of")) is None


def test_cookies_are_sessions_by_name_unless_declared() -> None:
    cookies = parse_cookies(
        [
            "connect.sid=1; Path=/; HttpOnly",
            "XSRF-TOKEN=2",
            "theme=dark",
            "session=; Max-Age=0",
            "__Host-session=3; Secure; Path=/x",
        ]
    )
    assert [cookie.name for cookie in session_cookies(cookies, None)] == ["connect.sid", "__Host-session"]
    assert [cookie.name for cookie in session_cookies(cookies, "theme")] == ["theme"]
    assert [cookie.broken_prefix for cookie in session_cookies(cookies, None)] == [False, True]
    deleted = [
        "sid=x; Max-Age=0",
        "sid=deleted; expires=Thu, 01-Jan-1970 00:00:01 GMT",
        "sid=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
    ]
    assert parse_cookies(deleted) == ()
    assert len(parse_cookies(["sid=x; expires=Fri, 31 Dec 2100 23:59:59 GMT", "sid=x; expires=never"])) == 2
    assert parse_cookies(["sid=x; Max-Age=00", "sid=x; Max-Age=soon; Expires=Thu, 01 Jan 1970 00:00:00 GMT"]) == ()


def test_prefixes_that_promise_what_a_cookie_does_not_keep() -> None:
    names = ("__Http-sid=a; Secure", "__Http-sid=a; Secure; HttpOnly", "__Host-Http-sid=a; Secure; HttpOnly; Path=/")
    assert [cookie.broken_prefix for cookie in parse_cookies(names)] == [True, False, False]
    assert [cookie.broken_prefix for cookie in parse_cookies(["__Host-Http-sid=a; Secure; HttpOnly"])] == [True]


def test_forgeries_are_of_the_kind_of_the_token() -> None:
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIiwiZXhwIjoxNzAwMDAwMDAwfQ.c2lnbmF0dXJlLXNpZ25hdHVyZQ"
    made = forged(token)
    assert set(made) == {
        "garbage",
        "alg: none",
        "alg: NoNe",
        "a wrong signature",
        "an empty signature",
        "a key that the token brings along (jwk)",
        "an empty file as the key (kid: /dev/null)",
    }
    assert made["alg: none"].endswith(".")
    assert expiry(made["alg: none"]) > datetime.now(UTC)  # type: ignore[operator]
    assert made["a wrong signature"].rpartition(".")[0] == token.rpartition(".")[0]
    assert made["a wrong signature"] != token
    opaque = forged("s:abc-123.x")
    assert list(opaque) == ["a made-up value"]
    assert opaque["a made-up value"] != "s:abc-123.x"
    assert expiry("opaque") is None


@pytest.mark.parametrize(
    ("body", "context"),
    [
        ("<p>w<'\">7cp</p>", Context.TEXT),
        ("<p>w<", Context.TEXT),  # cut off
        ("<p>w&lt;'\">7cp</p>", Context.HARMLESS),
        ('<input value="w&lt;\'">7cp">', Context.ATTRIBUTE),
        ('<input value="w&lt;\'&quot;&gt;7cp">', Context.HARMLESS),
        ("<input value='w&lt;&#39;\">7cp'>", Context.HARMLESS),
        ("<input value=w&lt;&#39;&quot;&gt;7cp>", Context.ATTRIBUTE),
        ('<input value="w">', Context.HARMLESS),  # all were taken out
        ('<input value="w7cp">', Context.HARMLESS),
        ('<script>let q = "w\\u003c\'\\">7cp"</script>', Context.HARMLESS),
        ("<script>let q = 'w\\u003c'\">7cp'</script>", Context.SCRIPT),
        ('<script>let q = "w<\'\\">7cp"</script>', Context.SCRIPT),
        ("<script>let q = 1</script><p>w&lt;7cp</p>", Context.HARMLESS),
        ("<p>other</p>", None),
    ],
)
def test_where_a_value_comes_back_decides(body: str, context: Context | None) -> None:
    assert reflected(page(body), "w") is context


def test_json_is_no_page() -> None:
    assert reflected(page("<p>w<'\"></p>", kind="application/json"), "w") is None


def test_values_are_joined_only_by_a_database() -> None:
    assert joins("apple") == {
        "PostgreSQL, Oracle or SQLite": "app'||'le",
        "MySQL": "app' 'le",
        "SQL Server": "app'+'le",
        "SQLite within double quotes": 'app"||"le',
        "MySQL within double quotes": 'app" "le',
    }
    assert joins("3")["a number"] == "4-1"
    assert confirmations("apple", "MySQL") == ("app' 'lexx", "app' ''le")
    assert confirmations("3", "a number") == ("5-1",)
    assert len(nonsense("apple")) == len("app'||'le")
