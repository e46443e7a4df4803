"""What import-linter cannot see of the rooms: which ones there are, what reads files, and that the tests' kit exists once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SYSTEMS = ROOT / "collectors" / "systems"
ROOMS = {"client", "model", "judge", "check"}
READS = {"open", "read_text", "read_bytes", "write_text", "write_bytes", "iterdir", "glob", "rglob", "stat", "exists"}
KIT = {"look", "see", "until", "wait_until", "eventually", "Clock", "make_context", "verify"}


def test_a_system_has_rooms_of_the_same_names_everywhere() -> None:
    """The contracts of import-linter know these four: a module of another name would be bound by none of them."""
    places = [place for place in SYSTEMS.glob("*/*") if place.suffix == ".py" or (place / "__init__.py").exists()]
    assert {place.stem for place in places} == ROOMS | {"__init__"}
    assert {place.suffix for place in SYSTEMS.iterdir() if place.name not in ("__init__.py", "__pycache__")} == {""}


def reading(source: str) -> Iterator[str]:
    """The calls in a module that read or write files, and the imports that open connections."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in READS:
                yield f"{node.lineno}: {name}()"
        elif isinstance(node, ast.ImportFrom) and node.module in ("urllib.request", "http.client", "http.server"):
            yield f"{node.lineno}: {node.module}"
        elif isinstance(node, ast.Import) and {name.name for name in node.names} & {"urllib.request", "http.client"}:
            yield f"{node.lineno}: {node.names[0].name}"


def test_models_and_judges_read_no_files() -> None:
    modules = [path for room in ("model", "judge") for path in SYSTEMS.glob(f"*/{room}*/**/*.py")]
    modules += [path for room in ("model", "judge") for path in SYSTEMS.glob(f"*/{room}.py")]
    assert len(modules) > 100
    assert [f"{path.relative_to(ROOT)}:{found}" for path in modules for found in reading(path.read_text())] == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("with open('x') as file: pass", ["1: open()"]),
        ("Path('x').read_text()", ["1: read_text()"]),
        ("import urllib.request", ["1: urllib.request"]),
        ("from http.client import HTTPConnection", ["1: http.client"]),
        ("from urllib.parse import urlsplit\nurlsplit('x')", []),
    ],
)
def test_what_counts_as_reading(source: str, found: list[str]) -> None:
    assert list(reading(source)) == found


def test_the_kit_of_the_tests_exists_once() -> None:
    """A section's tests describe a run; how it is run, waited for and judged is in tests/support.py."""
    defined: dict[str, set[str]] = {}
    paths = (path for path in (ROOT / "tests").rglob("*.py") if "applications" not in path.parts)
    for path in paths:
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name in KIT:
                defined.setdefault(node.name, set()).add(path.relative_to(ROOT).as_posix())
    assert {name: files for name, files in defined.items() if len(files) > 1} == {}
