"""`larder top`, on a terminal of the test's."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

import pytest
from support.admin import Admin
from support.proxy import LARDER, run_larder
from support.say import fresh
from support.wire import TIMEOUT, wait_until

ESCAPES = re.compile(rb"\x1b(\[[0-9;?]*[a-zA-Z]|[()][A-Z0-9]|[=>])|[\x0e\x0f]")


class Terminal:
    """`larder top` on a vt100 of 30 lines; what it writes, without the escapes."""

    def __init__(self, proxy):
        self.fd, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.process = subprocess.Popen([LARDER, "top", "--cache-dir", proxy.cache_dir], stdin=other, stdout=other, stderr=other,
                                        env={**os.environ, "TERM": "vt100"}, start_new_session=True)
        os.close(other)
        self.written = b""

    def read_until(self, *texts):
        """Until all of them were written; what is on the screen comes in several pieces."""
        deadline = time.monotonic() + TIMEOUT
        while not all(text in ESCAPES.sub(b"", self.written) for text in texts):
            assert time.monotonic() < deadline, ESCAPES.sub(b"", self.written)
            if select.select([self.fd], [], [], 0.2)[0]:
                self.written += os.read(self.fd, 65536)
        shown = ESCAPES.sub(b"", self.written)
        self.written = b""
        return shown.decode()

    def press(self, key):
        os.write(self.fd, key)

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.fd)


@pytest.fixture
def terminal(proxy, origin, client):
    origin.expect("GET /a").reply(200, fresh(), b"hello")
    for _ in range(3):
        client.get("/a").expect(200)
    wait_until(lambda: Admin(proxy).status()["requests"]["total"] == 3, "all to be counted")
    shown = Terminal(proxy)
    yield shown
    shown.close()


def test_what_it_shows(terminal, origin):
    shown = terminal.read_until(origin.url.encode(), b"in service", b"q quit, p pause, s sort by rate")
    assert re.search(r"larder [\d.]+, up", shown)
    assert "since the start 66.7 %" in shown and "hit fresh" in shown and "uri-miss" in shown and "default" in shown


def test_it_goes_on(terminal, client, origin):
    terminal.read_until(origin.url.encode())
    client.get("/a").expect(200)
    terminal.read_until(b"100.0 %")  # of the last second
    terminal.press(b"q")
    assert terminal.process.wait(TIMEOUT) == 0


def test_keys(terminal, origin):
    terminal.read_until(origin.url.encode())
    terminal.press(b"s")
    terminal.read_until(b"total")
    terminal.press(b"p")
    terminal.read_until(b"PAUSED")
    terminal.press(b"q")
    assert terminal.process.wait(TIMEOUT) == 0


def test_larder_goes(terminal, proxy, origin):
    terminal.read_until(origin.url.encode())
    proxy.stop()
    terminal.read_until(b"IT DOES NOT ANSWER")
    terminal.press(b"q")
    assert terminal.process.wait(TIMEOUT) == 0


def test_no_terminal(proxy, tmp_path):
    code, _, error = run_larder("top", "--cache-dir", proxy.cache_dir)
    assert code == 2 and "top: expected a terminal" in error and error.count("\n") == 1


def test_nobody_there(tmp_path):
    main, other = pty.openpty()
    done = subprocess.run([LARDER, "top", "--cache-dir", tmp_path], stdin=other, stdout=other, stderr=subprocess.PIPE, text=True,
                          timeout=TIMEOUT, check=False, env={**os.environ, "TERM": "vt100"})
    os.close(main)
    os.close(other)
    assert done.returncode == 2 and "no larder answers" in done.stderr
