"""Messages that are no HTTP, on both sides: a request is refused and its connection closed, a response is a 502."""

import pytest
from support.client import Client
from support.say import NO_STORE, always, fresh
from support.wire import Malformed, wait_until

# --- malformed requests -------------------------------------------------------------------------------------------------------------

HOST = b"Host: larder.test\r\n"

MALFORMED = {
    "no HTTP at all": (b"hello\r\n\r\n", 400),
    "HTTP/0.9": (b"GET /\r\n\r\n", 400),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
    "HTTP/3.0": (b"GET / HTTP/3.0\r\n" + HOST + b"\r\n", 505),
    "the HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), 400),
    "the first byte of TLS": (b"\x16", 400),
    "http in lower case": (b"GET / http/1.1\r\n" + HOST + b"\r\n", 400),
    "no target": (b"GET  HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "two spaces": (b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a space in the target": (b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a tab for a space": (b"GET\t/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a space at the end": (b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n", 400),
    "a space before the method": (b" GET / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a fragment": (b"GET /a#b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a backslash in the target": (b"GET /a\\b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "bytes above ASCII in the target": (b"GET /\xfc HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a control character in the target": (b"GET /\x01 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a relative target": (b"GET a HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a star for GET": (b"GET * HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a method that is no token": (b"GE(T / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "an empty Host": (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
    "two Hosts": (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
    "a Host with a path": (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    "a Host with a space": (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    "a Host with user information": (b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
    "a Host with a bad port": (b"GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n", 400),
    "a line without colon": (b"GET / HTTP/1.1\r\n" + HOST + b"X-Name\r\n\r\n", 400),
    "a space before the colon": (b"GET / HTTP/1.1\r\n" + HOST + b"X-Name : 1\r\n\r\n", 400),
    "an empty name": (b"GET / HTTP/1.1\r\n" + HOST + b": 1\r\n\r\n", 400),
    "a name with a space": (b"GET / HTTP/1.1\r\n" + HOST + b"X Name: 1\r\n\r\n", 400),
    "a first line that is folded": (b"GET / HTTP/1.1\r\n " + HOST + b"\r\n", 400),
    "a folded line": (b"GET / HTTP/1.1\r\n" + HOST + b"X-Name: a\r\n b\r\n\r\n", 400),
    "a folded line with a tab": (b"GET / HTTP/1.1\r\n" + HOST + b"X-Name: a\r\n\tb\r\n\r\n", 400),
    "NUL in a field": (b"GET / HTTP/1.1\r\n" + HOST + b"X-Name: a\0b\r\n\r\n", 400),
    "a control character in a field": (b"GET / HTTP/1.1\r\n" + HOST + b"X-Name: a\x07b\r\n\r\n", 400),
    "CR in a field": (b"GET / HTTP/1.1\r\n" + HOST + b"X-Name: a\rb\r\n\r\n", 400),
    "CR that hides a field": (b"POST / HTTP/1.1\r\n" + HOST + b"X: \rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "LF after the request line": (b"GET / HTTP/1.1\n" + HOST + b"\r\n", 400),
    "LF after a field": (b"GET / HTTP/1.1\r\n" + HOST + b"X-Name: 1\n\r\n", 400),
    "LF for the empty line": (b"GET / HTTP/1.1\r\n" + HOST + b"\n", 400),
    "Content-Length and Transfer-Encoding": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "Transfer-Encoding and Content-Length": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
    "two lengths": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", 400),
    "a length twice": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
    "a list of lengths": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5, 5\r\n\r\nhello", 400),
    "a signed length": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +5\r\n\r\nhello", 400),
    "a negative length": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: -5\r\n\r\nhello", 400),
    "a hexadecimal length": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 0x5\r\n\r\nhello", 400),
    "an empty length": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length:\r\n\r\n", 400),
    "a length with a space in it": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5 5\r\n\r\nhello", 400),
    "a length beyond 64 bits": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999999999999999\r\n\r\n", (400, 413)),
    "a length beyond 63 bits": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 18446744073709551615\r\n\r\n", (400, 413)),
    "another coding": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\n", (400, 501)),
    "a coding before chunked": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", (400, 501)),
    "chunked that is not last": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", (400, 501)),
    "chunked twice": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (400, 501)),
    "chunked with a parameter": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n", (400, 501)),
    "chunked with a vertical tab": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", (400, 501)),
    "an empty coding": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding:\r\n\r\n", (400, 501)),
    "chunked in HTTP/1.0": (b"POST / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (400, 501)),
    "a space before the colon of a framing field": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    "an absolute target of another scheme": (b"GET ftp://larder.test/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_requests_are_refused(origin, client, name):
    """An answer, the end of the connection, and nothing for the origin: a second request in the same bytes is never seen."""
    raw, statuses = MALFORMED[name]
    client.send_refused(raw + client.encode("GET", "/smuggled"), *(statuses if isinstance(statuses, tuple) else (statuses,)))
    assert origin.count() == 0


BAD_BODIES = {
    "no chunk size": b"hello\r\n",
    "an empty chunk size": b"\r\nhello\r\n0\r\n\r\n",
    "a signed chunk size": b"+5\r\nhello\r\n0\r\n\r\n",
    "a chunk size with 0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "a space before the chunk size": b" 5\r\nhello\r\n0\r\n\r\n",
    "a chunk size beyond 64 bits": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "LF after the chunk size": b"5\nhello\r\n0\r\n\r\n",
    "CR after the chunk size": b"5\rhello\r\n0\r\n\r\n",
    "LF in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "no line end after a chunk": b"5\r\nhello0\r\n\r\n",
    "LF after a chunk": b"5\r\nhello\n0\r\n\r\n",
    "a chunk that is longer than it says": b"4\r\nhello\r\n0\r\n\r\n",
    "LF after the last chunk": b"5\r\nhello\r\n0\n\n",
    "a bad trailer": b"5\r\nhello\r\n0\r\nX : 1\r\n\r\n",
    "a folded trailer": b"5\r\nhello\r\n0\r\nX: 1\r\n 2\r\n\r\n",
    "a size with a sign": b"-1\r\n",
    "a size in other letters": b"5g\r\nhello\r\n0\r\n\r\n",
    "a space behind the size": b"5 \r\nhello\r\n0\r\n\r\n",
    "a tab behind the size": b"5\t\r\nhello\r\n0\r\n\r\n",
    "a size that overflows": b"fffffffffffffffff\r\n",
    "a size of 64 bits": b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "many leading zeros": b"0" * 100000 + b"5\r\nhello\r\n0\r\n\r\n",
    "CR alone in an extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "NUL in an extension": b"5;a\0\r\nhello\r\n0\r\n\r\n",
    "a trailer without colon": b"5\r\nhello\r\n0\r\nX\r\n\r\n",
    "NUL in a trailer": b"5\r\nhello\r\n0\r\nX: \0\r\n\r\n",
    "LF ends a trailer": b"5\r\nhello\r\n0\r\nX: 1\n\r\n",
    "endless extensions": b"5;" + b"x" * 100000 + b"\r\nhello\r\n0\r\n\r\n",
    "endless trailers": b"5\r\nhello\r\n0\r\n" + b"X: " + b"x" * 100000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_malformed_bodies_are_refused(origin, client, name):
    """The origin may have seen the beginning, never the end of it."""
    origin.on("POST /p", always(200, NO_STORE))
    head = b"POST /p HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    client.send_refused(head + BAD_BODIES[name] + client.encode("GET", "/smuggled"), 400, 413, 431)
    assert all(request.body is None for request in origin.requests), origin.requests
    assert origin.count("/smuggled") == 0


def test_a_client_that_leaves_in_the_body(origin, proxy, client):
    """The origin never sees a whole request."""
    origin.on("POST /p", always(200, NO_STORE))
    client.send_raw(b"POST /p HTTP/1.1\r\n" + HOST + b"Content-Length: 100\r\n\r\nhalf")
    origin.wait_count(1)
    client.close()
    wait_until(lambda: not origin.open_sockets, "the connection to the origin to close")
    assert origin.requests[0].body is None
    origin.expect("GET /b").reply(200, NO_STORE)
    Client(proxy).get("/b").expect(200)


# --- malformed responses ------------------------------------------------------------------------------------------------------------

BAD_RESPONSES = {
    "nothing": b"",
    "no HTTP at all": b"hello\r\n\r\n",
    "half a status line": b"HTTP/1.1 20",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "no status": b"HTTP/1.1 OK\r\nContent-Length: 5\r\n\r\nhello",
    "status 99": b"HTTP/1.1 99 X\r\nContent-Length: 5\r\n\r\nhello",
    "status 600": b"HTTP/1.1 600 X\r\nContent-Length: 5\r\n\r\nhello",
    "status 2000": b"HTTP/1.1 2000 X\r\nContent-Length: 5\r\n\r\nhello",
    "a line without colon": b"HTTP/1.1 200 OK\r\nX-Name\r\nContent-Length: 5\r\n\r\nhello",
    "a space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello",
    "an empty name": b"HTTP/1.1 200 OK\r\n: 1\r\nContent-Length: 5\r\n\r\nhello",
    "a folded line": b"HTTP/1.1 200 OK\r\nX-Name: a\r\n b\r\nContent-Length: 5\r\n\r\nhello",
    "NUL in a field": b"HTTP/1.1 200 OK\r\nX-Name: a\0b\r\nContent-Length: 5\r\n\r\nhello",
    "CR in a field": b"HTTP/1.1 200 OK\r\nX-Name: a\rb\r\nContent-Length: 5\r\n\r\nhello",
    "LF after the status line": b"HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\nhello",
    "LF after a field": b"HTTP/1.1 200 OK\r\nContent-Length: 5\n\r\nhello",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "a signed length": b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhello",
    "a length beyond 64 bits": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nhello",
    "Content-Length and Transfer-Encoding": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "a head without end": b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"x" * 200000,
    "too many fields": b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 5000 + b"Content-Length: 5\r\n\r\nhello",
    "endless informational responses": b"HTTP/1.1 103 Early Hints\r\nX: " + b"x" * 200000,
}


@pytest.mark.parametrize("name", BAD_RESPONSES)
def test_malformed_responses_are_502(origin, client, name):
    origin.expect("GET /a").send_raw(BAD_RESPONSES[name])
    client.get("/a").expect(502, cache="!stored; detail=origin-failed")
    origin.expect("GET /a").reply(200, fresh(), b"good")
    client.get("/a").expect(200, body=b"good", cache="!hit")


BAD_RESPONSE_BODIES = {
    "shorter than its length": b"Content-Length: 10\r\n\r\nhello",
    "no chunk size": b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nworld\r\n",
    "no last chunk": b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "half a chunk": b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nwo",
    "no line end after a chunk": b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\n",
    "no end of the trailers": b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    "LF for line ends": b"Transfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n",
}


def read_raw(client):
    """(what comes to the end of the connection, and whether that is a reset)"""
    received = b""
    try:
        while piece := client.sock.recv(65536):
            received += piece
    except ConnectionResetError:
        return received, True
    return received, False


@pytest.mark.parametrize("name", BAD_RESPONSE_BODIES)
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_broken_bodies_are_never_whole(origin, client, name, version):
    """The client sees that the response broke off, and nothing of it is served again."""
    origin.expect("GET /a").send_raw(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n" + BAD_RESPONSE_BODIES[name])
    client.send("GET", "/a", version=version)
    if version == "1.0" and b"chunked" in BAD_RESPONSE_BODIES[name]:
        received, reset = read_raw(client)
        assert reset or received.startswith(b"HTTP/1.1 502 "), received
    else:
        response = client.read_head()
        if response.status == 200:
            with pytest.raises(Malformed):
                _ = response.body
        else:
            response.expect(502)
    client.close()
    origin.expect("GET /a").reply(200, fresh(), b"good")
    client.get("/a").expect(200, body=b"good", cache="!hit")


FIRST_CHUNK = b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"


@pytest.mark.parametrize("name", [name for name, text in BAD_RESPONSE_BODIES.items() if text.startswith(FIRST_CHUNK)])
def test_a_body_that_ends_with_the_connection_and_breaks_off(origin, client, name):
    """RFC 9112 §8: to an HTTP/1.0 client an ordinary end would say that this was all, so it gets a reset."""
    gate = origin.gate()

    def breaks_off(exchange):
        exchange.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n" + FIRST_CHUNK)
        gate.wait()
        exchange.send(BAD_RESPONSE_BODIES[name].removeprefix(FIRST_CHUNK))
        exchange.close()

    origin.expect("GET /a").handle(breaks_off)
    response = client.begin("GET", "/a", version="1.0").expect(200, headers={"Transfer-Encoding": None, "Content-Length": None})
    assert response.stream.exact(5) == b"hello"
    gate.open()
    _, reset = read_raw(client)
    assert reset, "it ends like a whole one"
    client.close()
    origin.expect("GET /a").reply(200, fresh(), b"good")
    client.get("/a").expect(200, body=b"good", cache="!hit")


def test_bytes_behind_a_response(origin, client):
    """Response splitting: what follows the length is nobody's answer, and that connection is not used again."""
    origin.expect("GET /a").handle(lambda exchange: exchange.send(
        b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"))
    client.get("/a").expect(200, body=b"hello")
    origin.expect("GET /b").reply(200, NO_STORE, b"good")
    client.get("/b").expect(200, body=b"good")
    assert origin.requests[0].connection != origin.requests[1].connection


@pytest.mark.parametrize("field", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_a_204_that_promises_content(origin, client, field):
    """RFC 9110 §8.6: it has none. Should some come nevertheless, it is not the answer to who asks next."""
    origin.expect("GET /a").send_raw(f"HTTP/1.1 204 No Content\r\nCache-Control: no-store\r\n{field}\r\n\r\n".encode(), close=False)
    client.get("/a").expect(204, headers={"Content-Length": None, "Transfer-Encoding": None})
    origin.expect("GET /b").reply(200, NO_STORE, b"good")
    client.get("/b").expect(200, body=b"good")
    assert origin.requests[0].connection != origin.requests[1].connection


def test_bytes_before_a_request(origin, client):
    """What an idle origin connection says on its own is nobody's answer."""
    first = origin.expect("GET /a").handle(
        lambda exchange: (exchange.reply(200, NO_STORE, b"a"), exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")))
    client.get("/a").expect(200, body=b"a")
    first.wait_answered()  # what comes only while a request waits for its answer cannot be told from the answer
    origin.expect("GET /b").reply(200, NO_STORE, b"good")
    client.get("/b").expect(200, body=b"good")


def test_an_unknown_transfer_coding(origin, client):
    """RFC 9112 §6.1: read to the end of the connection, framed by us, never stored."""
    origin.on("GET /a", lambda exchange: (exchange.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: gzip\r\n\r\nwhatever"),
                                          exchange.close()))
    for _ in range(2):
        client.get("/a").expect(200, body=b"whatever", cache="!stored; !hit; detail=unknown-coding")


def test_a_strange_reason_phrase(origin, client):
    origin.expect("GET /a").send_raw(b"HTTP/1.1 200 \r\nContent-Length: 1\r\nCache-Control: no-store\r\n\r\nx")
    client.get("/a").expect(200, body=b"x")
    origin.expect("GET /b").send_raw(b"HTTP/1.1 299 gr\xfc\xdfe aus dem All\r\nContent-Length: 1\r\nCache-Control: no-store\r\n\r\nx")
    client.get("/b").expect(299, body=b"x")


def test_a_very_long_vary_is_harmless(origin, client):
    origin.on("GET /a", always(200, fresh(60, Vary="X-" + "a" * 20000)))
    client.get("/a").expect(200, cache="!stored")
