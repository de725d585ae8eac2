"""Clients and origins that stall, reset, truncate, garble and change their mind, at random, for a while.

A response that arrives whole is byte-exact, whatever happened to others. In the end nothing is left: no descriptor, no request, and what is
stored is right, also after a restart. `--minutes 10` goes on for longer; `--seed` repeats a run's dice (not its timing). On a sanitizer build
the exit status also tells of leaks.
"""

import contextlib
import os
import random
import signal
import threading
import time
import traceback

import pytest
from support.client import Client
from support.wire import Closed, Truncated, encode_fields, wait_until

CONFIG = """
[server]
workers = 2
[server.timeouts]
client_head = "1s"
client_body = "1s"
client_write = "2s"
origin_first_byte = "PATIENCE"
origin_between_bytes = "PATIENCE"
[cache]
size = "64MiB"
max_object_size = "4MiB"
collapse_wait = "1s"
[[site]]
eject_after = 0
[[site.rule]]
name = "all"
stale_while_revalidate = "5s"
stale_if_error = "5s"
"""
PATHS = 24
CLIENTS = 8


def content(path, version):
    """What the origin says at `path` in that version: anyone can tell whether it is right."""
    dice = random.Random(f"{path} {version}")
    return dice.randbytes(dice.choice([0, 1, 100, 5_000, 70_000, 400_000]))


class Origin:
    """What answers at random; `calm` makes it answer as it should."""

    def __init__(self, seed):
        self.dice = random.Random(seed)
        self.calm = False

    def fields(self, path):
        version = f"v{self.dice.randrange(3)}"
        control = self.dice.choice(["max-age=1", "max-age=60", "max-age=0", "no-store", "no-cache", "max-age=1, must-revalidate"])
        return version, {"Cache-Control": control, "ETag": f'"{version}"', "Vary": self.dice.choice(["Accept-Encoding", "X-Kind"])}

    def answer(self, exchange):
        path = exchange.request.path
        version, fields = self.fields(path)
        body = content(path, version)
        if self.calm:
            exchange.reply(200, {**fields, "Cache-Control": "max-age=600"}, body)
            return
        if exchange.request.header("If-None-Match") == f'"{version}"' and self.dice.random() < 0.7:
            exchange.reply(304, fields)
            return
        fate = self.dice.choice([self.whole] * 8 + [self.chunked] * 3 + [self.truncated, self.stalls, self.resets, self.garbles, self.fails, self.says_too_much])
        with contextlib.suppress(OSError):
            fate(exchange, fields, body)

    def whole(self, exchange, fields, body):
        exchange.reply(200, fields, body)

    def chunked(self, exchange, fields, body):
        cut = self.dice.randrange(len(body) + 1)
        exchange.reply(200, fields, [piece for piece in (body[:cut], body[cut:]) if piece], framing="chunked")

    def truncated(self, exchange, fields, body):
        exchange.send_head(200, {**fields, "Content-Length": len(body) + 1})
        exchange.send(body)
        exchange.close()

    def stalls(self, exchange, fields, body):
        exchange.send_head(200, {**fields, "Content-Length": len(body) + 100})
        exchange.send(body)
        exchange.reader.at_end()
        exchange.close()

    def resets(self, exchange, fields, body):
        exchange.send_head(200, {**fields, "Content-Length": len(body) + 1})
        exchange.send(body[:self.dice.randrange(len(body) + 1)])
        exchange.reset()

    def garbles(self, exchange, fields, body):
        exchange.send(self.dice.choice([
            self.dice.randbytes(50), b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nETag: \"v0\"\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n"]))
        exchange.close()

    def fails(self, exchange, fields, body):
        exchange.reply(self.dice.choice([500, 503, 404]), {"Cache-Control": "no-store"}, b"")

    def says_too_much(self, exchange, fields, body):
        """In one piece: what comes later may be the answer to the next request, for all anybody can tell."""
        head = b"HTTP/1.1 200 OK\r\n" + encode_fields({**fields, "Content-Length": len(body)}) + b"\r\n"
        exchange.send(head + body + b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nETag: \"v0\"\r\nContent-Length: 4\r\n\r\nevil")


def check(path, response):
    """A whole response is exactly one version."""
    version = (response.header("ETag") or "").strip('"')
    if response.status == 200:
        assert response.body == content(path, version), f"{path} {version}: {len(response.body)} bytes that are not it"
    elif response.status == 206 and response.header("Content-Range"):
        first, _, rest = response.header("Content-Range").removeprefix("bytes ").partition("-")
        last = int(rest.partition("/")[0])
        assert response.body == content(path, version)[int(first):last + 1], f"{path} {version} {first}-{last}"
    else:
        _ = response.body


class Visitor:
    """A client that does what it likes until `until`."""

    def __init__(self, proxy, seed, until):
        self.client = Client(proxy)
        self.dice = random.Random(seed)
        self.until = until
        self.done = 0
        self.problem = None

    def run(self):
        try:
            while time.monotonic() < self.until and self.problem is None:
                self.act()
                self.done += 1
        except Exception:  # noqa: BLE001 - told by the test
            self.problem = traceback.format_exc()
        finally:
            self.client.close()

    def act(self):
        path = f"/{self.dice.randrange(PATHS)}"
        deed = self.dice.choice([self.gets] * 8 + [self.ranges] * 2 + [self.heads, self.posts, self.leaves, self.dawdles, self.pipelines, self.babbles, self.breaks_off])
        try:
            deed(path)
        except (Truncated, Closed, ConnectionError):
            self.client.close()  # the origin broke off, and the client was told

    def fields(self):
        return {"Accept-Encoding": self.dice.choice(["gzip", "br", ""]), "X-Kind": self.dice.choice("ab")}

    def gets(self, path):
        check(path, self.client.get(path, self.fields()))

    def ranges(self, path):
        first = self.dice.randrange(1000)
        check(path, self.client.get(path, {**self.fields(), "Range": f"bytes={first}-{first + self.dice.randrange(9000)}"}))

    def heads(self, path):
        self.client.head(path, self.fields())

    def posts(self, path):
        self.client.post(path, self.dice.randbytes(self.dice.randrange(100_000)), chunked=self.dice.random() < 0.5)

    def leaves(self, path):
        self.client.begin("GET", path, self.fields())
        self.client.reset()

    def dawdles(self, path):
        response = self.client.begin("GET", path, self.fields())
        time.sleep(self.dice.random() / 5)  # this is what it does
        self.client.close()
        assert response.status in (200, 404, 500, 502, 503, 504), response

    def pipelines(self, path):
        paths = [f"/{self.dice.randrange(PATHS)}" for _ in range(4)]
        self.client.send_raw(b"".join(self.client.encode("GET", one) for one in paths))
        for one in paths:
            check(one, self.client.read_response())

    def babbles(self, path):
        self.client.close()
        self.client.send_raw(self.dice.randbytes(200))
        self.client.close()

    def breaks_off(self, path):
        self.client.close()
        self.client.send_raw(f"POST {path} HTTP/1.1\r\nHost: larder.test\r\nContent-Length: 9000\r\n\r\nhalf".encode())
        self.client.reset()


@pytest.mark.slow
def test_chaos(origin, larder, request):
    seed = request.config.getoption("--seed") or time.time_ns()
    print("seed", seed)
    answers = Origin(seed)
    origin.on("POST *", lambda exchange: answers.answer(exchange))
    origin.on("* *", answers.answer)
    proxy = larder(origin, config=CONFIG.replace("PATIENCE", "1s"))
    answers.calm = True
    Client(proxy).get("/0")
    answers.calm = False
    proxy.close_clients()
    quiet = len(os.listdir(f"/proc/{proxy.pid}/fd"))

    until = time.monotonic() + 60 * request.config.getoption("--minutes")
    visitors = [Visitor(proxy, f"{seed} {number}", until) for number in range(CLIENTS)]
    threads = [threading.Thread(target=visitor.run) for visitor in visitors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    problems = [visitor.problem for visitor in visitors if visitor.problem is not None]
    assert not problems, "\n".join(problems)
    print(sum(visitor.done for visitor in visitors), "deeds")

    answers.calm = True
    proxy.close_clients()
    origin.drop_connections()
    wait_until(lambda: len(os.listdir(f"/proc/{proxy.pid}/fd")) <= quiet, "all descriptors to be closed")
    (proxy.directory / "larder.toml").write_text(CONFIG.replace("PATIENCE", "20s"), encoding="utf-8")  # nobody stalls on purpose now
    proxy.process.send_signal(signal.SIGHUP)
    proxy.wait_logged("configuration reloaded")
    for _ in range(2):
        visit_all(proxy)
    proxy.restart()
    visit_all(proxy)


def visit_all(proxy):
    client = Client(proxy)
    for number in range(PATHS):
        for kind in "ab":
            response = client.get(f"/{number}", {"X-Kind": kind})
            assert response.status == 200, response
            check(f"/{number}", response)
    client.close()
