#!/usr/bin/python3
"""Runs the public HTTP cache tests (npm package http-cache-tests) against larder and compares with expected.json.

    tests/conformance/run.py            fails when a test does worse than expected, or when README.md does not show the table
    tests/conformance/run.py --write    writes expected.json and the table in README.md from this run
    tests/conformance/run.py ID         runs one test and shows its requests and responses

expected.json is about `--profile rfc`: it lists every required and optimal test that does not pass, each with the reason why that is right,
and the answer to every behaviour test. Only a required or optimal test that fails without being listed counts as a failure.

At the same time the suite runs against `--profile safe`. safe.json lists every test, of whatever kind, that ends otherwise there, with the row
of the README's table of differences that says why. Any other difference counts as a failure.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LARDER = Path(os.environ.get("LARDER", ROOT / "build" / "larder"))
INSTALLED = ROOT / "build" / "node-conformance"
SUITE = INSTALLED / "node_modules" / "http-cache-tests"
EXPECTED = HERE / "expected.json"
SAFE = HERE / "safe.json"
README = ROOT / "README.md"
# Choosing a variant by the weight and not the wording of Accept-Language is sound only where the origin does so too: by rule.
CONFIG = """\
[[site]]
[[site.rule]]
name = "languages"
normalize_accept_language = ["de", "en", "fr"]
"""

BEGIN, END = "<!-- conformance -->", "<!-- /conformance -->"

PASS = "pass"


def install():
    """The suite as npm installs it from the lock file, once."""
    stamp = INSTALLED / "installed-lock.json"
    lock = (HERE / "package-lock.json").read_bytes()
    if stamp.exists() and stamp.read_bytes() == lock:
        return
    INSTALLED.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, INSTALLED)
    shutil.copytree(HERE / "no-npm", INSTALLED / "no-npm", dirs_exist_ok=True)
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=INSTALLED, check=True, timeout=300)
    stamp.write_bytes(lock)


def list_suites():
    done = subprocess.run(["node", HERE / "list.mjs", SUITE], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def free_port():
    with socket.create_server(("", 0)) as probe:
        return probe.getsockname()[1]


def wait_for(port, process, name):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise SystemExit(f"{name} does not listen on port {port}")


def run_suite(profile, one=""):
    """One run of the whole suite (or of one test) against larder with that profile: its output."""
    directory = Path(tempfile.mkdtemp(prefix="larder-conformance-"))
    origin_port, port = free_port(), free_port()
    # The settings come from the environment, as if npm had started the programs.
    settings = {**os.environ, "NODE_NO_WARNINGS": "1", "npm_config_protocol": "http", "npm_config_port": str(origin_port),
                "npm_config_pidfile": str(directory / "server.pid"), "npm_config_base": f"http://127.0.0.1:{port}", "npm_config_id": one,
                "npm_package_config_id": ""}
    started = []
    try:
        with open(directory / "origin.log", "wb") as log, open(directory / "larder.log", "wb") as errors:
            started.append(subprocess.Popen(["node", "server/server.mjs"], cwd=SUITE, env=settings, stdout=log, stderr=log))
            wait_for(origin_port, started[0], "the suite's origin")
            (directory / "larder.toml").write_text(CONFIG, encoding="utf-8")
            started.append(subprocess.Popen([LARDER, "serve", "--config", directory / "larder.toml", "--listen", f"127.0.0.1:{port}", "--origin", f"http://127.0.0.1:{origin_port}",
                                             "--cache-dir", directory / "cache", "--profile", profile, "--access-log", "off"], stderr=errors))
            wait_for(port, started[1], "larder")
            done = subprocess.run(["node", "cli.mjs"], cwd=SUITE, env=settings, check=True, capture_output=True, text=True, timeout=600)
        if started[1].poll() is not None:
            raise SystemExit(f"larder ended with {started[1].returncode}:\n{(directory / 'larder.log').read_text(errors='replace')}")
        return done.stdout
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        shutil.rmtree(directory, ignore_errors=True)


def run_profiles(suites, profiles):
    """{profile: results}, of runs at the same time: the suite mostly waits."""
    with ThreadPoolExecutor(len(profiles)) as pool:
        outputs = pool.map(run_suite, profiles)
        return {profile: results_of(suites, json.loads(output)) for profile, output in zip(profiles, outputs)}


def results_of(suites, raw):
    """{id: (outcome, message)}: pass, fail, or what kept the test from saying anything; yes or no for behaviour tests."""
    kinds = {test["id"]: test for suite in suites for test in suite["tests"]}
    outcomes = {}

    def outcome(name):
        if name in outcomes:
            return outcomes[name]
        test, result = kinds[name], raw.get(name)
        check = test["kind"] == "check"
        if result is None:
            value = ("untested", "")
        elif any(outcome(other)[0] not in (PASS, "yes") for other in test["depends_on"]):
            value = ("dependency", "a test that this one builds on does not pass")
        elif result is True:
            value = ("yes" if check else PASS, "")
        elif result[0] == "Setup":
            value = ("retry" if result[1] == "retry" else "setup", result[1])
        elif check:
            value = ("no", result[1])
        else:
            value = ("fail", f"{result[0]}: {result[1]}" if result[0] != "Assertion" else result[1])
        outcomes[name] = value
        return value

    for name in kinds:
        outcome(name)
    return outcomes


def table(suites, expected):
    """The Markdown table of what is expected, by category."""
    lines = ["| category | required | optimal | behaviour |", "| --- | ---: | ---: | ---: |"]
    sums = {"required": [0, 0], "optimal": [0, 0], "check": [0, 0]}

    def cell(passed, total):
        return f"{passed}/{total}" if total else ""

    for suite in suites:
        cells = []
        for kind in sums:
            names = [test["id"] for test in suite["tests"] if test["kind"] == kind]
            if kind == "check":
                passed = sum(expected["behaviour"].get(name) == "yes" for name in names)
            else:
                passed = sum(name not in expected["not_passing"] for name in names)
            sums[kind][0] += passed
            sums[kind][1] += len(names)
            cells.append(cell(passed, len(names)))
        lines.append(f"| {suite['name']} | {' | '.join(cells)} |")
    lines.append("| **all** | " + " | ".join(f"**{cell(*sums[kind])}**" for kind in sums) + " |")
    return "\n".join(lines)


def readme_with(text, new_table):
    begin, end = text.find(BEGIN), text.find(END)
    if begin < 0 or end < begin:
        return None
    return text[: begin + len(BEGIN)] + "\n" + new_table + "\n" + text[end:]


def load_expected():
    if EXPECTED.exists():
        return json.loads(EXPECTED.read_text(encoding="utf-8"))
    return {"not_passing": {}, "behaviour": {}}


def write(suites, results, expected):
    old = expected["not_passing"]
    kinds = {test["id"]: test["kind"] for suite in suites for test in suite["tests"]}
    new = {"not_passing": {}, "behaviour": {}}
    for name in sorted(kinds):
        outcome, message = results[name]
        if kinds[name] == "check":
            new["behaviour"][name] = outcome
        elif outcome != PASS:
            reason = old.get(name, {}).get("reason", "")
            new["not_passing"][name] = {"kind": kinds[name], "outcome": outcome, "reason": reason}
            if not reason:
                print(f"{name}: give a reason in {EXPECTED.relative_to(ROOT)} ({outcome}: {message})")
    EXPECTED.write_text(json.dumps(new, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if README.exists():
        text = readme_with(README.read_text(encoding="utf-8"), table(suites, new))
        if text is None:
            print(f"README.md has no {BEGIN} and {END}")
        else:
            README.write_text(text, encoding="utf-8")


def worse(suites, results, expected):
    """Required and optimal tests that fail and are not expected to."""
    return {test["id"]: results[test["id"]] for suite in suites for test in suite["tests"]
            if test["kind"] != "check" and results[test["id"]][0] != PASS and test["id"] not in expected["not_passing"]}


def compare(suites, results, expected):
    """Prints what differs; the number of failures."""
    failures = 0
    bad = worse(suites, results, expected)
    if bad:
        print("once more, in case something outside disturbed the run:", ", ".join(bad))
        again = run_profiles(suites, ["rfc"])["rfc"]
        bad = {name: value for name, value in worse(suites, again, expected).items() if name in bad}
    for name, (outcome, message) in bad.items():
        print(f"FAILED {name}: {outcome}: {message}")
        failures += 1
    for name, entry in expected["not_passing"].items():
        if not entry.get("reason"):
            print(f"FAILED {name}: expected not to pass, without a reason")
            failures += 1
        if results.get(name, ("",))[0] == PASS:
            print(f"better than expected: {name} passes (--write takes that over)")
    for name, answer in expected["behaviour"].items():
        if results.get(name, ("",))[0] != answer:
            print(f"behaviour changed: {name} was {answer}, is {results.get(name, ('gone',))[0]}")
    shown = README.read_text(encoding="utf-8") if README.exists() else ""
    if readme_with(shown, table(suites, expected)) != shown:
        print("FAILED README.md does not show the expected results; run tests/conformance/run.py --write")
        failures += 1
    return failures


def differences(rfc, safe):
    """{test: its outcome in profile safe} where that is not the one in rfc."""
    return {name: safe[name][0] for name in sorted(rfc) if safe[name][0] != rfc[name][0]}


def readme_rows():
    """The first cells of the README's table that says where `safe` differs."""
    lines = README.read_text(encoding="utf-8").splitlines()
    begin = lines.index("| | `safe` | `rfc` |")
    rows = []
    for line in lines[begin + 2:]:
        if not line.startswith("|"):
            break
        rows.append(line.split("|")[1].strip())
    return rows


def compare_profiles(suites, results):
    """Prints where safe differs from rfc and should not, or does not and should; the number of failures."""
    expected = json.loads(SAFE.read_text(encoding="utf-8"))
    wanted = {name: entry["outcome"] for name, entry in expected.items()}
    found = differences(results["rfc"], results["safe"])
    if found != wanted:
        print("once more, in case something outside disturbed the run")
        again = run_profiles(suites, ["rfc", "safe"])
        found = differences(again["rfc"], again["safe"])
    failures = 0
    for name in sorted(found.keys() | wanted.keys()):
        if found.get(name) != wanted.get(name):
            print(f"FAILED {name}: safe should {'end with ' + wanted[name] if name in wanted else 'not differ from rfc'}"
                  f", and {'ends with ' + found[name] if name in found else 'does not differ'} ({SAFE.relative_to(ROOT)})")
            failures += 1
    rows = readme_rows()
    for name, entry in expected.items():
        if entry["readme"] not in rows:
            print(f"FAILED {name}: README.md has no row {entry['readme']!r} among the differences of safe")
            failures += 1
    return failures


def main():
    install()
    arguments = sys.argv[1:]
    if arguments and arguments != ["--write"]:
        print(run_suite("rfc", arguments[0]))
        return 0
    suites = list_suites()
    started = time.monotonic()
    profiles = run_profiles(suites, ["rfc", "safe"])
    results = profiles["rfc"]
    print(f"{len(results)} tests in two profiles in {time.monotonic() - started:.0f} s")
    expected = load_expected()
    if arguments:
        write(suites, results, expected)
        expected = load_expected()
    print(table(suites, expected))
    failures = compare(suites, results, expected)
    failures += compare_profiles(suites, profiles)
    total = sum(test["kind"] != "check" for suite in suites for test in suite["tests"])
    print(f"{total - failures} as expected, {failures} not")
    if "LARDER_COUNTS" in os.environ:
        Path(os.environ["LARDER_COUNTS"]).write_text(f"{max(total - failures, 0)} {failures}\n", encoding="utf-8")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
