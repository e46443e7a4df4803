"""More routes that look safe and are not, and the other way round: uvicorn snares:app --host 127.0.0.1 --port N."""

import base64
import hmac

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from jwt.algorithms import RSAAlgorithm

app = FastAPI(docs_url=None, openapi_url=None)
SECRET = "a-secret-of-32-bytes-for-tests-1"
PAGE = {"sub": "alice", "mail": "alice@example.com"}


def token(request: Request) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ")


def claims(request: Request) -> dict | None:
    try:
        return jwt.decode(token(request), SECRET, algorithms=["HS256"])
    except jwt.PyJWTError:
        return None


# --- who gets in


def _embedded(text: str) -> bool:
    """A guard that verifies with the key that the token brings along."""
    try:
        header = jwt.get_unverified_header(text)
        if "jwk" in header:
            jwt.decode(text, jwt.PyJWK(header["jwk"]).key, algorithms=["RS256", "ES256"])
            return True
    except jwt.PyJWTError:
        pass
    return False


def _pointed(text: str) -> bool:
    """A guard that reads its key from the file that the token names: of /dev/null an empty one."""
    try:
        kid = str(jwt.get_unverified_header(text).get("kid", ""))
        if kid.startswith("/") or ".." in kid:
            head, _, signature = text.rpartition(".")
            made = base64.urlsafe_b64encode(hmac.digest(b"", head.encode(), "sha256")).decode().rstrip("=")
            return made == signature
    except (jwt.PyJWTError, ValueError):
        pass
    return False


KEY = rsa.generate_private_key(65537, 2048)
PUBLIC = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _signed(text: str, *, any_algorithm: bool) -> bool:
    """A guard that verifies by the issuer's key; with `any_algorithm` it takes that for a secret where a token says HS256."""
    try:
        if any_algorithm and jwt.get_unverified_header(text).get("alg") == "HS256":
            head, _, signature = text.rpartition(".")
            made = base64.urlsafe_b64encode(hmac.digest(PUBLIC, head.encode(), "sha256")).decode().rstrip("=")
            return made == signature
        jwt.decode(text, KEY.public_key(), algorithms=["RS256"])
    except (jwt.PyJWTError, ValueError):
        return False
    return True


@app.get("/keys")
def keys():
    return {"keys": [{**RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "one", "use": "sig"}]}


@app.get("/issue")
def issue():
    return {"token": jwt.encode({"sub": "alice"}, KEY, algorithm="RS256", headers={"kid": "one"})}


@app.get("/issued/{guard}")
def issued(guard: str, request: Request):
    return PAGE if _signed(token(request), any_algorithm=guard == "confused") else JSONResponse({}, 401)


@app.get("/guarded/{guard}")
def guarded(guard: str, request: Request):
    inside = {
        "jwk": lambda: _embedded(token(request)),
        "kid": lambda: _pointed(token(request)),
        "forwarded": lambda: request.headers.get("x-forwarded-for", "").startswith("127."),
        "middleware": lambda: "x-middleware-subrequest" in request.headers,
        "good": lambda: False,
    }[guard]()
    return PAGE if claims(request) or inside else JSONResponse({}, 401)


@app.middleware("http")
async def guard(request: Request, call_next):
    """A guard by path, before a router that lets a header or an encoding choose another one."""
    path = request.scope["raw_path"].decode().partition("?")[0]
    if path in ("/rewritten", "/encoded") and not claims(request):
        return JSONResponse({}, 401)
    if (other := request.headers.get("x-original-url") or request.headers.get("x-rewrite-url")) == "/rewritten":
        request.scope["path"] = other
    return await call_next(request)


@app.get("/rewritten")
def rewritten():
    return PAGE


@app.get("/encoded")
def encoded():
    return PAGE


# --- other sites


@app.get("/send")
def form():
    return PAGE


@app.post("/send/{how}")
async def send(how: str, request: Request):
    own = request.headers["host"]
    origin, referer = request.headers.get("origin", ""), request.headers.get("referer", "")
    taken = {
        "referer": own in referer or origin == f"http://{own}",
        "prefix": origin.startswith(f"http://{own.partition(':')[0]}"),
        "good": origin == f"http://{own}",
    }[how]
    return {"changed": True} if taken else JSONResponse({"detail": "forged"}, 403)
