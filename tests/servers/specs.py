"""Official OpenAPI documents, against which the replies of small servers of ours are checked.

They are no part of this repository. CHECKLIST_EXPORTER_SPECS names their folder; the default is shared/specs beside the
repository.
"""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest

_BESIDE = Path(__file__).resolve().parents[2].parent / "shared/specs"


@cache
def document(name: str) -> dict[str, Any]:
    """Return a document such as `pagerduty`; skips the test where it is absent."""
    path = Path(os.environ.get("CHECKLIST_EXPORTER_SPECS") or _BESIDE) / f"{name}.t.json"
    if not path.exists():
        pytest.skip(
            f"The OpenAPI document of {name} is not here: CHECKLIST_EXPORTER_SPECS names the folder that has it."
        )
    found: dict[str, Any] = _nullable(json.loads(path.read_text()))
    return found


def validate_reply(name: str, path: str, reply: object) -> None:
    """Check the reply to GET of a path, as the document writes that; raises jsonschema.ValidationError."""
    whole = document(name)
    answer = whole["paths"][path]["get"]["responses"]["200"]
    schema = answer.get("schema") or answer["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator({**whole, **schema}).validate(reply)


def _nullable(node: Any) -> Any:
    """Turn OpenAPI's `nullable` into what JSON Schema knows."""
    if isinstance(node, list):
        return [_nullable(part) for part in node]
    if not isinstance(node, dict):
        return node
    made = {key: _nullable(value) for key, value in node.items()}
    if made.get("nullable") is True and isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
        if "enum" in made:
            made["enum"] = [*made["enum"], None]
    return made
