"""Limits and timeouts, on both sides."""

import re
import signal
import socket

import pytest
from support.client import Client
from support.clock import Clock
from support.say import NO_STORE, always, fresh
from support.wire import TIMEOUT, Malformed, wait_until


# --- sizes of requests --------------------------------------------------------------------------------------------------------------

def test_target_too_long(origin, client):
    origin.expect("GET /" + "a" * 8000).reply(200, NO_STORE)
    client.get("/" + "a" * 8000).expect(200)
    response = client.get("/" + "a" * 9000).expect(414, cache="detail=bad-request")
    assert "close" in response.headers.members("Connection")


def test_head_too_large(origin, client):
    origin.expect("GET /a").reply(200, NO_STORE)
    client.get("/a", {"X-Long": "x" * 30000}).expect(200)
    client.send_refused(client.encode("GET", "/a", {"X-Long": "x" * 40000}), 431)


@pytest.mark.parametrize("size", [100 * 1024, 2 * 1024 * 1024])
def test_a_large_head_that_is_allowed(origin, larder, size):
    """It comes in many pieces, and goes on whole."""
    proxy = larder(origin, config='[server.limits]\nhead = "4MiB"\nrequest_memory = "16MiB"\n')
    client = Client(proxy)
    origin.expect("GET /a", {"X-Long": re.compile(f"^x{{{size}}}$")}).reply(200, NO_STORE)
    head = client.encode("GET", "/a", {"X-Long": "x" * size})
    client.send_raw(head[:80 * 1024]).wait_taken()
    client.send_raw(head[80 * 1024:])
    client.read_response().expect(200)


@pytest.mark.parametrize("size", [400 * 1024, 2 * 1024 * 1024])
def test_a_large_response_head_that_is_allowed(origin, larder, size):
    client = Client(larder(origin, config='[server.limits]\nhead = "4MiB"\nrequest_memory = "16MiB"\n'))
    origin.expect("GET /a").reply(200, {**NO_STORE, "X-Long": "x" * size}, b"hello")
    assert len(client.get("/a").expect(200, body=b"hello").header("X-Long")) == size
    origin.expect("GET /b").reply(200, fresh(60, **{"X-Long": "x" * size}), b"hello")
    assert len(client.get("/b").expect(200, body=b"hello").header("X-Long")) == size


def test_a_head_without_end(origin, client):
    """It is refused while it comes, not collected."""
    client.send_raw(b"GET /a HTTP/1.1\r\nHost: larder.test\r\n")
    for _ in range(64):
        client.send_raw(b"X-Long: " + b"x" * 16000 + b"\r\n")
    client.read_response().expect(431)


def test_a_request_line_without_end(client):
    client.send_raw(b"GET /" + b"a" * 100000)
    client.read_response().expect(414)


def test_too_many_fields(origin, client):
    origin.expect("GET /a").reply(200, NO_STORE)
    client.get("/a", [(f"X-{n}", "1") for n in range(120)]).expect(200)
    client.send_refused(client.encode("GET", "/a", [(f"X-{n}", "1") for n in range(200)]), 431)


def test_body_too_large(origin, larder):
    client = Client(larder(origin, config='[server.limits]\nrequest_body = "1KiB"\n'))
    origin.expect("POST /p", body=bytes(1024)).reply(200, NO_STORE)
    client.post("/p", bytes(1024)).expect(200)
    origin.expect("POST /p", body=bytes(1024)).reply(200, NO_STORE)
    client.post("/p", bytes(1024), chunked=True).expect(200)
    client.post("/p", bytes(1025)).expect(413)
    assert origin.count() == 2


def test_body_in_chunks_too_large(origin, larder):
    client = Client(larder(origin, config='[server.limits]\nrequest_body = "1KiB"\n'))
    origin.on("POST /p", always(200, NO_STORE))
    client.send("POST", "/p", body=[bytes(700), bytes(700)], chunked=True)
    response = client.read_response().expect(413)
    assert "close" in response.headers.members("Connection")
    assert all(request.body is None for request in origin.requests), "the origin got the whole body"


def test_body_too_large_with_expect(origin, larder):
    """413 before the client has sent anything of it."""
    client = Client(larder(origin, config='[server.limits]\nrequest_body = "1KiB"\n'))
    client.send_raw(b"POST /p HTTP/1.1\r\nHost: larder.test\r\nExpect: 100-continue\r\nContent-Length: 2000\r\n\r\n")
    response = client.read_response().expect(413)
    assert response.informational == []


def test_too_many_connections(origin, larder):
    proxy = larder(origin, config="[server.limits]\nconnections = 3\n", flags=["--workers", "1"])
    origin.on("GET /a", always(200, NO_STORE))
    clients = [Client(proxy) for _ in range(3)]
    for client in clients:
        client.get("/a").expect(200)
    one_more = Client(proxy).connect()
    data = one_more.reader.some(65536)
    assert data == b"" or data.startswith(b"HTTP/1.1 503 "), data
    clients[0].close()

    def admitted():
        another = Client(proxy)
        try:
            return another.get("/a").status == 200
        except (AssertionError, OSError):
            return False
        finally:
            another.close()

    wait_until(admitted, "a place for another connection")


# --- timeouts -----------------------------------------------------------------------------------------------------------------------

def timeouts(larder, origin, **values):
    lines = "".join(f'{name} = "{value}"\n' for name, value in values.items())
    return Client(larder(origin, config="[server.timeouts]\n" + lines))


def ends_with(client, *statuses):
    """An answer with one of these statuses, or none; then the end of the connection."""
    if client.reader.at_end():
        return
    response = client.read_response()
    assert response.status in statuses, response
    client.expect_closed()


@pytest.mark.parametrize("sent", [b"GET /a HTTP/1.1\r\nHost: lar", b"G"])
def test_client_head_timeout(origin, larder, sent):
    client = timeouts(larder, origin, client_head="300ms")
    client.send_raw(sent)
    ends_with(client, 408)


def test_a_client_that_drips(origin, larder):
    """The time is for the whole head, not between bytes."""
    client = timeouts(larder, origin, client_head="400ms")
    client.connect()
    client.sock.settimeout(0.05)
    for byte in client.encode("GET", "/a", {"X-Long": "x" * 1000}):
        client.send_raw(bytes([byte]))
        try:
            if client.sock.recv(65536, socket.MSG_PEEK) is not None:
                break
        except TimeoutError:
            continue
        except ConnectionResetError:
            break
    else:
        raise AssertionError("the whole head was taken")
    assert origin.count() == 0


def test_client_body_timeout(origin, larder):
    client = timeouts(larder, origin, client_body="300ms")
    origin.on("POST /p", always(200, NO_STORE))
    client.send_raw(b"POST /p HTTP/1.1\r\nHost: larder.test\r\nContent-Length: 100\r\n\r\nhalf")
    ends_with(client, 408)
    wait_until(lambda: not origin.open_sockets, "the connection to the origin to close")
    assert all(request.body is None for request in origin.requests)


def test_client_idle_timeout(origin, larder):
    client = timeouts(larder, origin, client_idle="1s")
    origin.expect("GET /a").reply(200, NO_STORE)
    client.get("/a").expect(200)
    client.expect_closed()


@pytest.mark.plain_only
def test_a_running_request_is_not_idle(origin, larder, tmp_path):
    clock = Clock(tmp_path / "clock")
    config = '[server.timeouts]\nclient_idle = "5s"\nclient_head = "5s"\norigin_first_byte = "1h"\n'
    proxy = larder(origin, config=config, flags=["--workers", "1"], env=clock.env)
    idle, client = Client(proxy), Client(proxy)
    origin.on("GET /b", always(200, NO_STORE))
    idle.get("/b").expect(200)
    gate = origin.gate()
    origin.expect("GET /a").reply(200, NO_STORE, b"x", hold=gate)
    client.send("GET", "/a")
    gate.wait_reached()
    clock.let_pass(ms=10_000)
    Client(proxy).get("/b").expect(200)  # the worker has seen what time it is
    idle.expect_closed()
    gate.open()
    client.read_response().expect(200)


@pytest.mark.plain_only
def test_what_came_while_larder_stood_still_came_in_time(origin, larder, tmp_path):
    """A machine that pauses for longer than any timeout: the answer is there, as are the client's next request and the rest of another."""
    clock = Clock(tmp_path / "clock")
    config = '[server.timeouts]\nclient_idle = "5s"\nclient_head = "5s"\norigin_first_byte = "5s"\n'
    proxy = larder(origin, config=config, env=clock.env)
    asks, begins, idle = Client(proxy), Client(proxy), Client(proxy)
    origin.on("GET /b", always(200, NO_STORE))
    idle.get("/b").expect(200)
    begins.send_raw(b"GET /b HTTP/1.1\r\nHost: lar").wait_taken()
    gate = origin.gate()
    answer = origin.expect("GET /a").reply(200, NO_STORE, b"x", hold=gate)
    asks.send("GET", "/a")
    gate.wait_reached()
    proxy.pause()
    gate.open()
    answer.wait_answered()
    begins.send_raw(b"der.test\r\n\r\n")
    idle.send("GET", "/b")
    clock.let_pass(ms=10_000)
    proxy.process.send_signal(signal.SIGCONT)
    asks.read_response().expect(200, body=b"x")
    for client in (begins, idle):
        client.read_response().expect(200)


def expect_endless(origin, headers):
    """Expects GET /a, and sends a body for as long as somebody takes it. → a gate that is open when nobody does."""
    ended = origin.gate()

    def action(exchange):
        exchange.send_head(200, {**headers, **NO_STORE})
        try:
            while True:
                exchange.send(bytes(1 << 20))
        finally:
            ended.open()

    origin.expect("GET /a").handle(action)
    return ended


def test_client_write_timeout(origin, larder):
    """A client that takes nothing is given up, and with it the fetch that nobody else wants."""
    client = timeouts(larder, origin, client_write="300ms")
    ended = expect_endless(origin, {"Content-Length": 1 << 30})
    client.begin("GET", "/a").expect(200)
    assert ended.event.wait(TIMEOUT), "the origin is still sending"


def test_client_write_timeout_of_a_body_that_ends_with_the_connection(origin, larder):
    """RFC 9112 §8: an ordinary end would say that what the HTTP/1.0 client got is all."""
    client = timeouts(larder, origin, client_write="300ms")
    ended = expect_endless(origin, {})
    client.begin("GET", "/a", version="1.0").expect(200, headers={"Content-Length": None, "Transfer-Encoding": None})
    assert ended.event.wait(TIMEOUT), "the origin is still sending"
    with pytest.raises(ConnectionResetError):
        while client.sock.recv(1 << 20):
            pass


def test_origin_connect_timeout(larder):
    """An origin whose queue is full answers no SYN."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = []
        for _ in range(8):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
            fillers.append(filler)
        client = timeouts(larder, f"http://127.0.0.1:{full.getsockname()[1]}", origin_connect="300ms")
        response = client.get("/a")
        assert response.status in (502, 504), response
        for filler in fillers:
            filler.close()


def test_origin_first_byte_timeout(origin, larder):
    client = timeouts(larder, origin, origin_first_byte="300ms")
    gate = origin.gate()
    origin.expect("GET /a").reply(200, fresh(), b"late", hold=gate)
    client.get("/a").expect(504, cache="detail=origin-timeout")
    gate.open()
    origin.on("GET /a", always(200, fresh(), b"good"))
    wait_until(lambda: client.get("/a").status == 200, "the origin to be in time")
    client.get("/a").expect(200, body=b"good", cache="hit")


def test_origin_between_bytes_timeout(origin, larder):
    client = timeouts(larder, origin, origin_between_bytes="300ms")
    gate = origin.gate()
    origin.expect("GET /a").reply(200, fresh(), [b"half", gate, b"rest"])
    response = client.begin("GET", "/a").expect(200)
    with pytest.raises(Malformed):
        _ = response.body
    client.close()
    gate.open()
    origin.expect("GET /a").reply(200, fresh(), b"good")
    client.get("/a").expect(200, body=b"good", cache="!hit")


def test_informational_responses_do_not_stop_the_clock_for_ever(origin, larder):
    client = timeouts(larder, origin, origin_first_byte="300ms")
    gate = origin.gate()
    origin.on("GET /a", lambda exchange: (exchange.send_head(103, {"Link": "</a>"}), gate.wait(), exchange.close()))

    def hinted():
        return [status for status, _ in client.get("/a").expect(504).informational] == [103]

    wait_until(hinted, "the origin to say something in time")


def test_a_tunnel_that_is_idle_ends(origin, larder):
    client = timeouts(larder, origin, tunnel_idle="300ms")

    def action(exchange):
        exchange.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert exchange.reader.some(1) == b""
        exchange.close()

    origin.expect("GET /a").handle(action)
    client.begin("GET", "/a", {"Connection": "Upgrade", "Upgrade": "websocket"}).expect(101, headers={"Upgrade": "websocket"})
    client.expect_closed()


def test_shutdown_timeout(origin, larder):
    """What does not end in time is ended."""
    proxy = larder(origin, config='[server]\nshutdown_timeout = "300ms"\n')
    client = Client(proxy)
    gate = origin.gate()
    origin.expect("GET /a").reply(200, NO_STORE, [b"half", gate, b"rest"])
    response = client.begin("GET", "/a").expect(200)
    assert response.stream.exact(4) == b"half"
    proxy.process.terminate()
    assert proxy.process.wait(TIMEOUT) == 0
    with pytest.raises(AssertionError):
        response.stream.exact(4)
    gate.open()


def test_shutdown_timeout_of_a_body_that_ends_with_the_connection(origin, larder):
    """RFC 9112 §8: an ordinary end would say that what the HTTP/1.0 client got is all."""
    proxy = larder(origin, config='[server]\nshutdown_timeout = "300ms"\n')
    client = Client(proxy)
    gate = origin.gate()
    origin.expect("GET /a").reply(200, NO_STORE, [b"half", gate, b"rest"], framing="chunked")
    response = client.begin("GET", "/a", version="1.0").expect(200, headers={"Content-Length": None, "Transfer-Encoding": None})
    assert response.stream.exact(4) == b"half"
    proxy.process.terminate()
    with pytest.raises(ConnectionResetError):
        client.sock.recv(1)
    assert proxy.process.wait(TIMEOUT) == 0
    gate.open()
