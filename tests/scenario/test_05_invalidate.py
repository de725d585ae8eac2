"""Unsafe methods invalidate what is stored for their target (RFC 9111 §4.4)."""

import pytest
from support.client import Client
from support.say import fresh


def store(origin, client, path="/a", body=b"old", **more):
    origin.expect(f"GET {path}").reply(200, fresh(60, **more), body)
    client.get(path).expect(200, body=body, cache="stored")
    client.get(path).expect(200, cache="hit")


def is_gone(origin, client, path="/a"):
    origin.expect(f"GET {path}").reply(200, fresh(), b"new")
    client.get(path).expect(200, body=b"new", cache="!hit; stored")
    client.get(path).expect(200, body=b"new", cache="hit")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "FROB"])
@pytest.mark.parametrize("status", [200, 201, 204, 301, 303])
def test_success_invalidates(origin, client, method, status):
    store(origin, client)
    origin.expect(f"{method} /a").reply(status, {})
    client.request(method, "/a", body=b"x").expect(status)
    origin.expect("GET /a").reply(200, fresh(), b"new")
    client.get("/a").expect(200, body=b"new", cache="fwd=uri-miss; stored; detail=invalidated")
    client.get("/a").expect(200, body=b"new", cache="hit")


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_failure_does_not(origin, client, status):
    store(origin, client)
    origin.expect("POST /a").reply(status, {})
    client.post("/a", b"x").expect(status)
    client.get("/a").expect(200, body=b"old", cache="hit")


@pytest.mark.parametrize("method", ["OPTIONS", "HEAD", "GET"])
def test_safe_methods_do_not(origin, client, method):
    store(origin, client)
    if method == "OPTIONS":
        origin.expect("OPTIONS /a").reply(200, {})
    client.request(method, "/a").expect(200)
    client.get("/a").expect(200, body=b"old", cache="hit")


def test_all_variants_go(origin, client):
    for wanted in ("en", "de"):
        origin.expect("GET /a").reply(200, fresh(60, Vary="Accept-Language"), wanted.encode())
        client.get("/a", {"Accept-Language": wanted}).expect(200)
    origin.expect("POST /a").reply(200, {})
    client.post("/a").expect(200)
    for wanted in ("en", "de"):
        origin.expect("GET /a").reply(200, fresh(60, Vary="Accept-Language"), b"new")
        client.get("/a", {"Accept-Language": wanted}).expect(200, body=b"new", cache="!hit")


@pytest.mark.parametrize("field", ["Location", "Content-Location"])
@pytest.mark.parametrize("form", ["/other", "http://larder.test/other", "https://larder.test/other", "other"])
def test_locations_of_the_same_origin_go_too(origin, client, field, form):
    store(origin, client, "/other")
    origin.expect("POST /a").reply(201, {field: form})
    client.post("/a").expect(201)
    is_gone(origin, client, "/other")


@pytest.mark.parametrize("field", ["Location", "Content-Location"])
def test_locations_elsewhere_stay(origin, client, field):
    """RFC 9111 §4.4: never across origins."""
    origin.expect("GET /other", {"Host": "elsewhere.test"}).reply(200, fresh(), b"old")
    client.get("/other", host="elsewhere.test").expect(200, cache="stored")
    origin.expect("POST /a").reply(201, {field: "http://elsewhere.test/other"})
    client.post("/a").expect(201)
    client.get("/other", host="elsewhere.test").expect(200, body=b"old", cache="hit")


def test_other_targets_and_hosts_stay(origin, client):
    store(origin, client, "/a?x")
    store(origin, client, "/b")
    origin.expect("POST /a").reply(200, {})
    client.post("/a").expect(200)
    client.get("/a?x").expect(200, cache="hit")
    client.get("/b").expect(200, cache="hit")


def test_invalidation_lasts_over_a_restart(origin, proxy, client):
    store(origin, client)
    origin.expect("DELETE /a").reply(204)
    client.delete("/a").expect(204)
    proxy.restart()
    is_gone(origin, client)


def test_a_fetch_that_was_under_way_is_not_stored(origin, proxy):
    """What the origin said before the write goes to who asked, and is not called stored: the next request asks again."""
    gate = origin.gate()
    origin.expect("GET /a").reply(200, fresh(), b"old", hold=gate)
    reader, writer = Client(proxy), Client(proxy)
    reader.send("GET", "/a")
    gate.wait_reached()
    origin.expect("POST /a").reply(200, {})
    writer.post("/a").expect(200)
    gate.open()
    reader.read_response().expect(200, body=b"old", cache="fwd=uri-miss; !stored; detail=raced")
    is_gone(origin, writer)


def test_the_next_request_never_sees_the_old_one(origin, proxy):
    """Right after the answer to the write, on any worker."""
    clients = [Client(proxy) for _ in range(6)]
    for number in range(20):
        target = f"/r/{number}"
        store(origin, clients[0], target)
        origin.expect(f"PUT {target}").reply(200, {})
        clients[1].put(target, b"new").expect(200)
        origin.expect(f"GET {target}").reply(200, fresh(), b"new")
        for client in clients:
            client.get(target).expect(200, body=b"new")


def test_nothing_is_invalidated_that_was_not_there(origin, client):
    """And what is not stored after all says why not, as any other answer."""
    origin.expect("POST /a").reply(204)
    client.post("/a").expect(204)
    origin.expect("GET /a").reply(200, fresh(), b"new")
    client.get("/a").expect(200, cache="stored; detail=stored")
    origin.expect("POST /a").reply(204)
    client.post("/a").expect(204)
    origin.expect("GET /a").reply(200, {"Cache-Control": "no-store"}, b"new")
    client.get("/a").expect(200, cache="!stored; detail=no-store")
