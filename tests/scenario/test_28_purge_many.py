"""A purge takes as long for very many responses as for one: it is a row, not a scan."""

import asyncio
import json
import threading
import time
from contextlib import contextmanager

import pytest
from support.admin import Admin
from support.client import HOST, Client
from support.proxy import run_larder
from support.wire import wait_until

HELD = 100_000
COUNT = HELD * 21 // 20  # what the disk is too slow for is not stored
SAMPLE = 400
PURGES = 5
ALLOWED_S = 0.050


class Quick(asyncio.Protocol):
    """An origin that answers every GET with the version of the moment and one tag for all; quicker than the scripted one."""

    version = b"old"

    def __init__(self):
        self.transport = None
        self.buffer = b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            _, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
            self.transport.write(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=86400\r\nCache-Tag: all\r\nContent-Length: 3\r\n\r\n" + self.version)


@contextmanager
def quick_origin():
    """Its URL."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(Quick, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    Quick.version = b"old"
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.close()


def warm(proxy, urls):
    """All of them, with the figures of the summary."""
    code, out, err = run_larder("warm", "--urls", urls, "--rate", "off", "--concurrency", "8", "--quiet", "--listen", f"127.0.0.1:{proxy.port}", timeout=600)
    assert code == 0, out + err
    return {name.strip(): int(count) for name, count in (line.rsplit(maxsplit=1) for line in out.splitlines()[1:])}


def purge(admin):
    """How long the answer took."""
    begun = time.monotonic()
    admin.post("/v1/purge", json.dumps({"tags": ["all"]}).encode(), {"Content-Type": "application/json"}).expect(200)
    return time.monotonic() - begun


def expect_new(proxy, numbers):
    """Over eight connections, so that every worker is asked."""
    clients = [Client(proxy) for _ in range(8)]
    for place, number in enumerate(numbers):
        clients[place % len(clients)].get(f"/{number}").expect(200, body=b"new")


@pytest.mark.slow
@pytest.mark.plain_only
def test_a_tag_of_a_hundred_thousand(larder, tmp_path):
    """The answer within 50 ms; what starts then gets nothing old, on any worker, also after a kill behind the answer."""
    with quick_origin() as url:
        proxy = larder(url, flags=["--workers", "4", "--cache-size", "512MiB"])
        admin = Admin(proxy)
        urls = tmp_path / "urls"
        urls.write_text("".join(f"http://{HOST}/{number}\n" for number in range(COUNT)), encoding="utf-8")
        assert warm(proxy, urls)["stored now"] >= HELD
        wait_until(lambda: admin.status()["store"]["objects"] >= HELD, "as many to be stored")
        Quick.version = b"new"
        first = purge(admin)
        expect_new(proxy, range(0, COUNT, COUNT // SAMPLE))
        took = [first, *(purge(admin) for _ in range(PURGES - 1))]
        print("purged in", ", ".join(f"{seconds * 1e3:.1f} ms" for seconds in took))
        assert sorted(took)[PURGES // 2] <= ALLOWED_S, took  # the machine may have had other things to do once or twice
        proxy.kill9()
        proxy.start()
        expect_new(proxy, range(1, COUNT, COUNT // SAMPLE))
        again = warm(proxy, urls)
        assert sum(again[name] for name in ("hits", "stored now", "not stored")) == COUNT and again["hits"] <= 2 * (SAMPLE + 1)
