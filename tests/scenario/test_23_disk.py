"""A disk in trouble: a clear line in the log, and clients do not notice; or no start, where a start would destroy."""

import errno
import itertools
import json
import os
import struct

import pytest
from support.admin import Admin
from support.client import Client
from support.faults import Faults
from support.proxy import Proxy, run_larder
from support.say import always, fresh, stale
from support.small_disk import mounted, needs_root
from support.wire import wait_until

pytestmark = pytest.mark.plain_only

REFUSES = "the disk refuses writes"
TAKES = "the disk takes writes again"


@pytest.fixture
def faults(tmp_path):
    return Faults(tmp_path / "control", tmp_path / "larder0" / "cache")


def body_of(target):
    return (target.encode() * 3000)[:40_000]


def serve(origin):
    origin.on("GET /*", lambda exchange: exchange.reply(200, fresh(3600), body_of(exchange.request.target)))


def metric(proxy, name):
    return Admin(proxy).metrics()["larder_store_" + name]


def ask(client, numbers):
    for number in numbers:
        client.get(f"/{number}").expect(200, body=body_of(f"/{number}"))


@pytest.mark.parametrize("name", ["data.mdb", "bodies", "lock"])
def test_files_that_are_deleted_under_a_larder_that_runs(origin, larder, name):
    """Said once; what they hold is served all the same."""
    serve(origin)
    proxy = larder(origin, flags=["--cache-size", "128MiB"])  # with a body file
    client = Client(proxy)
    ask(client, range(3))
    assert metric(proxy, "deleted") == 0
    (proxy.cache_dir / name).unlink()
    proxy.wait_logged("files of the store were deleted")
    assert metric(proxy, "deleted") == 1
    assert json.loads(Admin(proxy).get("/v1/status").expect(200).body)["store"]["deleted"] is True
    client.get("/1").expect(200, body=body_of("/1"), cache="hit")
    for number in range(3, 6):
        ask(client, [number])
        wait_until(lambda: metric(proxy, "queue_bytes") == 0, "the disk to have done all")
    assert len(proxy.logged("were deleted")) == 1


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS], ids=errno.errorcode.get)
def test_a_disk_that_refuses_writes_and_takes_them_again(origin, larder, faults, code):
    serve(origin)
    proxy = larder(origin, env=faults.env)
    client = Client(proxy)
    ask(client, ["before"])
    proxy.restart()  # then it is committed
    numbers = itertools.count()
    faults.fail(code)
    wait_until(lambda: ask(client, [next(numbers)]) or f"{REFUSES} ({os.strerror(code)})" in proxy.stderr, "the log to say so")
    assert metric(proxy, "refused") == 1 and metric(proxy, "commit_errors_total") > 0
    ask(client, range(20))
    client.get("/while").expect(200, cache="fwd=uri-miss; !stored; detail=store-failed")
    client.get("/before").expect(200, body=body_of("/before"), cache="hit")
    faults.well()
    wait_until(lambda: ask(client, [next(numbers)]) or TAKES in proxy.stderr, "the log to say that it is well")
    assert proxy.stderr.count(REFUSES) == 1, "once, not for each batch"
    wait_until(lambda: metric(proxy, "refused") == 0, "the metric to say so")
    client.get("/after").expect(200, cache="stored")
    client.get("/after").expect(200, cache="hit")
    proxy.restart()
    client.get("/after").expect(200, cache="hit")
    client.get("/before").expect(200, cache="hit")


def test_a_head_that_freshens_while_the_disk_refuses_writes(origin, larder, faults):
    """RFC 9111 §4.3.5; of the store it says what any other answer says."""
    origin.on("GET /a", always(200, stale(ETag='"v1"'), b"hello"))
    origin.on("HEAD /a", always(200, stale(ETag='"v1"', Content_Length="5")))
    proxy = larder(origin, env=faults.env)
    Client(proxy).get("/a").expect(200)
    proxy.restart()  # then it is committed
    client = Client(proxy)
    client.head("/a").expect(200, cache="fwd=stale; stored; detail=updated")
    faults.fail(errno.EIO)
    wait_until(lambda: "stored" not in client.head("/a").expect(200).cache, "a batch to be refused")
    client.head("/a").expect(200, cache="fwd=stale; !stored; detail=store-failed")
    faults.well()
    wait_until(lambda: "stored" in client.head("/a").expect(200).cache, "a batch to be written")


@pytest.mark.parametrize("what", [["--all"], ["--tag", "news"]], ids=["all", "tag"])
def test_a_purge_while_the_disk_refuses_writes(origin, larder, faults, what):
    """In force at once; written when the disk takes writes again, and no younger than what is fetched after it."""
    origin.on("GET /*", lambda exchange: exchange.reply(200, fresh(3600, Surrogate_Key="news"), b"news"))
    proxy = larder(origin, env=faults.env)
    client = Client(proxy)
    client.get("/before").expect(200)
    client.get("/both").expect(200)
    proxy.restart()  # then they are committed
    client = Client(proxy)
    faults.fail(errno.ENOSPC)
    code, _, error = run_larder("purge", *what, "--cache-dir", proxy.cache_dir)
    assert code == 2 and "the disk refuses: the purge is in force" in error, error
    client.get("/both").expect(200, cache="!hit")
    faults.well()
    wait_until(lambda: TAKES in proxy.stderr, "the log to say that it is well")
    client.get("/after").expect(200, cache="!hit")
    client.get("/after").expect(200, cache="hit")
    proxy.restart()
    client = Client(proxy)
    client.get("/after").expect(200, cache="hit")
    client.get("/before").expect(200, cache="!hit")


@pytest.mark.parametrize("at", [1, 2, 3, 5, 8, 11, 14, 17])
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
def test_a_fault_at_any_call_of_a_start_and_a_load(origin, larder, faults, tmp_path, at, lasting):
    """A start is refused with one line, or what starts serves right bytes and stops in order; then all is well again."""
    serve(origin)
    faults.fail(errno.EIO, at, lasting)
    proxy = Proxy(tmp_path / "larder0", origin, env=faults.env)
    try:
        proxy.start()
    except AssertionError as refused:
        proxy.reader.join(20)
        assert "ended with 2" in str(refused) and proxy.stderr.count("\n") == 1, refused
    else:
        ask(Client(proxy), range(10))
        proxy.stop()
    assert faults.failed > 0
    faults.well()
    client = Client(larder(origin, cache_dir=proxy.cache_dir))
    ask(client, range(10))
    ask(client, range(10))


def test_a_read_only_directory_is_refused(origin, tmp_path):
    faults = Faults(tmp_path / "control", tmp_path / "cache")
    (tmp_path / "cache").mkdir()
    faults.fail(errno.EROFS)
    old = {name: os.environ.get(name) for name in faults.env}
    os.environ.update(faults.env)
    try:
        code, _, error = run_larder("serve", "--listen", "127.0.0.1:0", "--origin", origin.url, "--cache-dir", tmp_path / "cache")
    finally:
        for name, value in old.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    assert code == 2 and str(tmp_path / "cache") in error and "Read-only" in error and error.count("\n") == 1, error


@pytest.mark.parametrize("damage, says", [
    ("magic", "not LMDB's"), ("newer", "another version of LMDB"), ("pages", "another page size"), ("cut", "truncated")])
def test_a_file_that_cannot_be_used_is_set_aside(origin, proxy, client, damage, says):
    """One line says why and where it is now; nothing is destroyed."""
    serve(origin)
    ask(client, ["a"])
    proxy.stop()
    file = proxy.cache_dir / "data.mdb"
    with open(file, "r+b") as stream:
        if damage == "cut":
            stream.truncate(9000)
        for page in (0, 4096):
            field = {"magic": 16, "newer": 20, "pages": 40}.get(damage)
            if field:
                stream.seek(page + field)
                stream.write(struct.pack("<I", 77))
    proxy.start()
    lines = [line for line in proxy.stderr.splitlines() if "set aside" in line]
    assert len(lines) == 1 and says in lines[0] and "data.mdb.damaged-1" in lines[0], proxy.stderr
    kept = proxy.cache_dir / "data.mdb.damaged-1"
    assert "delete it at will" in lines[0] and metric(proxy, "set_aside_bytes") == kept.stat().st_blocks * 512
    client.get("/a").expect(200, cache="fwd=uri-miss; stored")
    client.get("/a").expect(200, cache="hit")


def test_what_is_set_aside_does_not_pile_up(origin, proxy, client):
    """The newest is kept; deleting it is noticed by the next start."""
    serve(origin)
    for number in range(1, 4):
        ask(client, ["a"])
        proxy.stop()
        (proxy.cache_dir / "data.mdb").write_bytes(b"not LMDB's" * 10_000)
        proxy.start()
        assert [file.name for file in proxy.cache_dir.glob("data.mdb.*")] == [f"data.mdb.damaged-{number}"]
    (proxy.cache_dir / "data.mdb.damaged-3").unlink()
    proxy.restart()
    assert metric(proxy, "set_aside_bytes") == 0


def test_a_directory_in_use_is_refused(origin, proxy, client):
    """With one line; the one that uses it notices nothing."""
    serve(origin)
    ask(client, ["a"])
    code, _, error = run_larder("serve", "--listen", "127.0.0.1:0", "--origin", origin.url, "--cache-dir", proxy.cache_dir)
    assert code == 2 and "another process uses this directory" in error and error.count("\n") == 1, error
    client.get("/a").expect(200, body=body_of("/a"), cache="hit")


def test_a_file_that_cannot_be_read_any_more_costs_the_store_only(origin, larder):
    """Cut under the running process, as a bad sector would do: SIGBUS. Clients are answered, and a restart begins anew."""
    serve(origin)
    proxy = larder(origin, config='[cache]\nhot_memory = "0"\n')
    ask(Client(proxy), range(30))
    proxy.restart()
    client = Client(proxy)
    assert metric(proxy, "failed") == 0
    os.truncate(proxy.cache_dir / "data.mdb", 8192)
    ask(client, range(30))
    proxy.wait_logged("out of order (a fault while its file was read)")
    assert metric(proxy, "failed") == 1 and metric(proxy, "faults_total") >= 1
    client.get("/1").expect(200, body=body_of("/1"), cache="!hit")
    proxy.restart()
    assert proxy.stderr.count("it was set aside") == 1
    assert metric(proxy, "failed") == 0 and metric(proxy, "set_aside_bytes") > 0
    client = Client(proxy)
    ask(client, ["b"])
    client.get("/b").expect(200, cache="hit")


@needs_root
def test_a_full_file_system(origin, larder, tmp_path):
    """What is stored is served on, what comes is passed on, and there is a line and a metric for it."""
    serve(origin)
    with mounted(tmp_path / "small", 12) as small:
        proxy = larder(origin, cache_dir=small / "cache")
        try:
            client = Client(proxy)
            ask(client, ["first"])
            numbers = itertools.count()
            wait_until(lambda: ask(client, itertools.islice(numbers, 20)) or REFUSES in proxy.stderr, "the disk to be full")
            assert f"{REFUSES} ({os.strerror(errno.ENOSPC)})" in proxy.stderr
            assert metric(proxy, "refused") == 1
            client.get("/first").expect(200, body=body_of("/first"), cache="hit")
        finally:
            proxy.stop()


@needs_root
@pytest.mark.parametrize("pages", range(4))
def test_a_new_directory_on_a_full_file_system(origin, larder, tmp_path, pages):
    """The start is refused for what it is, wherever it ran out of room; with room there it starts."""
    serve(origin)
    with mounted(tmp_path / "small", 12) as small:
        fill = small / "fill"
        fill.write_bytes(bytes(12 * 1024 * 1024 - pages * os.sysconf("SC_PAGE_SIZE")))
        code, _, error = run_larder("serve", "--listen", "127.0.0.1:0", "--origin", origin.url, "--cache-dir", small / "cache")
        assert code == 2 and os.strerror(errno.ENOSPC) in error and error.count("\n") == 1, error
        assert "aside" not in error, error
        fill.unlink()
        proxy = larder(origin, cache_dir=small / "cache")
        try:
            ask(Client(proxy), ["a"])
            Client(proxy).get("/a").expect(200, cache="hit")
        finally:
            proxy.stop()
