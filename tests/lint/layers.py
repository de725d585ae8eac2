#!/usr/bin/python3
"""Checks the include rules and the banned functions of the source tree; notes long files and functions without failing.

http/ includes only itself, cache/ also http/, proxy/ also both. Each foreign library has its place, and so have clocks, sockets and
threads. Prints `path:line: what is wrong`, and exits 1 if there was any.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LAYERS = {"http": ("http",), "cache": ("http", "cache"), "proxy": ("http", "cache", "proxy")}

# folder of proxy/ -> what may include its headers: what serves requests knows nothing of what looks at it
FOLDERS = {
    "proxy/commands": r"proxy/(main\.c|commands/.*|doc/.*)",
    "proxy/why": r"proxy/(main\.c|(why|admin|commands)/.*|server/reload\.c)",
    "proxy/admin": r"proxy/(main\.c|(admin|dashboard)/.*|server/.*)",
}

# header -> what may include it
FOREIGN = {
    r"uv\.h|uv/.*": r"proxy/.*",
    r"lmdb\.h": r"cache/store[^/]*\.c|cache/store_(internal|rows)\.h",
    r"cache/store_internal\.h": r"cache/store[^/]*\.c|cache/store_batch\.h",
    r"cache/store_(batch|rows|file)\.h": r"cache/store[^/]*\.c|cache/store_internal\.h",
    r"n?curses\.h": r"proxy/commands/top\.c",
    r"jansson\.h": r"proxy/(admin/.*|commands/.*|doc/.*)",
    r"expat\.h": r"proxy/commands/warm_urls\.c",
    r"zlib\.h": r"proxy/commands/gunzip\.c",
    r"llhttp\.h": r"http/parser\.c",
    r"xxhash\.h|xxh_x86dispatch\.h": r"http/xxh3\.h",
    r"toml\+\+/.*|toml\.hpp": r"proxy/config/config_toml\.cpp",
    r"pthread\.h|threads\.h": r"proxy/.*|cache/.*\.[ch]",
    r"sys/socket\.h|netinet/.*|netdb\.h|sys/un\.h|sys/epoll\.h": r"proxy/.*",
}

# Functions that no layer below proxy/ may call: clocks, sockets, new threads, logging, the environment.
SHELL_ONLY = {
    "clock": "time clock_gettime gettimeofday localtime localtime_r clock nanosleep usleep sleep",
    "socket": "socket bind listen accept accept4 connect send sendto sendmsg recv recvfrom recvmsg getaddrinfo",
    "thread": "pthread_create thrd_create fork",
    "log": "printf fprintf puts fputs perror syslog",
    "environment": "getenv setenv",
}

# (file, function): why it may all the same
ALLOWED = {
    ("http/check.h", "fprintf"): "REQUIRE says why before it aborts",
    ("cache/store_probe.c", "fork"): "a damaged file is first opened by a child that may die of it",
    ("cache/store_write.c", "nanosleep"): "the disk thread waits for readers to leave, milliseconds at most",
}

BANNED = {
    "strcpy": "copies without a limit",
    "strncpy": "may leave no terminator",
    "strcat": "appends without a limit",
    "strncat": "its limit is easily wrong",
    "sprintf": "writes without a limit; snprintf",
    "vsprintf": "writes without a limit; vsnprintf",
    "gets": "reads without a limit",
    "strtok": "keeps hidden state",
    "strtok_r": "alters its input; use spans",
    "atoi": "hides errors; span_decimal or strtoll",
    "atol": "hides errors; span_decimal or strtoll",
    "atoll": "hides errors; span_decimal or strtoll",
    "atof": "hides errors",
    "alloca": "takes the stack without a limit",
    "setjmp": "jumps over cleanup",
    "longjmp": "jumps over cleanup",
    "rand": "use getrandom",
    "tmpnam": "races",
    "system": "runs a shell",
    "gmtime": "not safe with threads; gmtime_r",
    "localtime": "not safe with threads; localtime_r",
}

LONG_FILE = 500
LONG_FUNCTION = 70


def without_comments_and_strings(text):
    """The text with comments and literals blanked out; include lines and line numbers are kept."""

    def blank(match):
        found = match.group(0)
        return found if re.match(r"[ \t]*#", found) else re.sub(r"[^\n]", " ", found)

    include = r"^[ \t]*#[ \t]*include[^\n]*"
    comment = r"/\*.*?\*/|//[^\n]*"
    literal = r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    return re.sub(f"{include}|{comment}|{literal}", blank, text, flags=re.S | re.M)


def check_includes(path, code):
    layer = path.split("/")[0]
    for number, line in enumerate(code.split("\n"), 1):
        match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if not match:
            continue
        quoted, header = match.group(1) == '"', match.group(2)
        if quoted:
            first = header.split("/")[0]
            if "/" not in header and layer in LAYERS:
                yield number, f'include by path from the root: "{header}"'
            elif first in LAYERS and layer in LAYERS and first not in LAYERS[layer]:
                yield number, f"{layer}/ must not include {first}/ ({header})"
            elif ".." in header:
                yield number, f'include by path from the root: "{header}"'
        for folder, allowed in FOLDERS.items():
            if layer in LAYERS and header.startswith(folder + "/") and not re.fullmatch(allowed, path):
                yield number, f"{header} belongs to {allowed}"
        for pattern, allowed in FOREIGN.items():
            if layer in LAYERS and re.fullmatch(pattern, header) and not re.fullmatch(allowed, path):
                yield number, f"{header} belongs to {allowed}"


def calls(code, name):
    """Line numbers on which the function is called (not a member, a declaration of ours, or part of a longer name)."""
    for match in re.finditer(rf"(?<![\w.>]){name}\s*\(", code):
        before = code[: match.start()].rstrip(" ")
        if re.search(r"(?:->|\.)\s*$", before):
            continue
        yield code.count("\n", 0, match.start()) + 1


def check_functions(path, code):
    layer = path.split("/")[0]
    for name, why in BANNED.items():
        for number in calls(code, name):
            yield number, f"{name}: {why}"
    if layer in ("http", "cache"):
        for kind, names in SHELL_ONLY.items():
            for name in names.split():
                if (path, name) in ALLOWED:
                    continue
                for number in calls(code, name):
                    yield number, f"{name}: {layer}/ has no {kind}; that belongs to proxy/"


def long_functions(code):
    """(line, name, length) of each function definition, by brace lines in column 0."""
    lines = code.split("\n")
    start = name = None
    for number, line in enumerate(lines, 1):
        if line.startswith("{") and number > 1:
            head = number - 1
            while head > 1 and not re.match(r"[A-Za-z_].*\(", lines[head - 1]):
                head -= 1
            match = re.search(r"(\w+)\s*\(", lines[head - 1])
            start, name = number, match.group(1) if match else "?"
        elif line.startswith("}") and start is not None:
            if number - start - 1 > LONG_FUNCTION:
                yield start, name, number - start - 1
            start = None


def main():
    wrong = 0
    notes = []
    for directory in ("http", "cache", "proxy", "tests"):
        for file in sorted((ROOT / directory).rglob("*")):
            if file.suffix not in (".c", ".h", ".cpp") or "node_modules" in file.parts:
                continue
            path = file.relative_to(ROOT).as_posix()
            text = file.read_text(encoding="utf-8")
            code = without_comments_and_strings(text)
            problems = list(check_includes(path, code))
            if directory != "tests":
                problems += list(check_functions(path, code))
            for number, message in sorted(problems):
                print(f"{path}:{number}: {message}")
                wrong += 1
            if directory != "tests":
                count = text.count("\n")
                if count > LONG_FILE:
                    notes.append(f"note: {path} has {count} lines")
                notes += [f"note: {path}:{number}: {name} has {length} lines" for number, name, length in long_functions(code)]
    for note in notes:
        print(note)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
