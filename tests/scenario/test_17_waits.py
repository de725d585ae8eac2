"""What waits has an end, whoever else has fallen silent."""

import contextlib
import json
import socket
import threading

import pytest
from support.admin import Admin
from support.client import Client, wait_read
from support.say import NO_STORE, fresh
from support.wire import TIMEOUT, wait_until

STALE = {"Cache-Control": "max-age=60, stale-while-revalidate=600", "Age": "60", "ETag": '"v1"'}
SLOW = '[[site]]\n[[site.rule]]\nname = "slow"\nstale_if_slow = "50ms"\n'
PIECE = bytes(64 * 1024)


# --- fetches behind -----------------------------------------------------------------------------------------------------------------

def endless(origin, given_up, hold=None):
    """Sends what must not be stored for as long as somebody takes it."""
    def answer(connection):
        if hold is not None:
            hold.wait()
        connection.send_head(200, {**NO_STORE, "Content-Length": str(1 << 40)})
        try:
            while True:
                connection.send(PIECE)
        except OSError:
            given_up.set()
        connection.close()
    origin.expect("GET /a").handle(answer)


def test_what_comes_behind_and_is_not_stored_is_given_up(origin, larder):
    client = Client(larder(origin, config="[server.limits]\nstream_buffer = \"64KiB\"\n"))
    given_up = threading.Event()
    origin.expect("GET /a").reply(200, STALE, b"old")
    client.get("/a").expect(200, body=b"old")
    endless(origin, given_up)
    client.get("/a").expect(200, body=b"old", cache="hit; detail=stale-while-revalidate")
    assert given_up.wait(TIMEOUT), "nobody wants it, and it is read on"


def test_what_comes_too_late_and_is_not_stored_is_given_up(origin, larder):
    config = "[server.limits]\nstream_buffer = \"64KiB\"\n" + SLOW
    client = Client(larder(origin, config=config))
    given_up = threading.Event()
    gate = origin.gate()
    origin.expect("GET /a").reply(200, {**fresh(60, Age="60"), "ETag": '"v1"'}, b"old")
    client.get("/a").expect(200, body=b"old")
    endless(origin, given_up, hold=gate)
    client.get("/a").expect(200, body=b"old", cache="detail=stale-if-slow")
    gate.open()
    assert given_up.wait(TIMEOUT), "nobody wants it, and it is read on"


# --- clients that wait for others ---------------------------------------------------------------------------------------------------

def test_collapse_wait_of_nothing(origin, larder):
    """Who is not to wait for another's fetch has one of his own."""
    proxy = larder(origin, config="[cache]\ncollapse_wait = \"0\"\n")
    gate = origin.gate()
    origin.expect("GET /a").reply(200, fresh(60), b"first", hold=gate)
    origin.expect("GET /a").reply(200, fresh(60), b"second")
    first = Client(proxy).send_raw(b"GET /a HTTP/1.1\r\nHost: larder.test\r\n\r\n")
    gate.wait_reached()
    Client(proxy).get("/a").expect(200, body=b"second")
    gate.open()
    first.read_head().expect(200, body=b"first")


def logged(log):
    """The only line of the access log, when it is there."""
    return json.loads(wait_until(lambda: log.exists() and log.read_text(encoding="utf-8"), "the line in the log"))


# --- both directions at once --------------------------------------------------------------------------------------------------------

def talker(origin, gate):
    """An origin that says much before it listens, and then the rest; or as much of it as it is left time for."""
    def answer(connection):
        connection.send_head(200, {**NO_STORE, "Content-Length": str(256 * len(PIECE) + 1)})
        with contextlib.suppress(OSError):
            for _ in range(256):
                connection.send(PIECE)
            gate.wait()
            connection.read_body()
            connection.send(b"x")
    origin.expect("POST /p").handle(answer, read_body=False)


def small_window(client):
    client.connect()
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)


def test_a_client_that_sends_and_never_reads(origin, larder):
    """However it goes on with its body, what it is sent must be taken."""
    proxy = larder(origin, config="[server.timeouts]\nclient_body = \"1h\"\nclient_write = \"300ms\"\norigin_between_bytes = \"1h\"\n"
                                  "[server.limits]\nstream_buffer = \"64MiB\"\n")
    client = Client(proxy)
    talker(origin, origin.gate())
    small_window(client)
    client.send_raw(b"POST /p HTTP/1.1\r\nHost: larder.test\r\nContent-Length: 1000000000\r\n\r\n")

    def is_refused():
        try:
            client.sock.send(b"d")
        except OSError:
            return True
        return False
    wait_until(is_refused, "the connection to end")


def test_a_client_that_reads_nothing_while_nobody_takes_its_body(origin, larder):
    """The time it has for its body is over only where it is asked for more of it."""
    proxy = larder(origin, config="[server.timeouts]\nclient_body = \"1s\"\norigin_between_bytes = \"1h\"\nclient_write = \"1h\"\n"
                                  "[server.limits]\nstream_buffer = \"64MiB\"\n")
    client, other = Client(proxy), Client(proxy)
    gate = origin.gate()
    talker(origin, gate)
    small_window(client)
    body = bytes(64 * 1024 * 1024)
    upload = threading.Thread(target=lambda: client.send_raw(
        f"POST /p HTTP/1.1\r\nHost: larder.test\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body))
    upload.start()
    gate.wait_reached()
    origin.on("POST /q", lambda exchange: None)
    other.send_raw(b"POST /q HTTP/1.1\r\nHost: larder.test\r\nContent-Length: 10\r\n\r\n")  # so long it may wait
    other.read_response().expect(408)
    assert upload.is_alive(), "all of it was taken"
    gate.open()
    client.read_response("POST").expect(200)
    upload.join()


def test_an_upload_that_stalls_behind_a_slow_reader(origin, larder):
    """The client takes what the origin has said so far, and then neither says more."""
    proxy = larder(origin, config="[server.timeouts]\nclient_body = \"4s\"\norigin_between_bytes = \"4s\"\n"
                                  "[server.limits]\nstream_buffer = \"64MiB\"\n")
    client = Client(proxy)
    gate = origin.gate()
    size = 256 * len(PIECE)

    def answer(connection):
        connection.send_head(200, {**NO_STORE, "Transfer-Encoding": "chunked"})
        connection.send(f"{size:x}\r\n".encode())
        for _ in range(256):
            connection.send(PIECE)
        gate.wait()
        connection.close()
    origin.expect("POST /p").handle(answer, read_body=False)
    client.connect()
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    client.send_raw(b"POST /p HTTP/1.1\r\nHost: larder.test\r\nContent-Length: 1000\r\n\r\nabc")
    gate.wait_reached()
    client.send_raw(b"d").wait_taken()
    received = 0
    client.sock.settimeout(TIMEOUT)
    try:
        while piece := client.sock.recv(1 << 20):
            received += len(piece)
    except ConnectionResetError:
        pass
    assert received > size


def test_an_upload_that_stalls_while_its_answer_waits(origin, larder, tmp_path):
    """The client takes nothing of an answer that it may leave lying for an hour: its body is due all the same."""
    log = tmp_path / "access"
    proxy = larder(origin, flags=["--access-log", log],
                   config="[server.timeouts]\nclient_body = \"2s\"\nclient_write = \"1h\"\norigin_between_bytes = \"1h\"\n"
                          "[server.limits]\nstream_buffer = \"64MiB\"\n")
    client = Client(proxy)
    gate = origin.gate()
    talker(origin, gate)
    small_window(client)
    client.send_raw(b"POST /p HTTP/1.1\r\nHost: larder.test\r\nContent-Length: 1000\r\n\r\nabc")
    line = logged(log)
    assert (line["end"], line["error"], line["status"], line["request_bytes"]) == ("client-timeout", "CLIENT_TIMEOUT", 200, 3)
    assert 0 < line["body_bytes"] < 256 * len(PIECE)
    wait_until(lambda: Admin(proxy).status()["connections"] == 0, "the connection to end")
    gate.open()
    wait_until(lambda: not origin.open_sockets, "the connection to the origin to end")


LINK = {"Link": f"</{'x' * 5000}>; rel=preload"}
HINTS = 80  # more than the kernel takes of them for a client that reads nothing


@pytest.fixture
def reads_late(origin, larder, tmp_path):
    """() → (a client that does not read yet, the log of it): a unix socket takes little when nobody reads."""
    def connected(client_body="1h", client_write="1h"):
        path, log = tmp_path / "sock", tmp_path / "access"
        proxy = larder(origin, listen=(), flags=["--access-log", log],
                       config=f'[server]\nlisten = ["127.0.0.1:0", "unix:{path}"]\n'
                              f'[server.timeouts]\nclient_body = "{client_body}"\nclient_write = "{client_write}"\n')
        return Client(proxy, address=str(path)), log
    return connected


def hints(connection, *more):
    """Informational responses, and returns when larder has read them all."""
    for _ in range(HINTS):
        connection.send_head(103, LINK)
    for status in more:
        connection.send_head(status)
    wait_read(connection.sock)


def given_up(origin):
    """Expects POST /p, and sends informational responses only. Is set when larder has ended the connection, which it does at the timeout:
    the 100 comes last, and the client's time for its body begins with it, however long the others took."""
    ended = threading.Event()

    def answer(connection):
        with contextlib.suppress(OSError):
            for status in [103] * HINTS + [100]:
                connection.send_head(status, LINK)
            connection.reader.at_end()
        ended.set()
        connection.close()

    origin.expect("POST /p", {"Expect": "100-continue"}).handle(answer, read_body=False)
    return ended


STALLS = b"POST /p HTTP/1.1\r\nHost: larder.test\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n"


def test_an_upload_that_stalls_behind_informational_responses(origin, reads_late):
    """The 408 comes behind what the client has not taken yet, whole and in its order."""
    client, log = reads_late(client_body="300ms")
    ended = given_up(origin)
    client.send_raw(STALLS)
    assert ended.wait(TIMEOUT), "its body is not waited for without end"
    response = client.read_response().expect(408, headers={"Connection": "close"})
    assert [status for status, _ in response.informational] == [103] * HINTS + [100]
    client.expect_closed()
    line = logged(log)
    assert (line["end"], line["error"], line["status"]) == ("client-timeout", "CLIENT_TIMEOUT", 408)


def test_an_upload_that_stalls_of_a_client_that_never_reads(origin, reads_late):
    """The time in which it must take what waits for it goes on when that for its body is over."""
    client, log = reads_late(client_body="300ms", client_write="600ms")
    ended = given_up(origin)
    client.send_raw(STALLS)
    assert ended.wait(TIMEOUT), "its body is not waited for without end"
    assert logged(log)["end"] == "client-timeout"


def test_a_100_behind_informational_responses(origin, reads_late):
    """RFC 9110 §10.1.1: the client waits for it; and it is sent once, where the origin said it."""
    client, log = reads_late()

    def answer(connection):
        hints(connection, 100)
        gate.wait()
        assert connection.stream.read() == b"hello"
        connection.reply(200, NO_STORE, b"ok")

    gate = origin.gate()
    origin.expect("POST /p", {"Expect": "100-continue"}).handle(answer, read_body=False)
    client.send_raw(b"POST /p HTTP/1.1\r\nHost: larder.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    gate.wait_reached()
    for want in [103] * HINTS + [100]:
        assert client.read_informational()[0] == want
    gate.open()
    response = client.send_raw(b"hello").read_response().expect(200, body=b"ok")
    assert response.informational == []
    line = logged(log)
    assert (line["end"], line["request_bytes"], line["body_bytes"]) == ("done", 5, 2)


def test_a_100_and_the_answer_behind_informational_responses(origin, reads_late):
    """Both wait while the client has not seen either: it gets the 100 first, and what it sends then is no next request."""
    client, log = reads_late()

    def answer(connection):
        hints(connection, 100)
        connection.reply(403, NO_STORE, b"no", close=True)

    asked = origin.expect("POST /p").handle(answer, read_body=False)
    client.send_raw(b"POST /p HTTP/1.1\r\nHost: larder.test\r\nExpect: 100-continue\r\nContent-Length: 27\r\n\r\n")
    asked.wait_answered()
    for want in [103] * HINTS + [100]:
        assert client.read_informational()[0] == want
    client.send_raw(b"GET /not-asked HTTP/1.1\r\n\r\n")
    assert client.read_response().expect(403, body=b"no", headers={"Connection": None}).informational == []
    assert logged(log)["status"] == 403
    origin.expect("GET /b").reply(200, NO_STORE, b"next")
    client.get("/b").expect(200, body=b"next")


def test_an_origin_that_does_not_take_the_head_in_front_of_a_100(larder):
    """It is no origin that says nothing to Expect: it has not heard of it."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        proxy = larder(f"http://127.0.0.1:{listener.getsockname()[1]}",
                       config="[server.timeouts]\norigin_between_bytes = \"300ms\"\norigin_first_byte = \"1h\"\nclient_body = \"1h\"\n"
                              "[server.limits]\nhead = \"16MiB\"\nrequest_memory = \"64MiB\"\n")
        client = Client(proxy)
        client.send("POST", "/p", {"X-Long": "x" * (12 * 1024 * 1024), "Expect": "100-continue", "Content-Length": "1"})
        response = client.read_response("POST").expect(504)
        assert response.informational == []
