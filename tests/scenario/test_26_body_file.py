"""Large bodies: in the body file beside LMDB's; from the disk where they are not in memory; within the size."""

import os
import random

from support.admin import Admin
from support.client import Client
from support.small_disk import mounted, needs_root
from support.wire import wait_until

SIZE = "128MiB"
FRESH = {"Cache-Control": "max-age=3600"}


def body_of(number, length):
    return random.Random(number).randbytes(length)


def bytes_on_disk(directory):
    return sum(file.stat().st_blocks * 512 for file in directory.iterdir() if file.is_file())


def forget_pages(directory):
    """Nothing of the store is in memory any more."""
    for name in ("data.mdb", "bodies"):
        descriptor = os.open(directory / name, os.O_RDONLY)
        os.fdatasync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def fill(origin, client, numbers, length):
    for number in numbers:
        origin.expect(f"GET /{number}").reply(200, FRESH, body_of(number, length))
        client.get(f"/{number}").expect(200, body=body_of(number, length), cache="stored")


def test_large_bodies_come_back(origin, larder):
    """Of known and of unknown length, before and after a restart, whole and in ranges."""
    proxy = larder(origin, flags=["--cache-size", SIZE])
    client = Client(proxy)
    whole = body_of(1, 3_000_000)
    origin.expect("GET /known").reply(200, FRESH, whole)
    origin.expect("GET /chunked").reply(200, FRESH, [whole[:100_000], whole[100_000:]])
    for path in ("/known", "/chunked"):
        client.get(path).expect(200, body=whole, cache="stored")
    for _ in range(2):
        for path in ("/known", "/chunked"):
            client.get(path).expect(200, body=whole, cache="hit")
            client.get(path, {"Range": "bytes=2000000-2000999"}).expect(206, body=whole[2_000_000:2_001_000], cache="hit")
            client.get(path, {"Range": "bytes=-10"}).expect(206, body=whole[-10:], cache="hit")
        client.close()
        proxy.restart()
        client = Client(proxy)


def test_large_bodies_survive_a_kill(origin, larder):
    proxy = larder(origin, flags=["--cache-size", SIZE])
    client = Client(proxy)
    fill(origin, client, range(5), 1_000_000)
    proxy.stop()
    proxy.start()
    client = Client(proxy)
    origin.expect("GET /last").reply(200, FRESH, body_of(9, 2_000_000))
    client.get("/last").expect(200, cache="stored")
    proxy.kill9()
    proxy.start()
    client = Client(proxy)
    for number in range(5):
        client.get(f"/{number}").expect(200, body=body_of(number, 1_000_000), cache="hit")


def test_what_is_not_in_memory_is_read_from_the_disk(origin, larder):
    """Small and large, by several clients at once, of which one goes away in the middle."""
    proxy = larder(origin, flags=["--cache-size", SIZE])
    client = Client(proxy)
    fill(origin, client, range(3), 2_000_000)
    fill(origin, client, range(3, 6), 40_000)
    proxy.restart()
    for _ in range(3):
        forget_pages(proxy.cache_dir)
        clients = [Client(proxy) for _ in range(4)]
        gone = Client(proxy)
        gone.begin("GET", "/2")
        responses = [one.begin("GET", "/1") for one in clients]
        gone.close()
        for response in responses:
            response.expect(200, body=body_of(1, 2_000_000), cache="hit")
        for one in clients:
            one.close()
        client = Client(proxy)
        for number in range(6):
            client.get(f"/{number}").expect(200, body=body_of(number, 2_000_000 if number < 3 else 40_000), cache="hit")
        client.close()


def test_the_size_holds_on_the_disk_under_a_flood(origin, larder):
    """Reserved at the start, never more than 1 % above, and what came last is there."""
    proxy = larder(origin, config='[cache]\nadmit_large = "always"\n', flags=["--cache-size", SIZE])
    client = Client(proxy)
    limit = 128 * 1024 * 1024
    assert bytes_on_disk(proxy.cache_dir) > limit * 0.7
    for number in range(59):  # more than a slow disk may take: what it does not is passed on
        origin.expect(f"GET /{number}").reply(200, FRESH, body_of(number, 4_000_000))
        client.get(f"/{number}").expect(200, body=body_of(number, 4_000_000))
        assert bytes_on_disk(proxy.cache_dir) < limit * 1.01
    wait_until(lambda: Admin(proxy).metrics()["larder_store_queue_bytes"] == 0, "the disk to have done all")
    fill(origin, client, [59], 4_000_000)
    proxy.restart()
    Client(proxy).get("/59").expect(200, body=body_of(59, 4_000_000), cache="hit")


def test_a_smaller_size_is_obeyed_by_the_next_start(origin, larder, tmp_path):
    directory = tmp_path / "cache"
    proxy = larder(origin, flags=["--cache-size", "256MiB"], cache_dir=directory)
    fill(origin, Client(proxy), range(40), 2_000_000)
    proxy.stop()
    proxy = larder(origin, flags=["--cache-size", SIZE], cache_dir=directory)
    assert bytes_on_disk(directory) < 129 * 1024 * 1024
    found = 0
    client = Client(proxy)
    for number in range(40):
        response = client.get(f"/{number}", {"Cache-Control": "only-if-cached"})
        if response.status == 200:
            response.expect(200, body=body_of(number, 2_000_000), cache="hit")
            found += 1
    assert found > 5


@needs_root
def test_a_disk_too_small_for_the_size_is_said_at_the_start(origin, larder, tmp_path):
    """With one line; what fits is used."""
    with mounted(tmp_path / "small", 120) as small:
        proxy = larder(origin, flags=["--cache-size", "300MiB"], cache_dir=small / "cache")
        assert proxy.stderr.count("cannot reserve") == 1
        assert "make room or lower cache.size" in proxy.stderr
        client = Client(proxy)
        fill(origin, client, range(3), 500_000)
        client.get("/1").expect(200, body=body_of(1, 500_000), cache="hit")
        proxy.stop()
