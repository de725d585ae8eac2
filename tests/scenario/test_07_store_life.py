"""The store over time: restarts, kills, its size, large bodies, damage."""

import itertools
import mmap
import os
import signal

import pytest
from support.client import Client
from support.proxy import run_larder
from support.say import always, fresh, stale
from support.small_disk import mounted, needs_root
from support.why import ask
from support.wire import Malformed, wait_until

MIB = 1 << 20
ALWAYS = '[cache]\nadmit_large = "always"\n'  # large bodies enter a full store at their first request: more turns over


def body_of(seed, size):
    return (f"{seed}:".encode() * (size // (len(str(seed)) + 1) + 1))[:size]


def disk_bytes(directory):
    return sum(file.stat().st_blocks * 512 for file in directory.rglob("*") if file.is_file())


def fill(origin, client, count, size, path="/f"):
    """Stores so many objects, each other bytes."""
    origin.on(f"GET {path}/*", lambda exchange: exchange.reply(200, fresh(3600), body_of(exchange.request.target, size)))
    for number in range(count):
        target = f"{path}/{number}"
        client.get(target).expect(200, body=body_of(target, size))


def all_hits(client, numbers, size, path="/f"):
    for number in numbers:
        target = f"{path}/{number}"
        client.get(target).expect(200, body=body_of(target, size), cache="hit")


# --- restarts -----------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("size", [0, 100, 4096, 65536, 65537, 3 * MIB + 17])
def test_a_restart_keeps_what_was_stored(origin, proxy, client, size):
    fill(origin, client, 10, size)
    proxy.restart()
    asked = origin.count()
    all_hits(client, range(10), size)
    assert origin.count() == asked, "the first hits after a restart asked the origin"


def test_a_restart_keeps_variants_and_validators(origin, proxy, client):
    for wanted in ("en", "de"):
        origin.expect("GET /a").reply(200, stale(ETag=f'"{wanted}"', Vary="Accept-Language"), wanted.encode())
        client.get("/a", {"Accept-Language": wanted}).expect(200)
    proxy.restart()
    for wanted in ("en", "de"):
        origin.expect("GET /a", {"If-None-Match": f'"{wanted}"'}).reply(304, fresh(60, Age="0", Vary="Accept-Language"))
        client.get("/a", {"Accept-Language": wanted}).expect(200, body=wanted.encode())


def test_age_goes_on_over_a_restart(origin, proxy, client):
    origin.expect("GET /a").reply(200, fresh(100, Age="50"), b"x")
    client.get("/a").expect(200)
    proxy.restart()
    assert int(client.get("/a").expect(200, cache="hit").header("Age")) >= 50


def test_kill_9_keeps_what_was_committed(origin, proxy, client):
    """After a clean stop everything is committed: a kill later cannot take it back."""
    fill(origin, client, 50, 10000)
    proxy.restart()
    proxy.kill9()
    proxy.start()
    asked = origin.count()
    all_hits(client, range(50), 10000)
    assert origin.count() == asked


def test_kill_9_keeps_what_was_stored_a_while_ago(origin, proxy, client):
    """Nothing has to be stopped for a commit: what was stored reaches the disk soon by itself."""
    fill(origin, client, 20, 10000)
    wait_until(lambda: all(ask(proxy, f"/f/{number}")["variants"] for number in range(20)), "the commit")
    proxy.kill9()
    proxy.start()
    asked = origin.count()
    all_hits(client, range(20), 10000)
    assert origin.count() == asked


def test_a_killed_fill_is_not_served(origin, proxy, client):
    gate = origin.gate()
    origin.expect("GET /a").reply(200, fresh(), [bytes(MIB), gate, bytes(MIB)])
    response = client.begin("GET", "/a")
    assert response.stream.exact(MIB) == bytes(MIB)
    proxy.kill9()
    gate.open()
    proxy.start()
    origin.expect("GET /a").reply(200, fresh(), b"whole")
    client.get("/a").expect(200, body=b"whole", cache="!hit")


def test_an_origin_that_breaks_off_is_never_whole(origin, proxy, client):
    for framing in (b"Content-Length: 100000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n10\r\n0123456789abcdef\r\n"):
        origin.expect("GET /a").send_raw(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n" + framing + b"")
        response = client.begin("GET", "/a")
        if response.status != 502:  # it may have seen the end before it had sent anything
            with pytest.raises(AssertionError):
                _ = response.expect(200).body
        client.close()
    proxy.restart()
    origin.expect("GET /a").reply(200, fresh(), b"whole")
    client.get("/a").expect(200, body=b"whole", cache="!hit")


# --- size ---------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("size, count", [(20_000, 3000), (1_000_000, 80)])
def test_the_size_is_respected(origin, larder, size, count):
    """Four times as much as fits passes through; the disk holds no more than was allowed, and the newest is served."""
    proxy = larder(origin, config=ALWAYS, flags=["--cache-size", "16MiB"])
    client = Client(proxy)
    fill(origin, client, count, size)
    assert disk_bytes(proxy.cache_dir) <= 16 * MIB * 1.05
    wait_until(lambda: "hit" in client.get(f"/f/{count - 1}").expect(200).cache, "the newest to be a hit")
    proxy.stop()
    assert disk_bytes(proxy.cache_dir) <= 16 * MIB * 1.05
    apparent = sum(file.stat().st_size for file in proxy.cache_dir.rglob("*") if file.is_file())
    assert apparent <= 16 * MIB * 1.10
    proxy.start()
    hits = 0
    for number in range(count):
        response = client.get(f"/f/{number}", {"Cache-Control": "only-if-cached"})  # looks without changing anything
        if response.status == 200:
            response.expect(200, body=body_of(f"/f/{number}", size), cache="hit")
            hits += 1
    assert hits * size >= 6 * MIB, f"only {hits} of {count} are left: too much was evicted"


def test_what_is_larger_than_the_cache_passes_through(origin, larder):
    client = Client(larder(origin, flags=["--cache-size", "16MiB"]))
    body = bytes(20 * MIB)
    origin.on("GET /big", always(200, fresh(), body))
    client.get("/big").expect(200, body=body)
    client.get("/big").expect(200, body=body, cache="!hit")
    origin.expect("GET /small").reply(200, fresh(), b"x")
    client.get("/small").expect(200, cache="stored")
    client.get("/small").expect(200, cache="hit")


def test_a_chunked_body_larger_than_the_cache(origin, larder):
    client = Client(larder(origin, flags=["--cache-size", "16MiB"]))
    body = bytes(20 * MIB)
    origin.on("GET /big", always(200, fresh(), body, framing="chunked"))
    client.get("/big").expect(200, body=body)
    client.get("/big").expect(200, body=body, cache="!hit")
    origin.expect("GET /small").reply(200, fresh(), b"x")
    client.get("/small").expect(200)
    client.get("/small").expect(200, cache="hit")


def test_a_smaller_size_after_a_restart(origin, larder, tmp_path):
    first = larder(origin, flags=["--cache-size", "64MiB"], cache_dir=tmp_path / "shared")
    fill(origin, Client(first), 40, MIB)
    first.stop()
    second = larder(origin, config=ALWAYS, flags=["--cache-size", "16MiB"], cache_dir=tmp_path / "shared")
    client = Client(second)
    fill(origin, client, 30, MIB, path="/g")
    wait_until(lambda: disk_bytes(second.cache_dir) <= 16 * MIB * 1.05, "the cache to shrink")


def test_a_full_store_takes_large_bodies_at_their_second_request(origin, larder):
    """A crawler that asks for each once does not turn the store over; whoever changes his mind needs no restart."""
    proxy = larder(origin, config="# none\n", flags=["--cache-size", "16MiB"])
    client = Client(proxy)
    fill(origin, client, 12, MIB)
    numbers = itertools.count()

    def refused():
        target = f"/f/crawled/{next(numbers)}"
        response = client.get(target).expect(200, body=body_of(target, MIB))
        return target if "first-request" in str(response.cache.get("detail")) else None

    target = wait_until(refused, "the store to be full")
    client.get(target).expect(200, body=body_of(target, MIB), cache="fwd=uri-miss; stored")
    client.get(target).expect(200, body=body_of(target, MIB), cache="hit")
    (proxy.directory / "larder.toml").write_text(ALWAYS, encoding="utf-8")
    proxy.process.send_signal(signal.SIGHUP)
    proxy.wait_logged("configuration reloaded")
    Client(proxy).get("/f/after").expect(200, body=body_of("/f/after", MIB), cache="fwd=uri-miss; stored; detail=stored")


def test_min_uses(origin, larder):
    """Stored at the n-th request, by rule; the requests of a herd count."""
    rule = '[[site]]\n[[site.rule]]\nname = "often"\npath = "/n/*"\nmin_uses = 3\n'
    client = Client(larder(origin, config=rule))
    fill(origin, client, 1, 100, path="/n")
    client.get("/n/0").expect(200, cache="fwd=uri-miss; !stored; detail=min-uses; detail=often")
    client.get("/n/0").expect(200, cache="fwd=uri-miss; stored")
    client.get("/n/0").expect(200, cache="hit")


def test_an_object_that_is_being_sent_is_not_evicted_under_its_reader(origin, larder):
    proxy = larder(origin, config=ALWAYS, flags=["--cache-size", "16MiB"])
    reader, filler = Client(proxy), Client(proxy)
    body = body_of("reader", 6 * MIB)
    origin.expect("GET /read").reply(200, fresh(), body)
    reader.get("/read").expect(200, body=body)
    wait_until(lambda: reader.get("/read").expect(200).cache.get("hit"), "the body to be stored")
    response = reader.begin("GET", "/read").expect(200, cache="hit")
    first = response.stream.exact(100_000)
    fill(origin, filler, 40, MIB)
    assert first + response.body == body


# --- the directory ------------------------------------------------------------------------------------------------------------------

def test_two_processes_on_one_directory(origin, proxy, client):
    """The second refuses to start, the first goes on."""
    code, _, error = run_larder("serve", "--listen", "127.0.0.1:0", "--origin", origin.url, "--cache-dir", proxy.cache_dir)
    assert code == 2 and str(proxy.cache_dir) in error and error.count("\n") == 1, error
    origin.expect("GET /a").reply(200, fresh(), b"x")
    client.get("/a").expect(200, cache="stored")
    client.get("/a").expect(200, cache="hit")


def store_files(directory):
    files = [file for file in directory.rglob("*") if file.is_file() and file.stat().st_size > 0 and "lock" not in file.name]
    assert files
    return files


@pytest.mark.parametrize("damage", ["garbage", "zeros", "truncated", "foreign"])
def test_a_damaged_store_starts_empty(origin, proxy, client, damage):
    """One line in the log, no crash, nothing served from it."""
    fill(origin, client, 5, 10000)
    proxy.stop()
    for file in store_files(proxy.cache_dir):
        size = file.stat().st_size
        with open(file, "r+b") as stream:
            if damage == "garbage":
                stream.write(os.urandom(min(size, 256 * 1024)))
            elif damage == "zeros":
                stream.write(bytes(min(size, 256 * 1024)))
            elif damage == "truncated":
                stream.truncate(min(size, 5000))
            else:
                stream.truncate(0)
                stream.write(b"SQLite format 3\0" + bytes(100_000))
    proxy.start()
    for number in range(5):
        client.get(f"/f/{number}").expect(200, body=body_of(f"/f/{number}", 10000))
    all_hits(client, range(5), 10000)
    proxy.restart()
    all_hits(client, range(5), 10000)


@pytest.mark.parametrize("size", [3000, 10000, 200_000])
def test_damaged_bytes_of_a_body_are_never_served(origin, larder, size):
    """Every body is right, or fetched again, or visibly broken off. (LMDB's own pages have no checksums: damage there is beyond us.)"""
    proxy = larder(origin, flags=["--cache-size", "16MiB"])
    client = Client(proxy)
    fill(origin, client, 12, size)
    proxy.stop()
    damaged = 0
    for file in store_files(proxy.cache_dir):
        with open(file, "r+b") as stream, mmap.mmap(stream.fileno(), 0) as data:
            for number in range(0, 12, 2):
                middle = (f"/f/{number}:" * 60).encode()
                position = data.find(middle)
                while position >= 0:
                    data[position + 100:position + 110] = b"0123456789"
                    damaged += 1
                    position = data.find(middle, position + 4096)
    assert damaged >= 6, "the bodies do not lie in the files as they are: this test needs another way to damage them"
    proxy.start()
    for _ in range(2):
        for number in range(12):
            target = f"/f/{number}"
            response = client.begin("GET", target).expect(200)
            try:
                assert response.body == body_of(target, size), f"{target} was served altered"
            except Malformed:
                client.close()  # broken off in the middle: the client sees that
    all_hits(client, range(1, 12, 2), size)


def test_a_missing_directory_is_made(origin, larder, tmp_path):
    client = Client(larder(origin, cache_dir=tmp_path / "not-yet"))
    origin.expect("GET /a").reply(200, fresh(), b"x")
    client.get("/a").expect(200, cache="stored")
    assert (tmp_path / "not-yet").is_dir()


@needs_root
def test_a_full_disk_never_harms_a_client(origin, larder, tmp_path):
    """It degrades to a proxy that does not store."""
    with mounted(tmp_path / "small", 4) as small:
        try:
            proxy = larder(origin, flags=["--cache-size", "64MiB"], cache_dir=small / "cache")
            client = Client(proxy)
            fill(origin, client, 40, 500_000)
            fill(origin, client, 40, 2000, path="/g")
            proxy.stop()
        except AssertionError:
            # Refusing to start in so little room is an answer too; dying under a client is none.
            if "listening" in "".join(proxy.lines if "proxy" in locals() else []):
                raise


def test_hits_write_nothing(origin, proxy, client):
    """No byte of the store changes while it only answers hits."""
    fill(origin, client, 20, 5000)
    proxy.restart()
    all_hits(client, range(20), 5000)

    def written():
        with open(f"/proc/{proxy.pid}/io", encoding="ascii") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))

    before = written()
    for _ in range(20):
        all_hits(client, range(20), 5000)
    assert written() - before < 64 * 1024


def test_sigterm_during_a_load_is_clean(origin, proxy):
    """What was answered as stored is there after the restart."""
    client = Client(proxy)
    fill(origin, client, 100, 30000)
    proxy.process.send_signal(signal.SIGTERM)
    assert proxy.process.wait(20) == 0
    proxy.restart()
    asked = origin.count()
    all_hits(client, range(100), 30000)
    assert origin.count() == asked
