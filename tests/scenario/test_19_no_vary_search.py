"""No-Vary-Search by rule: one stored response for URLs that differ in what it declares irrelevant, and for no others."""

import json

import pytest
from support.client import HOST, Client
from support.proxy import run_larder
from support.say import fresh, stale
from support.wire import wait_until

RULE = '[[site]]\n[[site.rule]]\nname = "search"\nno_vary_search = true\n'
UTM = {"No-Vary-Search": 'params=("utm")'}


@pytest.fixture
def proxy(larder, origin):
    return larder(origin, config=RULE)


def store(origin, client, target, headers, body=b"page"):
    origin.expect(f"GET {target}").reply(200, headers, body)
    client.get(target).expect(200, body=body, cache="stored")


def test_what_differs_in_nothing_else(origin, client):
    store(origin, client, "/a?x=1&utm=1", fresh(60, **UTM))
    for target in ("/a?x=1&utm=2", "/a?utm=3&x=1", "/a?x=1", "/a?x=1&utm=1", "/a?%78=1"):
        client.get(target).expect(200, body=b"page", cache="hit; detail=fresh")
    store(origin, client, "/a?x=2&utm=1", fresh(60, **UTM), b"two")
    client.get("/a?utm=9&x=2").expect(200, body=b"two", cache="hit")
    client.get("/a?x=1").expect(200, body=b"page", cache="hit")


def test_order(origin, client):
    store(origin, client, "/a?x=1&y=2", fresh(60, No_Vary_Search="key-order"))
    client.get("/a?y=2&x=1").expect(200, cache="hit")


def test_not_without_a_rule(origin, larder):
    client = Client(larder(origin))
    store(origin, client, "/a?utm=1", fresh(60, **UTM))
    store(origin, client, "/a?utm=2", fresh(60, **UTM))


def test_a_response_that_does_not_say_so(origin, client):
    """Other responses of the path are what they are: each for its own URL."""
    store(origin, client, "/a?utm=1", fresh(60, **UTM))
    store(origin, client, "/a?x=1&utm=1", fresh(), b"one")
    store(origin, client, "/a?x=1&utm=2", fresh(), b"two")
    client.get("/a?x=1&utm=1").expect(200, body=b"one", cache="hit")
    client.get("/a?x=1&utm=2").expect(200, body=b"two", cache="hit")
    client.get("/a?utm=2").expect(200, body=b"page", cache="hit")


def test_a_response_that_says_something_else(origin, client):
    """The latest counts for look-ups; what each itself allows counts for its use."""
    store(origin, client, "/a?x=1&utm=1", fresh(60, **UTM))
    store(origin, client, "/a?x=2&ref=1&utm=1", fresh(60, No_Vary_Search='params=("ref")'), b"two")
    client.get("/a?x=2&ref=2&utm=1").expect(200, body=b"two", cache="hit")
    store(origin, client, "/a?x=2&ref=1&utm=2", fresh(60, No_Vary_Search='params=("ref")'), b"three")
    store(origin, client, "/a?x=1&utm=2", fresh(60, No_Vary_Search='params=("ref")'), b"four")


@pytest.mark.parametrize("before, after", [(UTM, {}), ({}, UTM), (UTM, {"No-Vary-Search": "key-order"})])
def test_a_200_that_says_something_else(origin, client, before, after):
    """What was stored does not stand in the way of what comes now."""
    store(origin, client, "/a?utm=1", stale(ETag='"v1"', **before))
    origin.expect("GET /a?utm=1", {"If-None-Match": '"v1"'}).reply(200, fresh(60, **after), b"new")
    client.get("/a?utm=1").expect(200, body=b"new", cache="stored")
    client.get("/a?utm=1").expect(200, body=b"new", cache="hit")


def test_a_304_that_takes_it_back(origin, client):
    store(origin, client, "/a?utm=1", stale(ETag='"v1"', **UTM))
    origin.expect("GET /a?utm=1", {"If-None-Match": '"v1"'}).reply(304, fresh(60, Age="0", No_Vary_Search="key-order"))
    client.get("/a?utm=1").expect(200, body=b"page")
    store(origin, client, "/a?utm=2", fresh(60), b"other")


def test_after_a_restart(origin, proxy):
    client = Client(proxy)
    store(origin, client, "/a?utm=1", fresh(600, **UTM))
    proxy.restart()
    client.get("/a?utm=2").expect(200, body=b"page", cache="hit")


@pytest.mark.parametrize("restart", [False, True])
def test_an_unsafe_method_reaches_it(origin, proxy, restart):
    client = Client(proxy)
    store(origin, client, "/a?x=1&utm=1", fresh(600, **UTM))
    if restart:
        proxy.restart()
    origin.expect("POST /a?x=1&utm=7").reply(204)
    client.post("/a?x=1&utm=7").expect(204)
    store(origin, client, "/a?utm=2&x=1", fresh(600, **UTM), b"new")
    client.get("/a?x=1").expect(200, body=b"new", cache="hit")


def test_one_fetch_for_all(origin, larder):
    """Those who ask for equivalent URLs wait for the same fetch, once the path is known."""
    proxy = larder(origin, config=RULE, flags=["--workers", "2"])
    client = Client(proxy)
    store(origin, client, "/a?x=0", fresh(60, **UTM))
    gate = origin.gate()
    origin.expect("GET /a?x=1&utm=0").reply(200, fresh(60, **UTM), b"page", hold=gate)
    first = Client(proxy)
    first.send("GET", "/a?x=1&utm=0")
    gate.wait_reached()
    clients = [Client(proxy) for _ in range(8)]
    for n, one in enumerate(clients):
        one.send("GET", f"/a?x=1&utm={n}")
        one.wait_taken()
    gate.open()
    for one in [first, *clients]:
        one.read_response().expect(200, body=b"page")
    assert origin.count() == 2


def test_who_follows_gets_only_what_is_for_him(origin, larder):
    """The response that comes does not say what the path's others said: everyone gets his own."""
    proxy = larder(origin, config=RULE)
    client = Client(proxy)
    store(origin, client, "/a?x=0", fresh(60, **UTM))
    gate = origin.gate()
    origin.expect("GET /a?x=1&utm=0").reply(200, fresh(), b"0", hold=gate)
    clients = [Client(proxy) for _ in range(4)]
    clients[0].send_raw(clients[0].encode("GET", "/a?x=1&utm=0"))
    gate.wait_reached()
    for n, one in enumerate(clients[1:], 1):
        origin.expect(f"GET /a?x=1&utm={n}").reply(200, fresh(), str(n).encode())
        one.send("GET", f"/a?x=1&utm={n}")
        one.wait_taken()
    gate.open()
    for n, one in enumerate(clients):
        one.read_response().expect(200, body=str(n).encode())


def test_why_knows(origin, proxy):
    client = Client(proxy)
    store(origin, client, "/a?x=1&utm=1", fresh(600, **UTM))

    def why():
        return run_larder("why", f"http://{HOST}/a?utm=5&x=1", "--config", proxy.directory / "larder.toml", "--origin", origin.url,
                          "--cache-dir", proxy.cache_dir)[1]

    wait_until(lambda: "answered from the store" in why(), "the response to be committed")
    assert "/a?x=1 search=" in why()


def test_the_store_commands_know_it(origin, proxy, client, tmp_path):
    """What larder notes of a path is no response, and what lies under a key of its own has a URL all the same."""
    store(origin, client, "/a?x=1&utm=1", fresh(600, **UTM))
    place = ["--cache-dir", proxy.cache_dir]

    def run(verb, *words):
        code, out, err = run_larder("store", verb, *words)
        assert code == 0, (code, out, err)
        return out

    wait_until(lambda: run("ls", *place) != "", "it to be committed")
    (row,) = [json.loads(line) for line in run("ls", "--json", *place).splitlines()]
    assert (row["url"], row["no_vary_search"]) == (f"http://{HOST}/a?x=1", True)
    assert run("ls", *place).endswith(f"http://{HOST}/a?x=1  no-vary-search\n")
    figures = json.loads(run("stat", "--json", *place))
    assert figures["responses"] == figures["keys"] == 1 and figures["oldest_ms"] == figures["newest_ms"]
    checked = json.loads(run("check", "--json", *place))
    assert checked["good"] and checked["responses"] == 1
    for query in ("x=1", "x=1&utm=1", "utm=9&x=1"):
        assert run("get", "--body", f"http://{HOST}/a?{query}", *place) == "page", query
    assert run_larder("store", "get", f"http://{HOST}/a?x=2", *place)[0] == 1
    assert run_larder("vary", *place)[1].startswith("1 URL,")

    file, other = tmp_path / "export", ["--cache-dir", tmp_path / "other"]
    run("export", file, *place)
    run("import", file, *other)
    (row,) = [json.loads(line) for line in run("ls", "--json", *other).splitlines()]
    assert (row["url"], row["no_vary_search"]) == (f"http://{HOST}/a?x=1", False)
    assert run("get", "--body", f"http://{HOST}/a?x=1", *other) == "page"
