"""Limits on clients: connections, requests, rates, slowness, descriptors."""

import os
import re
import signal
import socket
import time

import pytest
from support.client import Client
from support.say import NO_STORE, always, fresh
from support.wire import TIMEOUT, wait_until


# --- connections and requests -------------------------------------------------------------------------------------------------------

def wait_served(proxy, target):
    """Until a new connection is let in: a place becomes free some time after its connection has ended."""
    def served():
        try:
            return Client(proxy).get(target).status == 200
        except (AssertionError, OSError):
            return False

    wait_until(served, "a place to become free")


def test_connections_per_client(origin, larder):
    """One address gets no more than its share; others are served, and a place that becomes free counts again."""
    proxy = larder(origin, config="[server.limits]\nconnections_per_client = 2\n")
    origin.on("GET /a", always(200, NO_STORE))
    clients = [Client(proxy), Client(proxy)]
    for client in clients:
        client.get("/a").expect(200)
    Client(proxy).get("/a").expect(503, cache="detail=client-connections", headers={"Retry-After": "1"})
    Client(proxy, source="127.0.0.2").get("/a").expect(200)
    clients[0].close()
    wait_served(proxy, "/a")
    assert re.search(r"refused: more connections of one client .* client=127.0.0.1", proxy.stderr)


def test_refused_connections_take_no_place(origin, larder):
    proxy = larder(origin, config="[server.limits]\nconnections = 2\n")
    origin.on("GET /a", always(200, NO_STORE))
    inside = [Client(proxy), Client(proxy)]
    for client in inside:
        client.get("/a").expect(200)
    outside = [Client(proxy) for _ in range(6)]
    for client in outside:
        client.get("/a").expect(503, cache="detail=too-many-connections")
    for client in inside:
        client.close()
    wait_served(proxy, "/a")


def test_requests_at_a_time(origin, larder):
    """Beyond the limit 503 with Retry-After, on a connection that stays."""
    proxy = larder(origin, config="[server.limits]\nrequests = 1\n")
    gate = origin.gate()
    origin.expect("GET /slow").reply(200, NO_STORE, b"x", hold=gate)
    first, second = Client(proxy), Client(proxy)
    first.send("GET", "/slow")
    gate.wait_reached()
    second.get("/a").expect(503, cache="detail=too-many-requests", headers={"Retry-After": "1"})
    gate.open()
    first.read_response().expect(200)
    origin.on("GET /a", always(200, NO_STORE))
    wait_until(lambda: second.get("/a").status == 200, "the place of the request that is answered")  # its end comes after its last byte


def test_a_client_that_leaves_is_counted_no_more(origin, larder):
    proxy = larder(origin, config="[server.limits]\nrequests = 1\n")
    gate = origin.gate()
    origin.expect("GET /slow").reply(200, NO_STORE, b"x", hold=gate)
    first = Client(proxy)
    first.send("GET", "/slow")
    gate.wait_reached()
    first.reset()
    origin.on("GET /a", always(200, NO_STORE))
    wait_until(lambda: Client(proxy).get("/a").status == 200, "the place of the client that left")
    gate.open()


RATE = '[[site]]\n[[site.rule]]\nname = "login"\npath = "/login*"\nrate_limit = "1/h"\nrate_burst = 3\n'


def test_rate_limit(origin, larder):
    """RFC 6585 §4; only what the rule matches, each client for itself, hits too."""
    proxy = larder(origin, config=RATE)
    client = Client(proxy)
    origin.on("GET /*", always(200, fresh()))
    for _ in range(3):
        client.get("/login").expect(200)
    response = client.get("/login?again").expect(429, cache="detail=rate-limit")
    assert 3000 < int(response.header("Retry-After")) <= 3600
    client.get("/a").expect(200)
    Client(proxy, source="127.0.0.2").get("/login").expect(200, cache="hit")
    proxy.wait_logged("refused: more requests of one client")


def test_rate_limit_behind_a_proxy(origin, larder):
    """The client is whom the trusted proxy names; without trust the field says nothing."""
    client = Client(larder(origin, config="[server]\ntrust_forwarded = true\n" + RATE))
    origin.on("GET /login", always(200, NO_STORE))
    for _ in range(3):
        client.get("/login", {"X-Forwarded-For": "10.9.9.9, 192.0.2.1"}).expect(200)
    client.get("/login", {"X-Forwarded-For": "10.8.8.8, 192.0.2.1"}).expect(429)
    client.get("/login", {"X-Forwarded-For": "192.0.2.2"}).expect(200)


def test_a_false_address_is_no_way_around(origin, client, larder):
    client = Client(larder(origin, config=RATE))
    origin.on("GET /login", always(200, NO_STORE))
    for number in range(3):
        client.get("/login", {"X-Forwarded-For": f"192.0.2.{number}"}).expect(200)
    client.get("/login", {"X-Forwarded-For": "192.0.2.99"}).expect(429)


# --- slow clients -------------------------------------------------------------------------------------------------------------------

def test_a_request_body_that_drips(origin, larder):
    """Each byte is in time, all of them are not."""
    client = Client(larder(origin, config='[server.timeouts]\nclient_body = "500ms"\n[server.limits]\nclient_rate = "1KiB"\n'))
    origin.on("POST /p", always(200, NO_STORE))
    client.send_raw(b"POST /p HTTP/1.1\r\nHost: larder.test\r\nContent-Length: 1000\r\n\r\n")
    client.sock.settimeout(0.05)
    for _ in range(999):
        try:
            client.send_raw(b"x")
            if client.sock.recv(1, socket.MSG_PEEK) is not None:
                break
        except TimeoutError:
            continue
        except (ConnectionResetError, BrokenPipeError):
            break
    else:
        raise AssertionError("the whole body was taken")
    wait_until(lambda: not origin.open_sockets, "the connection to the origin to close")
    assert all(request.body is None for request in origin.requests)


def test_a_response_that_is_read_in_drips(origin, larder):
    """Every write is in time, the whole is not: the client is given up, and the fetch that nobody else wants."""
    proxy = larder(origin, config='[server.timeouts]\nclient_write = "2s"\n[server.limits]\nclient_rate = "64MiB"\n')
    ended = origin.gate()

    def endless(exchange):
        exchange.send_head(200, {"Content-Length": 1 << 40, **NO_STORE})
        try:
            while True:
                exchange.send(bytes(65536))
        except OSError:
            ended.open()
    origin.expect("GET /a").handle(endless)
    client = Client(proxy)
    client.begin("GET", "/a").expect(200)
    deadline = time.monotonic() + 60
    while not ended.event.is_set() and time.monotonic() < deadline:
        try:
            client.sock.recv(65536)
        except OSError:
            break
        ended.event.wait(0.01)  # the pace of the client
    wait_until(lambda: not origin.open_sockets, "the connection to the origin to close")


# --- descriptors --------------------------------------------------------------------------------------------------------------------

@pytest.mark.plain_only
def test_descriptors_run_out(origin, larder):
    """Accepting pauses before the last are gone: who is inside is served, also from the origin, and it goes on when some are free."""
    proxy = larder(origin, flags=["--workers", "1"])
    proxy.stop()
    proxy.command = ["prlimit", "--nofile=96:96", *proxy.command]
    proxy.start()
    origin.on("GET /*", always(200, NO_STORE))
    inside = Client(proxy)
    inside.get("/a").expect(200)
    crowd = [Client(proxy).connect() for _ in range(150)]  # the kernel takes those that larder does not
    proxy.wait_logged("accepting pauses")
    assert len(os.listdir(f"/proc/{proxy.pid}/fd")) <= 90
    for number in range(20):
        inside.get(f"/{number}").expect(200)
    for client in crowd:
        client.close()
    Client(proxy).get("/b").expect(200)
    assert proxy.stderr.count("accepting pauses") < 5


def test_who_waits_at_the_stop_is_served(larder, origin):
    """SIGTERM: connections that the kernel has accepted and larder has not, for want of descriptors, are answered, not reset."""
    origin.on("GET /*", always(200, NO_STORE, b"x"))
    proxy = larder(origin, flags=["--workers", "1"])
    proxy.stop()
    proxy.command = ["prlimit", "--nofile=96:96", *proxy.command]
    proxy.start()
    crowd = [Client(proxy).connect() for _ in range(75)]  # some more than it accepts
    proxy.wait_logged("accepting pauses")
    waiting = [Client(proxy) for _ in range(3)]
    for client in waiting:
        client.send("GET", "/a")
    proxy.process.send_signal(signal.SIGTERM)
    for client in waiting:
        client.read_response().expect(200, body=b"x", headers={"Connection": "close"})
    assert proxy.process.wait(TIMEOUT) == 0
    for client in crowd:
        client.close()
