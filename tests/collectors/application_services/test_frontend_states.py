"""States of a real Next.js application, and of what stands before it, in which a page only looks right, or only wrong."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from exporter.verdict import Reason, Result, Status
from tests.collectors.application_services.services import run
from tests.servers import faults
from tests.servers.applications.programs import Application, next_server
from tests.servers.between import Passing, changed
from tests.servers.pages import Pages
from tests.servers.process import LOOPBACK, free_port
from tests.support import Run, sees, until

ASSETS, API, AUTH, SPEED = (
    "static_assets_served",
    "api_integration_working",
    "authentication_flow_tested",
    "performance_optimization_configured",
)
CHUNK = "/_next/static/chunks/"


def run_frontend(item: str, url: str, **options: Any) -> Run:
    return run("frontend", item, url, **options)


see = sees(run_frontend)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    """One application for all tests that spoil only what is between."""
    with next_server(tmp_path_factory.mktemp("next"), API_URL=f"http://{LOOPBACK}:{free_port()}") as application:
        yield application


def on_page(*changes: tuple[str, str], **headers: str) -> Callable[[Passing], None]:
    """Change the page, not what it loads; underscores in names of headers are hyphens."""

    def change(passing: Passing) -> None:
        if passing.headers.get("content-type", "").startswith("text/html"):
            passing.text(*changes)
            passing.headers |= {name.replace("_", "-"): value for name, value in headers.items()}

    return change


def on_chunks(
    body: Callable[[bytes], bytes] = lambda body: body, status: int = 200, only: str = CHUNK, **headers: str
) -> Callable[[Passing], None]:
    """Change the chunks that exist."""

    def change(passing: Passing) -> None:
        if passing.path.startswith(only) and passing.status == 200:
            passing.status, passing.body = status, body(passing.body)
            passing.headers |= {name.replace("_", "-"): value for name, value in headers.items()}

    return change


def last_chunk(passing: Passing) -> None:
    """The page names a chunk of a former build within its data alone."""
    on_page(('2:\\"/_next/static/chunks/', '2:\\"/_next/static/chunks/former-'))(passing)


def cut(passing: Passing) -> None:
    """The stream of the page breaks off behind a gateway that ends it properly."""
    if b"</body>" in passing.body:
        passing.body = passing.body[: passing.body.index(b"</body>") - 40]


def without_data(passing: Passing) -> None:
    """A filter in front takes scripts within pages away."""
    on_page(("__next_f", "__removed"))(passing)


BAD: list[tuple[str, Callable[[Passing], None], Status, str]] = [
    ("chunks answer 500", on_chunks(status=500), Status.FAILED, "which the page needs, answered 500"),
    ("HTML for chunks", on_chunks(lambda _: b"<!doctype html>"), Status.FAILED, "answered 200 with an HTML page"),
    ("empty chunks", on_chunks(lambda _: b""), Status.FAILED, "answered 200 with an empty body"),
    ("wrong type", on_chunks(content_type="text/plain"), Status.FAILED, "content type text/plain"),
    ("compressed twice", on_chunks(gzip.compress), Status.FAILED, "is compressed twice"),
    (
        "not what it says to be packed in",
        on_chunks(content_encoding="gzip"),
        Status.FAILED,
        "cannot be unpacked",
    ),
    ("the page is of a former build", on_page((CHUNK, f"{CHUNK}former-")), Status.FAILED, "answered 404"),
    ("a chunk that only the data names", last_chunk, Status.FAILED, "former-"),
    ("no data to start with", without_data, Status.FAILED, "without the data that they start with"),
    ("the page breaks off", cut, Status.FAILED, "breaks off"),
    (
        "a policy for another host",
        on_page(content_security_policy="script-src https://cdn.example"),
        Status.FAILED,
        "loads scripts from its own host, which its own Content-Security-Policy forbids",
    ),
    (
        "a nonce that the page, rendered in advance, does not have",
        on_page(content_security_policy="script-src 'self' 'nonce-abc' 'strict-dynamic'"),
        Status.FAILED,
        "which its own Content-Security-Policy forbids",
    ),
    (
        "a policy within the page",
        on_page(("<head>", "<head><meta http-equiv=Content-Security-Policy content=\"script-src 'none'\">")),
        Status.FAILED,
        "forbids",
    ),
    (
        "two policies, of which one is enough",
        on_page(content_security_policy="script-src 'self' 'unsafe-inline', script-src 'unsafe-inline'"),
        Status.FAILED,
        "forbids",
    ),
    (
        "integrity of another build",
        on_page((" async=", " integrity='sha384-AAAA' async=")),
        Status.FAILED,
        "is not what the page expects by its integrity",
    ),
    (
        "its chunks on another host",
        on_page((CHUNK, f"https://cdn.example{CHUNK}")),
        Status.UNKNOWN,
        "loads assets from https://cdn.example, which was not asked",
    ),
    (
        "the page is kept by browsers",
        on_page(cache_control="public, max-age=604800"),
        Status.WARNING,
        "may be kept by browsers for 604800 s",
    ),
    (
        "the error page of Next.js with status 200",
        on_page(('<html lang="en">', '<html id="__next_error__">')),
        Status.FAILED,
        "answered 200 with the error page of Next.js",
    ),
    (
        "sandboxed",
        on_page(content_security_policy="sandbox allow-forms"),
        Status.FAILED,
        "is sandboxed by its own Content-Security-Policy",
    ),
    (
        "a download",
        on_page(content_disposition="attachment; filename=index.html"),
        Status.FAILED,
        "has the header Content-Disposition: attachment",
    ),
    ("no page by its type", on_page(content_type="text/plain"), Status.FAILED, "has the content type text/plain"),
    (
        "a page that leads elsewhere",
        on_page(("<head>", '<head><meta http-equiv="refresh" content="0; url=/maintenance">')),
        Status.UNKNOWN,
        "sends browsers on to /maintenance by itself",
    ),
    (
        "a challenge for browsers",
        on_page(cf_mitigated="challenge"),
        Status.UNKNOWN,
        "was answered by a firewall that wants to see a browser (cf-mitigated)",
    ),
]


@pytest.mark.verifies("frontend.static_assets_served", "failed")
@pytest.mark.parametrize(("change", "status", "words"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
async def test_pages_that_do_not_start_in_browsers(
    web: Application, change: Callable[[Passing], None], status: Status, words: str
) -> None:
    with changed(web.url, change) as url:
        result = await see(ASSETS, url)
    assert (result.status, words in result.summary) == (status, True), result


NONCED = on_page(
    ("<script", "<script nonce=abc"),
    content_security_policy="script-src 'nonce-abc' 'strict-dynamic'; object-src 'none'",
)


def hashed(passing: Passing) -> None:
    """A build with subresource integrity: the right hash of each script, and an older one beside it."""
    if passing.headers.get("content-type", "").startswith("text/html"):
        passing.text((" async=", " integrity='sha256-AAAA sha512-OTHER' data-was="))


GOOD: list[tuple[str, Callable[[Passing], None]]] = [
    ("a policy with a nonce of every script", NONCED),
    ("a policy that is only reported", on_page(content_security_policy_report_only="script-src 'none'")),
    ("a sandbox that lets scripts run", on_page(content_security_policy="sandbox allow-scripts")),
    (
        "a page that is refreshed, and one for browsers without scripts",
        on_page(
            (
                "<head>",
                '<head><meta http-equiv="refresh" content="300"><noscript><meta http-equiv=refresh content="0;url=/x"></noscript>',
            )
        ),
    ),
    ("a policy by scheme", on_page(content_security_policy="default-src http: https: 'unsafe-inline'")),
    (
        "scripts of strangers, of which we know nothing",
        on_page(("<head>", "<head><script async src=https://tags.example/gtag/js?id=1></script>")),
    ),
    ("a comment that names what is gone", on_page(("<head>", "<head><!-- <script src=/gone.js></script> -->"))),
    ("data that looks like a script", on_page(("<head>", "<head><script type=application/ld+json>{}</script>"))),
    ("ids of a deployment in queries", on_page(('.js"', '.js?dpl=dpl_1"'))),
    (
        "an old name of the type",
        on_chunks(content_type="application/x-javascript; charset=utf-8"),
    ),
    ("a page for browsers alone, by its own wish", on_page(
        ("<main>", '<main><template data-dgst="BAILOUT_TO_CLIENT_SIDE_RENDERING"></template>'))),
]  # fmt: skip


@pytest.mark.parametrize("change", [row[1] for row in GOOD], ids=[row[0] for row in GOOD])
async def test_pages_that_only_look_wrong(web: Application, change: Callable[[Passing], None]) -> None:
    with changed(web.url, change) as url:
        result = await see(ASSETS, url)
    assert result.status is Status.OK, result


async def test_integrity_is_that_of_the_strongest_hash(pages: Pages) -> None:
    script = b"start()"
    right = base64.b64encode(hashlib.sha512(script).digest()).decode()
    pages.add("/app.js", script, Content_Type="text/javascript")
    for integrity, status in (
        (f"sha512-{right} sha512-AAAA", Status.OK),
        (f"sha256-AAAA sha512-{right}", Status.OK),
        ("sha512-AAAA", Status.FAILED),
        ("md5-AAAA", Status.OK),
    ):
        pages.add("/", f"<!doctype html><script src=/app.js integrity='{integrity}'></script>")
        assert (await see(ASSETS, pages.url)).status is status, integrity


async def test_errors_that_come_after_the_status(web: Application) -> None:
    broken = await see(ASSETS, web.url, pages=["/broken"])
    assert (broken.status, broken.reason) == (Status.FAILED, Reason.DOWN)
    assert "/broken answered 200 with an error of the server within (digest " in broken.summary
    gone = await see(ASSETS, web.url, pages=["/gone"])
    assert "/gone answered 200 with an error 404 within." in gone.summary
    swallowed = await see(SPEED, web.url, ssr_pages={"/broken": r"rendered-for-request \d+"})
    assert (swallowed.status, "an error of the server within" in swallowed.summary) == (Status.FAILED, True)
    guarded = await see(AUTH, web.url, protected_paths=["/gone?kind=redirect"])
    assert (guarded.status, "elsewhere after the page has begun" in guarded.summary) == (Status.UNKNOWN, True), (
        guarded.summary
    )


async def test_redirects_to_a_page_are_followed(pages: Pages) -> None:
    pages.add("/app.js", "start()", Content_Type="text/javascript")
    pages.add("/en/", "<!doctype html><script src=/app.js></script>")
    pages.redirect("/", "/en")
    pages.redirect("/en", f"{pages.url}/en/")
    assert (await see(ASSETS, pages.url)).status is Status.OK
    pages.redirect("/en", "/")
    circle = await see(ASSETS, pages.url)
    assert (circle.status, "redirects in a circle" in circle.summary) == (Status.FAILED, True)
    pages.redirect("/", "https://www.example.com/?token=canary")
    away = await see(ASSETS, pages.url)
    assert (away.status, "redirects to https://www.example.com/, so" in away.summary) == (Status.UNKNOWN, True)


async def test_a_site_below_a_path_of_its_host(pages: Pages) -> None:
    pages.add("/shop/", "<!doctype html><base href=/shop/><script src=app.js></script><script src=/shared.js></script>")
    pages.add("/shop/app.js", "start()", Content_Type="text/javascript")
    missing = await see(ASSETS, f"{pages.url}/shop")
    assert f"GET {pages.url}/shared.js, which the page needs, answered 404." in missing.summary
    pages.add("/shared.js", "start()", Content_Type="text/javascript")
    good = await see(ASSETS, f"{pages.url}/shop")
    assert (good.status, good.measurements["assets"]) == (Status.OK, 2)


async def test_only_a_folder_of_assets_has_to_refuse_what_does_not_exist(pages: Pages) -> None:
    """A single-page application answers any path with its page, and its folder of assets does not."""
    pages.add("/", "<!doctype html><script type=module crossorigin src=/assets/index-1a2b3c4d.js></script>")
    kept: dict[str, Any] = {"Cache_Control": "public, max-age=31536000, immutable"}
    pages.add("/assets/index-1a2b3c4d.js", "start()", Content_Type="text/javascript", **kept)

    def page_for_any(passing: Passing) -> None:
        if passing.status == 404 and not passing.path.startswith("/assets/"):
            passing.status, passing.body = 200, b"<!doctype html>"

    with changed(pages.url, page_for_any) as url:
        assert (await see(ASSETS, url)).status is Status.OK

    def page_for_all(passing: Passing) -> None:
        if passing.status == 404:
            passing.status, passing.body = 200, b"<!doctype html>"

    with changed(pages.url, page_for_all) as url:
        result = await see(ASSETS, url)
    assert (result.status, "missing assets go unnoticed" in result.summary) == (Status.FAILED, True)


async def test_assets_on_a_host_that_is_named(web: Application) -> None:
    """The CDN is the same server under another name; the page's own host serves nothing but the page."""
    cdn = web.url.replace(LOOPBACK, "localhost")

    def elsewhere(passing: Passing) -> None:
        on_page((CHUNK, f"{cdn}{CHUNK}"))(passing)
        on_chunks(status=404)(passing)

    with changed(web.url, elsewhere) as url:
        assert (await see(ASSETS, url)).status is Status.UNKNOWN
        good = await see(ASSETS, url, asset_urls=[cdn])
        assert good.status is Status.OK, good
        dead = f"http://localhost:{free_port()}"
        with changed(url, on_page((cdn, dead))) as broken:
            gone = await see(ASSETS, broken, asset_urls=[dead])
        assert (gone.status, gone.reason) == (Status.UNKNOWN, Reason.UNREACHABLE)


@pytest.mark.parametrize(
    ("document", "marker", "expected"),
    [
        ('{"statusCode": 500, "message": "Internal server error"}', None, Status.FAILED),
        ("[]", None, Status.UNKNOWN),
        ('{"products": []}', None, Status.UNKNOWN),
        ('{"data": {"products": null}}', None, Status.UNKNOWN),
        ('{"products": []}', '"products": ', Status.OK),
        ('{"products": []}', '"name"', Status.FAILED),
        ('[{"name": "apple"}]', None, Status.OK),
        ('{"message": "Internal server error"}', None, Status.UNKNOWN),
        ('{"items": [], "total": 0}', None, Status.UNKNOWN),
        ('{"code": 500, "data": [1]}', None, Status.FAILED),
        ('{"exception": "Timeout", "items": null}', None, Status.FAILED),
        ('{"isError": true, "items": [1]}', None, Status.FAILED),
        ('{"success": "false", "items": [1]}', None, Status.FAILED),
        ('{"code": 500, "name": "Aberdeen"}', None, Status.OK),
        ('{"count": 0}', None, Status.OK),
        ('{"error": false, "errors": [], "items": [1], "success": true}', None, Status.OK),
        ("{}", None, Status.UNKNOWN),
        ("0", None, Status.OK),
        ("false", None, Status.OK),
    ],
)
async def test_what_a_backend_for_frontends_answers(
    pages: Pages, document: str, marker: str | None, expected: Status
) -> None:
    pages.add("/api", document, Content_Type="application/json")
    options = {"api_marker": marker} if marker else {}
    result = await see(API, pages.url, api_path="/api", **options)
    assert result.status is expected, result


async def guarded(url: str, **options: Any) -> Result:
    """The verdict on /dashboard, of which the missing record is the least."""
    result = await see(AUTH, url, protected_paths=["/dashboard"], **options)
    assert result.status is not Status.OK  # there is no record
    return result


@pytest.mark.parametrize(
    ("location", "status", "words"),
    [
        ("http://localhost:3000/login", Status.FAILED, "redirects to http://localhost:3000/login"),
        ("https://evil.example/login", Status.UNKNOWN, "which is on another host than is configured"),
        ("/", Status.FAILED, "redirects to http"),
        ("https://id.example/authorize?client=1", Status.FAILED, "redirects to https://id.example/authorize"),
    ],
)
async def test_where_guards_send_people(pages: Pages, location: str, status: Status, words: str) -> None:
    pages.add("/login")
    pages.redirect("/dashboard", location)
    with changed(pages.url, lambda _: None) as url:
        result = await guarded(url.replace(LOOPBACK, "ip6-localhost") if "ip6-localhost" in url else url)
    if "localhost:3000" in location:  # the test's own site is on loopback too, so that it may be another name of it
        assert result.status in (Status.FAILED, Status.UNKNOWN)
        return
    assert (result.status, words in result.summary) == (status, True), result


async def test_people_who_log_in_on_another_host(pages: Pages) -> None:
    pages.redirect("/dashboard", "https://id.example/authorize?client=1")
    sso = await guarded(pages.url, login_url="https://id.example/authorize")
    assert "evidence" in sso.summary  # nothing but the record is missing
    pages.add("/login")
    pages.redirect("/dashboard", "https://www.example.com/login")
    assert "evidence" in (await guarded(pages.url, public_url="https://www.example.com")).summary


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("x-middleware-subrequest", "without a session, by x-middleware-subrequest"),
        ("rsc", "without a session, as data (RSC)"),
    ],
)
async def test_guards_that_can_be_walked_around(web: Application, header: str, words: str) -> None:
    def unguarded(passing: Passing) -> None:
        if passing.path.partition("?")[0] == "/dashboard" and header in passing.asked:
            passing.status, passing.body = 200, b"secret dashboard"

    with changed(web.url, unguarded) as url:
        result = await guarded(url)
    assert (result.status, result.summary) == (Status.FAILED, f"GET {url}/dashboard answered 200 {words}.")


async def test_guards_that_read_a_token_and_do_not_verify_it(web: Application) -> None:
    def careless(passing: Passing) -> None:
        if passing.path == "/dashboard" and passing.asked.get("cookie", "").count(".") == 2:
            passing.status, passing.body = 200, b"<!doctype html>secret"
        elif passing.path == "/dashboard" and "cookie" in passing.asked:
            passing.status, passing.body, passing.headers["location"] = 307, b"", "/login"

    with changed(web.url, careless) as url:
        result = await guarded(url, session_cookie="session")
    assert result.summary == f"GET {url}/dashboard answered 200 with a forged session cookie."


@pytest.mark.verifies("frontend.performance_optimization_configured", "ok")
@pytest.mark.verifies("frontend.performance_optimization_configured", "unknown")
async def test_pages_that_are_rendered_again_only_by_their_headers(web: Application) -> None:
    """The page of /isr-api says s-maxage=3 and STALE or HIT, and every rendering fails, which nothing shows."""
    good: dict[str, Any] = {}
    bad: dict[str, Any] = {}

    async def asked(path: str, memory: dict[str, Any], later: float) -> Result:
        moved = timedelta(seconds=later)
        return await see(SPEED, web.url, isr_pages={path: r"rendered-at \d+"}, memory=memory, later=moved)

    first = await asked("/isr", good, 0)
    assert (first.status, first.reason) == (Status.UNKNOWN, Reason.PENDING)
    await asked("/isr-api", bad, 0)
    await until(lambda: asked("/isr", good, 0), Status.OK)
    await asyncio.sleep(4)  # longer than the page may be kept, so that its server has rendered it in vain
    assert (await asked("/isr-api", bad, 4)).reason is Reason.PENDING
    stuck = await asked("/isr-api", bad, 40)
    assert (stuck.status, "has had the same text for longer" in stuck.summary) == (Status.UNKNOWN, True)


async def test_a_page_that_is_no_longer_rendered_again(pages: Pages) -> None:
    kept: dict[str, Any] = {"Cache_Control": "s-maxage=60, stale-while-revalidate=31535940"}
    memory: dict[str, Any] = {}

    async def asked(text: str, minutes: float) -> Result:
        pages.add("/", f"<!doctype html><p>at {text}</p>", **kept)
        later = timedelta(minutes=minutes)
        return await see(SPEED, pages.url, isr_pages={"/": r"at \w+"}, memory=memory, later=later)

    assert (await asked("1", 0)).reason is Reason.PENDING
    assert (await asked("1", 2)).reason is Reason.PENDING  # it has expired, and this request has it rendered
    assert (await asked("2", 4)).status is Status.OK
    assert (await asked("2", 6)).status is Status.OK
    stopped = await asked("2", 8)
    assert (stopped.status, stopped.reason) == (Status.FAILED, Reason.DOWN)
    assert "it is no longer rendered again" in stopped.summary


async def test_a_page_that_a_network_keeps(pages: Pages) -> None:
    """A cache in front may keep what has expired for another round."""
    memory: dict[str, Any] = {}
    pages.add("/", "<!doctype html><p>at 1</p>", Cache_Control="s-maxage=60", Age="30", Cf_Cache_Status="HIT")
    for minutes in (0, 2, 2.9):
        later = timedelta(minutes=minutes)
        result = await see(SPEED, pages.url, isr_pages={"/": r"at \d"}, memory=memory, later=later)
        assert result.reason is Reason.PENDING


async def test_a_backend_whose_errors_become_pages(web: Application) -> None:
    async with faults.answering({"products": []}) as (backend, _):
        result = await see(API, backend, api_path="/api")
    assert (result.status, result.reason) == (Status.UNKNOWN, Reason.NOT_VERIFIED)


@pytest.mark.parametrize(
    ("body", "rendered"),
    [
        ("<!-- Cart of Ada -->", False),
        ("<noscript>Cart of Ada</noscript>", False),
        ("<template><p>Cart of Ada</p></template>", False),
        ("<!-- a --><p>Cart<!-- --> of Ada</p>", True),
        ('<template id="B:0"></template><div hidden id="S:0">Cart of Ada</div>', True),  # as React streams it
    ],
)
async def test_text_that_browsers_do_not_show_is_not_rendered(pages: Pages, body: str, rendered: bool) -> None:
    pages.add("/cart", f"<html><body>{body}</body></html>", Cache_Control="private, no-store")
    result = await see(SPEED, pages.url, ssr_pages={"/cart": "Cart of .+"})
    assert result.status is (Status.OK if rendered else Status.FAILED), result
