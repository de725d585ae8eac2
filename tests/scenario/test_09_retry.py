"""Connections to the origin that turn out dead, names that do not resolve, addresses that do not answer."""

import socket
import threading

import pytest
from support.client import Client
from support.clock import Clock
from support.say import NO_STORE, always, fresh
from support.wire import TIMEOUT, wait_until


def kept_connection(origin, client):
    """Leaves one idle connection between larder and the origin."""
    origin.expect("GET /first").reply(200, NO_STORE, b"x")
    client.get("/first").expect(200)


def dies(exchange):
    exchange.close()


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_a_dead_connection_is_retried(origin, client, method):
    """Idempotent, and nothing was sent to the client: once more, on a new connection."""
    kept_connection(origin, client)
    origin.expect(f"{method} /a").handle(dies)
    origin.expect(f"{method} /a").reply(200, NO_STORE, b"x")
    client.request(method, "/a", {"If-Match": "*"} if method == "HEAD" else None).expect(200)  # with it a HEAD stays one
    assert [request.connection for request in origin.requests] == [1, 1, 2]


def test_a_reset_connection_is_retried(origin, client):
    kept_connection(origin, client)
    origin.expect("GET /a").handle(lambda exchange: exchange.reset())
    origin.expect("GET /a").reply(200, NO_STORE, b"x")
    client.get("/a").expect(200)


def test_a_connection_closed_while_idle(origin, client):
    """The origin closed it between the requests: the next request does not fail."""
    for number in range(5):
        origin.expect(f"GET /{number}").reply(200, NO_STORE, b"x")
        client.get(f"/{number}").expect(200)
        origin.drop_connections()


def test_all_kept_connections_are_dead(origin, proxy):
    """The retry goes to a new connection, not to the next dead one."""
    together = threading.Barrier(4)
    origin.on("GET /together/*", lambda exchange: (together.wait(TIMEOUT), exchange.reply(200, NO_STORE, b"x")))
    clients = [Client(proxy) for _ in range(4)]
    for number, client in enumerate(clients):
        client.send("GET", f"/together/{number}")
    for client in clients:
        client.read_response()
    origin.handlers.clear()
    old = origin.connections

    def answer(exchange):
        if exchange.request.connection <= old:
            exchange.close()
        else:
            exchange.reply(200, NO_STORE, b"x")

    origin.on("GET /again/*", answer)
    for number, client in enumerate(clients):
        client.get(f"/again/{number}").expect(200)


@pytest.mark.plain_only
def test_what_the_origin_worked_on_is_not_repeated(origin, larder, tmp_path):
    """It closes later than an end that was on its way when the request was sent: it has seen the request (border: unit test repeat)."""
    clock = Clock(tmp_path / "clock")
    client = Client(larder(origin, env=clock.env))
    kept_connection(origin, client)

    def works_and_dies(exchange):
        clock.let_pass(ms=1000)
        exchange.close()

    origin.expect("GET /a").handle(works_and_dies)
    client.get("/a").expect(502, cache="detail=origin-failed")
    assert [request.connection for request in origin.requests] == [1, 1]


def test_a_post_is_not_repeated(origin, client):
    """Not idempotent: the origin may have done it."""
    kept_connection(origin, client)
    origin.expect("POST /a").handle(dies)
    client.post("/a", b"once").expect(502)
    assert origin.count("/a") == 1


def test_a_new_connection_that_dies_is_no_reason_to_repeat(origin, client):
    origin.expect("GET /a").handle(dies)
    client.get("/a").expect(502, cache="detail=origin-failed")
    assert origin.count("/a") == 1


def test_half_an_answer_is_no_reason_to_repeat(origin, client):
    kept_connection(origin, client)
    origin.expect("GET /a").send_raw(b"HTTP/1.1 200 OK\r\nContent-Le")
    client.get("/a").expect(502)
    assert origin.count("/a") == 1


def test_a_body_that_has_streamed_is_not_repeated_in_part(origin, client):
    """Whatever larder does with a large PUT on a dead connection, the origin never gets a part of it as the whole."""
    kept_connection(origin, client)
    body = bytes(range(256)) * 40000
    seen = []

    def first(exchange):
        exchange.reset()

    origin.expect("PUT /a").handle(first, read_body=False)
    origin.on("PUT /a", lambda exchange: (seen.append(exchange.request.body), exchange.reply(200, NO_STORE, b"x")))
    response = client.put("/a", body)
    assert response.status in (200, 502), response
    assert all(one == body for one in seen)


def test_a_refused_connection(larder):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        client = Client(larder(f"http://127.0.0.1:{closed.getsockname()[1]}"))
        client.get("/a").expect(502, cache="fwd=uri-miss; detail=origin-failed")
        client.post("/a", b"x").expect(502)


def test_a_name_that_does_not_resolve(larder):
    client = Client(larder("http://no-such-host.invalid:80"))
    client.get("/a").expect(502, cache="detail=origin-failed")
    client.get("/a").expect(502)


def test_an_origin_that_comes_back(origins, larder):
    """An origin that was away is asked again with the next request."""
    origin = origins()
    client = Client(larder(origin))
    origin.expect("GET /a").reply(200, NO_STORE, b"x")
    client.get("/a").expect(200)
    port = origin.port
    origin.stop()
    client.get("/a").expect(502)
    again = wait_until(lambda: listen_again(origins, port), "the port to be free")
    again.expect("GET /a").reply(200, fresh(), b"back")
    client.get("/a").expect(200, body=b"back")


def listen_again(origins, port):
    try:
        return origins("127.0.0.1", port)
    except OSError:
        return None


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_both_families_are_tried(origins, larder, host):
    """`localhost` has two addresses on most machines; the origin listens on one of them."""
    families = {info[0] for info in socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)}
    if (socket.AF_INET6 if ":" in host else socket.AF_INET) not in families:
        pytest.skip(f"localhost is not {host} here")
    origin = origins(host)
    origin.expect("GET /a").reply(200, fresh(), b"x")
    Client(larder(f"http://localhost:{origin.port}")).get("/a").expect(200, body=b"x")


def test_an_ipv6_origin(origins, larder):
    origin = origins("::1")
    origin.expect("GET /a").reply(200, fresh(), b"x")
    Client(larder(origin)).get("/a").expect(200)


def test_idle_connections_are_given_up_in_time(origin, larder):
    """Before the origin would close them."""
    client = Client(larder(origin, config='[server.timeouts]\norigin_idle = "200ms"\n'))
    kept_connection(origin, client)
    wait_until(lambda: not origin.open_sockets, "the idle connection to close")


def test_the_number_of_connections_is_bounded(origin, larder):
    """The others wait for their turn and get their answers."""
    proxy = larder(origin, config="[server.limits]\norigin_connections = 2\n[server.timeouts]\norigin_queue = \"1h\"\n", flags=["--workers", "1"])
    lock, running, most = threading.Lock(), [0], [0]

    def answer(exchange):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        exchange.reply(200, NO_STORE, [b"x", gate, b"y"])
        with lock:
            running[0] -= 1

    gate = origin.gate()
    origin.on("GET *", answer)
    clients = [Client(proxy) for _ in range(8)]
    for number, client in enumerate(clients):
        client.send("GET", f"/{number}").wait_taken()
    gate.wait_reached()
    gate.open()
    for client in clients:
        client.read_response().expect(200, body=b"xy")
    assert most[0] <= 2 and origin.connections <= 2


def test_a_request_body_is_not_lost_with_an_early_answer(origin, client):
    """The origin answers before it has read the body: the client gets the answer, the connection's next use is clean."""
    origin.expect("POST /a").handle(lambda exchange: exchange.reply(413, NO_STORE, b"too large", close=True), read_body=False)
    client.send("POST", "/a", body=bytes(5_000_000))
    client.read_response().expect(413, body=b"too large")
    client.close()
    origin.on("GET /b", always(200, NO_STORE, b"b"))
    client.get("/b").expect(200, body=b"b")
