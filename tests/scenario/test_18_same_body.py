"""An origin that sends again what is stored: the stored response stays and has the new head, clients get their 304."""

import json

import pytest
from support.client import HOST, Client
from support.proxy import run_larder
from support.say import fresh, stale
from support.why import rule
from support.wire import wait_until

LARGE = bytes(range(256)) * 2000


def stored(proxy, target="/a"):
    """The variants that are committed."""
    code, out, err = run_larder("why", f"http://{HOST}{target}", "--cache-dir", proxy.cache_dir, "--origin", "http://127.0.0.1:1", "--json")
    assert code == 0, err
    return json.loads(out)["variants"]


def committed(proxy, client, target="/a", headers=None):
    client.get(target, headers).expect(200, cache="stored")
    wait_until(lambda: stored(proxy, target), "the response to be committed")
    return stored(proxy, target)[0]["id"]


@pytest.mark.parametrize("body", [b"", b"hello", LARGE], ids=["empty", "small", "large"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_the_stored_one_stays(origin, larder, body, framing):
    """Also behind a restart; the head is the new one, all of it."""
    proxy = larder(origin)
    client = Client(proxy)
    origin.expect("GET /a").reply(200, stale(X_Version="1", X_Old="1"), body)
    number = committed(proxy, client)
    origin.expect("GET /a").reply(200, fresh(60, X_Version="2"), body, framing=framing)
    client.get("/a").expect(200, body=body, cache="fwd=stale; fwd-status=200; stored", headers={"X-Version": "2"})
    wait_until(lambda: stored(proxy)[0]["fields"].get("X-Version") == "2", "the new head to be committed")
    assert [variant["id"] for variant in stored(proxy)] == [number]
    for _ in range(2):
        client.get("/a").expect(200, body=body, cache="hit; detail=fresh", headers={"X-Version": "2", "X-Old": None})
        proxy.restart()


def last_logged(log, count):
    wait_until(lambda: log.exists() and log.read_text().count("\n") >= count, f"{count} lines in the log")
    return json.loads(log.read_text().splitlines()[count - 1])


def test_it_is_told(origin, larder, tmp_path):
    """In the log; in Cache-Status where the head waited for the end of the body."""
    log = tmp_path / "access"
    client = Client(larder(origin, flags=["--access-log", str(log)]))
    origin.expect("GET /a").reply(200, stale(), b"hello")
    client.get("/a").expect(200, cache="detail=stored")
    origin.expect("GET /a").reply(200, fresh(), b"hello")
    client.get("/a").expect(200, cache="stored")
    assert last_logged(log, 2)["store_reason"] == "unchanged"


@pytest.mark.parametrize("validator", [{}, {"ETag": '"v1"'}])
def test_it_is_told_to_the_client(origin, larder, validator):
    """Also where the body comes a moment behind its head."""
    client = Client(larder(origin, config=rule('hold_back = "1h"')))
    gate = origin.gate()
    origin.expect("GET /a").reply(200, stale(**validator), b"hello")
    client.get("/a").expect(200, cache="detail=stored")
    origin.expect("GET /a").reply(200, fresh(60, **validator), [gate, b"hello"])
    client.send("GET", "/a")
    gate.wait_reached()
    gate.open()
    client.read_response().expect(200, body=b"hello", cache="fwd=stale; fwd-status=200; stored; detail=unchanged")


def test_a_client_that_has_it_gets_304(origin, client):
    """With the origin's tag, though the origin knows no 304."""
    origin.expect("GET /a").reply(200, stale(ETag='"v1"'), b"hello")
    client.get("/a").expect(200)
    origin.expect("GET /a").reply(200, fresh(60, ETag='"v1"'), b"hello")
    client.get("/a", {"If-None-Match": '"v1"'}).expect(304, cache="fwd-status=200")
    client.get("/a", {"If-None-Match": '"v1"'}).expect(304, cache="!fwd-status")  # a hit, or it follows the end of the body


def test_a_client_that_has_it_by_our_tag_gets_304(origin, client):
    origin.expect("GET /a").reply(200, {"Cache-Control": "max-age=60, stale-if-error=600", "Age": "60"}, b"hello")
    client.get("/a").expect(200)
    origin.expect("GET /a").reply(503)
    tag = client.get("/a").expect(200, cache="detail=stale-if-error").header("ETag")
    origin.expect("GET /a").reply(200, fresh(), b"hello")
    client.get("/a", {"If-None-Match": tag}).expect(304, cache="fwd-status=200; detail=unchanged")
    client.get("/a", {"If-None-Match": tag}).expect(304, cache="hit")


@pytest.mark.parametrize("change", [
    {"Content-Type": "text/html"}, {"Content-Encoding": "gzip"}, {"Vary": "Accept-Language"},
])
def test_what_makes_it_another(origin, larder, change):
    """The same bytes that mean something else, or are for others, are stored anew."""
    proxy = larder(origin)
    client = Client(proxy)
    origin.expect("GET /a").reply(200, stale(Content_Type="text/plain"), b"hello")
    committed(proxy, client)
    origin.expect("GET /a").reply(200, {**fresh(60, Content_Type="text/plain"), **change}, b"hello")
    client.get("/a").expect(200, cache="detail=stored")
    client.get("/a").expect(200, cache="hit", headers=change)


def test_another_status(origin, client):
    origin.expect("GET /a").reply(200, stale(), b"hello")
    client.get("/a").expect(200)
    origin.expect("GET /a").reply(404, fresh(), b"hello")
    client.get("/a").expect(404, cache="detail=stored")
    client.get("/a").expect(404, cache="hit")


def test_a_new_tag_for_the_same_bytes(origin, client):
    """The tag is the origin's to change: it is what clients are told from now on."""
    origin.expect("GET /a").reply(200, stale(ETag='"v1"'), b"hello")
    client.get("/a").expect(200)
    origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(200, fresh(60, ETag='"v2"'), b"hello")
    client.get("/a").expect(200, cache="stored", headers={"ETag": '"v2"'})
    client.get("/a", {"If-None-Match": '"v2"'}).expect(304, cache="hit")
    client.get("/a", {"If-None-Match": '"v1"'}).expect(200, body=b"hello", cache="hit")


def test_broken_off(origin, larder, tmp_path):
    """The beginning of the same body is not the same body."""
    log = tmp_path / "access"
    client = Client(larder(origin, flags=["--access-log", str(log)]))
    origin.expect("GET /a").reply(200, stale(), b"hello")
    client.get("/a").expect(200)
    origin.expect("GET /a").send_raw(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\n\r\nhel")
    client.begin("GET", "/a")
    client.close()
    assert last_logged(log, 2)["store_reason"] == "truncated"
    origin.expect("GET /a").reply(200, fresh(), b"hello")
    client.get("/a").expect(200, body=b"hello", cache="fwd=stale; stored")
    assert last_logged(log, 3)["store_reason"] == "unchanged"
