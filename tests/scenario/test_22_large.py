"""Responses far larger than memory should be: streamed, stored, and served again, in bounded memory."""

import threading
import time
import zlib

import pytest
from support.client import Client
from support.parallel import in_parallel

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
        while not self.ended.is_set():
            self.most = max(self.most, self.proxy.status("RssAnon"))
            time.sleep(0.02)

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
