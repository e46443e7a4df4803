"""One FastAPI application whose behaviours are switched by environment variables: uvicorn app:app --host 127.0.0.1 --port N."""

import asyncio
import json
import os
import time
import uuid
from contextlib import asynccontextmanager
from urllib.request import Request as Call
from urllib.request import urlopen

import jwt
import psycopg
from fastapi import BackgroundTasks, Body, Depends, FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_fastapi_instrumentator import Instrumentator
from redis.asyncio import Redis
from slowapi import Limiter, _rate_limit_exceeded_handler
from slowapi.errors import RateLimitExceeded

E = os.environ.get
DSN, REDIS, NATS, NAME = E("DATABASE_URL"), E("REDIS_URL"), E("NATS_URL"), E("NAME", "backend")
SECRET = E("SECRET", "a-secret-of-32-bytes-for-tests-1")
done: list[str] = []
held: dict[str, object] = {}


@asynccontextmanager
async def connections(_: FastAPI):
    """Keep one named connection to each store, as a service does."""
    if DSN:
        held["postgres"] = await psycopg.AsyncConnection.connect(DSN, application_name=NAME, autocommit=True)
    if REDIS:
        held["redis"] = Redis.from_url(REDIS, client_name=NAME)
        await held["redis"].ping()
    if NATS:
        import nats

        held["nats"] = await nats.connect(NATS, name=NAME)
    yield
    if NATS:
        await held["nats"].close()


DOCS = E("DOCS", "public")  # public · no-ui (docs_url None, the specification stays) · off
app = FastAPI(
    title="backend",
    lifespan=connections,
    docs_url="/docs" if DOCS == "public" else None,
    redoc_url="/redoc" if DOCS == "public" else None,
    openapi_url=None if DOCS == "off" else "/openapi.json",
    root_path=E("ROOT_PATH", ""),
)
cors = {"strict": [E("ORIGIN", "https://app.example")], "star": ["*"], "null": ["null"]}.get(E("CORS", "off"))
if cors:
    app.add_middleware(
        CORSMiddleware, allow_origins=cors, allow_credentials=E("CREDENTIALS") == "1", allow_methods=["*"]
    )
elif E("CORS") == "suffix":
    app.add_middleware(CORSMiddleware, allow_origin_regex=r"https://.*app\.example", allow_credentials=True)
limiter = Limiter(key_func=lambda request: request.client.host, headers_enabled=True, storage_uri=REDIS or "memory://")
app.state.limiter = limiter
app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)
if E("METRICS", "on") == "on":
    Instrumentator().instrument(app).expose(app, include_in_schema=False)


async def _state(name: str) -> str:
    try:
        if name == "postgres":
            await held[name].execute("SELECT 1")
        elif name == "redis":
            await held[name].ping()
        elif not held[name].is_connected:
            return "down"
    except Exception as error:
        return f"down: {type(error).__name__}"
    return "up"


@app.get("/health")
async def health():
    """HEALTH: deep · shallow (never looks at the stores) · html · lying (down, and 200)."""
    match E("HEALTH", "deep"):
        case "shallow":
            return {"status": "ok"}
        case "html":
            return HTMLResponse("<!doctype html><title>app</title>")
    details = {name: await _state(name) for name in held}
    well = all(state == "up" for state in details.values())
    return JSONResponse(
        {"status": "ok" if well else "error", "details": details}, 200 if well or E("HEALTH") == "lying" else 503
    )


def user(authorization: str = Header("")) -> dict:
    try:
        return jwt.decode(
            authorization.removeprefix("Bearer "),
            SECRET,
            algorithms=["HS256"],
            options={"verify_signature": E("AUTH") != "decode"},
        )
    except jwt.PyJWTError:
        if E("AUTH") == "off":
            return {"sub": "nobody", "role": "admin"}
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"}) from None


@app.get("/me")
def me(who: dict = Depends(user)):
    return {"sub": who["sub"]}


@app.get("/items/{number}")
def item(number: int, page: int = Query(1, ge=1)):
    return {"number": number, "page": page}


@app.get("/limited")
@limiter.limit(E("LIMIT", "5/minute"))
def limited(request: Request, response: Response):
    return {"limited": True}


@app.get("/search")
async def search(q: str = ""):
    if not DSN:
        return {"found": []}
    fruit = "SELECT name FROM (VALUES ('apple'), ('pear')) AS fruit (name) WHERE name = "
    try:
        if E("SQLI") == "1":
            cursor = await held["postgres"].execute(f"{fruit}'{q}'")
        else:
            cursor = await held["postgres"].execute(f"{fruit}%s", (q,))
    except psycopg.Error as error:
        if E("SQL_ERRORS") == "swallowed":
            return {"found": []}
        raise HTTPException(500, f"PostgreSQL ERROR: {error}" if E("SQL_ERRORS") == "leaked" else None) from None
    return {"found": await cursor.fetchall()}


@app.get("/echo")
def echo(q: str = ""):
    return HTMLResponse(f"<p>{q}</p>") if E("XSS") == "1" else {"q": q}


@app.get("/slow")
async def slow():
    await asyncio.sleep(float(E("SLOW", "3")))
    return {"slow": True}


@app.post("/jobs", status_code=202)
def job(tasks: BackgroundTasks):
    tasks.add_task(lambda: (time.sleep(float(E("JOB", "0"))), done.append("done")))
    return {"queued": True}


@app.get("/jobs")
def jobs():
    return {"done": len(done)}


answers: dict[str, dict] = {}


def complete(question: str) -> dict:
    """ASK: direct (an error of the model is 502) · apology (it is an answer) · canned (the model is not asked)."""
    if E("ASK") == "canned":
        return {"answer": "There is nothing that I could tell you about that.", "usage": {"total_tokens": 1}}
    body = json.dumps({"model": "gpt-5", "messages": [{"role": "user", "content": question}]}).encode()
    headers = {"Authorization": f"Bearer {E('OPENAI_KEY')}", "Content-Type": "application/json"}
    try:
        with urlopen(Call(f"{E('OPENAI_URL')}/chat/completions", body, headers), timeout=30) as reply:
            document = json.load(reply)
    except OSError as error:
        if E("ASK") == "apology":
            return {"answer": f"Sorry, this cannot be answered: {question}", "usage": {"total_tokens": 0}}
        raise HTTPException(502, f"The model answered: {error}") from None
    return {"answer": document["choices"][0]["message"]["content"], "usage": document["usage"]}


@app.post("/ask")
def ask(question: str = Body(embed=True)):
    return complete(question)


@app.post("/questions", status_code=202)
def take(tasks: BackgroundTasks, question: str = Body(embed=True)):
    """QUEUE=stuck: nobody takes the question."""
    number = uuid.uuid4().hex
    answers[number] = {"status": "waiting"}

    def work():
        try:
            answers[number] = {"status": "done", **complete(question)}
        except HTTPException as error:
            answers[number] = {"status": "failed", "error": error.detail}

    if E("QUEUE") != "stuck":
        tasks.add_task(work)
    return {"id": number}


@app.get("/questions/{number}")
def look(number: str):
    if number not in answers:
        raise HTTPException(404)
    return answers[number]
