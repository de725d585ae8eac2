"""How many instructions larder's own code takes for a request, counted by callgrind: the same in every run, whatever else the machine does.

A figure is the difference of two runs that differ only in how many requests they make, divided by that many. What the kernel does is
not in it. instructions.json holds the figures of the tree as it is; a change that makes one dearer by more than TOLERANCE is reported, and fails.
"""

import argparse
import json
import re
import subprocess
import tempfile
from pathlib import Path

from servers import prepare, start_origin
from support import BROWSER, HERE, KIB, Client, Failed, Server, find, free_port, require

FILE = HERE / "instructions.json"
FEW, MANY = 500, 10500
TOLERANCE = 0.03
CASES = {  # path, fields besides a browser's, status, bytes, whether each asks for another object
    "hit, 1 KB": ("/1k/assets/style-1", {}, 200, KIB, False),
    "hit, 1 KB, with an access log": ("/1k/assets/style-1", {}, 200, KIB, False),
    "304": ("/1k/assets/style-1", {"If-None-Match": "@ETAG@"}, 304, 0, False),
    "hit, 10 KB": ("/10k/assets/style-1", {}, 200, 10 * KIB, False),
    "miss and store, 1 KB": ("/1k/assets/other-", {}, 200, KIB, True),
    "pass, 1 KB": ("/pass/assets/style-1", {}, 200, KIB, False),
    "revalidation, 1 KB": ("/stale/assets/style-1", {}, 200, KIB, False),
}


def count(directory, origin, case, requests):
    """Instructions of a whole life of larder in which it answers so many requests on one connection."""
    path, fields, status, size, fresh = CASES[case]
    directory.mkdir()
    port, out, settings = free_port(), directory / "callgrind.out", directory / "larder.toml"
    settings.write_text('[server]\nfacts = "0"\n')  # which paths are remembered, and for how long, is a matter of chance
    command = [find("valgrind"), "--tool=callgrind", f"--callgrind-out-file={out}", directory.parent / "binary", "serve", "--workers", "1"]
    command += ["--access-log", directory / "access.log" if "access log" in case else "off"]
    command += ["--profile", "rfc", "--log-level", "warn", "--cache-size", "256MiB", "--cache-dir", directory / "cache"]
    command += ["--config", settings, "--listen", f"127.0.0.1:{port}", "--origin", f"http://127.0.0.1:{origin.port}"]
    server = Server("larder", command, port, directory / "log")
    with server.wait_ready(timeout_s=60):
        client = Client(port)
        client.get(path, BROWSER)
        asked = {**BROWSER, **{name: value.replace("@ETAG@", client.field("ETag") or "") for name, value in fields.items()}}
        for number in range(requests):
            length = client.get(f"{path}{number}" if fresh else path, asked)
            require((client.status, length) == (status, size), f"{case}: {client.head}")
        client.close()
    totals = [int(found[1]) for file in directory.glob("callgrind.out*") if (found := re.search(r"^(?:totals|summary): (\d+)", file.read_text(), re.M))]
    require(totals, f"callgrind wrote nothing: {server.log.read_text()[-1000:]}")
    return max(totals)  # helpers that larder forks leave files of their own


def measure(wanted):
    figures = {}
    with tempfile.TemporaryDirectory(prefix="larder-bench-") as temporary:
        temporary = Path(temporary)
        prepare(temporary, ["larder"])
        with start_origin(temporary / "origin") as origin:
            for number, case in enumerate(wanted):
                few, many = (count(temporary / f"{number}-{requests}", origin, case, requests) for requests in (FEW, MANY))
                figures[case] = round((many - few) / (MANY - FEW))
    return figures


def run(arguments):
    parser = argparse.ArgumentParser(prog="run instructions", description="Instructions a request, by callgrind.")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {FILE.name}")
    parser.add_argument("case", nargs="*", help=f"of {', '.join(CASES)}")
    options = parser.parse_args(arguments)
    if unknown := [case for case in options.case if case not in CASES]:
        parser.error(f"no such case: {', '.join(unknown)}")
    before = json.loads(FILE.read_text()) if FILE.exists() else {}
    now = measure(options.case or list(CASES))
    print("| instructions a request | now | kept | ratio |\n| --- | ---: | ---: | ---: |")
    for case, figure in now.items():
        kept = before.get(case)
        print(f"| {case} | {figure} | {kept or ''} | {f'{figure / kept:.3f}' if kept else ''} |")
    if options.write:
        FILE.write_text(json.dumps({**before, **now}, indent=2) + "\n")
    elif dearer := [case for case, figure in now.items() if figure > before.get(case, figure) * (1 + TOLERANCE)]:
        raise Failed(f"dearer than {FILE.name} says: {', '.join(dearer)}; where that is worth it: --write")
