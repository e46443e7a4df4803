"""YAML with positions: what it refuses, and that nothing makes it crash."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from exporter.positioned_yaml import MAX_BYTES, Node, Position, YamlError, load_yaml, load_yaml_all, read_bounded


def refusal(text: str | bytes) -> str:
    with pytest.raises(YamlError) as raised:
        load_yaml(text, "a.yaml")
    return str(raised.value)


def test_values_are_read_as_they_are_written() -> None:
    text = """
on: yes
off: true
day: 2026-10-01
time: 12:30
number: 010
ratio: 1e3
text: "010"
empty:
list: [1, -2.5, ~, 'x']
block: |
  line
"""
    assert load_yaml(text, "a.yaml").plain() == {
        "on": "yes",
        "off": True,
        "day": "2026-10-01",
        "time": "12:30",
        "number": 10,
        "ratio": 1000.0,
        "text": "010",
        "empty": None,
        "list": [1, -2.5, None, "x"],
        "block": "line\n",
    }


def test_aliases_repeat_what_they_name_and_keys_are_never_merged() -> None:
    assert load_yaml("a: &x {b: 1}\nc: *x\nd: {<<: *x}", "a.yaml").plain() == {
        "a": {"b": 1},
        "c": {"b": 1},
        "d": {"<<": {"b": 1}},
    }


def test_positions_are_those_of_keys_and_entries() -> None:
    node = load_yaml("a:\n  - b: 1\n  -  c\nd: {e: 2}\n", "a.yaml")
    assert node.where(()) == Position(1, 1)
    assert node.where(("a", 0, "b")) == Position(2, 5)
    assert node.where(("a", 1)) == Position(3, 6)
    assert node.where(("a", 5, "b")) == Position(1, 1)
    assert node.where(("d", "e")) == Position(4, 5)
    assert node.where(("d", "a union's member", "e", "missing")) == Position(4, 5)
    assert node.find(("d", "e", "missing")).value == 2
    assert node.find(("a", 1)).value == "c"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "a.yaml:3:1: 'a' is given twice, first on line 1"),
        (
            "a: &x\n  - *x",
            "a.yaml:2:5: an alias has no anchor that ends before it (put a text that begins with * in quotes)",
        ),
        ("a: *x", "a.yaml:1:4: an alias has no anchor that ends before it (put a text that begins with * in quotes)"),
        ("a: 1\n---\nb: 1", "a.yaml:3:1: expected one document, found a second one"),
        ("a: 1\nb: \x07", "a.yaml:2:4: expected text, found a control character"),
        (b"a: 1\nb: \xff", "a.yaml:2:4: expected UTF-8 text, found other bytes"),
        ("\ud800", "a.yaml:1:1: expected UTF-8 text, found other bytes"),
        ("? [a]\n: 1", "a.yaml:1:3: expected a key of plain text, found another structure"),
        ("a: !!python/name:os.system x", "found a tag (put a text that begins with ! in quotes)"),
        ("a: .inf", "a.yaml:1:4: expected a finite number, found .inf"),
        ("- " * 60 + "x", "expected at most 50 levels of nesting, found more"),
        ("[" * 5000, "nest"),
        ("a: [1\n", "a.yaml:2:1: "),
        ("%YAML 9.9\n---\na", "a.yaml:1:1: "),
    ],
)
@pytest.mark.parametrize("loader", [yaml.CSafeLoader, yaml.SafeLoader])
def test_what_it_refuses_has_a_place(
    text: str | bytes, message: str, loader: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.positioned_yaml._LOADER", loader)
    assert message in refusal(text)


def test_numbers_too_large_for_a_float_stay_text() -> None:
    assert load_yaml("1e999", "a.yaml").value == "1e999"


def test_aliases_do_not_explode() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    started = time.process_time()
    assert "aliases count as what they repeat" in refusal("\n".join(lines))
    assert time.process_time() - started < 5


def test_large_texts_are_not_parsed(tmp_path: Path) -> None:
    assert f"a.yaml:1:1: expected at most {MAX_BYTES} bytes" in refusal("a" * (MAX_BYTES + 1))
    path = tmp_path / "a.yaml"
    path.write_bytes(b"12345")
    assert read_bounded(path, 5) == b"12345"
    with pytest.raises(YamlError, match="expected at most 4 bytes, found more"):
        read_bounded(path, 4)


def test_an_empty_text_is_null() -> None:
    assert load_yaml("# nothing\n", "a.yaml") == Node(None, Position(1, 1))
    assert load_yaml_all("", "a.yaml") == []
    assert [node.value for node in load_yaml_all("--- 1\n--- 2\n", "a.yaml")] == [1, 2]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(min_codepoint=32, max_codepoint=0xD7FF, exclude_characters="\x7f")),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text("abcdef", max_size=5), values, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_json_is_read_as_json(value: object) -> None:
    assert load_yaml(json.dumps(value), "a.yaml").plain() == value


@given(JSON)
def test_what_pyyaml_writes_in_blocks_is_read(value: object) -> None:
    text = yaml.safe_dump(value, default_style='"', allow_unicode=False)
    if "!!" not in text:
        assert load_yaml(text, "a.yaml").plain() == value


@given(st.binary(max_size=200) | st.text(max_size=200) | st.text("[]{}:-&*a \n'\"|>#!%?", max_size=60))
def test_nothing_makes_it_crash(text: bytes | str) -> None:
    for loader in (yaml.CSafeLoader, yaml.SafeLoader):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("exporter.positioned_yaml._LOADER", loader)
            with suppress(YamlError):
                load_yaml(text, "a.yaml").plain()
