"""What can be read on pages, and which of them may be login pages."""

from __future__ import annotations

import time

import pytest

from exporter.evidence.html import folded, read_page, refreshed


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("<p>Fail<b>over</b> run<wbr>book", "Failover runbook"),
        ("<h1>Failover</h1><p>Runbook<br>and<li>more", "Failover Runbook and more"),
        ("<p>Restore &amp;\r\n\t backup&nbsp;plan &#8211; A&shy;B", "Restore & backup plan - AB"),
        ("<p>It’s “done”", 'It\'s "done"'),
        ("<title>Runbook</title><p>x", "x"),
        ("<script>'Runbook'</script><style>Runbook</style><!-- Runbook -->x", "x"),
        ("<textarea>Runbook</textarea><select><option>Runbook</select><input value=Runbook>x", "x"),
        ("<p hidden>Runbook</p><p style='display: none'>Runbook</p><dialog>Runbook</dialog>x", "x"),
        ("<template>Runbook</template><noscript>Runbook</noscript><img alt=Runbook>x", "x"),
        ("<svg><title>no</title><desc>no</desc><text>Diagram</text></svg>", "Diagram"),
        ("<details><summary>More</summary>Steps</details>", "More Steps"),
    ],
)
def test_the_text_is_what_a_reader_sees(body: str, text: str) -> None:
    assert read_page(body.encode(), "text/html").text == text


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("<p>Über".encode(), "text/html"),
        ("<p>Über".encode(), "text/html; charset=utf-8"),
        ("<p>Über".encode("latin-1"), "text/html; charset=ISO-8859-1"),
        ("<p>Über".encode("latin-1"), 'text/html; charset="latin1"'),
        ("<meta charset=iso-8859-1><p>Über".encode("latin-1"), "text/html"),
        (
            '<meta http-equiv=Content-Type content="text/html; charset=windows-1252"><p>Über'.encode("cp1252"),
            "text/html",
        ),
        ("<p>Über".encode("latin-1"), "text/html"),
        ("\ufeff<p>Über".encode("utf-16-le"), "text/html; charset=latin1"),
        ("\ufeff<p>Über".encode(), "text/html; charset=latin1"),
        ("<p>Über".encode(), "text/html; charset=klingon"),
        ("<p>Über".encode(), ""),
        ("Über".encode("latin-1"), "text/plain; charset=latin1"),
    ],
)
def test_the_charset_counts(body: bytes, content_type: str) -> None:
    assert read_page(body, content_type).text == "Über"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ('<input type="PASSWORD">', "has a password field"),
        ("<form method=post><input type=hidden name=SAMLRequest value=x></form>", "hands a sign-in on to another site"),
        ("<input autocomplete='username webauthn'>", "asks for a user name"),
    ],
)
def test_a_login_page_is_told_by_what_it_asks_for(body: str, why: str) -> None:
    assert read_page(body.encode(), "text/html").login == why


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("<form><input type=email name=loginfmt><button>Next</button></form>", "asks for an address"),
        ("<form><input name=identifier><button>Weiter</button></form>", "asks for a text"),
        ("<form action=/search><input name=username></form>", "asks for a text"),
        ("<p>Wiki <a href=/auth/saml>Weiter</a>", "has a link to sign in"),
        ("<a href=/x>Sign in with Okta</a>", "has a link to sign in"),
        ("<button><svg></svg> Continue with Google</button>", "has a button to sign in"),
        ("<div role=button>Anmelden</div>", "has a button to sign in"),
        ("<input type=submit value='Se connecter'>", "has a button to sign in"),
        ("<title>Log in - Confluence</title><p>x", "is titled 'Log in'"),
        ("<h1>Access denied</h1>", "is titled 'Access denied'"),
        ("<title>404 Not Found</title>", "is titled '404 Not Found'"),
        ("<h1>You need access</h1>", "is titled 'You need access'"),
        ("<title>Welcome to nginx!</title>", "is titled 'Welcome to nginx!'"),
        ("<title>Apache2 Debian Default Page: It works</title>", "is titled 'Apache2 Debian Default Page'"),
        ("<title>Index of /docs</title>", "is titled 'Index of /docs'"),
        ("<p>Hello</p><button>Use a passkey</button>", "has a button to sign in"),
        ("<title>Login required - Wiki</title>", "is titled 'Login required'"),
        ("<title>Just a moment...</title>", "is titled 'Just a moment...'"),
    ],
)
def test_a_page_that_may_be_a_login_is_doubted(body: str, why: str) -> None:
    page = read_page(body.encode(), "text/html")
    assert (page.login, page.doubt) == (None, why)


@pytest.mark.parametrize(
    "body",
    [
        "<h1>Failed logins: runbook</h1><p>When users cannot log in, restart the login service.",
        "<form role=search><input></form><h1>Runbook</h1>",
        "<form action=/find><input type=text name=what></form><h1>Runbook</h1>",
        "<input name=q><input type=search><input readonly value=x><input type=checkbox><h1>Runbook</h1>",
        "<a href=/runbooks/failed-login>Failed logins</a><a href=/log>Log</a>",
        "<h1>Error budget policy</h1>",
    ],
)
def test_a_document_is_not_doubted_for_what_it_is_about(body: str) -> None:
    page = read_page(body.encode(), "text/html")
    assert (page.login, page.doubt) == (None, None)


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("0;url=/login", "/login"),
        ("0; URL='/login?a=b;c'", "/login?a=b;c"),
        ('5 ; url = "/x" ', "/x"),
        ("0, /x", "/x"),
        ("0 /x", "/x"),
        ("30", None),
        ("", None),
        ("0;", None),
        ("1800;url=/logout", None),
        ("soon", None),
    ],
)
def test_a_refresh_leads_on_within_a_minute(value: str, url: str | None) -> None:
    assert refreshed(value) == url


def test_what_has_no_text_is_not_searched() -> None:
    page = read_page(b"%PDF-1.7 Runbook", "application/pdf")
    assert (page.readable, page.text) == (False, "")
    assert read_page(b"Runbook: a", "application/yaml").text == "Runbook: a"


@pytest.mark.parametrize(
    "markup",
    [
        "<div>" * 200_000,
        "".join(f"<font size={size}>" for size in range(1000)) + "<p>" * 100_000,
        "<p " + " ".join(f"a{number}" for number in range(100_000)) + ">",
        "<input" * 100_000,
        "<!--" * 100_000,
        "<" * 1_000_000,
    ],
    ids=["deep", "styled", "attributes", "unclosed", "comments", "signs"],
)
def test_no_page_takes_long(markup: str) -> None:
    began = time.process_time()
    read_page(markup.encode(), "text/html")
    assert time.process_time() - began < 10, "without bounds the first takes many minutes"


def test_texts_are_compared_as_they_are_read() -> None:
    assert folded("Ｆａｉｌｏｖｅｒ\u00a0 \u200bplan — ‘A’") == "Failover plan - 'A'"


@pytest.mark.parametrize(
    "text",
    [
        "Coming soon",
        "TODO",
        "TODO: TBD",
        "Lorem ipsum dolor sit amet",
        "This page has been archived and is no longer maintained.",
        "This page has moved to <a href=/new>here</a>.",
        "Work in progress",
        "This page is intentionally left blank.",
        "No content yet.",
        "To be written",
    ],
)
def test_a_page_without_content_yet_may_not_be_the_document(text: str) -> None:
    short = read_page(f"<h1>Escalation</h1><p>{text}</p>".encode(), "text/html")
    assert short.doubt is not None
    assert short.doubt.startswith("says ")
    whole = read_page(f"<h1>Escalation</h1><p>{'Call the first level. ' * 20}</p><p>{text}</p>".encode(), "text/html")
    assert whole.doubt is None


@pytest.mark.parametrize(
    "text", ["Deploys are to be done on Tuesdays", "The page that was moved is below", "Draft beer list"]
)
def test_a_short_page_that_says_something_is_one(text: str) -> None:
    assert read_page(f"<h1>Escalation</h1><p>{text}</p>".encode(), "text/html").doubt is None


def test_a_reply_of_json_that_is_not_ok_is_no_document() -> None:
    assert read_page(b'{"ok": false, "reason": "gone"}', "application/json").doubt == "reports that 'ok' is false"
    assert read_page(b'{"ok": true}', "application/json").doubt is None
