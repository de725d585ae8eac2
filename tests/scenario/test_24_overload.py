"""Limits on clients: connections, requests, rates, slowness, descriptors."""

import json
import os
import re
import signal
import socket
import subprocess
import time

import pytest
from support.admin import Admin
from support.client import Client
from support.parallel import occupied
from support.proxy import with_descriptors
from support.say import NO_STORE, always, fresh
from support.wire import TIMEOUT, wait_until


# --- several clients of one fetch ---------------------------------------------------------------------------------------------------

def test_a_client_that_is_too_slow_for_the_others(origin, larder, tmp_path):
    """Storing stopped on the way, so what the slow one has not read is in memory only, and the others wait for it: for a while."""
    log = tmp_path / "access.log"
    proxy = larder(origin, flags=["--access-log", log, "--workers", "1"],
                   config='[server.timeouts]\nslow_follower = "10ms"\n[cache]\nmax_object_size = "1MiB"\n')
    piece = bytes(range(256)) * 4096
    pieces = 64
    gate = origin.gate()

    def answer(exchange):
        exchange.send_head(200, {**fresh(60), "Transfer-Encoding": "chunked"})
        gate.wait()
        for _ in range(pieces):
            exchange.send(b"%x\r\n" % len(piece) + piece + b"\r\n")
        exchange.send(b"0\r\n\r\n")

    origin.expect("GET /a").handle(answer)
    fast, slow = Client(proxy), Client(proxy)
    slow.connect()
    slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    response = fast.begin("GET", "/a")
    late = slow.begin("GET", "/a").expect(200, cache="collapsed")
    gate.open()
    assert response.body == piece * pieces
    with pytest.raises((AssertionError, OSError)):
        _ = late.body
    wait_until(lambda: log.exists() and log.read_text(encoding="utf-8").count("\n") >= 2, "both lines of the log")
    ends = sorted((line["end"], line.get("error")) for line in map(json.loads, log.read_text(encoding="utf-8").splitlines()))
    assert ends == [("done", None), ("slow-follower", "SLOW_FOLLOWER")], ends
    assert Admin(proxy).ends() == {"done": 1, "slow-follower": 1}
    assert "clients too slow for the others that get the same body count=1 path=\"/a\"" in proxy.stderr


# --- what speaks otherwise ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("said, status, name, error", [
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), 400, "TLS", "TLS"),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), 505, "HTTP/2", "HTTP2")], ids=["tls", "http2"])
def test_another_protocol_is_named(larder, origin, tmp_path, said, status, name, error):
    """Answered, closed and counted: the first at once, with who it was, the others with their number."""
    log = tmp_path / "access"
    proxy = larder(origin, flags=["--workers", "1", "--access-log", log])
    for _ in range(3):
        client = Client(proxy).send_raw(said)
        client.read_response().expect(status, headers={"Connection": "close"})
        client.expect_closed()
    proxy.wait_logged(f"refused: {name} to a listener")
    lines = proxy.logged(f"refused: {name} to a listener")
    assert len(lines) == 1 and "client=127.0.0.1" in lines[0]
    assert refused(proxy)[error.lower()] == 3
    proxy.stop()
    assert f'"error":"{error}"' in log.read_text()
    assert re.search(rf"refused: {name} to a listener .* count=2 total=3", proxy.stderr)


# --- connections and requests -------------------------------------------------------------------------------------------------------

def wait_served(proxy, target):
    """Until a new connection is let in: a place becomes free some time after its connection has ended."""
    def served():
        try:
            return Client(proxy).get(target).status == 200
        except (AssertionError, OSError):
            return False

    wait_until(served, "a place to become free")


def refused(proxy):
    """{cause: count}: those that are counted."""
    counts = {re.fullmatch(r'larder_refused_total\{cause="(.*)"\}', name): count for name, count in Admin(proxy).metrics().items()}
    return {found[1]: count for found, count in counts.items() if found is not None}


def test_connections_per_client(origin, larder):
    """One address gets no more than its share; others are served, and a place that becomes free counts again."""
    proxy = larder(origin, config="[server.limits]\nconnections_per_client = 2\n")
    origin.on("GET /a", always(200, NO_STORE))
    clients = [Client(proxy), Client(proxy)]
    for client in clients:
        client.get("/a").expect(200)
    Client(proxy).get("/a").expect(503, cache="detail=client-connections", headers={"Retry-After": "1"})
    Client(proxy, source="127.0.0.2").get("/a").expect(200)
    assert refused(proxy) == {"client-connections": 1, "too-many-connections": 0, "too-many-requests": 0, "rate-limit": 0, "tls": 0, "http2": 0}
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
    assert refused(proxy)["too-many-connections"] == 6
    for client in inside:
        client.close()
    wait_served(proxy, "/a")


def crowd_before(proxy, origin):
    """Many who have asked for what is stored while larder stands still: the kernel has accepted them."""
    origin.expect("GET /a").reply(200, fresh(), b"hello")
    first = Client(proxy)
    first.get("/a").expect(200, body=b"hello")
    first.close()
    proxy.process.send_signal(signal.SIGSTOP)
    clients = [Client(proxy) for _ in range(600)]
    for client in clients:
        client.send_raw(b"GET /a HTTP/1.1\r\nHost: larder.test\r\nConnection: close\r\n\r\n")
        client.sock.shutdown(socket.SHUT_WR)
    return clients


def test_a_burst_of_connections_keeps_nobody_waiting(origin, larder):
    """They are accepted a few at a time. Those that came first are answered, and gone, before the last one is let in: so few are
    there together that a limit far below the number of all refuses nobody."""
    proxy = larder(origin, flags=["--workers", "1"], config="[server.limits]\nconnections = 150\n")
    clients = crowd_before(proxy, origin)
    proxy.process.send_signal(signal.SIGCONT)
    for client in clients:
        client.read_response().expect(200, body=b"hello", cache="hit")
        client.close()


def test_a_burst_of_connections_at_the_stop_is_served(origin, larder):
    """Whatever of it is accepted when the stop comes, or is about to be."""
    proxy = larder(origin, flags=["--workers", "1"])
    clients = crowd_before(proxy, origin)
    proxy.process.send_signal(signal.SIGTERM)
    proxy.process.send_signal(signal.SIGCONT)
    for client in clients:
        client.read_response().expect(200, body=b"hello", cache="hit")
        client.close()
    assert proxy.process.wait(TIMEOUT) == 0


def test_requests_at_a_time(origin, larder):
    """Beyond the limit 503 with Retry-After, on a connection that stays."""
    proxy = larder(origin, config="[server.limits]\nrequests = 1\n")
    gate, first = occupied(origin, proxy)
    second = Client(proxy)
    second.get("/a").expect(503, cache="detail=too-many-requests", headers={"Retry-After": "1"})
    assert refused(proxy)["too-many-requests"] == 1
    gate.open()
    first.read_response().expect(200)
    origin.on("GET /a", always(200, NO_STORE))
    wait_until(lambda: second.get("/a").status == 200, "the place of the request that is answered")  # its end comes after its last byte


def test_a_client_that_leaves_is_counted_no_more(origin, larder):
    proxy = larder(origin, config="[server.limits]\nrequests = 1\n")
    gate, first = occupied(origin, proxy)
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
    assert refused(proxy)["rate-limit"] == 1
    Client(proxy, source="127.0.0.2").get("/login").expect(200, cache="hit")
    proxy.wait_logged("refused: more requests of one client")


def test_rate_limit_behind_a_proxy(origin, larder):
    """The client is whom the trusted proxy names; without trust the field says nothing."""
    client = Client(larder(origin, config="[server]\ntrust_forwarded = true\n" + RATE))
    origin.on("GET /login", always(200, NO_STORE))
    for _ in range(3):
        client.get("/login", {"X-Forwarded-For": "10.9.9.9, 192.0.2.1"}).expect(200)
    client.get("/login", {"X-Forwarded-For": "10.8.8.8, 192.0.2.1"}).expect(429)
    client.proxy.wait_logged("refused: more requests of one client than a rule's rate_limit client=192.0.2.1")
    client.get("/login", {"X-Forwarded-For": "192.0.2.2"}).expect(200)


@pytest.mark.parametrize("style, named, false", [("x-forwarded", {"X-Forwarded-For": "192.0.2.1"}, ("Forwarded", "for=")),
                                                 ("forwarded", {"Forwarded": "for=192.0.2.1"}, ("X-Forwarded-For", ""))])
def test_only_the_field_of_the_style_names_who_is_counted(origin, larder, style, named, false):
    """The other one may be the client's own, which the proxy passes on."""
    client = Client(larder(origin, config=f'[server]\ntrust_forwarded = true\nforwarded = "{style}"\n' + RATE))
    origin.on("GET /login", always(200, NO_STORE))
    for number in range(3):
        client.get("/login", named | {false[0]: f"{false[1]}192.0.2.{50 + number}"}).expect(200)
    client.get("/login", named | {false[0]: f"{false[1]}192.0.2.99"}).expect(429)


@pytest.mark.parametrize("style, named", [("x-forwarded", lambda number: {"X-Forwarded-For": f'"{number}, 192.0.2.1'}),
                                          ("x-forwarded", lambda number: {"X-Forwarded-For": f"unknown{number}"}),
                                          ("forwarded", lambda number: {"Forwarded": f"for=_{number}"}),
                                          ("forwarded", lambda number: {"Forwarded": f'for="{number}, for=192.0.2.1'})])
def test_to_be_named_badly_is_no_way_around(origin, larder, style, named):
    """Where the proxy appends to what its client wrote, or has no address for it."""
    client = Client(larder(origin, config=f'[server]\ntrust_forwarded = true\nforwarded = "{style}"\n' + RATE))
    origin.on("GET /login", always(200, NO_STORE))
    for number in range(3):
        client.get("/login", named(number)).expect(200)
    client.get("/login", named(4)).expect(429)


def test_rate_limit_beside_a_proxy(origin, larder):
    """Who is not in the list is counted by its own address, whatever it says."""
    proxy = larder(origin, config='[server]\ntrust_forwarded = ["127.0.0.2"]\n' + RATE)
    stranger, front = Client(proxy), Client(proxy, source="127.0.0.2")
    origin.on("GET /login", always(200, NO_STORE))
    for number in range(3):
        stranger.get("/login", {"X-Forwarded-For": f"192.0.2.{number}"}).expect(200)
    stranger.get("/login", {"X-Forwarded-For": "192.0.2.9"}).expect(429)
    for number in range(4):
        front.get("/login", {"X-Forwarded-For": f"192.0.2.{number}"}).expect(200)


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
    proxy.command = with_descriptors(96, proxy.command)
    proxy.start()
    origin.on("GET /*", always(200, NO_STORE))
    inside = Client(proxy)
    inside.get("/a").expect(200)
    crowd = [Client(proxy).connect() for _ in range(150)]  # the kernel takes those that larder does not
    proxy.wait_logged("accepting pauses")
    assert Admin(proxy).metrics()["larder_accept_pauses_total"] > 0
    assert len(os.listdir(f"/proc/{proxy.pid}/fd")) <= 90
    for number in range(20):
        inside.get(f"/{number}").expect(200)
    for client in crowd:
        client.close()
    Client(proxy).get("/b").expect(200)
    assert proxy.stderr.count("accepting pauses") < 5


def test_without_descriptors_to_listen_it_does_not_start(origin, larder):
    """Seven eighths of the descriptors are for that: with one too few it ends, instead of saying "ready" and never accepting."""
    origin.on("GET /a", always(200, NO_STORE))
    proxy = larder(origin, flags=["--workers", "1"])
    proxy.wait_logged("ready")
    last = proxy.listening_fd()
    proxy.stop()
    command = proxy.command

    def limited(for_clients):
        limit = next(count for count in range(for_clients, 2 * for_clients) if count - count // 8 == for_clients)
        return with_descriptors(limit, command)

    proxy.command = limited(last + 1)
    proxy.start()
    Client(proxy).get("/a").expect(200)
    proxy.stop()
    ended = subprocess.run(limited(last), capture_output=True, text=True, timeout=TIMEOUT, cwd=proxy.directory, env=proxy.env, check=False)
    assert ended.returncode == 2, ended.stderr
    assert "cannot make a worker: " in ended.stderr and "ready" not in ended.stderr


def test_who_waits_at_the_stop_is_served(larder, origin):
    """SIGTERM: connections that the kernel has accepted and larder has not, for want of descriptors, are answered, not reset."""
    origin.on("GET /*", always(200, NO_STORE, b"x"))
    proxy = larder(origin, flags=["--workers", "1"])
    proxy.stop()
    proxy.command = with_descriptors(96, proxy.command)
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
