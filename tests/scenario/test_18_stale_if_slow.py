"""A rule's stale_if_slow: who would wait longer for the origin gets what is stale, and the answer is stored when it comes."""

import json

import pytest
from support.client import Client
from support.say import fresh, stale
from support.wire import wait_until

SOON = '[[site]]\n[[site.rule]]\nname = "soon"\nstale_if_slow = "50ms"\n'
LATE = '[[site]]\n[[site.rule]]\nname = "late"\nstale_if_slow = "1h"\n'


def store(origin, client, headers, body=b"hello"):
    origin.expect("GET /a").reply(200, headers, body)
    client.get("/a").expect(200, body=body, cache="stored")


def comes_to_hit(client, body):
    wait_until(lambda: "hit" in client.get("/a").cache, "the answer to be stored")
    client.get("/a").expect(200, body=body, cache="hit; detail=fresh")


@pytest.mark.parametrize("status, body", [(304, b""), (200, b"new")])
def test_the_answer_comes_later(origin, larder, status, body):
    client = Client(larder(origin, config=SOON))
    store(origin, client, stale(ETag='"v1"'))
    gate = origin.gate()
    behind = origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(status, fresh(60, Age="0"), body, hold=gate)
    client.get("/a").expect(200, body=b"hello", cache="fwd=stale; !fwd-status; !stored; detail=stale-if-slow; detail=soon")
    gate.open()
    behind.wait_answered()
    comes_to_hit(client, body or b"hello")


def test_hints_that_the_client_does_not_take_change_nothing(origin, larder, tmp_path):
    """The time goes on while the client reads none of the origin's 103s, and when it has read them."""
    path = tmp_path / "sock"  # a unix socket takes little when nobody reads
    listen = f'[server]\nlisten = ["127.0.0.1:0", "unix:{path}"]\n'
    client = Client(larder(origin, config=listen + SOON.replace("50ms", "300ms"), listen=()), address=str(path))
    store(origin, client, stale(ETag='"v1"'))
    gate = origin.gate()

    def hint(exchange):
        for _ in range(80):
            exchange.send_head(103, {"Link": f"</{'x' * 5000}>; rel=preload"})
        gate.wait()
        exchange.reply(304, fresh(60))

    origin.expect("GET /a", {"If-None-Match": '"v1"'}).handle(hint)
    client.send_raw(client.encode("GET", "/a"))
    gate.wait_reached()
    client.read_response().expect(200, body=b"hello", cache="fwd=stale; detail=stale-if-slow")
    gate.open()


def test_in_time(origin, larder):
    client = Client(larder(origin, config=LATE))
    store(origin, client, stale(ETag='"v1"'))
    gate = origin.gate()
    origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(200, fresh(60), b"new", hold=gate)
    client.send("GET", "/a")
    gate.wait_reached()
    gate.open()
    client.read_response().expect(200, body=b"new", cache="fwd=stale; stored")


def test_a_body_that_is_slow_is_not_meant(origin, larder):
    """The time ends with the head of the response."""
    client = Client(larder(origin, config=SOON))
    store(origin, client, stale(ETag='"v1"'))
    gate = origin.gate()
    origin.expect("GET /a").reply(404, fresh(60), [b"one", gate, b"two"])
    response = client.begin("GET", "/a")
    if response.status == 404:  # the machine may be slower than the rule
        gate.open()
        assert response.body == b"onetwo"


@pytest.mark.parametrize("workers", [1, 3])
def test_who_follows_gets_it_too(origin, larder, workers):
    """One request to the origin; a follower's time counts from when that was asked."""
    proxy = larder(origin, config=SOON, flags=["--workers", workers])
    client = Client(proxy)
    store(origin, client, stale(ETag='"v1"'))
    gate = origin.gate()
    behind = origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(304, fresh(60, Age="0"), hold=gate)
    clients = [Client(proxy) for _ in range(6)]
    for one in clients:
        one.send("GET", "/a")
    for one in clients:
        one.read_response().expect(200, body=b"hello", cache="fwd=stale; detail=stale-if-slow")
    Client(proxy).get("/a").expect(200, body=b"hello", cache="fwd=stale; collapsed; detail=stale-if-slow")
    gate.open()
    behind.wait_answered()
    comes_to_hit(client, b"hello")
    assert origin.count("/a") == 2


@pytest.mark.parametrize("directive", ["must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=60"])
def test_what_the_origin_forbids(origin, larder, directive):
    proxy = larder(origin, config=SOON)
    client, other = Client(proxy), Client(proxy)
    store(origin, client, {"Cache-Control": f"max-age=60, {directive}", "Age": "60", "ETag": '"v1"'})
    origin.expect("GET /b").reply(200, stale(ETag='"b"'), b"other")
    other.get("/b").expect(200, cache="stored")
    gate = origin.gate()
    for target in ("/a", "/b"):
        origin.expect(f"GET {target}").reply(200, fresh(60), b"new", hold=gate)
    client.send("GET", "/a")
    client.wait_taken()
    other.get("/b").expect(200, body=b"other", cache="detail=stale-if-slow")  # asked later: now its time is over for /a too
    gate.open()
    client.read_response().expect(200, body=b"new", cache="fwd-status=200")


def test_too_stale(origin, larder):
    client = Client(larder(origin, config='[cache]\nmax_stale = "10s"\n' + SOON))
    store(origin, client, {"Cache-Control": "max-age=60", "Age": "80", "ETag": '"v1"'})
    gate = origin.gate()
    origin.expect("GET /a").reply(200, fresh(60), b"new", hold=gate)
    client.send("GET", "/a")
    gate.wait_reached()
    gate.open()
    client.read_response().expect(200, body=b"new")


def test_the_refresh_fails(origin, larder):
    """Nothing is lost: what is stored stays, and the next one asks again."""
    client = Client(larder(origin, config=SOON))
    store(origin, client, stale(ETag='"v1"'))
    gate = origin.gate()
    failing = origin.expect("GET /a").reply(503, fresh(60), b"no", hold=gate)
    client.get("/a").expect(200, body=b"hello", cache="detail=stale-if-slow")
    gate.open()
    failing.wait_answered()
    origin.on("GET /a", lambda exchange: exchange.reply(304, fresh(60, Age="0")))
    comes_to_hit(client, b"hello")


def test_the_client_leaves(origin, larder):
    proxy = larder(origin, config=SOON)
    client = Client(proxy)
    store(origin, client, stale(ETag='"v1"'))
    gate = origin.gate()
    behind = origin.expect("GET /a").reply(200, fresh(60), b"new", hold=gate)
    client.get("/a").expect(200, body=b"hello", cache="detail=stale-if-slow")
    client.close()
    gate.open()
    behind.wait_answered()
    comes_to_hit(Client(proxy), b"new")


def test_the_log_says_so(origin, larder, tmp_path):
    log = tmp_path / "access"
    client = Client(larder(origin, config=SOON, flags=["--access-log", str(log)]))
    store(origin, client, stale(ETag='"v1"'))
    gate = origin.gate()
    behind = origin.expect("GET /a").reply(304, fresh(60, Age="0"), hold=gate)
    client.get("/a").expect(200, body=b"hello")
    gate.open()
    behind.wait_answered()
    wait_until(lambda: log.exists() and log.read_text().count("\n") >= 2, "two lines in the log")
    line = json.loads(log.read_text().splitlines()[1])
    assert (line["outcome"], line["reason"], line["rule"]) == ("stale", "stale-if-slow", "soon"), line


# --- recipes: what other settings do together ---------------------------------------------------------------------------------------

def test_grace_for_an_origin_that_says_nothing(origin, larder):
    """A lifetime and a window from rules: answered at once, renewed behind."""
    client = Client(larder(origin, config='[[site]]\n[[site.rule]]\nname = "grace"\ndefault_ttl = "0"\nstale_while_revalidate = "1h"\n'))
    origin.expect("GET /a").reply(200, {"ETag": '"v1"'}, b"hello")
    client.get("/a").expect(200, cache="stored")
    behind = origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(200, fresh(60), b"new")
    client.get("/a").expect(200, body=b"hello", cache="hit; detail=stale-while-revalidate; detail=grace")
    behind.wait_answered()
    comes_to_hit(client, b"new")


@pytest.mark.parametrize("status", [404, 410, 500, 503])
def test_negative_caching(origin, larder, status):
    """A lifetime for some statuses only, the errors of a server among them."""
    client = Client(larder(origin, config='[[site]]\n[[site.rule]]\nname = "missing"\nstatuses = [404, 410, 500, 503]\nttl = "30s"\n'))
    origin.expect("GET /a").reply(status, {}, b"no")
    client.get("/a").expect(status, body=b"no", cache="stored; detail=stored-by-rule; detail=missing")
    client.get("/a").expect(status, body=b"no", cache="hit; detail=fresh-by-rule; detail=missing")
    origin.expect("GET /b").reply(200, {}, b"yes")
    client.get("/b").expect(200, cache="!stored")
