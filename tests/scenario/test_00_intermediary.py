"""What an intermediary changes in the messages it passes on, and what it hands through: 1xx, upgrades, tunnels."""

import json
import re
import socket

import pytest
from support.client import Client, wait_read
from support.say import NO_STORE
from support.wire import encode_fields, wait_until

HTTP_DATE = re.compile(r"^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d GMT$")


# --- what an intermediary changes ---------------------------------------------------------------------------------------------------

def test_hop_by_hop_fields_of_a_request(origin, client):
    expectation = origin.expect("GET /a", {
        "Keep-Alive": None, "Proxy-Connection": None, "TE": None, "Proxy-Authorization": None, "X-Private": None, "Upgrade": None,
        "X-Public": "stays"}).reply(200, NO_STORE)
    client.get("/a", {"Connection": "X-Private, keep-alive", "Keep-Alive": "timeout=5", "Proxy-Connection": "keep-alive",
                      "TE": "gzip", "Proxy-Authorization": "Basic eA==", "X-Private": "1", "X-Public": "stays"}).expect(200)
    assert "x-private" not in expectation.request.headers.members("Connection")


def test_hop_by_hop_fields_of_a_response(origin, client):
    origin.expect("GET /a").reply(200, {"Connection": "X-Private, keep-alive", "Keep-Alive": "timeout=5", "X-Private": "1",
                                        "Proxy-Authenticate": "Basic", "X-Public": "stays", **NO_STORE}, b"x")
    response = client.get("/a").expect(200, headers={
        "Keep-Alive": None, "X-Private": None, "Proxy-Authenticate": None, "X-Public": "stays"})
    assert "x-private" not in response.headers.members("Connection")


@pytest.mark.parametrize("name", ["Host", "Content-Length", "Authorization", "Cookie", "Cache-Control", "If-None-Match"])
def test_connection_cannot_take_end_to_end_fields_away(origin, client, name):
    expectation = origin.expect("POST /a", body=b"hello").reply(200, NO_STORE)
    fields = {"Authorization": "Basic eA==", "Cookie": "a=b", "Cache-Control": "max-age=5", "If-None-Match": '"x"', "Connection": name}
    client.post("/a", b"hello", fields).expect(200)
    assert name in expectation.request.headers


def test_field_order_and_repetition_survive(origin, client):
    expectation = origin.expect("GET /a").reply(200, [("X-B", "1"), ("X-A", "2"), ("X-B", "3"), ("Cache-Control", "no-store")], b"x")
    response = client.get("/a", [("X-Two", "1"), ("X-One", "2"), ("X-Two", "3")]).expect(200)
    assert [(n, v) for n, v in expectation.request.headers if n.startswith("X-T") or n.startswith("X-O")] == \
        [("X-Two", "1"), ("X-One", "2"), ("X-Two", "3")]
    assert [(n, v) for n, v in response.headers if n in ("X-A", "X-B")] == [("X-B", "1"), ("X-A", "2"), ("X-B", "3")]


def test_bytes_above_ascii_in_fields_pass(origin, client):
    origin.expect("GET /a", {"X-Name": "gr\xfc\xdfe"}).reply(200, {"X-Name": "gr\xfc\xdfe", **NO_STORE})
    client.get("/a", {"X-Name": "gr\xfc\xdfe"}).expect(200, headers={"X-Name": "gr\xfc\xdfe"})


def test_via(origin, client):
    origin.expect("GET /a", {"Via": "1.1 larder"}).reply(200, NO_STORE)
    client.get("/a").expect(200, headers={"Via": "1.1 larder"})
    origin.expect("GET /b", {"Via": "1.1 front, 1.0 larder"}).reply(200, {"Via": "1.1 back", **NO_STORE})
    client.get("/b", {"Via": "1.1 front"}, version="1.0").expect(200, headers={"Via": "1.1 back, 1.1 larder"})


def test_via_of_an_origin_that_speaks_http_1_0(origin, proxy, client):
    """RFC 9110 §7.6.3: the version that the message was received with, also of what is stored."""
    origin.expect("GET /a").reply(200, {"Cache-Control": "max-age=60", "ETag": '"v1"'}, b"x", version="1.0")
    client.get("/a").expect(200, headers={"Via": "1.0 larder"})
    client.get("/a").expect(200, cache="hit", headers={"Via": "1.0 larder"})
    proxy.restart()
    client.get("/a").expect(200, cache="hit", headers={"Via": "1.0 larder"})


def test_x_forwarded(origin, client):
    """The default: what the client says about itself is replaced."""
    origin.expect("GET /a", {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "larder.test",
                             "Forwarded": None}).reply(200, NO_STORE)
    client.get("/a", {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Host": "evil.test", "Forwarded": "for=6.6.6.6"}).expect(200)


def test_x_forwarded_is_appended_when_trusted(origin, larder):
    client = Client(larder(origin, config="[server]\ntrust_forwarded = true\n"))
    origin.expect("GET /a", {"X-Forwarded-For": "10.1.1.1, 127.0.0.1"}).reply(200, NO_STORE)
    client.get("/a", {"X-Forwarded-For": "10.1.1.1"}).expect(200)


def test_forwarded(origin, larder):
    client = Client(larder(origin, config='[server]\nforwarded = "forwarded"\n'))
    expectation = origin.expect("GET /a", {"X-Forwarded-For": None, "X-Forwarded-Proto": None, "X-Forwarded-Host": None}).reply(200, NO_STORE)
    client.get("/a", {"X-Forwarded-For": "6.6.6.6"}).expect(200)
    forwarded = expectation.request.header("Forwarded").lower().replace('"', "")
    assert set(forwarded.split(";")) >= {"for=127.0.0.1", "proto=http", "host=larder.test"}


def test_forwarded_for_an_ipv6_client(origin, larder):
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    client = Client(larder(origin, config='[server]\nforwarded = "forwarded"\n', listen=("[::1]:0",)))
    expectation = origin.expect("GET /a").reply(200, NO_STORE)
    client.get("/a").expect(200)
    assert 'for="[::1]"' in expectation.request.header("Forwarded").lower()


@pytest.mark.parametrize("style, field, value", [("forwarded", "Forwarded", re.compile("^for=unknown;")),
                                                 ("x-forwarded", "X-Forwarded-For", "unknown")])
def test_forwarded_for_who_has_no_address(origin, larder, tmp_path, style, field, value):
    """RFC 7239 §6.2."""
    proxy = larder(origin, config=f'[server]\nforwarded = "{style}"\n', listen=("127.0.0.1:0", f"unix:{tmp_path}/l.sock"))
    origin.expect("GET /a", {field: value}).reply(200, NO_STORE)
    Client(proxy, address=f"{tmp_path}/l.sock").get("/a").expect(200)


def test_forwarded_none(origin, larder):
    client = Client(larder(origin, config='[server]\nforwarded = "none"\n'))
    origin.expect("GET /a", {"X-Forwarded-For": None, "X-Forwarded-Proto": None, "X-Forwarded-Host": None, "Forwarded": None}).reply(200, NO_STORE)
    client.get("/a", {"X-Forwarded-For": "6.6.6.6", "Forwarded": "for=6.6.6.6"}).expect(200)


def test_date_is_added_where_it_is_missing(origin, client):
    origin.expect("GET /a").reply(200, NO_STORE)
    client.get("/a").expect(200, headers={"Date": HTTP_DATE})
    origin.expect("GET /b").reply(200, {"Date": "Tue, 05 Jan 2021 10:00:00 GMT", **NO_STORE})
    client.get("/b").expect(200, headers={"Date": "Tue, 05 Jan 2021 10:00:00 GMT"})


def test_host_is_the_clients(origin, client):
    origin.expect("GET /a", {"Host": "www.example.com:8080"}).reply(200, NO_STORE)
    client.get("/a", host="www.example.com:8080").expect(200)


def test_the_path_goes_out_as_it_came(origin, client):
    for target in ("/a%2Fb", "/a//b", "/a;b=c?d=e&f", "/a?x=1?y", "/~!$&'()*+,;=:@"):
        origin.expect(f"GET {target}").reply(200, NO_STORE)
        client.get(target).expect(200)


def test_the_path_is_normalised_once(origin, client):
    """RFC 3986 §6.2.2: what is keyed is what goes out."""
    for target, out in (("/%7euser", "/~user"), ("/a/../b", "/b"), ("/a/./c", "/a/c"), ("/%2f", "/%2F")):
        origin.expect(f"GET {out}").reply(200, NO_STORE)
        client.get(target).expect(200)


# --- 1xx and upgrades ---------------------------------------------------------------------------------------------------------------

def test_expect_100_continue(origin, client):
    origin.expect("POST /p", body=b"hello").reply(200, NO_STORE, b"ok")
    client.send_raw(b"POST /p HTTP/1.1\r\nHost: larder.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    status, _ = client.read_informational()
    assert status == 100
    client.send_raw(b"hello")
    response = client.read_response().expect(200, body=b"ok")
    assert response.informational == []


def test_a_final_answer_instead_of_100(origin, client):
    """RFC 9110 §10.1.1: the origin may refuse before it has seen the body."""
    origin.expect("POST /p").handle(lambda exchange: exchange.reply(403, NO_STORE, b"no", close=True), read_body=False)
    client.send_raw(b"POST /p HTTP/1.1\r\nHost: larder.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    response = client.read_response().expect(403, body=b"no")
    assert response.informational == []


def test_a_client_that_does_not_wait_for_100(origin, client):
    origin.expect("POST /p", body=b"hello").reply(200, NO_STORE, b"ok")
    response = client.post("/p", b"hello", {"Expect": "100-continue"}).expect(200, body=b"ok")
    assert [status for status, _ in response.informational] in ([], [100])


def test_informational_responses_are_relayed_at_once(origin, client):
    gate = origin.gate()
    origin.expect("GET /a").reply(200, {"Cache-Control": "max-age=60"}, b"x", interim=[(103, {"Link": "</a.css>; rel=preload", "X-My-Header": "1"}), (102, {})],
                                  hold=None)
    response = client.get("/a").expect(200)
    assert [(status, fields.get("Link"), fields.get("X-My-Header")) for status, fields in response.informational] == \
        [(103, "</a.css>; rel=preload", "1"), (102, None, None)]
    assert "Link" not in response.headers
    hit = client.get("/a").expect(200, cache="hit")
    assert hit.informational == [] and "Link" not in hit.headers

    def action(exchange):
        exchange.send_head(103, {"Link": "</b.css>; rel=preload"})
        gate.wait()
        exchange.reply(200, NO_STORE, b"late")

    origin.expect("GET /b").handle(action)
    client.send("GET", "/b")
    assert client.read_informational()[0] == 103
    gate.open()
    client.read_response().expect(200, body=b"late")


def test_no_informational_responses_to_http_1_0(origin, client):
    origin.expect("GET /a").reply(200, NO_STORE, b"x", interim=[(103, {"Link": "</a.css>"})])
    assert client.get("/a", version="1.0").expect(200, body=b"x").informational == []


UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "x"}


def upgraded(exchange):
    exchange.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")


def test_upgrade_opens_a_tunnel(origin, client):
    def echo(exchange):
        upgraded(exchange)
        while True:
            data = exchange.reader.some(65536)
            if not data:
                break
            exchange.send(data[::-1])
        exchange.close()

    origin.expect("GET /ws", {"Upgrade": "websocket", "Connection": re.compile("(?i)upgrade")}).handle(echo)
    response = client.begin("GET", "/ws", UPGRADE)
    response.expect(101, headers={"Upgrade": "websocket", "Connection": re.compile("(?i)upgrade")})
    client.send_raw(b"hello")
    assert client.reader.exact(5) == b"olleh"
    client.send_raw(b"\x00\xff" * 1000)
    assert client.reader.exact(2000) == b"\xff\x00" * 1000
    client.shutdown()
    client.expect_closed()


def test_both_sides_talk_first_in_a_tunnel(origin, client):
    """Bytes that come with the 101 reach the client; nothing of the client's goes out before it."""
    def action(exchange):
        assert not exchange.reader.data
        exchange.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nwelcome")
        assert exchange.reader.exact(5) == b"early"
        exchange.close()

    origin.expect("GET /ws").handle(action)
    client.send_raw(client.encode("GET", "/ws", UPGRADE) + b"early")
    client.read_head().expect(101)
    assert client.reader.exact(7) == b"welcome"
    client.expect_closed()


@pytest.mark.parametrize("stays", [True, False])
def test_an_upgrade_that_the_client_does_not_take_at_once(origin, larder, tmp_path, stays):
    """The 101 stands behind other bytes: the tunnel begins, and they go first, in their order; also if the origin is gone.

    What the log counts are the bytes that came: the tunnel's are the bodies', heads that it sends are not."""
    path = tmp_path / "sock"  # a unix socket takes little when nobody reads
    log = tmp_path / "access"
    proxy = larder(origin, config=f'[server]\nlisten = ["127.0.0.1:0", "unix:{path}"]\n', listen=(), flags=["--access-log", log])
    client = Client(proxy, address=str(path))

    def action(exchange):
        for _ in range(80):
            exchange.send_head(103, {"Link": f"</{'x' * 5000}>; rel=preload"})
        exchange.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nwelcome")
        wait_read(exchange.sock)
        gate.wait()
        if not stays:
            exchange.reset()
            return
        assert exchange.reader.exact(5) == b"hello"
        exchange.close()

    gate = origin.gate()
    answer = origin.expect("GET /ws").handle(action)
    client.send_raw(client.encode("GET", "/ws", UPGRADE))
    gate.wait_reached()
    if not stays:
        gate.open()
        answer.wait_answered()
    response = client.read_head().expect(101)
    assert [status for status, _ in response.informational] == [103] * 80
    assert client.reader.exact(7) == b"welcome"
    if stays:
        client.send_raw(b"hello")
        gate.open()
    client.expect_closed()
    heads = [b"HTTP/1.1 103 Early Hints\r\n" + encode_fields(fields) + b"\r\n" for _, fields in response.informational] + [response.raw_head]
    wait_until(lambda: log.exists() and log.read_text().endswith("\n"), "the line in the log")
    line = json.loads(log.read_text())
    assert line["body_bytes"] == len(b"welcome")
    assert line["response_bytes"] == sum(map(len, heads)) + len(b"welcome")
    assert line["request_bytes"] == (len(b"hello") if stays else 0)


def test_an_origin_that_does_not_upgrade(origin, client):
    origin.expect("GET /ws").reply(200, NO_STORE, b"plain")
    client.get("/ws", UPGRADE).expect(200, body=b"plain", cache="!hit")


def test_an_upgrade_is_not_answered_from_the_cache(origin, client):
    origin.expect("GET /ws").reply(200, {"Cache-Control": "max-age=60"}, b"plain")
    client.get("/ws").expect(200, cache="stored")
    origin.expect("GET /ws").handle(lambda exchange: (upgraded(exchange), exchange.close()))
    client.begin("GET", "/ws", UPGRADE).expect(101)


def test_a_101_nobody_asked_for(origin, client):
    origin.expect("GET /a").handle(lambda exchange: (upgraded(exchange), exchange.close()))
    client.get("/a").expect(502)
