"""Several origins of one site: who is asked, who is taken out and comes back, what is sent again, and what waits in line."""

import signal
import socket
import threading
import time

import pytest
from support.admin import Admin
from support.client import Client
from support.parallel import in_parallel, occupied
from support.say import NO_STORE, always, fresh, stale
from support.wire import wait_until


def config(*tables, site="", server=""):
    """A site of these origins: origins, or texts of [[site.origin]] tables."""
    lines = [server, "[[site]]", site]
    for table in tables:
        lines += ["[[site.origin]]", table if isinstance(table, str) else f'url = "{table.url}"']
    return "\n".join(lines) + "\n"


def answering(*origins, body=b"x"):
    for origin in origins:
        origin.on("GET *", always(200, NO_STORE, body))


@pytest.fixture
def refused():
    """URLs where nobody listens: bound, so that the port stays free."""
    sockets = []

    def make():
        sockets.append(socket.socket())
        sockets[-1].bind(("127.0.0.1", 0))
        return f'url = "http://127.0.0.1:{sockets[-1].getsockname()[1]}"'

    yield make
    for one in sockets:
        one.close()


# --- who is asked ---------------------------------------------------------------------------------------------------


def test_in_turn_by_weight(origins, larder):
    """Over all workers: which of them a client meets makes no difference."""
    a, b = origins(), origins()
    answering(a, b)
    proxy = larder(config=config(f'url = "{a.url}"\nweight = 2', b), flags=["--workers", "3"])
    for number in range(12):
        Client(proxy).get(f"/{number}").expect(200)
    assert (a.count(), b.count()) == (8, 4)


def test_by_hash_the_same_url_meets_the_same_origin(origins, larder):
    made = [origins() for _ in range(3)]
    answering(*made)
    proxy = larder(config=config(*made, site='balance = "hash"'), flags=["--workers", "2"])
    for number in range(30):
        for _ in range(2):
            Client(proxy).get(f"/{number}").expect(200)
    for number in range(30):
        assert sorted(origin.count(f"/{number}") for origin in made) == [0, 0, 2]
    assert all(origin.count() > 0 for origin in made)


def test_least_connections_avoids_the_slow_one(origins, larder):
    slow, quick = origins(), origins()
    gate = slow.gate()
    slow.on("GET *", lambda exchange: (gate.wait(), exchange.reply(200, NO_STORE, b"x")))
    answering(quick)
    proxy = larder(config=config(slow, quick, site='balance = "least-connections"'))
    waiting = Client(proxy)
    waiting.send("GET", "/slow")
    gate.wait_reached()
    for number in range(6):
        Client(proxy).get(f"/{number}").expect(200)
    assert (slow.count(), quick.count()) == (1, 6)
    gate.open()
    waiting.read_response().expect(200)


def test_a_backup_only_when_none_is_in_service(origins, larder, refused):
    backup = origins()
    answering(backup)
    client = Client(larder(config=config(refused(), f'url = "{backup.url}"\nbackup = true', site="eject_after = 2")))
    for number in range(5):
        client.get(f"/{number}").expect(200)
    assert backup.count() == 5
    first, backup = origins(), origins()
    answering(first)
    client = Client(larder(config=config(first, f'url = "{backup.url}"\nbackup = true')))
    for number in range(5):
        client.get(f"/{number}").expect(200)
    assert (first.count(), backup.count()) == (5, 0)


# --- taken out, and back --------------------------------------------------------------------------------------------


def test_a_dead_origin_is_taken_out(origins, larder, refused):
    """Nobody notices; after eject_after failures nobody tries any more. Said once."""
    there = origins()
    answering(there)
    proxy = larder(config=config(refused(), there, site='eject_after = 3\neject_time = "1h"'), flags=["--workers", "2"])
    for number in range(20):
        Client(proxy).get(f"/{number}").expect(200)
    assert there.count() == 20
    proxy.wait_logged("origin ejected")
    assert len(proxy.logged("origin ejected")) == 1
    assert len(proxy.logged("origin unreachable")) == 3


def test_an_origin_that_answers_500_is_taken_out_and_comes_back(origins, larder):
    ill, well = origins(), origins()
    ill.on("GET *", lambda exchange: exchange.reply(500 if not healed.is_set() else 200, NO_STORE, b"ill"))
    answering(well, body=b"well")
    healed = threading.Event()
    proxy = larder(config=config(ill, well, site='eject_after = 2\neject_time = "1h"'))
    client = Client(proxy)
    statuses = [client.get(f"/{number}").status for number in range(6)]
    assert statuses == [500, 200, 500, 200, 200, 200], "a response that came is never asked for again"
    proxy.wait_logged("origin ejected")
    proxy = larder(config=config(ill, well, site='eject_after = 2\neject_time = "50ms"'))
    client = Client(proxy)
    wait_until(lambda: client.get("/ill").status and proxy.logged("origin ejected"), "the origin to be out")
    healed.set()
    wait_until(lambda: client.get("/again").status == 200 and proxy.logged("origin is back"), "the origin to be back")
    before = ill.count()
    client.get("/1")
    client.get("/2")
    assert ill.count() == before + 1, "in turn again"


def test_a_probe_that_fails_doubles_the_time(origins, larder, refused):
    there = origins()
    answering(there)
    proxy = larder(config=config(refused(), there, site='eject_after = 1\neject_time = "50ms"'))
    client = Client(proxy)
    wait_until(lambda: client.get("/a").status == 200 and len(proxy.logged("origin ejected")) >= 3, "three ejections")
    times = [line.split("for_ms=")[1].strip() for line in proxy.logged("origin ejected")[:3]]
    assert times == ["50", "100", "200"]


def test_an_origin_too_slow_to_begin_is_taken_out(origins, larder):
    slow, quick = origins(), origins()
    gate = slow.gate()
    slow.on("GET *", lambda exchange: gate.wait())
    answering(quick)
    server = '[server.timeouts]\norigin_first_byte = "2s"\n'  # in which the quick one answers on any machine
    proxy = larder(config=config(slow, quick, server=server, site='eject_after = 1\neject_time = "1h"'))
    proxy.before_stop.append(slow.open_gates)
    client = Client(proxy)
    client.get("/1").expect(504, cache="detail=origin-timeout")
    for number in range(4):
        client.get(f"/{number}").expect(200)
    assert slow.count() == 1


def test_the_last_one_is_never_taken_out(origin, larder):
    origin.on("GET *", always(500, NO_STORE))
    proxy = larder(origin, config='[[site]]\neject_after = 1\neject_time = "1h"\n')
    for number in range(5):
        Client(proxy).get(f"/{number}").expect(500)
    assert origin.count() == 5 and not proxy.logged("origin ejected")


# --- sent again -----------------------------------------------------------------------------------------------------


def test_what_reached_no_origin_goes_to_another(origins, larder, refused):
    """Not a byte of it was sent, so a POST may, too."""
    there = origins()
    there.on("POST *", always(200, NO_STORE))
    answering(there)
    proxy = larder(config=config(refused(), there, site="eject_after = 0"), flags=["--access-log", "-"])
    client = Client(proxy)
    for number in range(4):
        client.post(f"/{number}", b"body").expect(200)
    assert [request.body for request in there.requests] == [b"body"] * 4


def test_what_an_origin_has_seen_is_not_sent_to_another(origins, larder):
    a, b = origins(), origins()
    for origin in (a, b):
        origin.on("GET *", lambda exchange: exchange.close())
    client = Client(larder(config=config(a, b)))
    client.get("/a").expect(502, cache="detail=origin-failed")
    assert a.count() + b.count() == 1


def test_no_more_retries_than_the_budget(origins, larder, refused):
    there = origins()
    answering(there)
    proxy = larder(config=config(refused(), there, site="eject_after = 0\nretry_budget = 1"))
    client = Client(proxy)
    statuses = [client.get(f"/{number}").status for number in range(60)]
    assert set(statuses) == {200, 502}
    failed = statuses.count(502)
    assert 30 - 22 <= failed <= 20, "half meet the dead one; ten in ten seconds are sent again"


@pytest.mark.parametrize("closes_at_once", [True, False])
def test_the_end_of_a_kept_connection_while_larder_stands_still(origin, larder, closes_at_once):
    """What counts is when it came: an origin that worked for so long has seen the request."""
    proxy = larder(origin)
    client = Client(proxy)
    origin.expect("GET /a").reply(200, NO_STORE)
    client.get("/a").expect(200)

    def end(exchange):
        proxy.pause()
        if closes_at_once:
            exchange.sock.shutdown(socket.SHUT_WR)
        time.sleep(1.1)  # by the kernel's clock, which no test moves
        exchange.close()
        proxy.process.send_signal(signal.SIGCONT)

    origin.expect("GET /b").handle(end)
    if closes_at_once:
        origin.expect("GET /b").reply(200, NO_STORE, b"again")
        client.get("/b").expect(200, body=b"again")
    else:
        client.get("/b").expect(502, cache="detail=origin-failed")
        assert origin.count("/b") == 1


def test_no_retries_where_none_are_wanted(origins, larder, refused):
    there = origins()
    answering(there)
    client = Client(larder(config=config(refused(), there, site="eject_after = 0\nretries = 0")))
    assert sorted(client.get(f"/{number}").status for number in range(4)) == [200, 200, 502, 502]


# --- in line --------------------------------------------------------------------------------------------------------

ONE = '[server.limits]\norigin_connections = 1\norigin_queue = {queue}\n[server.timeouts]\norigin_queue = "{wait}"\n'


def test_a_leader_in_line_with_an_empty_body_leaves(origin, larder):
    """What it asked for was all said: who follows gets it."""
    proxy = larder(origin, config=ONE.format(queue=8, wait="1h"), flags=["--workers", "1"])
    gate, first = occupied(origin, proxy)
    leader, follower = Client(proxy), Client(proxy)
    leader.send("GET", "/a", body=b"").wait_taken()
    follower.send("GET", "/a").wait_taken()
    leader.reset()
    wait_until(lambda: Admin(proxy).metrics()["larder_client_connections"] == 2, "the leader to be gone")
    origin.expect("GET /a").reply(200, fresh(), b"a")
    gate.open()
    follower.read_response().expect(200, body=b"a", cache="collapsed")
    first.read_response().expect(200)


def test_a_full_line_is_503_at_once(origin, larder):
    proxy = larder(origin, config=ONE.format(queue=1, wait="1h"), flags=["--workers", "1"])
    gate, first = occupied(origin, proxy)
    origin.expect("GET /second").reply(200, NO_STORE)
    second = Client(proxy)
    second.send("GET", "/second").wait_taken()
    response = Client(proxy).get("/third").expect(503, cache="detail=origin-saturated")
    assert response.header("Retry-After") == "60", "as long as they wait in line, but no longer"
    assert response.header("Proxy-Status") == "larder; error=connection_limit_reached"
    gate.open()
    first.read_response().expect(200)
    second.read_response().expect(200)


def test_waiting_too_long_is_503(origin, larder):
    proxy = larder(origin, config=ONE.format(queue=10, wait="100ms"), flags=["--workers", "1"])
    gate, first = occupied(origin, proxy)
    Client(proxy).get("/second").expect(503, cache="detail=origin-saturated")
    gate.open()
    first.read_response().expect(200)


def test_a_full_line_is_503_for_the_rest_of_a_part_too(origin, larder):
    """What is stored is partial, and the origin cannot be asked for what is missing: it says why, as to any other request."""
    proxy = larder(origin, config=ONE.format(queue=0, wait="1h"), flags=["--workers", "1"])
    body = bytes(range(100))
    part = fresh(ETag='"v1"', Content_Range="bytes 0-9/100", Content_Type="a/b")
    origin.expect("GET /a", {"Range": "bytes=0-9"}).reply(206, part, body[:10])
    Client(proxy).get("/a", {"Range": "bytes=0-9"}).expect(206, body=body[:10], cache="stored")
    gate, first = occupied(origin, proxy)
    response = Client(proxy).get("/a").expect(503, cache="detail=origin-saturated")
    assert response.header("Retry-After") == "60" and response.header("Proxy-Status") == "larder; error=connection_limit_reached"
    gate.open()
    first.read_response().expect(200)


def test_rather_stale_than_in_line(origin, larder):
    """Where the origin permits stale use on errors, nobody waits; elsewhere the line comes first."""
    proxy = larder(origin, config=ONE.format(queue=10, wait="1h"), flags=["--workers", "1"])
    client = Client(proxy)
    origin.expect("GET /may").reply(200, {"Cache-Control": "max-age=60, stale-if-error=600", "Age": "60"}, b"old")
    origin.expect("GET /may-not").reply(200, stale(ETag='"1"'), b"old")
    client.get("/may").expect(200)
    client.get("/may-not").expect(200)
    gate, first = occupied(origin, proxy)
    client.get("/may").expect(200, body=b"old", cache="hit; detail=stale-saturated")
    waits = Client(proxy)
    waits.send("GET", "/may-not").wait_taken()
    origin.expect("GET /may-not").reply(200, fresh(), b"new")
    gate.open()
    first.read_response().expect(200)
    waits.read_response().expect(200, body=b"new")


def test_rather_stale_than_503(origin, larder):
    """Without a permission too: a cache that cannot ask may (RFC 9111 §4.2.4)."""
    proxy = larder(origin, config=ONE.format(queue=0, wait="1h"), flags=["--workers", "1"])
    client = Client(proxy)
    origin.expect("GET /a").reply(200, stale(ETag='"1"'), b"old")
    client.get("/a").expect(200)
    gate, first = occupied(origin, proxy)
    client.get("/a").expect(200, body=b"old", cache="detail=stale-disconnected")
    gate.open()
    first.read_response().expect(200)


def test_revalidations_behind_do_not_stand_in_line(origin, larder):
    proxy = larder(origin, config=ONE.format(queue=10, wait="1h"), flags=["--workers", "1"])
    client = Client(proxy)
    origin.expect("GET /a").reply(200, {"Cache-Control": "max-age=60, stale-while-revalidate=600", "Age": "60"}, b"old")
    client.get("/a").expect(200)
    gate, first = occupied(origin, proxy)
    for _ in range(3):
        client.get("/a").expect(200, body=b"old", cache="hit; detail=stale-while-revalidate")
    gate.open()
    first.read_response().expect(200)
    assert origin.count("/a") == 1, "it gave way"
    origin.expect("GET /a").reply(200, fresh(), b"new")
    client.get("/a").expect(200, body=b"old")
    origin.wait_done()


# --- all of them ----------------------------------------------------------------------------------------------------


def test_silent_origins_and_something_stored(origin, larder, tmp_path):
    """After eject_after failures without a word nobody waits for the next one: stale at once, and asked behind."""
    server = '[server.timeouts]\norigin_first_byte = "300ms"\n'
    patient = larder(origin, cache_dir=tmp_path / "cache")
    origin.expect("GET /a").reply(200, stale(ETag='"1"'), b"old")
    Client(patient).get("/a").expect(200)
    patient.stop()
    client = Client(larder(origin, cache_dir=tmp_path / "cache", config=server + "[[site]]\neject_after = 1\n"))
    gate = origin.gate()
    origin.expect("GET /a").handle(lambda exchange: gate.wait())
    client.get("/a").expect(200, body=b"old", cache="detail=stale-disconnected")
    behind = origin.gate()
    origin.on("GET /a", lambda exchange: (behind.wait(), exchange.reply(200, fresh(), b"new")))  # again where that takes too long
    for _ in range(5):
        client.get("/a").expect(200, body=b"old", cache="hit; detail=stale-disconnected")
    behind.wait_reached()
    behind.open()
    wait_until(lambda: client.get("/a").body == b"new", "the origin's recovery to be noticed")
    gate.open()


def test_500_at_once_for_what_cannot_be_stored(origin, larder):
    """The first answer shows it; the others do not wait for each other."""
    first, others = origin.gate(), origin.gate()
    origin.expect("GET /a").reply(200, NO_STORE, b"x", hold=first)
    origin.on("GET /a", lambda exchange: (others.wait(), exchange.reply(200, NO_STORE, b"x")))
    proxy = larder(origin, flags=["--workers", "2"])
    clients = [Client(proxy) for _ in range(100)]
    for client in clients:
        client.send("GET", "/a").wait_taken()
    first.wait_reached()
    first.open()
    origin.wait_count(100)  # before any of the others is answered
    others.open()
    for response in in_parallel(lambda client: client.read_response(), clients):
        response.expect(200, body=b"x")
    assert origin.count() == 100


@pytest.mark.parametrize("adaptive", [True, False])
def test_an_adaptive_limit(origin, larder, adaptive):
    """It begins with 32 requests at a time, whatever origin_connections permits, and is found out from there (unit tests)."""
    proxy = larder(origin, flags=["--workers", "1"],
                   config="[server.limits]\norigin_connections = 100\norigin_queue = 0\n"
                   f"[[site]]\nadaptive_limit = {str(adaptive).lower()}\n")
    gate, begun = origin.gate(), []

    def hold(exchange):
        begun.append(exchange)
        gate.wait()
        exchange.reply(200, {"Cache-Control": "no-store"}, b"x")

    origin.on("GET /*", hold)
    clients = [Client(proxy) for _ in range(32)]
    for number, client in enumerate(clients):
        client.send("GET", f"/{number}")
    wait_until(lambda: len(begun) == 32, "all of them to be at the origin")
    more = Client(proxy)
    more.send("GET", "/more")
    if adaptive:
        more.read_response().expect(503, cache="detail=origin-saturated", headers={"Proxy-Status": "larder; error=connection_limit_reached"})
    else:
        wait_until(lambda: len(begun) == 33, "one more")
    gate.open()
    for client in clients if adaptive else [*clients, more]:
        client.read_response().expect(200, body=b"x")
    more.get("/again").expect(200)
