"""The reference documentation, generated from what is installed: `python -m exporter.reference docs/`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import Field, create_model
from pydantic.json_schema import GenerateJsonSchema

from exporter.catalogue import Catalogue, Entry
from exporter.collector import SectionSettings, Target
from exporter.config import Config, client_kinds, section_kinds
from exporter.options import Options, format_duration
from exporter.reference_pages import metrics, troubleshooting

__all__ = ["configuration", "items", "json_schema", "main", "pages", "roles"]

Schema = dict[str, Any]

_ROLES = """\
# Generated from the program: the cluster rights that suffice for all lines. Those that a configuration requires, which may
# be
# fewer, are printed by `checklist-exporter list --rbac --config.file config.yaml`.
"""

_INTRODUCTION = """\
# Configuration

Generated from the program; editors read the same from `configuration.schema.json`. See also [your own lines](custom.md),
[your own checklist](checklists.md), [evidence](evidence.md) and [plug-ins](plugins.md). `checklist-exporter config check -v`
validates the file and prints what each line is bound to. One YAML file:

- Unknown keys, wrong types and unknown names are errors. All of them are reported at once, each with file, line, column
  and key, and nothing starts; a reload keeps the last good configuration.
- What changes with time alone, such as an expired waiver, is a warning: the line counts with its own verdict, and
verification continues.
- `${NAME}` in a text is replaced by an environment variable, which must be set; `${NAME:-default}` for the default (a text without
  variables) when it is not set or empty; `$${` for the characters `${`.
- A secret may be read from a file: `<key>_file` instead of `<key>`. A trailing newline is removed.
- Relative paths are relative to the file's folder.
- A duration is written `30s`, `5m`, `26h` or `30d`, a size in bytes `1048576`, `64MiB` or `50GB`.
- Dates and everything else that YAML might convert remain text; only `true` and `false` are booleans.
- Options marked *per target* may be set on each target; the section's value is their default.
"""


def json_schema(catalogue: Catalogue) -> Schema:
    """The JSON Schema of the whole configuration."""
    sections = {name: kind for name, kind in section_kinds(catalogue).items() if name in catalogue.collectors}
    kinds: dict[str, Any] = {
        "clients": _mapping("Clients", client_kinds(catalogue)),
        "sections": _mapping("Sections", sections),
        "custom": list[catalogue.custom.Line],  # type: ignore[name-defined]
    }
    parts: dict[str, Any] = {
        name: (kind, Field(None, description=Config.model_fields[name].description)) for name, kind in kinds.items()
    }
    whole: type[Options] = create_model("Configuration", __base__=Config, __doc__=Config.__doc__, **parts)
    schema = whole.model_json_schema(schema_generator=_Generator)
    schema["$schema"] = _Generator.schema_dialect
    # Sections of one's own checklist have the options that every section has.
    schema["$defs"]["Sections"]["additionalProperties"] = {"$ref": "#/$defs/SectionSettings"}
    schema["$defs"]["SectionSettings"] = SectionSettings.model_json_schema(schema_generator=_Generator)
    for options in (schema, *schema["$defs"].values()):
        _add_files(options)
        _excuse(options)
    return schema


class _Generator(GenerateJsonSchema):
    """Writes defaults as people write them."""

    def encode_default(self, dft: Any) -> Any:
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def _mapping(name: str, kinds: Mapping[str, type[Options]]) -> type[Options]:
    fields: dict[str, Any] = {key: (kind, Field(None)) for key, kind in kinds.items()}
    return create_model(name, __base__=Options, **fields)


def _add_files(options: Schema) -> None:
    """Allow `<key>_file` for each option that may be read from a file, and one of both where the option is required."""
    required = options.get("required", [])
    for name, option in list(options.get("properties", {}).items()):
        if not (
            option.pop("from_file", False) or any(one.get("format") == "password" for one in _alternatives(option))
        ):
            continue
        options["properties"][f"{name}_file"] = {
            "type": "string",
            "format": "path",
            "description": f"File to read `{name}` from.",
        }
        if name in required:
            required.remove(name)
            options.setdefault("allOf", []).append({"oneOf": [{"required": [name]}, {"required": [f"{name}_file"]}]})


def _excuse(options: Schema) -> None:
    """Require nothing of a section that does not apply."""
    reasons = _alternatives(options.get("properties", {}).get("not_applicable", {}))
    if any(one.get("type") == "string" for one in reasons) and (required := options.pop("required", None)):
        excuse = {"required": ["not_applicable"], "properties": {"not_applicable": {"type": "string"}}}
        options["anyOf"] = [{"required": required}, excuse]


def _alternatives(option: Schema) -> list[Schema]:
    return option.get("anyOf") or [option]


def configuration(catalogue: Catalogue) -> str:
    """The reference of every option, in Markdown."""
    return "\n".join(_Reference(json_schema(catalogue)).lines())


class _Reference:
    """Tables of options. A structure is explained where it is used, or in a chapter of its own when several parts use it."""

    def __init__(self, schema: Schema) -> None:
        self._kinds: dict[str, Schema] = schema["$defs"]
        self._top = schema
        self._clients = self._named("Clients")
        self._sections = self._named("Sections")
        self._common = self._kinds["SectionSettings"]
        used = [
            name
            for part in (self._top, *self._clients.values(), *self._sections.values())
            for name in self._inside(part)
        ]
        self._shared = sorted({name for name in used if used.count(name) > 1})

    def lines(self) -> Iterator[str]:
        """The whole page."""
        yield _INTRODUCTION
        yield from self._part("## The file", self._top)
        yield "## Clients\n"
        for name, client in self._clients.items():
            yield from self._part(f"### clients.{name}", client)
        yield from self._part("## Sections", self._common)
        for name, section in self._sections.items():
            yield from self._part(f"### sections.{name}", section, known=self._common["properties"])
        yield "## Structures\n"
        for name in self._shared:
            yield from self._table(f"### {name}", self._kinds[name])

    def _named(self, name: str) -> dict[str, Schema]:
        return {key: self._kinds[_structures(option)[0]] for key, option in self._kinds[name]["properties"].items()}

    def _inside(self, options: Schema) -> list[str]:
        """The structures that these options are made of, at any depth, but for clients and sections."""
        found: list[str] = []
        waiting = _structures(options["properties"])
        while waiting:
            name = waiting.pop(0)
            if name not in (*found, "Clients", "Sections") and "properties" in self._kinds[name]:
                found.append(name)
                waiting += _structures(self._kinds[name]["properties"])
        return found

    def _part(self, title: str, options: Schema, known: Schema | None = None) -> Iterator[str]:
        """A table of options, without the `known` ones, and one for each structure in them."""
        targets = _structures(options["properties"].get("targets", {}))
        own = {key for name in targets for key in self._kinds[name]["properties"]} - Target.model_fields.keys()
        inherited = own & options["properties"].keys()
        yield from self._table(title, options, known or {}, inherited)
        for name in self._inside(options):
            if name in targets and inherited:
                yield from self._table(f"#### {name}", self._kinds[name], options["properties"])
                yield "And the options of the section that are marked *per target*.\n"
            elif name not in self._shared:
                yield from self._table(f"#### {name}", self._kinds[name])

    def _table(
        self, title: str, options: Schema, known: Schema | None = None, marked: Iterable[str] = ()
    ) -> Iterator[str]:
        yield f"{title}\n"
        yield f"{' '.join(options.get('description', '').split())}\n"
        properties = {key: option for key, option in options["properties"].items() if option != (known or {}).get(key)}
        if properties:
            yield "| key | type | default | meaning |\n|---|---|---|---|"
        for key, option in properties.items():
            if not (key.endswith("_file") and key.removesuffix("_file") in options["properties"]):
                meaning = self._meaning(option) + (" *Per target.*" if key in marked else "")
                yield f"| `{key}` | {self._type(option)} | {self._default(key, option, options)} | {_cell(meaning)} |"
        yield ""

    def _meaning(self, option: Schema) -> str:
        kind = self._kinds[_structures(option)[0]] if "$ref" in option else {}
        return str(option.get("description", kind.get("description", "")))

    def _type(self, option: Schema) -> str:
        """What may be written: `duration`, `list of string`, `integer or string`."""
        if alternatives := option.get("anyOf", option.get("oneOf")):
            return " or ".join(dict.fromkeys(self._type(one) for one in alternatives if one.get("type") != "null"))
        if "$ref" in option:
            name = option["$ref"].rpartition("/")[2]
            return f"[{name}](#{name.lower()})" if "properties" in self._kinds[name] else self._type(self._kinds[name])
        if "const" in option or "enum" in option:
            return ", ".join(f"`{value}`" for value in option.get("enum", [option.get("const")]))
        if "x-type" in option:
            return str(option["x-type"])
        match option.get("type"):
            case "array" if "items" in option:
                return f"list of {self._type(option['items'])}"
            case "array":
                return f"list of {' and '.join(map(self._type, option['prefixItems']))}"
            case "object" if isinstance(option.get("additionalProperties"), dict):
                return f"mapping to {self._type(option['additionalProperties'])}"
            case "object":
                return "mapping"
            case "string":
                return {"password": "secret", "path": "path", "date": "date"}.get(option.get("format", ""), "string")
            case kind:
                return str(kind or "anything")

    @staticmethod
    def _default(key: str, option: Schema, options: Schema) -> str:
        default = option.get("default")
        rules = (options, *options.get("anyOf", ())[:1], *(one["oneOf"][0] for one in options.get("allOf", ())))
        if any(key in rule.get("required", ()) for rule in rules):
            return "**required**"
        if default is None or default in ("", [], {}) or (isinstance(default, dict) and "$ref" in option):
            return ""
        if option.get("x-type") == "size":
            return f"`{_size(default)}`"
        return f"`{default if isinstance(default, str) else json.dumps(default, ensure_ascii=False)}`"


def _structures(part: Any) -> list[str]:
    """The names of the structures that a part of a schema refers to."""
    if isinstance(part, dict):
        here = [part["$ref"].rpartition("/")[2]] if "$ref" in part else []
        return here + [name for value in part.values() for name in _structures(value)]
    return [name for value in part for name in _structures(value)] if isinstance(part, list) else []


def _size(count: int) -> str:
    for unit, size in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10), ("GB", 10**9), ("MB", 10**6)):
        if count and count % size == 0:
            return f"{count // size}{unit}"
    return str(count)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def items(catalogue: Catalogue) -> str:
    """What every line of the bundled checklist is verified by, and what it needs, in Markdown."""
    return "\n".join(_items(catalogue))


def _items(catalogue: Catalogue) -> Iterator[str]:
    yield "# What is verified\n"
    yield "Generated from the program. Every line of the checklist: its labels, how it is verified, its requirements.\n"
    for section in catalogue.sections:
        entries = catalogue.section(section)
        collector = catalogue.collectors.get(section)
        yield f"## {entries[0].heading}\n"
        verified = (
            f"verified by `{collector.__module__}.{collector.__qualname__}`"
            if collector
            else "no collector verifies it yet"
        )
        yield f"Section `{section}`, {verified}.\n"
        yield "| item | severity | mode | line | needs |\n|---|---|---|---|---|"
        yield from (_item(entry) for entry in entries)
        yield ""
        if collector and collector.rights:
            yield f"Rights:\n\n```\n{collector.rights.strip()}\n```\n"


def _item(entry: Entry) -> str:
    needs = "; ".join(entry.declared.needs) if entry.declared else ""
    return f"| `{entry.item}` | {entry.severity} | {entry.mode} | {_cell(entry.line)} | {_cell(needs)} |"


def main(folder: Path) -> None:
    """Write every page into a folder."""
    catalogue = Catalogue.load()
    for name, text in pages(catalogue).items():
        (folder / name).write_text(text, encoding="utf-8")


def pages(catalogue: Catalogue) -> dict[str, str]:
    """The generated files, by name."""
    schema = json.dumps(json_schema(catalogue), indent=2, ensure_ascii=False)
    return {
        "configuration.md": configuration(catalogue).rstrip() + "\n",
        "configuration.schema.json": schema + "\n",
        "items.md": items(catalogue).rstrip() + "\n",
        "kubernetes-roles.yaml": roles(catalogue),
        "metrics.md": metrics(),
        "troubleshooting.md": troubleshooting(),
    }


def roles(catalogue: Catalogue) -> str:
    """The Kubernetes roles that are enough for every item, but for what only a configuration should ask for."""
    if (client := catalogue.clients.get("kubernetes")) is None:
        return ""
    needs = [
        need
        for entry in catalogue.entries.values()
        if entry.declared
        for need in entry.declared.needs
        if not getattr(need, "only_as_configured", False)
    ]
    manifests = cast("Any", client).roles(client.Settings(), needs)
    return _ROLES + yaml.safe_dump_all(manifests, sort_keys=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
