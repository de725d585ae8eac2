"""`larder store` on the store of a proxy, and stores for it to look at."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import termios

from .client import HOST
from .proxy import LARDER, run_larder
from .say import fresh
from .wire import wait_until

URL = f"http://{HOST}"
BODIES = {"/a": b"hello", "/b": b"x" * 100_000, "/c/d": b"", "/c/e": bytes(range(256)) * 2000}


def tool(where, verb, *words):
    """Runs `larder store VERB` on a proxy's cache, or a directory: (exit code, standard output, standard error)."""
    return run_larder("store", verb, *words, "--cache-dir", getattr(where, "cache_dir", where))


def ok(where, verb, *words):
    code, out, err = tool(where, verb, *words)
    assert code == 0, (code, out, err)
    return out


def listed(where, *words):
    return [json.loads(line) for line in ok(where, "ls", "--json", *words).splitlines()]


def raw(where, verb, *words, **options):
    done = subprocess.run([LARDER, "store", verb, *words, "--cache-dir", getattr(where, "cache_dir", where)],
                          capture_output=True, check=False, timeout=60, **options)
    return done.returncode, done.stdout


def fill(origin, client, proxy, responses):
    """Has `responses` (path to body, or to (headers, body)) stored and committed."""
    for path, what in responses.items():
        headers, body = what if isinstance(what, tuple) else (fresh(), what)
        origin.expect(f"GET {path}").reply(200, headers, body)
        client.get(path).expect(200)
    wait_until(lambda: len(listed(proxy)) == len(responses), "everything to be committed")


def both(proxy):
    """The store while larder runs, then when it is stopped."""
    yield "running"
    proxy.stop()
    yield "stopped"


def read_files(proxy):
    return {name: (proxy.cache_dir / name).read_bytes() for name in ("data.mdb", "bodies", "marker")}


def spoil_bodies(proxy):
    with (proxy.cache_dir / "bodies").open("r+b") as opened:
        opened.truncate(8192)


def spoil_pages(proxy):
    with (proxy.cache_dir / "data.mdb").open("r+b") as opened:
        for page in range(2, 40):
            opened.seek(page * 4096)
            opened.write(b"\xff" * 64)


def make_newer(proxy):
    file = proxy.cache_dir / "data.mdb"
    file.write_bytes(file.read_bytes().replace(b"larder\0\3", b"larder\0\4"))


def heed_signals():
    """In a new process: who started the tests may have told it to ignore some (nohup, a shell's `&`), which larder then does, too."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def held(*words):
    """A command that waits in front of its first sign of progress: its terminal is stopped, as by Ctrl-S."""
    ours, theirs = pty.openpty()
    termios.tcflow(theirs, termios.TCOOFF)
    with subprocess.Popen([LARDER, "store", *map(str, words)], stdout=subprocess.DEVNULL, stderr=theirs,
                          preexec_fn=heed_signals) as process:

        def let_go():
            termios.tcflow(theirs, termios.TCOON)
            os.close(theirs)
            said = b""
            with contextlib.suppress(OSError):  # it has ended
                while part := os.read(ours, 4096):
                    said += part
            process.wait(60)
            return said.decode()

        try:
            yield process, let_go
        finally:
            process.kill()
            os.close(ours)
