"""Large bodies: in the body file beside LMDB's; from the disk where they are not in memory; within the size."""

import ctypes
import mmap
import os
import random

import pytest
from support.admin import Admin
from support.client import Client
from support.damage import damage
from support.small_disk import mounted, needs_root
from support.wire import Malformed, wait_until

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


def bytes_in_memory(file):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    size = file.stat().st_size
    pages = ctypes.create_string_buffer(-(-size // mmap.PAGESIZE))
    with open(file, "rb") as stream:
        at = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, stream.fileno(), 0)
        assert libc.mincore(at, size, pages) == 0, os.strerror(ctypes.get_errno())
        libc.munmap(at, size)
    return sum(page & 1 for page in pages.raw) * mmap.PAGESIZE


def wait_written(proxy):
    wait_until(lambda: Admin(proxy).metrics()["larder_store_queue_bytes"] == 0, "the disk to have done all")


def fill(origin, client, numbers, length):
    """At the pace of the disk: what it is too slow for would not be stored."""
    for number in numbers:
        if length >= 1_000_000 and number % 8 == 7:
            wait_written(client.proxy)
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


def test_a_small_range_reads_little(origin, larder):
    """Of the disk, where it is not in memory: not a quarter of a megabyte for a thousand bytes."""
    proxy = larder(origin, flags=["--cache-size", SIZE])
    fill(origin, Client(proxy), [1], 3_000_000)
    proxy.restart()
    forget_pages(proxy.cache_dir)
    whole, file = body_of(1, 3_000_000), proxy.cache_dir / "bodies"
    client = Client(proxy)
    before = bytes_in_memory(file)
    for first in (2_000_000, 500_000, 2_500_000):
        client.get("/1", {"Range": f"bytes={first}-{first + 999}"}).expect(206, body=whole[first:first + 1000], cache="hit")
    assert bytes_in_memory(file) - before <= 3 * 32 * 1024


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
    wait_written(proxy)
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


def damaged_at(origin, larder, at, warm):
    """A larder that has stored half a megabyte under /1, of which a piece cannot be read; and what was stored."""
    proxy = larder(origin, flags=["--cache-size", SIZE])
    whole = body_of(1, 500_000)
    fill(origin, Client(proxy), [1], len(whole))
    proxy.stop()
    damage(proxy.cache_dir, whole[at:at + 64])
    if not warm:
        forget_pages(proxy.cache_dir)
    proxy.start()
    return proxy, whole


@pytest.mark.parametrize("warm", [True, False], ids=["in memory", "on the disk"])
@pytest.mark.parametrize("fields, at, want", [
    ({}, 6_000, slice(None)),  # behind what a look-up reads
    ({"Range": "bytes=300000-300999"}, 300_500, slice(300_000, 301_000)),
], ids=["whole", "range"])
def test_a_hit_that_cannot_be_read_is_fetched(origin, larder, fields, at, want, warm):
    """RFC 9111 §4: it is as if it were not stored; nothing of it was sent, so nobody notices but the log."""
    proxy, whole = damaged_at(origin, larder, at, warm)
    client = Client(proxy)
    if fields:
        span = f"bytes {want.start}-{want.stop - 1}/{len(whole)}"
        origin.expect("GET /1", fields).reply(206, {**FRESH, "Content-Range": span}, whole[want])
        client.get("/1", fields).expect(206, body=whole[want], cache="fwd=miss; stored; detail=unreadable")
        client.close()
        proxy.restart()
        Client(proxy).get("/1", fields).expect(206, body=whole[want], cache="hit")
    else:
        origin.expect("GET /1").reply(200, FRESH, whole)
        client.get("/1").expect(200, body=whole, cache="fwd=miss; stored; detail=unreadable")
        client.get("/1").expect(200, body=whole, cache="hit")
    assert proxy.stderr.count("stored body unreadable") == 1
    assert 'key="GET http://larder.test/1"' in proxy.stderr


@pytest.mark.parametrize("warm", [True, False], ids=["in memory", "on the disk"])
@pytest.mark.parametrize("at", [100_500, 309_000], ids=["first", "second"])
def test_several_ranges_of_which_one_cannot_be_read_are_fetched(origin, larder, at, warm):
    """Noticed before the text that goes before the first of them."""
    proxy, whole = damaged_at(origin, larder, at, warm)
    client = Client(proxy)
    origin.expect("GET /1").reply(200, FRESH, whole)
    several = client.get("/1", {"Range": "bytes=100000-119999,300000-319999"})
    several.expect(206, cache="fwd=miss; stored; detail=unreadable")
    assert whole[100_000:120_000] in several.body and whole[300_000:320_000] in several.body
    assert proxy.stderr.count("stored body unreadable") == 1


def test_a_hit_that_cannot_be_read_and_no_origin_to_ask(origin, larder):
    """An answer that says so, on a connection that stays: there is none, it may not be asked, or it fails."""
    proxy = larder(origin, flags=["--cache-size", SIZE])
    fill(origin, Client(proxy), [1, 2], 500_000)
    proxy.stop()
    for number in (1, 2):
        damage(proxy.cache_dir, body_of(number, 500_000)[6_000:6_064])
    proxy.start()
    client = Client(proxy)
    client.get("/1", {"Cache-Control": "only-if-cached"}).expect(504)
    origin.expect("GET /2").reply(503, {}, b"not now")
    client.get("/2").expect(503, body=b"not now", cache="fwd=miss; fwd-status=503; !stored")


def test_a_hit_that_cannot_be_read_further(origin, larder):
    """Too late for another answer: the client notices, and the next one gets the whole."""
    proxy = larder(origin, flags=["--cache-size", SIZE])
    length = 3_000_000
    fill(origin, Client(proxy), [1], length)
    proxy.stop()
    damage(proxy.cache_dir, body_of(1, length)[2_500_000:2_500_064])
    proxy.start()
    client = Client(proxy)
    response = client.begin("GET", "/1").expect(200, cache="hit")
    with pytest.raises(Malformed):
        assert response.body
    proxy.wait_logged("stored body unreadable")
    origin.expect("GET /1").reply(200, FRESH, body_of(1, length))
    Client(proxy).get("/1").expect(200, body=body_of(1, length), cache="stored")
