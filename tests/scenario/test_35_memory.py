"""Memory that runs out: the n-th allocation of a short life fails, for every n. What arrives whole is right; nothing crashes or leaks."""

import contextlib
import json
import mmap
import os
import random
import re
import signal
import struct

import pytest
from support.admin import Admin
from support.client import Client
from support.shims import preloaded
from support.wire import Closed, Truncated, wait_until

pytestmark = pytest.mark.plain_only  # a sanitizer brings an allocator of its own

STRIDE = 12  # of the usual run

SMALL = b"small " * 100
LARGE = bytes(random.Random(1).randbytes(300_000))
FRESH = {"Cache-Control": "max-age=600", "ETag": '"v1"'}
STALE = {"Cache-Control": "max-age=60", "Age": "60", "ETag": '"v1"'}


class Memory:
    """The shim's control page."""

    def __init__(self, path):
        path.write_bytes(bytes(mmap.PAGESIZE))
        self.file = path.open("r+b")
        self.page = mmap.mmap(self.file.fileno(), mmap.PAGESIZE)

    def fail(self, at, count=1):
        self.page[0:32] = struct.pack("=4Q", 0, 0, count, 0)
        self.page[8:16] = struct.pack("=Q", at)

    def failed(self):
        return struct.unpack("=4Q", self.page[0:32])[3]

    def well(self):
        """Says how many allocations there were, and how many failed."""
        self.page[8:16] = bytes(8)
        calls, _, _, failed = struct.unpack("=4Q", self.page[0:32])
        return calls, failed


def answer(exchange):
    """The origin: bodies by path, 304 for who has it."""
    request = exchange.request
    fields = STALE if request.path.startswith("/stale") else FRESH
    if request.headers.get("If-None-Match") == '"v1"':
        exchange.reply(304, fields)
    else:
        exchange.reply(200, fields, LARGE if request.path.startswith("/large") else SMALL)


def ask(proxy, method, path, want, headers=None, body=None, part=None):
    """One request on a connection of its own: the right answer (`part` of it in a 206), an error of larder's, or the end of the
    connection."""
    client = Client(proxy)
    try:
        response = client.request(method, path, headers, body)
        got = response.body
    except (AssertionError, Closed, Truncated, OSError) as problem:
        assert "closed" in str(problem) or isinstance(problem, (Closed, Truncated, OSError)), problem
        return
    finally:
        client.close()
    if response.status in (200, 206):
        assert got == (want[part] if response.status == 206 else want), f"{method} {path}: {len(got)} wrong bytes"
    else:
        assert response.status in (304, 500, 502, 503, 504), response


def live(proxy, number):
    """A short life: a miss, hits, a revalidation, a range, a large body, a HEAD, a POST, a large one."""
    ask(proxy, "GET", f"/small/{number}", SMALL)
    ask(proxy, "GET", f"/small/{number}", SMALL, {"Accept-Language": "de"})
    ask(proxy, "GET", f"/small/{number}", SMALL, {"If-None-Match": '"v1"'})
    ask(proxy, "GET", f"/stale/{number}", SMALL)
    ask(proxy, "GET", f"/stale/{number}", SMALL)
    ask(proxy, "GET", f"/large/{number}", LARGE)
    ask(proxy, "GET", f"/large/{number}", LARGE, {"Range": "bytes=1000-199999"}, part=slice(1000, 200_000))
    ask(proxy, "HEAD", f"/small/{number}", b"")
    ask(proxy, "POST", f"/small/{number}", SMALL, body=b"x" * 100)
    ask(proxy, "POST", f"/small/{number}", SMALL, body=LARGE)
    ask(proxy, "GET", f"/small/{number}", SMALL)


def begin(origin, larder, tmp_path):
    memory = Memory(tmp_path / "control")
    env = {**preloaded("memory"), "MEMORY_CONTROL": str(tmp_path / "control")}
    return memory, larder(origin, flags=["--workers", "1"], env=env)


def run(origin, larder, tmp_path, first, stride, count):
    memory, proxy = begin(origin, larder, tmp_path)
    for pattern in ("GET /*", "POST /*", "HEAD /*"):
        origin.on(pattern, answer)
    for number in range(3):  # what is allocated once, is
        live(proxy, f"warm-{number}")
    memory.fail(0)
    live(proxy, "calm")
    calls, _ = memory.well()
    assert calls > 50, "the shim counts"
    tried = 0
    for at in range(first, calls + 1, stride):
        memory.fail(at, count)
        live(proxy, at)
        _, failed = memory.well()
        tried += failed > 0
        assert proxy.process.poll() is None, f"allocation {at} of {calls}: larder ended\n{proxy.stderr}"
        live(proxy, at)  # with memory, and what it left
    assert tried > 0
    admin = Admin(proxy)
    wait_until(lambda: admin.metrics()["larder_client_connections"] == 0, "the connections to end")
    wait_until(lambda: admin.metrics()["larder_stream_memory_bytes"] == 0, "the bodies to leave memory")
    wait_until(lambda: len(os.listdir(f"/proc/{proxy.pid}/fd")) < 60, "idle connections to the origin to end")


@pytest.mark.parametrize("count", [1, 40])
def test_allocations_that_fail(origin, larder, tmp_path, count):
    """Each STRIDE-th; which of them is another each time."""
    run(origin, larder, tmp_path, random.randrange(1, STRIDE + 1), STRIDE, count)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 40])
def test_every_allocation_that_fails(origin, larder, tmp_path, count):
    run(origin, larder, tmp_path, 1, 1, count)


def test_no_memory_for_what_comes_during_a_request(origin, larder, tmp_path):
    """The connection goes, and the request with it."""
    memory, proxy = begin(origin, larder, tmp_path)
    admin = Admin(proxy)
    gate = origin.gate()
    origin.expect("GET /a").reply(200, FRESH, SMALL, hold=gate)
    client = Client(proxy).send_raw(b"GET /a HTTP/1.1\r\nHost: larder.test\r\n\r\n")
    gate.wait_reached()
    assert admin.metrics()["larder_requests_in_flight"] == 1
    memory.fail(1)
    client.send_raw(b"G" * 30_000)
    wait_until(lambda: memory.failed() == 1, "an allocation to fail")
    wait_until(lambda: admin.metrics()["larder_requests_in_flight"] == 0, "the request to end")
    wait_until(lambda: admin.metrics()["larder_client_connections"] == 0, "the connection to end")
    gate.open()


def test_what_lack_of_memory_kept_from_being_stored(origin, larder, tmp_path):
    """The log says that it was that: not a race, and not the disk. Each allocation of a response that is stored, once."""
    memory, log = Memory(tmp_path / "control"), tmp_path / "access.log"
    proxy = larder(origin, flags=["--workers", "1", "--access-log", log],
                   env={**preloaded("memory"), "MEMORY_CONTROL": str(tmp_path / "control")})
    origin.on("GET /*", answer)
    for number in range(3):
        ask(proxy, "GET", f"/large/warm-{number}", LARGE)
    memory.fail(0)
    ask(proxy, "GET", "/large/calm", LARGE)
    calls, _ = memory.well()
    admin = Admin(proxy)
    for at in range(1, calls + 1):
        memory.fail(at)
        ask(proxy, "GET", f"/large/{at}", LARGE)
        memory.well()
        if at % 32 == 0:  # nor a disk that is behind
            wait_until(lambda: admin.metrics()["larder_store_queue_bytes"] == 0, "the disk to have done all")
    proxy.stop()
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    said = {line["store_reason"] for line in lines if "store_reason" in line}
    assert said == {"stored", "no-memory"}, said


@pytest.mark.parametrize("path", ["/v1/status", "/metrics", "/v1/report"])
def test_the_administration_survives_it(larder, tmp_path, origin, path):
    """Its thread is the server's own; a connection that cannot be taken now is taken later."""
    memory = Memory(tmp_path / "control")
    origin.on("GET *", answer)
    proxy = larder(origin, flags=["--workers", "1"], env={**preloaded("memory"), "MEMORY_CONTROL": str(tmp_path / "control")})
    ask(proxy, "GET", "/small/1", SMALL)
    Admin(proxy).get(path).expect(200)
    memory.fail(0)
    Admin(proxy).get(path).expect(200)
    calls, _ = memory.well()
    for at in range(1, min(calls, 200) + 1):
        client = Admin(proxy)
        memory.fail(at)
        with contextlib.suppress(AssertionError, Closed, OSError):
            client.get(path)
        memory.well()
        client.close()
        assert proxy.process.poll() is None, f"allocation {at} of {calls}: larder ended\n{proxy.stderr}"
        Admin(proxy).get(path).expect(200)


CONFIG = """
[server]
workers = 1
[cache]
size = "64MiB"
[[site]]
origin = "{origin}"
[[site.rule]]
name = "a"
path = "/small/*"
default_ttl = "1m"
[[test]]
name = "stored"
request = "GET http://h.test/small/1"
expect = {{ stored = true }}
[test.response]
headers = ["Content-Type: text/html"]
"""


@pytest.mark.parametrize("count", [1, 40])
def test_a_configuration_that_cannot_be_read_now_is_refused(origin, larder, tmp_path, count):
    """SIGHUP while memory is short, from the first allocation to the last, which makes the loops of the new workers."""
    memory = Memory(tmp_path / "control")
    origin.on("GET *", answer)
    proxy = larder(config=CONFIG.format(origin=origin.url), env={**preloaded("memory"), "MEMORY_CONTROL": str(tmp_path / "control")})
    said = re.compile("configuration reloaded|the new configuration is refused|the new configuration cannot be used")

    def reload():
        before = len(said.findall(proxy.stderr))
        proxy.process.send_signal(signal.SIGHUP)
        wait_until(lambda: proxy.process.poll() is not None or len(said.findall(proxy.stderr)) > before, "the reload")

    memory.fail(0)
    reload()
    calls, _ = memory.well()
    for at in range(1, calls + 1):
        memory.fail(at, count)
        reload()
        memory.well()
        assert proxy.process.poll() is None, f"allocation {at} of {calls}: larder ended\n{proxy.stderr}"
    assert "the new configuration is refused" in proxy.stderr
    assert "cannot make a worker" in proxy.stderr
    ask(proxy, "GET", "/small/1", SMALL)
    before = proxy.stderr.count("configuration reloaded")
    reload()
    assert proxy.stderr.count("configuration reloaded") == before + 1
