"""What waits has an end, whoever else has fallen silent."""

import socket
import threading

from support.client import Client
from support.say import NO_STORE, fresh
from support.wire import TIMEOUT

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


# --- both directions at once --------------------------------------------------------------------------------------------------------

def test_an_upload_that_stalls_behind_a_slow_reader(origin, larder):
    """The client takes what the origin has said so far, and then neither says more."""
    proxy = larder(origin, config="[server.timeouts]\nclient_body = \"1s\"\norigin_between_bytes = \"1s\"\n"
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
