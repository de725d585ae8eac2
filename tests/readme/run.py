#!/usr/bin/python3
"""Runs the commands that README.md shows, and compares what it shows of their output.

A comment directly above a code block says what to do with it:

    <!-- test: run -->               run it; every command must succeed
    <!-- test: background URL -->    start it, wait until URL answers; it gets Ctrl-C at the end
    <!-- test: follow COMMAND -->    start the one command of a `console` block, which goes on until Ctrl-C; run COMMAND when
                                     its first line is there; it gets Ctrl-C when it has written as many as are shown

In a `console` block the lines after `$ ` are commands, and the others must appear in their output in this order; a line `...` stands for
any lines. Numbers, dates and times may differ. In any other block everything is a command. All run in the top directory, in order, with
an empty directory of the run's own in place of `larder-cache`.

    tests/readme/run.py [FILE]
"""

import atexit
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"<!-- test: (?P<what>[^\n]*?) -->\n```(?P<language>\w*)\n(?P<text>.*?)\n```", re.S)
TIMEOUT = 600
CACHE = tempfile.mkdtemp(prefix="larder-readme-")  # the transcript begins with an empty cache
atexit.register(shutil.rmtree, CACHE, ignore_errors=True)


class Failed(Exception):
    """What README.md shows is not what happens."""


def plain(line):
    """A line without what differs between two runs."""
    line = re.sub(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} [\d:]{8} GMT", "DATE", line.rstrip())
    return re.sub(r"\d+(\.\d+)?", "N", re.sub(r" {2,}", "  ", line))  # columns are as wide as their numbers


def transcript(text):
    """[(command, expected lines)] of a console block."""
    steps = []
    for line in text.split("\n"):
        if line.startswith("$ "):
            steps.append((line[2:], []))
        elif steps and steps[-1][0].endswith("\\") and line.startswith("> "):
            steps[-1] = (steps[-1][0] + "\n" + line[2:], [])
        elif steps:
            steps[-1][1].append(line)
        elif line.strip():
            raise Failed(f"output before the first command: {line}")
    return steps


def shell(command):
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", timeout=TIMEOUT, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise Failed(f"exit status {done.returncode} of: {command}\n{done.stdout[-3000:]}")
    return done.stdout


def expect_output(command, want, output):
    """Without `...` the lines must be all of the output; with it, those around it must come in this order."""
    got = [plain(line) for line in output.rstrip("\n").split("\n")]
    lines = [plain(line) for line in want]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        return
    position, anywhere = 0, False
    for line in lines:
        if line.strip() in ("...", "…"):
            anywhere = True
            continue
        found = got.index(line, position) if anywhere and line in got[position:] else position
        if found >= len(got) or got[found] != line:
            raise Failed(f"{command}\nshows {line!r} in README.md, where there is:\n{output}")
        position, anywhere = found + 1, False
    if position < len(got) and any(got[position:]) and not anywhere:
        raise Failed(f"{command}\nsays more than README.md shows:\n{output}")


def run_block(block):
    if block["language"] != "console":
        shell(block["text"])
        return
    for command, want in transcript(block["text"]):
        expect_output(command, want, shell(command))


def follow_block(block, command):
    """A command that ends only by Ctrl-C, and writes as something happens."""
    ((following, want),) = transcript(block["text"])
    process = subprocess.Popen(["bash", "-euo", "pipefail", "-c", f"exec {following}"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=heed_interrupts)
    too_late = threading.Timer(TIMEOUT, process.kill)  # then its output ends
    too_late.start()
    try:
        lines = [process.stdout.readline()]
        shell(command)
        while len(lines) < len(want) and lines[-1]:
            lines.append(process.stdout.readline())
        os.killpg(process.pid, signal.SIGINT)
        rest = process.communicate(timeout=TIMEOUT)[0]
    finally:
        too_late.cancel()
        process.kill()
    expect_output(following, want, "".join(lines) + rest)


def heed_interrupts():
    """Whoever runs in the background of a shell ignores them, and all that it starts does so, too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start_block(block, url, background):
    command = block["text"]
    environment = {**os.environ, "LARDER_RUN_CACHE": CACHE}
    if block["language"] == "console":
        command = "\n".join(step for step, _ in transcript(command))
    process = subprocess.Popen(["bash", "-euo", "pipefail", "-c", command], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               stdin=subprocess.DEVNULL, start_new_session=True, env=environment, preexec_fn=heed_interrupts)
    background.append(process)
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Failed(f"ended with {process.returncode}: {command}")
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="OPTIONS"), timeout=5):
                return
        except urllib.error.HTTPError as answer:
            if answer.code not in (502, 503, 504):
                return
            time.sleep(0.1)  # larder is there, the site behind it not yet
        except OSError:
            time.sleep(0.1)
    raise Failed(f"{url} does not answer after: {command}")


def stop(background):
    """Ctrl-C for everything in the process groups."""
    stubborn = []
    for process in background:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
    for process in background:
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            stubborn.append(" ".join(process.args[-1:]))
    if stubborn:
        raise Failed(f"it did not end on Ctrl-C: {'; '.join(stubborn)}")


def main():
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "README.md"
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    passed = failed = 0
    background = []
    for match in BLOCK.finditer(text):
        block = {**match.groupdict(), "text": match["text"].replace("larder-cache", CACHE)}
        what, _, url = block["what"].partition(" ")  # or a command
        line = text.count("\n", 0, match.start()) + 1
        try:
            if what == "run":
                run_block(block)
            elif what == "background":
                start_block(block, url, background)
            elif what == "follow":
                follow_block(block, url)
            else:
                raise Failed(f"unknown: {block['what']}")
            passed += 1
            print(f"ok {file.name}:{line}")
        except (Failed, subprocess.TimeoutExpired) as problem:
            failed += 1
            print(f"FAILED {file.name}:{line}: {problem}")
    try:
        stop(background)
    except Failed as problem:
        failed += 1
        print(f"FAILED {problem}")
    if passed + failed == 0:
        failed = 1
        print(f"FAILED {file.name} has no block marked <!-- test: run -->")
    print(f"{passed} passed, {failed} failed")
    if "LARDER_COUNTS" in os.environ:
        Path(os.environ["LARDER_COUNTS"]).write_text(f"{passed} {failed}\n", encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
