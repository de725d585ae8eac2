"""One reading of every message, on both sides (RFC 9112): beside the tables of test_06_malformed.py what two readers could take differently.

A request that can be read in two ways is 400 and the end of its connection; a response that can, 502 and the end of the origin's. What is
passed on is rebuilt from what was understood, never copied.
"""

import socket

import pytest
from support.client import Client
from support.say import NO_STORE, fresh
from support.wire import Malformed, Truncated, wait_until

HOST = b"Host: larder.test\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: larder.test\r\n\r\n"


# --- requests that two readers take differently -------------------------------------------------------------------------------------

def post(*lines):
    return b"POST /p HTTP/1.1\r\n" + HOST + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def get(target=b"/", *lines, host=HOST):
    return b"GET " + target + b" HTTP/1.1\r\n" + host + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


TWO_READINGS = {
    "an absolute target of another host": get(b"http://other.test/"),
    "an absolute target of another port": get(b"http://larder.test:81/"),
    "an absolute target with user information": get(b"http://larder.test@evil.test/"),
    "an absolute target and two Hosts": get(b"http://larder.test/", b"Host: larder.test"),
    "an absolute target without Host": get(b"http://larder.test/", host=b""),
    "an authority for GET": get(b"larder.test:80"),
    "a target of two paths": get(b"/a /b"),
    "Host with a list": get(host=b"Host: larder.test, evil.test\r\n"),
    "Host with a tab": get(host=b"Host: larder.test\tevil.test\r\n"),
    "Host with a quote": get(host=b'Host: "larder.test"\r\n'),
    "Host with an empty port and a path": get(host=b"Host: larder.test:/\r\n"),
    "Host with NUL": get(host=b"Host: larder.test\0.evil.test\r\n"),
    "Host with an escaped NUL": get(host=b"Host: larder.test%00.evil.test\r\n"),
    "Host with an escaped delimiter": get(host=b"Host: larder.test%2F.evil.test\r\n"),
    "Host with escaped user information": get(host=b"Host: larder.test%40evil.test\r\n"),
    "Host twice in other letters": get(host=HOST + b"hOST: evil.test\r\n"),
    "Host folded": get(host=b"Host:\r\n larder.test\r\n"),
    "a length with a leading space in its name": post(b" Content-Length: 5") + b"hello",
    "a length after a tab": post(b"Content-Length\t: 5") + b"hello",
    "a length with a comma": post(b"Content-Length: 5,") + b"hello",
    "a length with a dot": post(b"Content-Length: 5.0") + b"hello",
    "a length with an underscore": post(b"Content-Length: 1_0") + b"hello",
    "a length with an exponent": post(b"Content-Length: 1e1") + b"hello",
    "a length with a form feed": post(b"Content-Length: \x0c5") + b"hello",
    "a length in other digits": post("Content-Length: \u0665".encode()) + b"hello",
    "a length with leading zeros": post(b"Content-Length: 0005") + b"hello",
    "a length twice, once empty": post(b"Content-Length: 5", b"Content-Length:") + b"hello",
    "a length hidden by Connection beside a coding": post(b"Connection: Content-Length", b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "a coding hidden by Connection beside a length": post(b"Connection: Transfer-Encoding", b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "identity beside a length": post(b"Content-Length: 5", b"Transfer-Encoding: identity") + b"hello",
    "identity": post(b"Transfer-Encoding: identity") + b"hello",
    "a list of chunked": post(b"Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n",
    "chunked and an empty member": post(b"Transfer-Encoding: ,chunked") + b"0\r\n\r\n",
    "chunked with a trailing comma": post(b"Transfer-Encoding: chunked,") + b"0\r\n\r\n",
    "chunked in quotes": post(b'Transfer-Encoding: "chunked"') + b"0\r\n\r\n",
    "chunked with a suffix": post(b"Transfer-Encoding: chunkedx") + b"0\r\n\r\n",
    "chunked with a trailing control": post(b"Transfer-Encoding: chunked\x0b") + b"0\r\n\r\n",
    "chunked folded": post(b"Transfer-Encoding:\r\n chunked") + b"0\r\n\r\n",
    "a coding after NUL": post(b"X: a\0", b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "a name with a control": get(b"/", b"X\x01: 1"),
    "a name beyond ASCII": get(b"/", b"X\xfc: 1"),
    "a name in brackets": get(b"/", b"[X]: 1"),
    "a value with DEL": get(b"/", b"X: \x7f"),
    "CR before the empty line": b"GET / HTTP/1.1\r\n" + HOST + b"\r\r\n",
    "an extra CR at a line's end": b"GET / HTTP/1.1\r\r\n" + HOST + b"\r\n",
    "a version with leading zeros": b"GET / HTTP/01.1\r\n" + HOST + b"\r\n",
    "a version with another digit": b"GET / HTTP/1.10\r\n" + HOST + b"\r\n",
    "a method with a control": b"GE\x01T / HTTP/1.1\r\n" + HOST + b"\r\n",
    "an empty method": b" / HTTP/1.1\r\n" + HOST + b"\r\n",
}


@pytest.mark.parametrize("name", TWO_READINGS)
def test_two_readings_of_a_request(origin, client, name):
    client.send_refused(TWO_READINGS[name] + SMUGGLED, 400, 501, 505)
    assert origin.count() == 0


# --- requests that have one reading -------------------------------------------------------------------------------------------------

def test_what_is_passed_on_is_rebuilt(origin, client):
    """Chunks, extensions and the spelling of framing are the hop's own (RFC 9112 §7)."""
    origin.expect("POST /p", {"Transfer-Encoding": "chunked", "Content-Length": None}, body=b"helloworld").reply(200, NO_STORE)
    client.send_raw(b"POST /p HTTP/1.1\r\n" + HOST + b"tRANSFER-eNCODING: \t ChUnKeD \r\n\r\n" b"005;ext=\"a;b\"\r\nhello\r\n5\r\nworld\r\n000\r\n\r\n")
    client.read_response().expect(200)
    origin.expect("POST /p", {"Content-Length": "5"}, body=b"hello").reply(200, NO_STORE)
    client.send_raw(b"POST /p HTTP/1.1\r\n" + HOST + b"content-LENGTH:  5 \r\n\r\nhello")
    client.read_response().expect(200)


@pytest.mark.parametrize("nominated", ["Content-Length", "Transfer-Encoding", "Host", "Cookie", "Authorization", "Cache-Control", "Range", "If-Match"])
def test_connection_takes_nothing_essential_away(origin, client, nominated):
    fields = {"Cookie": "a=b", "Authorization": "Basic eA==", "Cache-Control": "no-store", "Range": "bytes=0-1", "If-Match": '"x"'}
    want = {**fields, "Host": "larder.test", "Connection": None}
    origin.expect("POST /p", want, body=b"hello").reply(200, NO_STORE)
    client.post("/p", b"hello", {**fields, "Connection": f"keep-alive, {nominated}"}).expect(200)


def test_an_absolute_target_that_agrees(origin, client):
    origin.expect("GET /a", {"Host": "larder.test"}).reply(200, fresh(), b"hello")
    client.send_raw(get(b"http://LARDER.test:80/a"))
    client.read_response().expect(200, body=b"hello")
    client.get("/a").expect(200, cache="hit")


def test_a_body_that_nobody_reads_is_never_a_request(origin, client):
    """A hit, and a request that is answered by larder itself, leave their body to be taken off first."""
    origin.expect("GET /a").reply(200, fresh(), b"hello")
    client.get("/a").expect(200)
    body = SMUGGLED
    client.send_raw(b"GET /none HTTP/1.1\r\n" + HOST + b"Cache-Control: only-if-cached\r\nExpect: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    client.read_response().expect(417)
    client.close()
    client.get("/a").expect(200, cache="hit")
    assert origin.count("/smuggled") == 0


# --- responses ----------------------------------------------------------------------------------------------------------------------

def answer(*lines, body=b"hello", status=b"200 OK"):
    return b"HTTP/1.1 " + status + b"\r\nCache-Control: max-age=60\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


BAD_HEADS = {
    "a length twice": answer(b"Content-Length: 5", b"Content-Length: 5"),
    "a list of lengths": answer(b"Content-Length: 5, 5"),
    "a length with a space": answer(b"Content-Length: 5 5"),
    "an empty length": answer(b"Content-Length:"),
    "a hexadecimal length": answer(b"Content-Length: 0x5"),
    "a length beyond 63 bits": answer(b"Content-Length: 18446744073709551615"),
    "a length and a coding": answer(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n"),
    "chunked twice": answer(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "chunked with a parameter": answer(b"Transfer-Encoding: chunked;a", body=b"0\r\n\r\n"),
    "a folded field": answer(b"X: a", b" b", b"Content-Length: 5"),
    "a folded first field": b"HTTP/1.1 200 OK\r\n X: a\r\nContent-Length: 5\r\n\r\nhello",
    "a tab before the colon": answer(b"Content-Length\t: 5"),
    "a name with a space": answer(b"X Name: 1", b"Content-Length: 5"),
    "a control in a value": answer(b"X: \x01", b"Content-Length: 5"),
    "CR hides a field": answer(b"X: a\rSet-Cookie: evil=1", b"Content-Length: 5"),
    "LF for the empty line": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\nhello",
    "HTTP/0.9": b"hello",
    "HTTP/1.10": b"HTTP/1.10 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "two spaces before the status": b"HTTP/1.1  200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "a status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 5\r\n\r\nhello",
    "a status with a sign": b"HTTP/1.1 +20 OK\r\nContent-Length: 5\r\n\r\nhello",
    "NUL in the reason": b"HTTP/1.1 200 O\0K\r\nContent-Length: 5\r\n\r\nhello",
    "101 that nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n" + answer(b"Content-Length: 5"),
}


@pytest.mark.parametrize("name", BAD_HEADS)
def test_two_readings_of_a_response(origin, client, name):
    """502, nothing stored, and that connection is closed by larder."""
    origin.expect("GET /a").send_raw(BAD_HEADS[name], close=name == "HTTP/0.9")
    client.get("/a").expect(502, cache="!stored; detail=origin-failed")
    wait_until(lambda: not origin.open_sockets, "the connection to the origin to close")
    origin.expect("GET /a").reply(200, fresh(), b"good")
    client.get("/a").expect(200, body=b"good", cache="!hit")


BAD_BODIES = {
    "a bad chunk size": b"5\r\nhello\r\nzz\r\n",
    "a chunk size that overflows": b"fffffffffffffffff\r\n",
    "LF after a chunk": b"5\r\nhello\n0\r\n\r\n",
    "endless extensions": b"5;" + b"x" * 100000 + b"\r\nhello\r\n0\r\n\r\n",
    "a bad trailer": b"5\r\nhello\r\n0\r\nX : 1\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_bad_chunks_of_a_response(origin, client, name):
    """The client sees that it broke off; nothing of it is served again, and the connection is closed."""
    origin.expect("GET /a").send_raw(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n" + BAD_BODIES[name], close=False)
    response = client.begin("GET", "/a")
    if response.status == 200:
        with pytest.raises(Malformed):
            _ = response.body
    else:
        response.expect(502)
    client.close()
    wait_until(lambda: not origin.open_sockets, "the connection to the origin to close")
    origin.expect("GET /a").reply(200, fresh(), b"good")
    client.get("/a").expect(200, body=b"good", cache="!hit")


EVIL = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\nevil"

TOO_MUCH = {
    "behind a length": ("GET", answer(b"Content-Length: 5") + EVIL, 200, b"hello"),
    "behind the last chunk": ("GET", answer(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n") + EVIL, 200, b"hello"),
    "behind a 204": ("GET", b"HTTP/1.1 204 No Content\r\nCache-Control: no-store\r\n\r\n" + EVIL, 204, b""),
    "behind the answer to HEAD": ("HEAD", answer(b"Content-Length: 5", body=b"hello") + EVIL, 200, b""),
    "behind a length of 0": ("GET", answer(b"Content-Length: 0", body=b"") + EVIL, 200, b""),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_bytes_behind_a_response_poison_that_connection_only(origin, client, name):
    method, raw, status, body = TOO_MUCH[name]
    origin.expect(f"{method} /a").send_raw(raw, close=False)
    as_it_is = {"If-Match": '"v"'} if method == "HEAD" else {}  # no GET in its place
    client.request(method, "/a", as_it_is).expect(status, body=body)
    origin.expect("GET /b").reply(200, NO_STORE, b"good")
    client.get("/b").expect(200, body=b"good")
    assert origin.requests[0].connection != origin.requests[1].connection


def test_what_connection_names_in_a_response(origin, client):
    """It takes hop-by-hop fields away, not the length, the cookie, or what caches go by (RFC 9110 §7.6.1)."""
    origin.expect("GET /a").reply(200, {"Cache-Control": "no-store", "Connection": "X-Hop, Cache-Control, Set-Cookie, Content-Length",
                                        "X-Hop": "1", "Set-Cookie": "a=b"}, b"hello")
    client.get("/a").expect(200, body=b"hello", headers={"X-Hop": None, "Set-Cookie": "a=b", "Cache-Control": "no-store"}, cache="!stored")


def test_a_length_in_a_204(origin, client):
    """RFC 9110 §8.6: it means nothing there, and is not passed on."""
    origin.expect("GET /a").send_raw(b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\nCache-Control: no-store\r\n\r\n")
    client.get("/a").expect(204, headers={"Content-Length": None})


@pytest.mark.parametrize("framing", [("Content-Length", "5"), ("Transfer-Encoding", "chunked")])
def test_framing_of_a_1xx(origin, client, framing):
    """RFC 9110 §8.6, RFC 9112 §6.1: it has no content, and nothing that says so is passed on."""
    origin.expect("GET /a").reply(200, NO_STORE, b"hello", interim=[(103, {"Link": "</style.css>", framing[0]: framing[1]})])
    response = client.get("/a").expect(200, body=b"hello")
    assert [(status, fields.get("Link"), framing[0] in fields) for status, fields in response.informational] == [(103, "</style.css>", False)]


def test_pipelined_requests_get_their_own_answers(origin, proxy):
    client = Client(proxy)
    origin.on("GET /*", lambda exchange: exchange.reply(200, NO_STORE, exchange.request.path.encode()))
    client.send_raw(b"".join(client.encode("GET", f"/{number}") for number in range(20)))
    for number in range(20):
        client.read_response().expect(200, body=b"/%d" % number)


def test_what_was_answered_before_a_break_arrives(origin, larder):
    """Pipelined: the response that breaks off takes nothing with it of the one before, which its client has not read yet."""
    whole = b"0123456789" * 20_000
    proxy = larder(origin, flags=["--workers", "1"])
    client = Client(proxy)
    origin.expect("GET /whole").reply(200, fresh(), whole)
    client.get("/whole").expect(200, body=whole)
    gate = origin.gate()

    def breaks_off(exchange):
        exchange.send(answer(b"Content-Length: 10"))
        gate.wait()
        exchange.close()

    origin.expect("GET /broken").handle(breaks_off)
    client.connect()
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
    client.send_raw(client.encode("GET", "/whole") + client.encode("GET", "/broken"))
    gate.wait_reached()
    other = Client(proxy).begin("GET", "/broken").expect(200, cache="collapsed")  # both have the head
    assert other.stream.some() == b"hello"
    gate.open()
    proxy.wait_logged("origin broke off")
    client.read_response().expect(200, body=whole, cache="hit")
    response = client.read_head().expect(200)
    assert response.stream.some() == b"hello"
    for broken in (response, other):
        with pytest.raises(Truncated):
            broken.stream.some()
