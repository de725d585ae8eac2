#!/usr/bin/env python3
"""Writes files as a C source: embed.py OUTPUT FILE... makes the table of proxy/admin/admin_page.h.

A file's path in the dashboard is its name; index.html is "/".
"""

import sys
from pathlib import Path

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
LINE_BYTES = 32


def array(name, data):
    lines = [",".join(str(byte) for byte in data[at:at + LINE_BYTES]) for at in range(0, len(data), LINE_BYTES)]
    return f"static const unsigned char {name}[] = {{\n" + ",\n".join(lines) + "};\n"


def main(output, *files):
    parts = ["/* Made by proxy/dashboard/embed.py. */\n", '#include "proxy/admin/admin_page.h"\n']
    rows = []
    for number, file in enumerate(map(Path, files)):
        data = file.read_bytes()
        path = "/" if file.name == "index.html" else "/" + file.name
        parts.append(array(f"file_{number}", data))
        rows.append(f'    {{"{path}", "{TYPES[file.suffix]}", file_{number}, sizeof file_{number}}},\n')
    parts.append("const struct admin_page_file admin_page_files[] = {\n" + "".join(rows) + "};\n")
    parts.append(f"const size_t admin_page_file_count = {len(rows)};\n")
    Path(output).write_text("\n".join(parts), encoding="ascii")


main(*sys.argv[1:])
