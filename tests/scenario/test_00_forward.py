"""Forwarding: what goes to the origin and what comes back, before any caching matters."""

import re
import socket
import time

import pytest
from support.client import Client
from support.say import NO_STORE, fresh
from support.wire import TIMEOUT, Malformed, Reader, wait_until


# --- methods ------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "REPORT", "M-SEARCH", "PURGE", "LINK"])
def test_methods_reach_the_origin(origin, client, method):
    origin.expect(f"{method} /thing?x=1").reply(200, NO_STORE, b"done")
    client.request(method, "/thing?x=1").expect(200, body=b"done", cache="!hit")


@pytest.mark.parametrize("method", ["FROB", "X-Anything!", "QUERY"])
def test_unknown_methods_are_passed_on(origin, client, method):
    origin.expect(f"{method} /thing", body=b"question").reply(200, NO_STORE, b"answer")
    client.request(method, "/thing", body=b"question").expect(200, body=b"answer", cache="fwd=method")


def test_methods_are_case_sensitive(origin, client):
    origin.expect("get /thing").reply(405, NO_STORE, b"no")
    client.request("get", "/thing").expect(405, cache="fwd=method")


def test_options_of_the_whole_server(origin, client):
    origin.expect("OPTIONS *").reply(204, {"Allow": "GET, HEAD"})
    client.request("OPTIONS", "*").expect(204, headers={"Allow": "GET, HEAD"})


@pytest.mark.parametrize("target, asked", [("http://larder.test", "*"), ("http://larder.test/", "/"), ("http://larder.test?", "/?")])
def test_options_in_absolute_form(origin, client, target, asked):
    """RFC 9112 §3.2.4: without path and query it is about the server as a whole."""
    origin.expect(f"OPTIONS {asked}").reply(204, {"Allow": "GET, HEAD"})
    client.request("OPTIONS", target).expect(204)
    origin.expect("GET /").reply(200, NO_STORE)
    client.request("GET", "http://larder.test").expect(200)


@pytest.mark.parametrize("method, target", [("TRACE", "/"), ("CONNECT", "example.com:443"), ("CONNECT", "/")])
def test_trace_and_connect_are_refused(origin, client, method, target):
    response = client.request(method, target)
    assert response.status in (400, 405, 501), response
    assert origin.count() == 0


def test_head_has_no_body(origin, client):
    origin.expect("HEAD /a").reply(200, {"Content-Length": "1000", **NO_STORE})
    client.head("/a", {"If-Match": "*"}).expect(200, body=b"", headers={"Content-Length": "1000"})
    origin.expect("GET /b").reply(200, NO_STORE, b"next")
    client.get("/b").expect(200, body=b"next")


@pytest.mark.parametrize("status", [200, 201, 203, 206, 299, 300, 302, 307, 308, 400, 401, 404, 418, 451, 499, 500, 501, 502, 503, 599])
def test_statuses_come_back(origin, client, status):
    origin.expect("GET /a").reply(status, NO_STORE, b"body")
    client.get("/a").expect(status, body=b"body", cache=f"fwd-status={status}")


# --- bodies -------------------------------------------------------------------------------------------------------------------------

def test_request_body_with_a_length(origin, client):
    origin.expect("POST /p", {"Content-Length": "5", "Transfer-Encoding": None}, body=b"hello").reply(200, NO_STORE, b"ok")
    client.post("/p", b"hello").expect(200, body=b"ok")


def test_request_body_in_chunks(origin, client):
    origin.expect("POST /p", {"Transfer-Encoding": "chunked", "Content-Length": None}, body=b"hello world").reply(200, NO_STORE, b"ok")
    client.post("/p", [b"hello", b" world"], chunked=True).expect(200, body=b"ok")


def test_empty_request_bodies(origin, client):
    origin.expect("POST /length", {"Content-Length": "0"}, body=b"").reply(200, NO_STORE)
    client.post("/length", b"").expect(200)
    origin.expect("POST /chunked", {"Transfer-Encoding": "chunked"}, body=b"").reply(200, NO_STORE)
    client.post("/chunked", b"", chunked=True).expect(200)


def test_a_request_without_body_gets_no_framing(origin, client):
    origin.expect("GET /a", {"Content-Length": None, "Transfer-Encoding": None}).reply(200, NO_STORE)
    client.get("/a").expect(200)


def test_request_body_streams(origin, client):
    """The origin sees the first bytes before the client has sent the last."""
    half = origin.gate()

    def action(exchange):
        assert exchange.stream.exact(5) == b"first"
        half.open()
        assert exchange.stream.exact(6) == b"second"
        exchange.reply(200, NO_STORE, b"ok")

    origin.expect("POST /p").handle(action, read_body=False)
    client.send_raw(b"POST /p HTTP/1.1\r\nHost: larder.test\r\nContent-Length: 11\r\n\r\nfirst")
    assert half.event.wait(TIMEOUT)
    client.send_raw(b"second")
    client.read_response().expect(200, body=b"ok")


def test_large_request_body(origin, client):
    body = bytes(range(256)) * 4096 * 8
    origin.expect("PUT /big", body=body).reply(201, NO_STORE, b"ok")
    client.put("/big", body).expect(201)
    origin.expect("PUT /big", body=body).reply(201, NO_STORE, b"ok")
    client.put("/big", [body[i:i + 70000] for i in range(0, len(body), 70000)], chunked=True).expect(201)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_response_bodies_of_all_framings(origin, client, framing):
    origin.expect("GET /a").reply(200, NO_STORE, b"some bytes", framing=framing)
    client.get("/a").expect(200, body=b"some bytes")
    origin.expect("GET /b").reply(200, NO_STORE, b"", framing=framing)
    client.get("/b").expect(200, body=b"")


def test_response_body_streams(origin, client):
    gate = origin.gate()
    origin.expect("GET /a").reply(200, NO_STORE, [b"first", gate, b"second"])
    response = client.begin("GET", "/a")
    assert response.stream.exact(5) == b"first"
    gate.open()
    assert response.body == b"second"


def test_statuses_without_body(origin, client):
    origin.expect("GET /204").reply(204, NO_STORE)
    client.get("/204").expect(204, body=b"")
    origin.expect("GET /205").reply(205, NO_STORE, b"")
    client.get("/205").expect(205, body=b"")
    origin.expect("GET /next").reply(200, NO_STORE, b"next")
    client.get("/next").expect(200, body=b"next")


def test_304_with_a_content_length_has_no_body(origin, client):
    origin.expect("POST /a").reply(304, {"Content-Length": "10", "ETag": '"1"'})
    client.post("/a").expect(304, body=b"")
    origin.expect("GET /b").reply(200, NO_STORE, b"next")
    client.get("/b").expect(200, body=b"next")


def test_trailers_of_a_request(origin, client):
    expectation = origin.expect("POST /p", {"Trailer": "X-Sum"}, body=b"hello").reply(200, NO_STORE)
    client.post("/p", b"hello", {"Trailer": "X-Sum"}, chunked=True, trailers={"X-Sum": "5"}).expect(200)
    assert expectation.request.trailers.get("X-Sum") == "5"


def test_what_a_head_would_lose_no_trailer_brings(origin, client):
    expectation = origin.expect("POST /p", body=b"hello").reply(200, NO_STORE)
    trailers = {"X-Real-IP": "192.0.2.1", "X-Forwarded-Prefix": "/p", "X_Forwarded_For": "192.0.2.1", "X-Original-URL": "/q", "X-Sum": "5"}
    client.post("/p", b"hello", chunked=True, trailers=trailers).expect(200)
    assert dict(expectation.request.trailers) == {"X-Sum": "5"}


def test_trailers_of_a_response(origin, client):
    origin.expect("GET /a").reply(200, {"Trailer": "X-Sum", **NO_STORE}, b"hello", framing="chunked", trailers={"X-Sum": "5"})
    response = client.get("/a", {"TE": "trailers"}).expect(200, body=b"hello")
    assert response.trailers.get("X-Sum") == "5" and response.header("Trailer") == "X-Sum"


def test_a_hit_announces_no_trailers(origin, client):
    """RFC 9110 §6.6.2: they are not stored, so the field would announce what does not come."""
    origin.expect("GET /a").reply(200, {"Trailer": "X-Sum", **fresh()}, b"hello", framing="chunked", trailers={"X-Sum": "5"})
    client.get("/a", {"TE": "trailers"}).expect(200, headers={"Trailer": "X-Sum"})
    client.get("/a", {"TE": "trailers"}).expect(200, body=b"hello", cache="hit", headers={"Trailer": None})


def test_framing_fields_in_trailers_are_dropped(origin, client):
    origin.expect("GET /a").reply(200, NO_STORE, b"hello", framing="chunked", trailers={"Content-Length": "99", "X-Sum": "5"})
    response = client.get("/a", {"TE": "trailers"}).expect(200, body=b"hello")
    assert "Content-Length" not in response.trailers


# --- versions and connections -------------------------------------------------------------------------------------------------------

def test_http_1_0_client(origin, client):
    """A 1.0 client without keep-alive gets a body that ends with a length or the connection, never chunks."""
    origin.expect("GET /a", {"Host": "larder.test"}).reply(200, NO_STORE, b"hello", framing="chunked")
    response = client.get("/a", version="1.0").expect(200, body=b"hello", headers={"Transfer-Encoding": None})
    assert client.ending, response
    client.expect_closed()


def test_http_1_0_client_with_keep_alive(origin, client):
    origin.expect("GET /a").reply(200, NO_STORE, b"hello")
    client.get("/a", {"Connection": "keep-alive"}, version="1.0").expect(200, body=b"hello", headers={"Content-Length": "5"})
    origin.expect("GET /b").reply(200, NO_STORE, b"world")
    client.get("/b", {"Connection": "keep-alive"}, version="1.0").expect(200, body=b"world")


def test_http_1_0_client_without_host(origin, client):
    origin.expect("GET /a").reply(200, NO_STORE, b"hello")
    client.send_raw(b"GET /a HTTP/1.0\r\n\r\n")
    client.read_response().expect(200, body=b"hello")


def test_http_1_0_origin(origin, client):
    origin.expect("GET /a").send_raw(b"HTTP/1.0 200 OK\r\nCache-Control: no-store\r\n\r\nhello")
    client.get("/a").expect(200, body=b"hello")
    origin.expect("GET /b").send_raw(b"HTTP/1.0 200 OK\r\nCache-Control: no-store\r\nContent-Length: 5\r\n\r\nworld")
    client.get("/b").expect(200, body=b"world")
    assert origin.connections == 2


def test_larder_speaks_1_1_on_both_sides(origin, client):
    expectation = origin.expect("GET /a").send_raw(b"HTTP/1.0 200 OK\r\nCache-Control: no-store\r\nContent-Length: 1\r\n\r\nx")
    assert client.get("/a").version == "1.1"
    assert expectation.request.version == "1.1"


def test_a_later_minor_version_is_1_1(origin, client):
    """RFC 9110 §6.2, of requests and of responses: connections stay, chunks are understood, and our own version goes out (RFC 9112 §2.3)."""
    origin.expect("POST /a").send_raw(b"HTTP/1.2 200 OK\r\nCache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    response = client.post("/a", b"body", version="1.2", chunked=True).expect(200, body=b"hello")
    assert (response.version, origin.last.version, origin.last.body) == ("1.1", "1.1", b"body")
    origin.expect("GET /b").reply(200, NO_STORE, b"again")
    client.get("/b", version="1.9").expect(200, body=b"again")
    assert client.connections == 1


def test_connections_to_clients_are_kept(origin, client):
    for number in range(5):
        origin.expect(f"GET /{number}").reply(200, NO_STORE, b"x")
        client.get(f"/{number}").expect(200)
    assert client.connections == 1


def test_connections_to_the_origin_are_kept(origin, client):
    for number in range(5):
        origin.expect(f"GET /{number}").reply(200, NO_STORE, b"x")
        client.get(f"/{number}").expect(200)
    assert origin.connections == 1


def test_an_empty_body_is_none_for_a_kept_connection(origin, client):
    """Such a request may go out again, so a connection that may be dead is good enough for it."""
    for number in range(2):
        origin.expect(f"GET /{number}").reply(200, NO_STORE, b"x")
        client.get(f"/{number}", body=b"").expect(200)
    assert origin.connections == 1


def test_an_origin_that_closes_is_not_reused(origin, client):
    for number in range(3):
        origin.expect(f"GET /{number}").reply(200, NO_STORE, b"x", close=True)
        client.get(f"/{number}").expect(200)
    assert origin.connections == 3


def test_connection_close_from_the_client(origin, client):
    origin.expect("GET /a").reply(200, NO_STORE, b"x")
    client.get("/a", {"Connection": "close"}).expect(200, headers={"Connection": re.compile("close")})
    client.expect_closed()


def test_pipelined_requests_are_answered_in_order(origin, client):
    gate = origin.gate()
    origin.expect("GET /1").reply(200, NO_STORE, b"one", hold=gate)
    origin.expect("GET /2").reply(200, NO_STORE, b"two")
    origin.expect("POST /3", body=b"body").reply(200, NO_STORE, b"three")
    origin.expect("GET /4").reply(200, NO_STORE, b"four")
    client.send_raw(client.encode("GET", "/1") + client.encode("GET", "/2") + client.encode("POST", "/3", body=b"body") +
                    client.encode("GET", "/4"))
    gate.wait_reached()
    gate.open()
    for body in (b"one", b"two", b"three", b"four"):
        client.read_response().expect(200, body=body)


def test_many_pipelined_requests(origin, client):
    origin.expect("GET /a").reply(200, {"Cache-Control": "max-age=60"}, b"hello")
    client.get("/a").expect(200)
    client.send_raw(client.encode("GET", "/a") * 300)
    for _ in range(300):
        client.read_response().expect(200, body=b"hello", cache="hit")


def test_requests_in_pieces(origin, client):
    """A request that arrives byte by byte is the same request."""
    origin.expect("POST /p?q", {"X-Name": "value"}, body=b"hello").reply(200, NO_STORE, b"ok")
    client.connect()
    for byte in client.encode("POST", "/p?q", {"X-Name": "value"}, b"hello"):
        client.send_raw(bytes([byte]))
    client.read_response().expect(200, body=b"ok")


def test_responses_in_pieces(origin, client):
    def action(exchange):
        for byte in b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n":
            exchange.send(bytes([byte]))

    origin.expect("GET /a").handle(action)
    client.get("/a").expect(200, body=b"hello!")


def test_empty_lines_before_a_request(origin, client):
    """RFC 9112 §2.2: at least one empty line before the request line is ignored."""
    origin.expect("GET /a").reply(200, NO_STORE, b"x")
    client.send_raw(b"\r\n" + client.encode("GET", "/a"))
    client.read_response().expect(200)


def test_a_hit_drains_the_request_body(origin, client):
    """What is left of a body never becomes the next request."""
    origin.expect("GET /a").reply(200, {"Cache-Control": "max-age=60"}, b"hello")
    client.get("/a").expect(200)
    origin.expect("GET /b").reply(200, NO_STORE, b"b")
    origin.on("GET /a", lambda exchange: exchange.reply(200, {"Cache-Control": "max-age=60"}, b"hello"))
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: larder.test\r\n\r\n"
    client.request("GET", "/a", body=smuggled).expect(200, body=b"hello")
    client.get("/b").expect(200, body=b"b")
    assert origin.count("/smuggled") == 0


def test_an_absolute_target_that_agrees_with_host(origin, client):
    """RFC 9112 §3.2.2; the origin gets the origin form."""
    origin.expect("GET /a?b", {"Host": "larder.test"}).reply(200, NO_STORE, b"x")
    client.get("http://larder.test/a?b", host="larder.test").expect(200)


def test_an_absolute_target_that_disagrees_with_host(client):
    """Which of the two is meant is a matter of opinion, and caches are poisoned that way: refused."""
    client.get("http://other.test/a", host="larder.test").expect(400)


# --- flow, refusals, the end --------------------------------------------------------------------------------------------------------

def test_a_stalled_client_stalls_the_origin(origin, client):
    """The origin is read only as fast as the client takes the bytes."""
    sent = [0]

    def action(exchange):
        exchange.send_head(200, {"Content-Length": 256 << 20, **NO_STORE})
        piece = bytes(1 << 20)
        for _ in range(256):
            exchange.send(piece)
            sent[0] += len(piece)

    origin.expect("GET /big").handle(action)
    response = client.begin("GET", "/big")
    before = -1
    while sent[0] != before:  # until the origin cannot send more
        before = sent[0]
        time.sleep(0.2)  # nothing tells that no more will be sent; too short a wait proves less, and fails nothing
    assert sent[0] < 128 << 20
    total = 0
    while True:
        piece = response.stream.some()
        if not piece:
            break
        total += len(piece)
    assert total == 256 << 20


def test_cache_status_on_answers_of_our_own(client):
    """Cache-Status is on every response; the client asserts it, here on a refusal."""
    client.send_raw(b"GET / HTTP/1.1\r\n\r\n")
    client.read_response().expect(400, cache="detail=bad-request")


def test_the_strict_reader_is_strict():
    """The test's own reader refuses what it is there to refuse."""
    left, right = socket.socketpair()
    with left, right:
        left.sendall(b"HTTP/1.1 200 OK\n")
        with pytest.raises(Malformed):
            Reader(right).line()


def test_idle_connections_do_not_delay_the_end(origin, larder):
    proxy = larder(origin, config='[server]\nshutdown_timeout = "10m"\n')
    clients = [Client(proxy).connect() for _ in range(3)]
    origin.expect("GET /a").reply(200, NO_STORE, b"x")
    clients[0].get("/a").expect(200)
    proxy.process.terminate()
    assert proxy.process.wait(TIMEOUT) == 0


def test_sigterm_lets_running_responses_end(origin, larder):
    proxy = larder(origin)
    client = Client(proxy)
    gate = origin.gate()
    origin.expect("GET /a").reply(200, NO_STORE, [b"first", gate, b"second"])
    response = client.begin("GET", "/a")
    assert response.stream.exact(5) == b"first"
    proxy.process.terminate()

    def refused():
        try:
            Client(proxy).connect()
            return False
        except OSError:
            return True

    wait_until(refused, "the listener to close")
    gate.open()
    assert response.body == b"second"
    assert proxy.process.wait(TIMEOUT) == 0


def test_sigint_ends_too(larder, origin):
    proxy = larder(origin)
    proxy.process.send_signal(2)
    assert proxy.process.wait(TIMEOUT) == 0
