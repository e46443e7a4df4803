"""Routes whose guards keep the front door alone, one each: uvicorn lures:app --host 127.0.0.1 --port N."""

import base64
import hashlib
import hmac
import html
import re
import sqlite3
import unicodedata
from urllib.parse import parse_qsl, unquote

import jwt
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

app = FastAPI(docs_url=None, openapi_url=None)
SECRET = "a-secret-of-32-bytes-for-tests-1"
PAGE = {"sub": "alice", "mail": "alice@example.com", "phone": "0123 4567"}


def claims(request: Request, *, verified: bool = True) -> dict | None:
    text = request.headers.get("authorization", "").removeprefix("Bearer ")
    try:
        return jwt.decode(text, SECRET, algorithms=["HS256"], options={"verify_signature": verified})
    except jwt.PyJWTError:
        return None


async def fields(request: Request) -> list[tuple[str, str]]:
    return parse_qsl((await request.body()).decode(), keep_blank_values=True)


# --- who gets in


def _half_signed(text: str) -> bool:
    """A guard that compares the beginning of a signature."""
    head, _, signature = text.rpartition(".")
    made = base64.urlsafe_b64encode(hmac.digest(SECRET.encode(), head.encode(), "sha256")).decode()
    return len(signature) > 8 and made[:8] == signature[:8]


@app.api_route("/in/{guard}", methods=["GET", "HEAD"])
def inside(guard: str, request: Request):
    headers, credentials = request.headers, request.headers.get("authorization", "")
    around = {
        "good": lambda: False,
        "half": lambda: _half_signed(credentials.removeprefix("Bearer ")),
        "null": lambda: credentials == "Bearer null",
        "undefined": lambda: credentials == "Bearer undefined",
        "empty": lambda: credentials == "Bearer",
        "basic": lambda: credentials.startswith("Basic "),
        "vouched": lambda: bool(headers.get("remote-user")),
        "webauth": lambda: headers.get("x-webauth-user") == "alice",
        "host": lambda: headers["host"] == "localhost",
        "forwarded": lambda: "127.0.0.1" in headers.get("forwarded", ""),
        "key": lambda: bool(headers.get("x-api-key")),
        "internal": lambda: bool(headers.get("x-envoy-internal")),
        "referer": lambda: headers.get("referer", "").startswith(str(request.base_url)),
        "head": lambda: request.method == "HEAD",
    }[guard]()
    return JSONResponse(PAGE) if claims(request) or around else JSONResponse({}, 401)


@app.get("/refused/{how}")
def refused(how: str, request: Request):
    """Refusals that send what they refuse, and pages that share a layout with their errors."""
    if how.startswith("page"):
        return _page(how, inside=claims(request) is not None)
    kept = {"city": "Bremen", "street": "Long Lane", **PAGE}
    if claims(request):
        return kept
    if how == "redirected":
        return JSONResponse(kept, 302, headers={"Location": "/login"})
    return JSONResponse(kept if how == "sent" else {"detail": "log in", "sub": "alice", "mail": None}, 401)


def _page(how: str, *, inside: bool):
    layout = "<nav>shop basket offers help terms imprint contact jobs press blog news about</nav>"
    orders = "<h1>orders of alice</h1><p>tea soap bread 991 Long Lane Bremen</p>"
    shown = orders if inside or how == "page-sent" else "<h1>please log in</h1>"
    return HTMLResponse(f"{layout}{shown}", 200 if inside else 401)


OPAQUE = "7f3a9c1e5b2d8f604a6c1b9e"


@app.get("/opaque/{how}")
def opaque(how: str, request: Request):
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    if token == OPAQUE or (how == "begins" and token[:12] == OPAQUE[:12]):
        return PAGE
    return JSONResponse({}, 401)


@app.get("/spelt/{path:path}")
def spelt(path: str, request: Request):
    """A router that takes spellings for the same which the guard in front of it does not know."""
    if path == "me" or path.startswith("good"):
        return PAGE if path == "me" and claims(request) else JSONResponse({}, 401)
    return PAGE if unquote(path).strip() in ("me", "./me") else JSONResponse({}, 404)


@app.get("/api/v3/me")
@app.get("/api/v2/orders")
@app.get("/api/v9/profile")
@app.get("/api/v1.1/mail")
@app.get("/exported")
@app.get("/assets")
def kept(request: Request):
    return JSONResponse(PAGE) if claims(request) else JSONResponse({}, 401)


@app.get("/api/v1/me")
@app.get("/api/profile")
@app.get("/api/v1.0/mail")
@app.get("/exported.json")
def forgotten():
    return PAGE


@app.get("/api/v1/orders")
def half_forgotten(request: Request):
    return JSONResponse(PAGE) if claims(request, verified=False) else JSONResponse({}, 401)


@app.get("/assets/{name}")
def asset(name: str):
    return JSONResponse(PAGE) if name.endswith(".css") else JSONResponse({}, 404)


# --- who may do what


@app.middleware("http")
async def rights(request: Request, call_next):
    """A guard by the path, before a router that is not so particular."""
    path, who = request.scope["raw_path"].decode().partition("?")[0], claims(request) or {}
    if path == "/admin/users" and who.get("sub") != "admin":
        return JSONResponse({}, 403)
    if path.rstrip("/").lower() == "/admin/users":
        request.scope["path"] = "/admin/users"
    return await call_next(request)


USERS = {"users": ["alice", "bob"], "mails": 2}


@app.get("/admin/users")
def users(request: Request):
    return JSONResponse(USERS) if claims(request) else JSONResponse({}, 401)


@app.get("/trusting/users")
def trusting(request: Request):
    """Believes what proxies say about who asks."""
    who = request.headers.get("x-forwarded-user") or (claims(request) or {}).get("sub")
    return JSONResponse(USERS) if who == "admin" else JSONResponse({}, 403 if who else 401)


@app.get("/decoding/users")
def decoding(request: Request):
    who = claims(request, verified=False)
    return JSONResponse(USERS) if who and who["sub"] == "admin" else JSONResponse({}, 403 if who else 401)


@app.get("/everybody")
def everybody(request: Request):
    who = claims(request)
    return {"sub": who["sub"]} if who else JSONResponse({}, 401)


@app.get("/v2/orders/{number}")
def order(number: str, request: Request):
    who = claims(request)
    return {"order": number, "total": 12} if who and number.startswith(who["sub"]) else JSONResponse({}, 404)


@app.get("/v1/orders/{number}")
def older_order(number: str, request: Request):
    return {"order": number, "total": 12} if claims(request) else JSONResponse({}, 401)


@app.get("/orders/{number}")
def good_order(number: str, request: Request):
    return order(number, request)


# --- values


@app.get("/validate/{how}")
def validate(how: str, request: Request):
    pages = request.query_params.getlist("page")
    number = re.match(r"\d+", pages[0]) if how == "begins" else re.fullmatch(r"\d+", pages[0])
    match how:
        case "ignored":
            return {"items": ["apple", "pear"]}
        case "replaced":
            return {"page": int(pages[0]) if number else 1}
        case "long" if number and int(pages[0]) >= 2**31:
            return Response(status_code=500)
        case "several" if len(pages) > 1:
            return Response(status_code=500)
    return {"page": int(number[0])} if number else JSONResponse({"detail": "page must be a number"}, 400)


@app.get("/search/{how}")
def search(how: str, q: str):
    with sqlite3.connect(":memory:") as store:
        store.executescript("CREATE TABLE fruit (name, price); INSERT INTO fruit VALUES ('apple', 3), ('pear', 4)")
        known = q if q in ("name", "price") else "nothing"
        try:
            match how:
                case "sorted":
                    found = store.execute(f"SELECT name FROM fruit ORDER BY {q}").fetchall()
                case "sorted-well":
                    found = store.execute(f"SELECT name FROM fruit ORDER BY {known}").fetchall()
                case "column":
                    found = store.execute(f"SELECT {q} FROM fruit").fetchall()
                case "words":  # a search by whole words
                    words = re.findall(r"\w+", q)
                    found = [one for one in ("apple", "pear") if one in words]
                case _:  # a search that drops what is no letter
                    found = store.execute("SELECT name FROM fruit WHERE name = ?", (re.sub(r"\W", "", q),)).fetchall()
        except sqlite3.Error:
            found = []
    return {"found": found}


@app.get("/page/{how}")
def page(how: str, q: str):
    safe = html.escape(q)
    body = {
        "entities": lambda: f"<p>{html.unescape(re.sub('[<>]', '', q))}</p>",
        "percent": lambda: f"<p>{unquote(safe)}</p>",
        "wide": lambda: f"<p>{unicodedata.normalize('NFKC', safe)}</p>",
        "unquoted": lambda: f"<input value={safe}>",
        "unquoted-letters": lambda: f"<input value={re.sub('[^a-z0-9]', '', q)}><p>{safe}</p>",
        "file": lambda: f"<p>{q}</p>",
        "safe": lambda: f'<p title="{safe}">{safe}</p>',
    }[how]()
    return HTMLResponse(body, headers={"Content-Disposition": "attachment"} if how == "file" else {})


@app.post("/found/{how}")
async def found(how: str, request: Request):
    sent = dict(
        await request.json() if request.headers["content-type"] == "application/json" else await fields(request)
    )
    text = str(sent["q"])
    return HTMLResponse(f"<p>{text if how == 'raw' else html.escape(text)} in {html.escape(str(sent['shop']))}</p>")


# --- other sites


TOKENS = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("alice", "bob", "")}


@app.get("/form")
def form(request: Request):
    name = request.cookies.get("session", "")
    return HTMLResponse(f'<p>{name}</p><form><input name="_csrf" value="{TOKENS[name]}"></form>')


@app.api_route("/send/{how}", methods=["GET", "POST"])
async def send(how: str, request: Request):
    if request.method == "GET" and how != "get":
        return Response(status_code=405)
    kind = request.headers.get("content-type", "").partition(";")[0]
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin", "")
    urlencoded = kind == "application/x-www-form-urlencoded"
    given = dict(await fields(request)).get("_csrf") if urlencoded else None
    given = request.headers.get("x-csrf-token", given)
    right = given == TOKENS.get(request.cookies.get("session"))
    taken = {
        "good": right,
        "shared": given in TOKENS.values(),
        "empty": right or given == "",
        "get": right or request.method == "GET",
        "text": right or kind == "text/plain",
        "multipart": right or kind == "multipart/form-data",
        "metadata": site in (None, "same-origin", "none"),
        "metadata-only": site == "same-origin",
        "suffix": origin.endswith(request.headers["host"]),
    }[how]
    return JSONResponse({"changed": True}) if taken else JSONResponse({"detail": "forged"}, 403)


@app.get("/login")
def login():
    return RedirectResponse("/form", 302)


# --- origins and cookies


@app.api_route("/cors/{how}", methods=["GET", "OPTIONS"])
def cors(how: str, request: Request):
    origin = request.headers.get("origin", "")
    may = {
        "domain": re.fullmatch(r"https://app\.example\.[a-z]+", origin),
        "local": origin == "https://app.example.com" or origin.startswith("http://localhost:"),
        "good": origin == "https://app.example.com",
        "preflight": origin == "https://app.example.com" or (request.method == "OPTIONS" and origin == "null"),
    }[how]
    allowed = {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Methods": "GET, PUT"} if may else {}
    if how == "preflight" and may:
        allowed["Access-Control-Allow-Credentials"] = "true"
    return JSONResponse({"secret": 1}, headers={"Vary": "Origin", **allowed})
