"""Every public function names in its docstring the errors that it raises itself."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("exporter", "collectors")
#: Their docstrings are shown to users, and whatever they raise makes a line unknown.
ITEMS = {"item", "evidence_item", "sign_off"}
#: Commands, whose docstrings are their help: they raise Refused, which `main` prints.
COMMANDS = "exporter/cli/"

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Known:
    """What the sources declare: the bases of each class, and what functions return, such as an error to be raised."""

    bases: dict[str, set[str]] = field(default_factory=dict)
    returns: dict[str, str] = field(default_factory=dict)

    def add(self, tree: ast.Module) -> None:
        """Read a module."""
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                self.bases.setdefault(node.name, set()).update(_name(base) for base in node.bases)
        self.returns |= _returns(tree)

    def names(self, error: str) -> set[str]:
        """An error and the classes that it derives from."""
        known = getattr(builtins, error, None)
        above = {kind.__name__ for kind in known.__mro__} if isinstance(known, type) else self.bases.get(error, set())
        return {error}.union(*(self.names(base) for base in above - {error, "object", "BaseException", "Exception"}))


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Call | ast.Subscript):
        return _name(node.func if isinstance(node, ast.Call) else node.value)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _returns(tree: ast.Module) -> dict[str, str]:
    return {
        node.name: ast.unparse(node.returns) for node in ast.walk(tree) if isinstance(node, Function) and node.returns
    }


def _public(body: list[ast.stmt]) -> Iterator[Function]:
    for node in body:
        if isinstance(node, ast.ClassDef | Function) and node.name.startswith("_"):
            continue
        if isinstance(node, ast.ClassDef):
            yield from _public(node.body)
        elif isinstance(node, Function):
            yield node


def _raised(node: ast.AST) -> Iterator[ast.expr]:
    """What the body of a function raises, without the functions inside it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Raise) and child.exc is not None:
            yield child.exc
        if not isinstance(child, Function | ast.Lambda | ast.ClassDef):
            yield from _raised(child)


def unnamed(tree: ast.Module, known: Known) -> Iterator[str]:
    """The public functions of a module that raise an error which their docstring does not name, each as one line."""
    returns = known.returns | _returns(tree)  # a module's own function hides one of the same name elsewhere
    for function in _public(tree.body):
        if ITEMS & {_name(decorator) for decorator in function.decorator_list}:
            continue
        docstring = ast.get_docstring(function) or ""
        words = {word.strip("`.,;:()") for word in docstring.split()}
        for raised in _raised(function):
            error = _name(raised)
            if isinstance(raised, ast.Call):
                error = returns.get(error, error)
            if not error[:1].isupper():  # it was made elsewhere, or caught before
                if "raise" not in docstring.lower():
                    yield f"{function.lineno}: {function.name} raises {ast.unparse(raised)}"
            elif not words & known.names(error):
                yield f"{function.lineno}: {function.name} raises {error}"


def test_every_public_function_names_the_errors_that_it_raises() -> None:
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    trees = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_bytes()) for path in paths}
    known = Known()
    for tree in trees.values():
        known.add(tree)
    assert [
        f"{path}:{problem}"
        for path, tree in trees.items()
        for problem in unnamed(tree, known)
        if not (path.startswith(COMMANDS) and problem.endswith(" raises Refused"))
    ] == []


@pytest.mark.parametrize(
    ("source", "problems"),
    [
        ('def f():\n    """Raises ValueError."""\n    raise ValueError', []),
        ('def f():\n    """Raises OSError."""\n    raise FileNotFoundError', []),
        ('class Bad(ValueError): ...\ndef f():\n    """Raises ValueError for bad ones."""\n    raise Bad("so")', []),
        ("def _f():\n    raise ValueError\nclass _C:\n    def f(self): raise ValueError", []),
        ("def f():\n    def inside(): raise ValueError", []),
        ('@item("A line")\nasync def f(self):\n    """For users."""\n    raise ValueError', []),
        ('def f():\n    """What comes out."""\n    raise ValueError', ["1: f raises ValueError"]),
        ("class C:\n    async def f(self):\n        if 1: raise ValueError('x') from None", ["2: f raises ValueError"]),
        ('def _bad() -> KeyError: ...\ndef f():\n    """Nothing."""\n    raise _bad()', ["2: f raises KeyError"]),
        ('def f(error):\n    """Nothing."""\n    raise error', ["1: f raises error"]),
        ('def f(error):\n    """Raises what it is given."""\n    raise error', []),
    ],
)
def test_what_counts_as_named(source: str, problems: list[str]) -> None:
    known, tree = Known(), ast.parse(source)
    known.add(tree)
    assert list(unnamed(tree, known)) == problems
