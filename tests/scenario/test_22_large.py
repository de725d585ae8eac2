"""Responses far larger than memory should be: streamed, stored, and served again, in bounded memory."""

import os
import signal
import threading
import zlib

import pytest
from support.client import Client
from support.parallel import in_parallel
from support.wire import wait_until

MIB = 1 << 20
PIECE = bytes((i * 7 + (i >> 8) * 3 + (i >> 16)) & 255 for i in range(MIB))


def generator(total):
    """Sends `total` bytes: the piece over and over, each one with its number in front."""

    def action(exchange):
        exchange.send_head(200, {"Cache-Control": "max-age=3600", "Content-Length": total})
        for number in range(total // MIB):
            exchange.send(number.to_bytes(8, "big") + PIECE[8:])

    return action


def checksum_of(total):
    value = 0
    for number in range(total // MIB):
        value = zlib.crc32(PIECE[8:], zlib.crc32(number.to_bytes(8, "big"), value))
    return value


def drain(response):
    value = count = 0
    while True:
        piece = response.stream.some()
        if not piece:
            return count, value
        count += len(piece)
        value = zlib.crc32(piece, value)


class Watch(threading.Thread):
    """The most anonymous memory that larder had meanwhile."""

    def __init__(self, proxy):
        super().__init__(daemon=True)
        self.proxy = proxy
        self.most = 0
        self.ended = threading.Event()

    def run(self):
        while True:
            self.most = max(self.most, self.proxy.status("RssAnon"))
            if self.ended.wait(0.02):
                return

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()


@pytest.mark.slow
@pytest.mark.plain_only
def test_two_gibibytes(origin, larder):
    total = 2048 * MIB
    proxy = larder(origin, flags=["--cache-size", "5GiB"], config='[cache]\nmax_object_size = "2500MiB"\n')
    want = (total, checksum_of(total))
    origin.expect("GET /big").handle(generator(total))
    client = Client(proxy)
    with Watch(proxy) as watch:
        assert drain(client.begin("GET", "/big").expect(200, cache="stored")) == want
        client.close()
        # stored: the next one is a hit (it may still be a follower until the last piece is committed), and takes no memory either
        assert drain(Client(proxy).begin("GET", "/big").expect(200, cache="!fwd-status")) == want
    assert watch.most < 100 * MIB, f"{watch.most / MIB:.0f} MiB of anonymous memory"
    assert origin.count() == 1


@pytest.mark.slow
@pytest.mark.plain_only
def test_many_slow_clients_of_one_large_response(origin, larder):
    """Memory depends neither on the size nor on how far apart the clients are."""
    total = 192 * MIB
    proxy = larder(origin, flags=["--cache-size", "1GiB"])
    origin.expect("GET /big").handle(generator(total))
    want = (total, checksum_of(total))
    with Watch(proxy) as watch:
        stalled = [Client(proxy).begin("GET", "/big").expect(200) for _ in range(8)]
        assert drain(Client(proxy).begin("GET", "/big").expect(200)) == want
        assert in_parallel(drain, stalled) == [want] * 8
    assert watch.most < 100 * MIB, f"{watch.most / MIB:.0f} MiB of anonymous memory"


def test_a_small_request_does_not_wait_for_the_end_of_a_large_body(origin, larder, tmp_path):
    """Of two that come at once the first gets a turn, however much its socket takes, then the other is answered."""
    body, log = PIECE[: MIB // 4 * 3], tmp_path / "access.log"
    proxy = larder(origin, flags=["--workers", "1", "--access-log", log])
    origin.expect("GET /large").reply(200, {"Cache-Control": "max-age=3600"}, body)
    origin.expect("GET /small").reply(200, {"Cache-Control": "max-age=3600"}, b"small")
    large, small = Client(proxy), Client(proxy)
    for _ in range(8):  # it is stored, and the sockets find out how much they can hold
        large.get("/large").expect(200, body=body)
    small.get("/small").expect(200)
    proxy.pause()
    large.send("GET", "/large")
    small.send("GET", "/small")
    os.kill(proxy.pid, signal.SIGCONT)
    small.read_response().expect(200, body=b"small", cache="hit")
    large.read_response().expect(200, body=body, cache="hit")
    wait_until(lambda: len(log.read_text().splitlines()) == 11, "the last log line")
    ended = log.read_text().splitlines()[-2:]
    assert "/small" in ended[0] and "/large" in ended[1], ended
