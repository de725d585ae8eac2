"""Concurrent requests for one key: one fetch at the origin, streamed to everybody as it comes.

A request counts as waiting once larder has read it and is at rest (client.wait_taken): nothing here depends on how fast anything is.
"""

import itertools
import threading
import time

import pytest
from support.client import Client
from support.parallel import in_parallel
from support.say import always, date, fresh, stale
from support.wire import TIMEOUT

BODY = bytes((i * 7 + (i >> 8)) & 255 for i in range(3_000_000))


def herd(proxy, count, target="/a", headers=None, method="GET"):
    """So many clients that have asked and wait."""
    clients = [Client(proxy) for _ in range(count)]
    for client in clients:
        client.send(method, target, headers)
    for client in clients:
        client.wait_taken()
    return clients


def answers(clients):
    return in_parallel(lambda client: client.read_response(), clients)


@pytest.mark.parametrize("workers", [1, 4])
def test_one_fetch_for_all(origin, larder, workers):
    proxy = larder(origin, flags=["--workers", workers])
    gate = origin.gate()
    origin.expect("GET /a").reply(200, fresh(), b"hello", hold=gate)
    clients = herd(proxy, 40)
    gate.open()
    responses = answers(clients)
    for response in responses:
        response.expect(200, body=b"hello")
    leaders = [response for response in responses if "collapsed" not in response.cache]
    assert len(leaders) == 1 and "stored" in leaders[0].cache
    assert origin.count() == 1


@pytest.mark.parametrize("workers", [1, 4])
def test_heads_and_gets_are_one_herd(origin, larder, workers):
    proxy = larder(origin, flags=["--workers", workers])
    gate = origin.gate()
    origin.expect("GET /a").reply(200, fresh(), b"hello", hold=gate)
    first = Client(proxy)
    first.send("HEAD", "/a")
    gate.wait_reached()
    heads = [Client(proxy) for _ in range(10)]
    for client in heads:
        client.send("HEAD", "/a")
        client.wait_taken()
    gets = herd(proxy, 10)
    gate.open()
    for client in [first, *heads]:
        client.read_response("HEAD").expect(200, body=b"", headers={"Content-Length": "5"})
    for response in answers(gets):
        response.expect(200, body=b"hello", cache="collapsed")
    assert origin.count() == 1


def test_bytes_stream_to_all_as_they_come(origin, larder):
    proxy = larder(origin, flags=["--workers", "4"])
    head, middle, end = origin.gate(), origin.gate(), origin.gate()
    origin.expect("GET /a").reply(200, fresh(), [b"first", middle, b"second", end, b"third"], hold=head)
    clients = herd(proxy, 12)
    head.open()
    responses = [client.read_head() for client in clients]
    for response in responses:
        assert response.expect(200).stream.exact(5) == b"first"
    middle.open()
    for response in responses:
        assert response.stream.exact(6) == b"second"
    late = Client(proxy).begin("GET", "/a").expect(200)
    assert late.stream.exact(11) == b"firstsecond"
    end.open()
    for response in responses + [late]:
        assert response.body == b"third"
    assert "collapsed" in late.cache


def test_a_large_body_reaches_everybody_whole(origin, larder):
    proxy = larder(origin, flags=["--workers", "4"])
    gate = origin.gate()
    origin.expect("GET /a").reply(200, fresh(), BODY, hold=gate, framing="chunked")
    clients = herd(proxy, 16)
    gate.open()
    for response in answers(clients):
        response.expect(200, body=BODY)
    Client(proxy).get("/a").expect(200, body=BODY, cache="hit")


def test_a_slow_follower_stops_nobody(origin, larder):
    """More than the stream buffer lies between the two; what was committed is read from the store."""
    proxy = larder(origin, config='[server.limits]\nstream_buffer = "256KiB"\n', flags=["--workers", "2"])
    body = BODY * 8
    gate = origin.gate()
    origin.expect("GET /a").reply(200, fresh(), body, hold=gate)
    slow, fast = herd(proxy, 2)
    gate.open()
    head = slow.read_head()
    fast.read_response().expect(200, body=body)
    assert head.body == body


def test_a_slow_leader_stops_nobody(origin, larder):
    proxy = larder(origin, config='[server.limits]\nstream_buffer = "256KiB"\n', flags=["--workers", "2"])
    body = BODY * 8
    gate = origin.gate()
    origin.expect("GET /a").reply(200, fresh(), body, hold=gate)
    leader = Client(proxy)
    leader.send("GET", "/a")
    gate.wait_reached()
    follower, = herd(proxy, 1)
    gate.open()
    follower.read_response().expect(200, body=body, cache="collapsed")
    leader.read_response().expect(200, body=body)


def test_the_leader_leaves_and_the_others_get_it(origin, larder):
    proxy = larder(origin, flags=["--workers", "4"])
    head, rest = origin.gate(), origin.gate()
    origin.expect("GET /a").reply(200, fresh(), [b"first", rest, b"second"], hold=head)
    leader = Client(proxy)
    leader.send("GET", "/a")
    head.wait_reached()
    followers = herd(proxy, 8)
    leader.reset()
    head.open()
    rest.open()
    for response in answers(followers):
        response.expect(200, body=b"firstsecond")
    assert origin.count() == 1


def test_the_leader_leaves_in_the_middle_of_the_body(origin, larder):
    proxy = larder(origin, flags=["--workers", "4"])
    rest = origin.gate()
    origin.expect("GET /a").reply(200, fresh(), [b"first", rest, b"second"])
    leader = Client(proxy)
    assert leader.begin("GET", "/a").stream.exact(5) == b"first"
    followers = herd(proxy, 8)
    leader.reset()
    rest.open()
    for response in answers(followers):
        response.expect(200, body=b"firstsecond")


def test_followers_leave_and_the_leader_gets_it(origin, larder):
    proxy = larder(origin, flags=["--workers", "4"])
    gate = origin.gate()
    origin.expect("GET /a").reply(200, fresh(), b"hello", hold=gate)
    leader = Client(proxy)
    leader.send("GET", "/a")
    gate.wait_reached()
    for follower in herd(proxy, 8):
        follower.reset()
    gate.open()
    leader.read_response().expect(200, body=b"hello")


def test_what_may_not_be_shared_does_not_queue(origin, larder):
    """When the head shows that it is private, everybody goes his own way at once, and the next herd does not wait at all."""
    proxy = larder(origin, flags=["--workers", "4"])
    count = 12
    gate = origin.gate()
    together = threading.Barrier(count)
    private = {"Cache-Control": "private"}
    numbers = itertools.count(1)

    def first_herd(exchange):
        number = next(numbers)
        if number == 1:
            gate.wait()
        else:
            together_but_one.wait(TIMEOUT)  # all the others stand here at once: none waits for another
        exchange.reply(200, private, b"%d" % number)

    together_but_one = threading.Barrier(count - 1)
    origin.on("GET /a", first_herd)
    clients = herd(proxy, count)
    gate.open()
    bodies = {response.expect(200, cache="!collapsed").body for response in answers(clients)}
    assert len(bodies) == count

    def second_herd(exchange):
        together.wait(TIMEOUT)
        exchange.reply(200, private, b"x")

    origin.handlers.clear()
    origin.on("GET /a", second_herd)
    for response in answers(herd(proxy, count)):
        response.expect(200, cache="!collapsed")
    assert origin.count("/a") == 2 * count


@pytest.mark.parametrize("headers", [
    {"Cache-Control": "no-store"}, {"Cache-Control": "max-age=60", "Set-Cookie": "a=b"}, {"Cache-Control": "max-age=60", "Vary": "*"}, {},
])
def test_nobody_gets_what_was_not_meant_for_him(origin, larder, headers):
    proxy = larder(origin, flags=["--workers", "4"])
    gate = origin.gate()

    def answer(exchange):
        gate.wait()
        exchange.reply(200, headers, exchange.request.header("X-Who").encode())

    origin.on("GET /a", answer)
    clients = []
    for number in range(8):
        client = Client(proxy)
        clients.append(client.send("GET", "/a", {"X-Who": str(number)}).wait_taken())
    gate.open()
    for number, response in enumerate(answers(clients)):
        response.expect(200, body=str(number).encode())


def test_authorized_answers_are_not_shared(origin, larder):
    proxy = larder(origin, flags=["--workers", "4"])
    gate = origin.gate()

    def answer(exchange):
        gate.wait()
        exchange.reply(200, fresh(), (exchange.request.header("Authorization") or "nobody").encode())

    origin.on("GET /a", answer)
    clients = []
    for who in ("ann", "bob", "eve"):
        client = Client(proxy)
        clients.append(client.send("GET", "/a", {"Authorization": who}).wait_taken())
    gate.open()
    for who, response in zip(("ann", "bob", "eve"), answers(clients)):
        response.expect(200, body=who.encode())


def test_other_variants_go_their_own_way(origin, larder):
    proxy = larder(origin, flags=["--workers", "4"])
    gate = origin.gate()

    def answer(exchange):
        gate.wait()
        exchange.reply(200, fresh(60, Vary="Accept-Language"), exchange.request.header("Accept-Language").encode())

    origin.on("GET /a", answer)
    clients = []
    for wanted in ("en", "de", "en", "de", "fr", "en"):
        client = Client(proxy)
        clients.append((wanted, client.send("GET", "/a", {"Accept-Language": wanted}).wait_taken()))
    gate.open()
    responses = answers([client for _, client in clients])
    for (wanted, _), response in zip(clients, responses):
        response.expect(200, body=wanted.encode())
    assert 3 <= origin.count() <= 6
    for wanted in ("en", "de", "fr"):
        Client(proxy).get("/a", {"Accept-Language": wanted}).expect(200, body=wanted.encode(), cache="hit")


def test_one_revalidation_for_all(origin, larder):
    proxy = larder(origin, flags=["--workers", "4"])
    origin.expect("GET /a").reply(200, stale(ETag='"v1"'), b"hello")
    Client(proxy).get("/a").expect(200, cache="stored")
    gate = origin.gate()
    origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(304, fresh(60, Age="0"), hold=gate)
    clients = herd(proxy, 20)
    gate.open()
    for response in answers(clients):
        response.expect(200, body=b"hello")


def test_one_revalidation_that_changes_for_all(origin, larder):
    proxy = larder(origin, flags=["--workers", "4"])
    origin.expect("GET /a").reply(200, stale(ETag='"v1"'), b"hello")
    Client(proxy).get("/a").expect(200, cache="stored")
    gate = origin.gate()
    origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(200, fresh(60, ETag='"v2"'), b"changed", hold=gate)
    clients = herd(proxy, 20)
    gate.open()
    for response in answers(clients):
        response.expect(200, body=b"changed")


def test_a_slow_answer_does_not_replace_what_was_confirmed_meanwhile(origin, larder):
    """RFC 9111 §4: it was asked for before the 304."""
    proxy = larder(origin)
    client, slow = Client(proxy), Client(proxy)
    origin.expect("GET /a").reply(200, stale(ETag='"v1"'), b"hello")
    client.get("/a").expect(200, cache="stored")
    gate = origin.gate()
    origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(200, stale(ETag='"v0"'), [b"be", gate, b"fore"])
    begun = slow.begin("GET", "/a").expect(200)
    gate.wait_reached()
    origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(304, fresh(60, Age="0"))
    client.get("/a").expect(200, body=b"hello", cache="fwd=stale; fwd-status=304")
    gate.open()
    assert begun.body == b"before"
    client.get("/a").expect(200, body=b"hello", cache="hit")


def test_one_revalidation_behind_for_all(origin, larder):
    """stale-while-revalidate: one request behind, however many were served stale."""
    proxy = larder(origin, flags=["--workers", "4"])
    origin.expect("GET /a").reply(200, {"Cache-Control": "max-age=60, stale-while-revalidate=600", "Age": "60", "ETag": '"v1"'}, b"hello")
    Client(proxy).get("/a").expect(200, cache="stored")
    gate = origin.gate()
    behind = origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(304, fresh(60, Age="0"), hold=gate)
    for response in answers(herd(proxy, 20)):
        response.expect(200, body=b"hello", cache="hit")
    gate.open()
    behind.wait_answered()


def test_a_fetch_that_fails_before_its_head(origin, larder):
    """Everybody gets an answer, and not one request each after the other."""
    proxy = larder(origin, flags=["--workers", "4"])
    gate = origin.gate()
    origin.on("GET /a", lambda exchange: (gate.wait(), exchange.close()))
    clients = herd(proxy, 12)
    gate.open()
    for response in answers(clients):
        response.expect(502)
    assert origin.count() <= 13


def test_a_fetch_that_breaks_off_in_the_body(origin, larder):
    """Nobody takes half for the whole, and it is not stored."""
    proxy = larder(origin, flags=["--workers", "4"])
    gate = origin.gate()
    origin.expect("GET /a").handle(lambda exchange: (exchange.send_head(200, fresh(60, Content_Length="100")), exchange.send(b"half"), gate.wait(),
                                                     exchange.close()))
    clients = [Client(proxy) for _ in range(8)]
    heads = [client.begin("GET", "/a") for client in clients[:1]]
    for client in clients[1:]:
        client.send("GET", "/a").wait_taken()
    heads += [client.read_head() for client in clients[1:]]
    for head in heads:
        assert head.stream.exact(4) == b"half"
    gate.open()
    for head in heads:
        with pytest.raises(AssertionError):
            head.stream.exact(1)
    origin.expect("GET /a").reply(200, fresh(), b"whole")
    Client(proxy).get("/a").expect(200, body=b"whole", cache="!hit")


def test_an_error_is_not_shared_for_long(origin, larder):
    """A 5xx that may not be stored goes to those who waited or makes them ask for themselves; the next request asks again."""
    proxy = larder(origin, flags=["--workers", "4"])
    gate = origin.gate()
    origin.on("GET /a", lambda exchange: (gate.wait(), exchange.reply(503, {}, b"error")))
    clients = herd(proxy, 6)
    gate.open()
    for response in answers(clients):
        response.expect(503, body=b"error")
    before = origin.count()
    Client(proxy).get("/a").expect(503)
    assert origin.count() == before + 1


def test_waiting_for_anothers_head_is_bounded(origin, larder):
    proxy = larder(origin, config='[cache]\ncollapse_wait = "200ms"\n')
    gate = origin.gate()
    origin.expect("GET /a").reply(200, fresh(), b"late", hold=gate)
    leader = Client(proxy)
    leader.send("GET", "/a")
    gate.wait_reached()
    origin.expect("GET /a").reply(200, fresh(), b"own")
    started = time.monotonic()
    Client(proxy).get("/a").expect(200, body=b"own", cache="!collapsed")
    assert time.monotonic() - started < 10
    gate.open()
    leader.read_response().expect(200, body=b"late")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_never_collapsed(origin, larder, method):
    proxy = larder(origin, flags=["--workers", "4"])
    together = threading.Barrier(6)
    origin.on(f"{method} /a", lambda exchange: (together.wait(TIMEOUT), exchange.reply(200, fresh(), b"x")))
    clients = [Client(proxy) for _ in range(6)]
    for response in in_parallel(lambda client: client.request(method, "/a"), clients):
        response.expect(200, cache="!collapsed")
    assert origin.count() == 6


def test_followers_with_conditions_get_their_304(origin, larder):
    proxy = larder(origin, flags=["--workers", "4"])
    gate = origin.gate()
    origin.expect("GET /a").reply(200, fresh(60, ETag='"v1"'), b"hello", hold=gate)
    leader = Client(proxy)
    leader.send("GET", "/a")
    gate.wait_reached()
    holds, = herd(proxy, 1, headers={"If-None-Match": '"v1"'})
    old, = herd(proxy, 1, headers={"If-None-Match": '"v0"'})
    gate.open()
    holds.read_response().expect(304, body=b"", headers={"ETag": '"v1"'}, cache="collapsed; fwd-status=200")  # RFC 9211 §2.3
    old.read_response().expect(200, body=b"hello", cache="collapsed; fwd-status=200")
    leader.read_response().expect(200, body=b"hello")


@pytest.mark.parametrize("method, status, body", [("HEAD", 200, b"hello"), ("GET", 204, b""), ("HEAD", 204, b"")])
def test_followers_without_a_body_are_told_the_status_too(origin, larder, method, status, body):
    """RFC 9211 2.3: what the origin said to the one that asked for them."""
    proxy = larder(origin, flags=["--workers", "4"])
    gate = origin.gate()
    origin.expect("GET /a").reply(status, fresh(60), body, hold=gate)
    leader = Client(proxy)
    leader.send("GET", "/a")
    gate.wait_reached()
    follower, = herd(proxy, 1, method=method)
    gate.open()
    follower.read_response(method).expect(status, body=b"", cache=f"collapsed; fwd-status={status}")
    leader.read_response().expect(status, body=body, cache=f"stored; fwd-status={status}")


def test_http_1_0_follows_too(origin, larder):
    proxy = larder(origin, flags=["--workers", "4"])
    gate = origin.gate()
    origin.expect("GET /a").reply(200, fresh(), b"hello", hold=gate, framing="chunked")
    leader = Client(proxy)
    leader.send("GET", "/a")
    gate.wait_reached()
    old = Client(proxy)
    old.send("GET", "/a", version="1.0").wait_taken()
    gate.open()
    old.read_response().expect(200, body=b"hello", headers={"Transfer-Encoding": None})
    leader.read_response().expect(200, body=b"hello")


def test_a_heuristic_answer_and_a_waiting_cookie(origin, larder):
    """`safe`: a request with Cookie gets only what was declared fresh; it goes its own way."""
    proxy = larder(origin, flags=["--workers", "4"])
    gate = origin.gate()
    guess = {"Date": date(), "Last-Modified": date(-10000)}

    def answer(exchange):
        gate.wait()
        exchange.reply(200, guess, (exchange.request.header("Cookie") or "nobody").encode())

    origin.on("GET /a", answer)
    leader = Client(proxy)
    leader.send("GET", "/a")
    gate.wait_reached()
    follower, = herd(proxy, 1, headers={"Cookie": "ann"})
    gate.open()
    leader.read_response().expect(200, body=b"nobody")
    follower.read_response().expect(200, body=b"ann", cache="!hit; !collapsed")


def test_always_one_fetch_under_load(origin, larder):
    """Rounds of herds for keys that nobody has seen: exactly one fetch each."""
    proxy = larder(origin, flags=["--workers", "4"])
    origin.on("GET /r/*", always(200, fresh(), b"x" * 10000))
    clients = [Client(proxy) for _ in range(16)]
    for number in range(30):
        for response in in_parallel(lambda client, target=f"/r/{number}": client.get(target), clients):
            response.expect(200, body=b"x" * 10000)
    assert origin.count() == 30
