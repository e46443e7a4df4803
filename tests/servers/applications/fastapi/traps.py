"""Routes that look safe and are not, and the other way round, one each: uvicorn traps:app --host 127.0.0.1 --port N."""

import base64
import html
import json
import sqlite3

import jwt
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse

app = FastAPI(docs_url=None, openapi_url=None)
SECRET = "a-secret-of-32-bytes-for-tests-1"
BLOCKED = (
    "<html><title>Request Rejected</title>The requested address was rejected. Please consult your administrator.</html>"
)
knocks = {"banned": 0}


def claims(request: Request, secret: str = SECRET) -> dict | None:
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    try:
        return jwt.decode(token, secret, algorithms=["HS256"])
    except jwt.PyJWTError:
        return None


# --- pages and their policies


@app.get("/policy/{name}")
def policy(name: str):
    knocks[name] = knocks.get(name, 0) + 1
    scripts = {
        "anyport": "'self' https://*:*",
        "blob": "'self' blob:",
        "counter": f"'nonce-{knocks[name]}'",
        "good": "'self'",
    }[name]
    headers = {
        "Content-Security-Policy": f"default-src 'none'; script-src {scripts}; base-uri 'none'; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
    }
    return HTMLResponse("<!doctype html><p>hello</p>", headers=headers)


@app.post("/login/{cookie}")
def login(cookie: str):
    reply = JSONResponse({"logged": "in"})
    reply.set_cookie(cookie, "0123456789abcdef", samesite="lax")
    return reply


# --- who gets in


@app.get("/me/{guard}")
def me(guard: str, request: Request):
    page = {"sub": "alice", "mail": "alice@example.com"}
    match guard:
        case "weak":
            return page if claims(request, "secret") else JSONResponse({}, 401)  # as in tutorials
        case "case":  # refuses "none", and takes "None"
            token = request.headers.get("authorization", "").removeprefix("Bearer ")
            try:
                header, _, _ = token.split(".")
                algorithm = json.loads(base64.urlsafe_b64decode(header + "=="))["alg"]
            except (ValueError, KeyError):
                return JSONResponse({}, 401)
            unsigned = algorithm != "none" and algorithm.lower() == "none"
            return page if unsigned or claims(request) else JSONResponse({}, 401)
        case "unsigned":  # no signature, nothing to verify
            token = request.headers.get("authorization", "").removeprefix("Bearer ")
            unsigned = token.count(".") == 2 and token.endswith(".") and not token.startswith("eyJhbGciOiJub25l")
            unsigned = unsigned and jwt.get_unverified_header(token)["alg"].lower() != "none"
            return page if unsigned or claims(request) else JSONResponse({}, 401)
        case "polite":  # refuses with 200
            return page if claims(request) else {"error": {"code": 401, "message": "not authenticated"}}
        case "banning":  # after the first knock nobody is let in, and the guard verifies nothing
            if not request.headers.get("authorization"):
                knocks["banned"] = 1
            return JSONResponse({"error": "banned"}, 401) if knocks["banned"] else page
        case "readable":  # a cookie that is not signed
            try:
                return {"sub": json.loads(base64.b64decode(request.cookies["session"]))["user"], "mail": "of a user"}
            except (KeyError, ValueError):
                return JSONResponse({}, 401)


@app.middleware("http")
async def gateway(request: Request, call_next):
    """A guard by the spelling of the path, before routes that are spelt in several ways."""
    path = request.url.path
    if path == "/spelt" and not claims(request):
        return JSONResponse({}, 401)
    if path.rstrip("/").lower() == "/spelt":
        request.scope["path"] = "/spelt"
    return await call_next(request)


@app.get("/spelt")
def spelt():
    return {"sub": "alice", "mail": "alice@example.com"}


@app.get("/everybody")
def everybody(request: Request):
    return {"sub": (claims(request) or {}).get("sub")} if claims(request) else JSONResponse({}, 401)


@app.get("/admin/{rule}")
def admin(rule: str, request: Request):
    who = claims(request)
    if rule == "anonymous" and who and who["sub"] != "alice":  # of strangers nobody thought
        return JSONResponse({}, 403)
    return {"users": ["alice", "bob"], "secrets": 2}


# --- values


@app.get("/validate/text/{number}")
def validate_text(number: str):
    return {"number": number} if number == "1" else JSONResponse({"detail": "Not Found"}, 404)


@app.get("/validate/number/{number}")
def validate_number(number: int):
    return {"number": number} if number == 1 else JSONResponse({"detail": "Not Found"}, 404)


@app.get("/validate/polite")
def validate_polite(page: str):
    return {"page": int(page)} if page.isdecimal() else {"errors": [{"message": "page must be a number"}]}


@app.get("/search/{how}")
def search(how: str, q: str):
    if how == "blocked" and ("'" in q or '"' in q):
        return HTMLResponse(BLOCKED)
    fruit = "SELECT name FROM (SELECT 'apple' AS name UNION SELECT 'pear') WHERE name = "
    with sqlite3.connect(":memory:") as store:
        try:
            found = store.execute(f'{fruit}"{q}"' if how == "double" else f"{fruit}'{q}'").fetchall()
        except sqlite3.Error:
            found = []
    return {"found": found}


@app.get("/page/{how}")
def page(how: str, q: str):
    safe = html.escape(q)
    slashed = json.dumps(q)[1:-1].replace("<", "\\u003c")
    body = {
        "handler": f"<button onclick=\"find('{safe}')\">find</button>",
        "handler-safe": f'<button onclick="find(&quot;{html.escape(slashed)}&quot;)">find</button>',
        "arrow": f'<div data-on="() => open" title="{q.replace("<", "&lt;")}">{safe}</div>',
        "template": f"<script>const q = `{safe}`</script>",
        "slashes": '<script>const q = "' + q.replace('"', '\\"').replace("<", "\\x3c") + '"</script>',
        "json": f'<script>const q = "{slashed}"</script>',
        "link": f'<a href="{safe}">back</a>',
        "link-safe": f'<a href="{safe if q.startswith(("http:", "https:", "/")) else "#"}">back</a> {safe}',
        "link-path": f'<a href="/search?q={safe}">again</a>',
        "comment": f"<!-- looked for {safe} --><p>nothing</p>",
        "less": f"<p>1 < 2, and {safe}</p>",
        "blocked": BLOCKED if "<" in q else f"<p>{q}</p>",
    }[how]
    return HTMLResponse(body)


# --- other sites


@app.post("/post/{how}")
async def post(how: str, request: Request):
    origin, own = request.headers.get("origin"), f"http://{request.headers['host']}"
    form = dict(part.partition("=")[::2] for part in (await request.body()).decode().split("&"))
    refused = {
        "null": origin not in (own, "null"),
        "presence": not form.get("_csrf"),
        "polite": origin != own,
        "redirect": origin != own,
    }[how]
    match how, refused:
        case "polite", True:
            return {"error": "the request was forged", "code": 403}
        case "redirect", _:
            return RedirectResponse("/forged" if refused else "/thanks", 303)
    return JSONResponse({"detail": "forged"}, 403) if refused else {"changed": True}


@app.get("/token")
def token():
    return HTMLResponse('<form><input name="_csrf" value="8f3a9c2e7b"></form>')


@app.api_route("/cors/{how}", methods=["GET", "OPTIONS"])
def cors(how: str, request: Request):
    origin = request.headers.get("origin", "")
    allowed = ("https://app.example.com", "https://admin.example.org")
    granted = {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true", "Vary": "Origin"}
    if request.method == "OPTIONS":
        headers = {
            "Access-Control-Allow-Methods": "GET, PUT",
            "Access-Control-Allow-Headers": "authorization, content-type",
        }
        if how == "guarded":  # the guard comes before CORS
            return JSONResponse({}, 401)
        return JSONResponse({}, headers=headers | (granted if how == "preflight" or origin in allowed else {}))
    may = origin in allowed
    may |= how == "second" and origin.endswith("admin.example.org")
    may |= how == "subdomain" and origin.endswith(".app.example.com")
    if how == "uncredentialed":
        granted.pop("Access-Control-Allow-Credentials")
    return JSONResponse({"secret": 1}, headers=granted if may else {"Vary": "Origin"})
