"""Following live requests: GET /v1/log, and `larder log`."""

import json
import queue
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from support.admin import Admin
from support.client import HOST, Client
from support.proxy import LARDER
from support.say import always, fresh
from support.wire import wait_until

TIMEOUT_S = 20


class Following:
    """`larder log`, and what it prints."""

    def __init__(self, proxy, *flags):
        self.process = subprocess.Popen([LARDER, "log", "--cache-dir", proxy.cache_dir, *flags], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        self.errors = []
        threading.Thread(target=self.read, daemon=True).start()
        threading.Thread(target=self.read_errors, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def read_errors(self):
        for line in self.process.stderr:
            self.errors.append(line.rstrip("\n"))

    def line(self):
        return self.lines.get(timeout=TIMEOUT_S)

    def entry(self):
        return json.loads(self.line())

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(TIMEOUT_S)


@pytest.fixture
def follow():
    """follow(proxy, *flags): begins, and ends all at the end of the test."""
    begun = []

    def begin(proxy, *flags):
        following = Following(proxy, *flags)
        begun.append(following)
        wait_until(lambda: following.errors == ["larder: following, Ctrl-C ends"], "to follow")
        return following

    yield begin
    for following in begun:
        following.process.kill()
        following.process.wait()


def test_lines_as_they_come(proxy, origin, client, follow):
    following = follow(proxy, "--json")
    origin.expect("GET /a").reply(200, fresh(), b"hello")
    client.get("/a").expect(200)
    client.get("/a").expect(200, cache="hit")
    first, second = following.entry(), following.entry()
    assert first["target"] == "/a" and first["outcome"] == "uri-miss" and first["store_reason"] == "stored" and first["status"] == 200
    assert second["outcome"] == "hit" and second["reason"] == "fresh" and second["host"] == HOST
    assert following.interrupt() == 0


def test_who_stopped_it_for_a_while_goes_on_with_it(proxy, origin, client, follow):
    """Ctrl-Z, and fg."""
    following = follow(proxy, "--json")
    stat = Path(f"/proc/{following.process.pid}/stat")
    for number, state in ((signal.SIGSTOP, "T"), (signal.SIGCONT, "S")):
        following.process.send_signal(number)
        wait_until(lambda state=state: stat.read_text(encoding="ascii").rpartition(")")[2].split()[0] == state, f"it to be in state {state}")
    origin.expect("GET /a").reply(200, fresh(), b"hello")
    client.get("/a").expect(200)
    assert following.entry()["target"] == "/a"
    assert following.interrupt() == 0


def test_as_text(proxy, origin, client, follow):
    following = follow(proxy, "--url", "/a*")
    origin.expect("GET /b").reply(200, fresh(), b"b")
    origin.expect("GET /a?x=1").reply(200, {"Cache-Control": "private"}, b"x" * 3000)
    client.get("/b").expect(200)
    client.get("/a?x=1").expect(200)
    line = following.line()
    assert line.split()[1:6] == ["127.0.0.1", "200", "uri-miss", "uri-miss", "(private)"]
    assert line.endswith(f"GET http://{HOST}/a?x=1") and "KiB" in line


FILTERS = [
    (["--url", "/img/*"], "/img/b.png"),
    (["--url", f"http://{HOST}/img/*"], "/img/b.png"),
    (["--status", "404"], "/missing"),
    (["--status", "5xx"], "/broken"),
    (["--outcome", "hit"], "/img/b.png"),
    (["--reason", "no-store"], "/private"),
    (["--reason", "set-cookie", "--client", "127.0.0.0/8"], "/cookie"),
]


@pytest.mark.parametrize("flags, want", FILTERS)
def test_filters(proxy, origin, client, follow, flags, want):
    origin.expect("GET /private").reply(200, {"Cache-Control": "no-store"}, b"")
    origin.expect("GET /img/b.png").reply(200, fresh(), b"b")
    origin.expect("GET /missing").reply(404, {}, b"")
    origin.expect("GET /broken").reply(500, {}, b"")
    origin.expect("GET /cookie").reply(200, {"Cache-Control": "max-age=60", "Set-Cookie": "a=b"}, b"")
    following = follow(proxy, "--json", *flags)
    for target in ("/private", "/img/b.png", "/missing", "/broken", "/cookie", "/img/b.png"):
        client.get(target)
    assert following.entry()["target"] == want
    following.interrupt()
    rest = [json.loads(line)["target"] for line in list(following.lines.queue)]
    assert set(rest) <= {want}


def test_whom_a_trusted_proxy_names(larder, origin, follow):
    """Also where the request is refused; the client of the connection stays beside it."""
    client = Client(larder(origin, config="[server]\ntrust_forwarded = true\n"))
    origin.on("GET *", always(200, fresh()))
    proxied, text, direct = (follow(client.proxy, *flags) for flags in (["--json", "--client", "192.0.2.0/24"], ["--client", "192.0.2.7"],
                                                                       ["--json", "--client", "127.0.0.1"]))
    client.get("/other", {"X-Forwarded-For": "198.51.100.1"}).expect(200)
    client.get("/a", {"X-Forwarded-For": "192.0.2.7"}).expect(200)
    client.get("/a", {"X-Forwarded-For": "192.0.2.7", "Expect": "more"}).expect(417)
    first, second = proxied.entry(), proxied.entry()
    assert (first["client"], first["forwarded_for"], first["status"]) == ("127.0.0.1", "192.0.2.7", 200)
    assert (second["forwarded_for"], second["status"]) == ("192.0.2.7", 417)
    assert text.line().split()[1:3] == ["192.0.2.7", "200"]
    assert direct.entry()["forwarded_for"] == "198.51.100.1"


def test_who_is_not_trusted_names_nobody(client, origin, follow):
    following = follow(client.proxy, "--json")
    origin.on("GET *", always(200, fresh()))
    client.get("/a", {"X-Forwarded-For": "192.0.2.7"}).expect(200)
    assert "forwarded_for" not in following.entry()


@pytest.mark.parametrize("flags", [["--status", "6xx"], ["--status", "ok"], ["--outcome", "good"], ["--reason", "because"],
                                   ["--client", "localhost"], ["--url", "x" * 600]])
def test_what_is_not_understood(proxy, flags):
    done = subprocess.run([LARDER, "log", "--cache-dir", proxy.cache_dir, *flags], capture_output=True, text=True, timeout=TIMEOUT_S,
                          check=False)
    assert done.returncode == 2 and flags[0][2:] + ": expected" in done.stderr and not done.stdout


@pytest.mark.parametrize("byte", [b"\xc2\x9b", b"\x9b"])
def test_no_orders_for_the_terminal(proxy, client, follow, byte):
    """U+009B begins one, as ESC [ does: neither form of the line has it as it is."""
    text = follow(proxy)
    entries = follow(proxy, "--json")
    client.send_raw(b"GET /" + byte + b"2J HTTP/1.1\r\nHost: larder.test\r\n\r\n")
    client.read_head().expect(400)
    assert text.line().endswith("/?2J")
    assert "\\u009b2J" in entries.line()


def test_nobody_there(tmp_path):
    done = subprocess.run([LARDER, "log", "--cache-dir", tmp_path], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 2 and "no larder answers" in done.stderr


def test_it_waits_for_a_restart(proxy, origin, follow):
    following = follow(proxy, "--json")
    proxy.restart()
    wait_until(lambda: "larder: it is back" in following.errors, "it to be back")
    assert following.errors[1:] == ["larder: it is gone; waiting for it to come back", "larder: it is back"]
    client = Client(proxy)
    origin.expect("GET /again").reply(200, fresh(), b"hello")
    client.get("/again").expect(200)
    assert following.entry()["target"] == "/again"
    assert following.interrupt() == 0


def test_who_does_not_read_loses_lines_and_holds_up_nobody(proxy, origin, client):
    origin.on("GET /*", lambda exchange: exchange.reply(200, {"Cache-Control": "max-age=600"}, b"x"))
    slow = Admin(proxy)
    slow.send_raw(b"GET /v1/log HTTP/1.1\r\nHost: localhost\r\n\r\n")
    received = bytearray()
    while b"\r\n\r\n1\r\n\n\r\n" not in received:
        received += slow.sock.recv(4096)
    long = "x" * 4000
    for _ in range(800):  # more than the buffers of both sides
        client.get("/a?" + long).expect(200)
    while b'{"lost":' not in received:
        received += slow.sock.recv(1 << 20)
    assert received.count(b'"target"') > 100
    slow.close()


def test_only_so_many(proxy):
    request = b"GET /v1/log HTTP/1.1\r\nHost: localhost\r\n\r\n"
    followers = [Admin(proxy) for _ in range(8)]
    for follower in followers:
        follower.send_raw(request)
        assert follower.sock.recv(12) == b"HTTP/1.1 200"
    Admin(proxy).get("/v1/log").expect(503)
    followers[0].close()
    wait_until(lambda: begins(proxy, request), "a place to be free")
    for follower in followers[1:]:
        follower.close()


def begins(proxy, request):
    admin = Admin(proxy)
    admin.send_raw(request)
    answer = admin.sock.recv(12)
    admin.close()
    return answer == b"HTTP/1.1 200"
