#!/usr/bin/python3
"""Fills a manual page's template: manual.py TEMPLATE DESCRIPTION EXAMPLE

A line @version@, @synopsis@, @commands@ or @settings@ of the template is replaced by what the program says of itself, and what the
comments of the example say of the settings; all else is prose.
"""

import re
import sys
from pathlib import Path

from description import Example, load


def text(words):
    """Plain text in the page's language: nothing in it is a request or an escape."""
    words = words.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga").replace("^", "\\(ha").replace("~", "\\(ti")
    return "\\&" + words if words.startswith(".") else words


def quoted(words):
    return '"' + text(words).replace('"', "\\(dq") + '"'


def sentence(words):
    words = words[0].upper() + words[1:] if not words.startswith("-") else words
    return words if words.endswith((".", "?")) else words + "."


def prose(details):
    """Lines of help: those that are indented are examples."""
    page, example = [], False
    for line in details.splitlines():
        indented = line.startswith("  ")
        if indented != example:
            page += [".PP", ".in +4n", ".EX"] if indented else [".EE", ".in", ".PP"]
        example = indented
        if line.strip():
            page.append(text(line.strip()))
        else:
            page.append(".PP")
    if example:
        page += [".EE", ".in"]
    return [line for place, line in enumerate(page) if line != ".PP" or page[place + 1:place + 2] not in ([".PP"], [])]


def flag(words):
    return [".TP", f".BI {quoted(words['name'])} {quoted(' ' + words['value'])}" if words["value"] else f".B {quoted(words['name'])}",
            text(sentence(words["text"]))]


def synopsis(description, _example):
    page = []
    for command in description["commands"]:
        page += [f".B {quoted('larder ' + command['name'])}", f".RI {quoted(command['arguments'])}" if command["arguments"] else "", ".br"]
    return [line for line in page[:-1] if line]


def commands(description, _example):
    page = []
    for command in description["commands"]:
        page += [f".SS {quoted('larder ' + command['name'])}", text(sentence(command["summary"]))]
        if command["details"]:
            page += [".PP", *prose(command["details"])]
        for words in command["flags"]:
            page += flag(words)
        for verb in command["verbs"]:
            name = f"larder {command['name']} {verb['name']} {verb['word']}".rstrip()
            page += [".TP", f".B {quoted(name)}", text(sentence(verb["text"])), ".RS"]
            for words in verb["flags"]:
                page += flag(words)
            page.append(".RE")
    return page


def settings(description, example):
    page = []
    for section in description["sections"]:
        path = section["path"]
        if not path:
            continue
        page.append(f".SS {quoted(f'[[{path}]]' if path in example.arrays else f'[{path}]')}")
        page += [text(example.comments[path])] if example.comments.get(path) else []
        for key in section["keys"]:
            name = f"{path}.{key['name']}"
            page += [".TP", f".B {quoted(key['name'])}", text(example.comments[name])]
            if key["default"] is not None:
                page.append(text(f"Default: {key['default']}."))
            else:
                page.append(text(f"Such as {example.values[name]}."))
    return page


def main():
    template, description, example = Path(sys.argv[1]), load(sys.argv[2]), Example(sys.argv[3])
    parts = {"@synopsis@": synopsis, "@commands@": commands, "@settings@": settings}
    for line in template.read_text(encoding="utf-8").splitlines():
        if line in parts:
            print("\n".join(parts[line](description, example)))
        else:
            print(re.sub("@version@", description["version"], line))


if __name__ == "__main__":
    main()
