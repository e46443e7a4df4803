"""Reports in a folder of evidence, each with a record that pins it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tests.collectors.evidence import Folder

REAL = Path(__file__).parent.parent / "systems" / "reports" / "data"


def attached(folder: Folder, item: str, content_of: object, /, *, name: str = "", **values: Any) -> None:
    """Record an item with this content (a file's name among the real ones, bytes, or what is written as JSON)."""
    if isinstance(content_of, str):
        content = (REAL / content_of).read_bytes()
    else:
        content = content_of if isinstance(content_of, bytes) else json.dumps(content_of).encode()
    stem = name or item
    (folder.path / f"{stem}.report").write_bytes(content)
    artifact = {"path": f"{stem}.report", "sha256": hashlib.sha256(content).hexdigest()}
    record = {"item": f"{folder.section}.{item}", "result": "passed", "by": "team@example.com", "on": "2026-10-12"}
    written = {key: value for key, value in (record | {"artifact": artifact} | values).items() if value is not None}
    (folder.path / f"{stem}.yaml").write_text(json.dumps(written))


def junit_of(classname: str, *names: str, failed: str = "", at: str = "2026-10-12T10:00:00Z") -> bytes:
    """A JUnit report of these cases of one class, of which one may have failed."""
    cases = "".join(
        f'<testcase classname="{classname}" name="{name}">{"<failure/>" if name == failed else ""}</testcase>'
        for name in names
    )
    suite = f'<testsuite name="a" tests="{len(names)}" failures="{int(bool(failed))}" timestamp="{at}" time="1">'
    return f"<testsuites>{suite}{cases}</testsuite></testsuites>".encode()
