#!/usr/bin/python3
"""Writes the JSON schema (draft 7) of the configuration, for editors: schema.py DESCRIPTION EXAMPLE

What one value says about another, and what texts hold beyond their form, only `larder check` knows.
"""

import json
import sys

from description import Example, load

DURATION = {"type": "string", "pattern": r"^(0|[0-9]+ ?(ms|s|m|h|d))$"}
SIZE = {"type": "string", "pattern": r"^[0-9]+( ?(B|KiB|MiB|GiB|TiB|KB|kB|MB|GB|TB))?$"}
RATE = {"type": "string", "pattern": r"^(off|[0-9]+/[smh])$"}
NETWORK = {"type": "string", "pattern": r"^(unix|[0-9A-Fa-f.:]+(/[0-9]+)?)$"}
# What larder refuses a table without; the tests look whether it does.
REQUIRED = {"site": ["origin"], "site.origin": ["url"], "site.health_check": ["path"], "test": ["name", "request"]}


def number(key, scale=1):
    bounds = {"type": "integer", "minimum": -(-key["min"] // scale)}
    if key["max"]:
        bounds["maximum"] = key["max"] // scale
    return bounds


def one_or_list(item):
    return {"anyOf": [item, {"type": "array", "items": item}]}


def value(key):
    """The schema of what a setting may be."""
    words = {"type": "string", "enum": key["words"]}
    return {
        "bool": lambda: {"type": "boolean"},
        "count": lambda: number(key),
        "counts": lambda: one_or_list(number(key)),
        "size": lambda: {"anyOf": [SIZE, number(key)]},
        "duration_ms": lambda: {"anyOf": [DURATION, number(key, 1000)]},
        "duration_s": lambda: {"anyOf": [DURATION, number(key)]},
        "rate": lambda: RATE,
        "word": lambda: words,
        "reason": lambda: words,
        "text": lambda: {"type": "string"},
        "texts": lambda: one_or_list({"type": "string"}),
        "networks": lambda: one_or_list(NETWORK),
        "bool_or_networks": lambda: {"anyOf": [{"type": "boolean"}, *one_or_list(NETWORK)["anyOf"]]},
    }[key["kind"]]()


def standard(key):
    """The default, as JSON."""
    if key["kind"] in ("bool", "bool_or_networks"):
        return key["default"] == "true"
    if key["kind"] in ("count", "size") and key["default"].isdigit():
        return int(key["default"])
    return key["default"]


def table(section, sections, example):
    """The schema of one table, with those inside it."""
    properties = {}
    for key in section["keys"]:
        properties[key["name"]] = {"description": example.comments[f"{section['path']}.{key['name']}"], **value(key)}
        if key["default"] is not None:
            properties[key["name"]]["default"] = standard(key)
    prefix = section["path"] + "." if section["path"] else ""
    for inner in sections:
        name = inner["path"].removeprefix(prefix)
        if inner["path"] and inner["path"].startswith(prefix) and "." not in name:
            schema = table(inner, sections, example)
            if inner["path"] in example.arrays:
                schema = {"type": "array", "items": schema}
            if name in properties:  # site.origin: a setting, or tables
                schema = {"anyOf": [properties[name].pop("anyOf")[0], *value({"kind": "texts", "words": []})["anyOf"][1:], schema], **properties[name]}
            properties[name] = schema
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    if section["path"] in REQUIRED:
        schema["required"] = REQUIRED[section["path"]]
    comment = example.comments.get(section["path"])
    return {"description": comment, **schema} if comment else schema


def main():
    sections = load(sys.argv[1])["sections"]
    schema = table(next(section for section in sections if not section["path"]), sections, Example(sys.argv[2]))
    print(json.dumps({"$schema": "http://json-schema.org/draft-07/schema#", "title": "Configuration of larder", **schema}, indent=1))


if __name__ == "__main__":
    main()
