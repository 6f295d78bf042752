"""The JSON Schema of a record, made from the dataclasses and enumerations of `findings`.

`record.schema.json` beside this file is what `record_schema` returns, committed so that
programs in other languages can read it; a test compares the two. It describes exactly what
this version writes: a later minor version may add words, and then publishes a new file.
"""

import dataclasses
import inspect
import json
import re
from collections.abc import Mapping
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from counterproof.analysis import Stage
from counterproof.findings import PREFIXES, RECORD_SCHEMA, Record

__all__ = ["FACTS", "record_schema", "schema_text"]

_CODE = rf"^({'|'.join(PREFIXES)})(\.[a-z0-9_]+)+$"

_HASH = {
    "type": "object",
    "properties": {
        "alg": {"type": "string", "description": "name of the algorithm, never reused"},
        "value": {"type": "string", "pattern": "^[0-9a-f]+$"},
    },
    "required": ["alg", "value"],
}
FACTS: dict[str, dict[str, Any]] = {
    "camera.make": {"type": "string"},
    "camera.model": {"type": "string"},
    "camera.lens": {"type": "string"},
    "software": {"type": "string"},
    "captured_at": {
        "type": "string",
        "description": "ISO 8601, local time as the file has it",
    },
    "gps.present": {
        "type": "boolean",
        "description": "whether the file holds coordinates; they are never copied here",
    },
    "icc.name": {"type": "string"},
    "trailer.bytes": {"type": "integer", "minimum": 1},
    "trailer.kind": {
        "type": "string",
        "description": "what these bytes begin as: jpeg, mp4, zip, samsung, unknown …",
    },
    "file.damage": {"type": "string"},
    "credential.verifiers_agree": {
        "type": "boolean",
        "description": "whether a second verifier reads the credential as the first does",
    },
    "hash.phash": _HASH,
    "hash.dhash": _HASH,
    "hash.dct256": _HASH,
    "hash.detail": {"type": "number", "minimum": 0},
}
"""Facts that other programs may rely on; there may be more."""

# what the types alone do not say: "Class.field" → keywords that are added
_NARROWER: dict[str, dict[str, Any]] = {
    "Record.sha256": {"pattern": "^([0-9a-f]{64})?$"},
    "Record.facts": {"properties": FACTS},
    "Finding.code": {"pattern": _CODE},
    "Finding.probability": {"minimum": 0, "maximum": 1},
    "FileInfo.bytes": {"minimum": 0},
    "FileInfo.width": {"minimum": 0},
    "FileInfo.height": {"minimum": 0},
    "FileInfo.frames": {"minimum": 0},
    "FileInfo.orientation": {"minimum": 1, "maximum": 8},
    "Verdict.rests_on": {"items": {"type": "string", "pattern": _CODE}},
    "Verdict.against": {"items": {"type": "string", "pattern": _CODE}},
    "RunInfo.profile": {"enum": [stage.value for stage in Stage]},
    "RunInfo.as_of": {"format": "date"},
}
_MANIFEST = {
    "if": {"properties": {"code": {"pattern": r"^c2pa\.manifest\."}}},
    "then": {
        "properties": {
            "details": {
                "properties": {"answers": {"$ref": "#/$defs/Answers"}},
                "required": ["answers"],
            }
        }
    },
}
"""The one finding for each credential carries the five answers."""

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}


def record_schema() -> dict[str, Any]:
    """Return the JSON Schema, draft 2020-12, of one record: one line of `jsonl`.

    >>> record_schema()["properties"]["schema"]
    {'const': 'counterproof.record/1'}
    """
    definitions: dict[str, Any] = {}
    record = _object(Record, definitions)
    record["properties"] = {"schema": {"const": RECORD_SCHEMA}, **record["properties"]}
    record["required"] = ["schema", *record["required"]]
    definitions["Finding"] |= _MANIFEST
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:{RECORD_SCHEMA.replace('.', ':').replace('/', ':')}",
        "title": RECORD_SCHEMA,
        **record,
        "$defs": dict(sorted(definitions.items())),
    }


def schema_text() -> str:
    """Return the schema as the committed file has it."""
    return json.dumps(record_schema(), indent=1, ensure_ascii=False) + "\n"


def _object(kind: type, definitions: dict[str, Any]) -> dict[str, Any]:
    """Describe one dataclass; all its fields are always written, and no others."""
    hints = get_type_hints(kind)
    told = _attributes(kind)
    properties = {}
    for item in dataclasses.fields(kind):
        described = _schema(hints[item.name], definitions)
        described |= _NARROWER.get(f"{kind.__name__}.{item.name}", {})
        if item.name in told:
            described["description"] = told[item.name]
        properties[item.name] = described
    return {
        "description": (inspect.getdoc(kind) or "").partition("\n")[0],
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """Describe one type that a field of a record may have.

    Raises:
        TypeError: if the type has no JSON form that we decided on.
    """
    if kind is Any:
        return {}
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        definitions.setdefault(
            kind.__name__,
            {
                "description": (inspect.getdoc(kind) or "").partition("\n")[0],
                "enum": [word.value for word in kind],
            },
        )
        return {"$ref": f"#/$defs/{kind.__name__}"}
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if kind.__name__ not in definitions:
            definitions[kind.__name__] = {}  # holds the place while its own fields are read
            definitions[kind.__name__] = _object(kind, definitions)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    arguments = get_args(kind)
    if isinstance(kind, UnionType):
        return {"type": [_PLAIN[item] for item in arguments]}
    if get_origin(kind) is tuple and arguments[-1] is Ellipsis:
        return {"type": "array", "items": _schema(arguments[0], definitions)}
    if get_origin(kind) is tuple:
        items = [_schema(item, definitions) for item in arguments]
        return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}
    if get_origin(kind) is dict and arguments[0] is str:
        return {"type": "object", "additionalProperties": _schema(arguments[1], definitions)}
    raise TypeError(f"expected a type with a JSON form, got {kind!r}")


_ATTRIBUTE = re.compile(r"^    (\w+): (.+(?:\n {8}.+)*)", re.MULTILINE)


def _attributes(kind: type) -> Mapping[str, str]:
    """Read the section `Attributes` of a docstring: field → what it is."""
    section = (inspect.getdoc(kind) or "").partition("\nAttributes:\n")[2]
    section = section.partition("\n\n")[0]
    return {name: " ".join(text.split()) for name, text in _ATTRIBUTE.findall(section)}


if __name__ == "__main__":
    print(schema_text(), end="")
