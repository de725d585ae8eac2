"""What the scripts of this folder read: the program's own description (describe.c) and the comments of config.example.toml."""

import json
import re
from pathlib import Path


def load(file):
    """The description that describe.c wrote."""
    return json.loads(Path(file).read_text(encoding="utf-8"))


class Example:
    """Tables and settings of config.example.toml, with the comments above them.

    A line `#name = value` or `name = value` is a setting, `#[table]` or `[table]` opens a table; a comment is `# ` and text, and belongs
    to the settings that follow it. Where a setting is shown more than once the first counts.
    """

    def __init__(self, file):
        self.comments = {}  # "server.limits.head": "A request or response head; …"
        self.arrays = set()  # paths of arrays of tables: "site", "site.rule", …
        self.values = {}  # "server.limits.head": '"32KiB"'
        text, table, begins = [], "", True
        for line in Path(file).read_text(encoding="utf-8").splitlines():
            heading = re.fullmatch(r"#?(\[\[?)([a-z_.]+)\]\]?", line)
            setting = re.fullmatch(r"#?([a-z_0-9]+) = (.*)", line)
            if heading:
                table = heading[2]
                if heading[1] == "[[":
                    self.arrays.add(table)
                self.comments.setdefault(table, " ".join(text))
            elif setting:
                path = f"{table}.{setting[1]}"
                self.comments.setdefault(path, " ".join(text))
                self.values.setdefault(path, setting[2])
            elif line.startswith("# "):
                text = [line[2:]] if begins else [*text, line[2:]]
            else:
                text = []
            begins = not line.startswith("# ")
