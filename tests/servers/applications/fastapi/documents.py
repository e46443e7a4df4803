"""Searches in a store of documents, by queries as Express and PHP read them: uvicorn documents:app --host 127.0.0.1 --port N."""

import re
from urllib.parse import parse_qsl

import mongomock
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

app = FastAPI(docs_url=None, openapi_url=None)
store = mongomock.MongoClient().shop.fruit
store.insert_many([{"name": "apple", "price": 3}, {"name": "pear", "price": 4}])


def parsed(query: list[tuple[str, str]]) -> dict:
    """`q[$ne]=x` as {"q": {"$ne": "x"}}, and `q[$in][]=x` as a list."""
    found: dict = {}
    for name, value in query:
        key, *inner = re.findall(r"[^\[\]]+", name)
        given = [value] if name.endswith("[]") else value
        found[key] = {inner[0]: given} if inner else given
    return found


def answer(how: str, given: object):
    if isinstance(given, dict):
        if how == "typed" or (how == "listed" and set(given) & {"$ne", "$gt", "$eq", "$in"}):
            return JSONResponse({"detail": "expected a string"}, 400)
        if how == "crashes":
            return JSONResponse({"detail": "Internal Server Error"}, 500)
        if how == "text":
            given = str(given)
    try:
        return {"found": [one["name"] for one in store.find({"name": given})]}
    except (TypeError, ValueError):
        return {"found": []}


@app.get("/find/{how}")
def find(how: str, request: Request):
    return answer(how, parsed(request.query_params.multi_items()).get("q", ""))


@app.post("/find/{how}")
async def find_posted(how: str, request: Request):
    if request.headers["content-type"] == "application/json":
        return answer(how, (await request.json()).get("q", ""))
    return answer(how, parsed(parse_qsl((await request.body()).decode())).get("q", ""))
