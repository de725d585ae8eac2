"""Cases where caches and proxies are known to go wrong."""

import json
import signal
import threading

import pytest
from support.client import Client, unread
from support.say import NO_STORE, always, fresh
from support.wire import TIMEOUT, Truncated, wait_until

HOUR = "[server.timeouts]\nclient_body = \"1s\"\norigin_first_byte = \"1s\"\norigin_between_bytes = \"1s\"\n"


# --- what was not meant for others --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("directive", ["no-cache", "private"])
def test_a_follower_does_not_get_the_leaders_fields(origin, proxy, directive):
    """RFC 9111 §5.2.2.4, §5.2.2.7: also while the response is still coming."""
    leader, follower = Client(proxy), Client(proxy)
    gate = origin.gate()
    origin.expect("GET /a").reply(200, {"Cache-Control": f'max-age=60, {directive}="Set-Cookie, X-User"', "Set-Cookie": "sid=ann", "X-User": "ann"},
                                  [b"hello", gate, b"world"])
    first = leader.begin("GET", "/a").expect(200, headers={"Set-Cookie": "sid=ann", "X-User": "ann"})
    gate.wait_reached()
    second = follower.begin("GET", "/a").expect(200, cache="collapsed", headers={"Set-Cookie": None, "X-User": None})
    gate.open()
    assert first.body == second.body == b"helloworld"
    follower.get("/a").expect(200, cache="hit", headers={"Set-Cookie": None, "X-User": None})


def test_what_is_keyed_is_what_the_origin_is_told(origin, client):
    """An absolute target without Host is a request for that host, not for the origin's default one."""
    origin.expect("GET /p", {"Host": "victim.test", "X-Forwarded-Host": "victim.test"}).reply(200, fresh(), b"of victim")
    client.send_raw(b"GET http://victim.test/p HTTP/1.0\r\n\r\n")
    client.read_response().expect(200, body=b"of victim")
    client.close()
    client.get("/p", host="victim.test").expect(200, body=b"of victim", cache="hit")
    client.get("/p", host="Victim.test:80").expect(200, body=b"of victim", cache="hit")


STYLES = {"x-forwarded": "X-Forwarded-For", "forwarded": "Forwarded"}


@pytest.mark.parametrize("style", STYLES)
def test_vary_by_what_larder_itself_writes(origin, larder, style):
    field = STYLES[style]
    client = Client(larder(origin, config=f'[server]\nforwarded = "{style}"\n'))
    origin.expect("GET /a").reply(200, fresh(Vary=field), b"one")
    client.get("/a").expect(200, cache="!stored; detail=vary-client")
    origin.expect("GET /a").reply(200, fresh(Vary=field), b"two")
    client.get("/a").expect(200, body=b"two")


@pytest.mark.parametrize("style, field", [("none", "X-Forwarded-For"), ("none", "Forwarded"), ("none", "X-Real-IP"), ("x-forwarded", "Forwarded"),
                                          ("x-forwarded", "X-Real-IP"), ("x-forwarded", "X-Forwarded-Port"), ("x-forwarded", "X-Forwarded-Proto"),
                                          ("forwarded", "X-Forwarded-For")])
def test_vary_by_what_no_origin_gets(origin, larder, style, field):
    """Whatever a client sends in it: it is removed before anything is selected."""
    client = Client(larder(origin, config=f'[server]\nforwarded = "{style}"\n'))
    origin.expect("GET /a").reply(200, fresh(Vary=field), b"one")
    client.get("/a", {field: "192.0.2.1"}).expect(200, cache="stored")
    client.get("/a", {field: "192.0.2.2"}).expect(200, body=b"one", cache="hit")
    client.get("/a").expect(200, body=b"one", cache="hit")


def test_what_connection_names_away_selects_nothing(origin, client):
    """The origin answered a request without the field; who sends the field must not get that answer."""
    origin.expect("GET /a", {"X-Kind": None}).reply(200, fresh(Vary="X-Kind"), b"without")
    client.get("/a", {"X-Kind": "special", "Connection": "X-Kind, keep-alive"}).expect(200, body=b"without")
    origin.expect("GET /a", {"X-Kind": "special"}).reply(200, fresh(Vary="X-Kind"), b"special")
    client.get("/a", {"X-Kind": "special"}).expect(200, body=b"special")
    client.get("/a").expect(200, body=b"without", cache="hit")


def test_what_connection_names_away_of_a_post_selects_nothing(origin, client):
    """RFC 9110 §9.3.3: its answer may be stored for later GETs, but not for those with what the origin did not see."""
    app = {"Origin": "https://app.example"}
    origin.expect("POST /a", {"Origin": None}).reply(200, fresh(Vary="Origin", Content_Location="/a"), b"without")
    client.post("/a", b"", app | {"Connection": "Origin, keep-alive"}).expect(200, body=b"without")
    origin.expect("GET /a", app).reply(200, fresh(Vary="Origin"), b"of app")
    client.get("/a", app).expect(200, body=b"of app")
    client.get("/a").expect(200, body=b"without", cache="hit")


# --- nobody waits for ever ----------------------------------------------------------------------------------------------------------

def test_expect_without_a_body(origin, larder):
    """RFC 9110 §10.1.1: there is nothing to wait for, and the origin's time counts from the head."""
    client = Client(larder(origin, config=HOUR))
    gate = origin.gate()
    origin.expect("GET /a", {"Expect": None}).reply(200, NO_STORE, hold=gate)
    response = client.get("/a", {"Expect": "100-continue"}).expect(504)
    assert response.informational == []
    gate.open()


def test_expect_of_an_older_client(origin, client):
    """RFC 9110 §10.1.1: in an HTTP/1.0 request it means nothing, so nobody is asked whether the body may come."""
    origin.expect("POST /a", {"Expect": None}, body=b"abc").reply(200, NO_STORE)
    client.request("POST", "/a", {"Expect": "100-continue"}, b"abc", version="1.0").expect(200)


def early_answer(origin):
    """Answers as soon as the head is there, then reads on."""
    def answer(connection):
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nCache-Control: no-store\r\n\r\n2\r\nhi\r\n")
        connection.read_body()
        connection.reader.at_end()
    origin.expect("POST /p").handle(answer, read_body=False)


@pytest.mark.parametrize("rest", [b"abc", b"abc" + bytes(997)], ids=["some", "all"])
def test_an_answer_before_the_upload_ends_has_its_limits(origin, larder, rest):
    """The client stalls, or the origin does: neither holds the other for ever."""
    proxy = larder(origin, config=HOUR)
    client = Client(proxy)
    early_answer(origin)
    client.send_raw(b"POST /p HTTP/1.1\r\nHost: larder.test\r\nContent-Length: 1000\r\n\r\n" + rest)
    sock = client.sock
    sock.settimeout(TIMEOUT)
    received = b""
    try:
        while piece := sock.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    assert not received.endswith(b"0\r\n\r\n")
    origin.drop_connections()


def test_a_bad_body_behind_a_begun_answer(origin, larder, tmp_path):
    log = tmp_path / "access"
    proxy = larder(origin, flags=["--access-log", log],
                   config="[server.timeouts]\nclient_body = \"1h\"\norigin_first_byte = \"1h\"\norigin_between_bytes = \"1h\"\n")
    client = Client(proxy)
    early_answer(origin)
    client.send_raw(b"POST /p HTTP/1.1\r\nHost: larder.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    response = client.read_head("POST").expect(200)
    assert response.stream.some() == b"hi"
    client.send_raw(b"zz\r\n")
    with pytest.raises(Truncated):
        response.stream.some()
    line = json.loads(wait_until(lambda: log.exists() and log.read_text(encoding="utf-8"), "the line in the log"))
    assert (line["end"], line["error"], line["status"], line["request_bytes"]) == ("refused", "BAD_CHUNK", 200, 3)
    wait_until(lambda: not origin.open_sockets, "the connection to the origin to end")


def test_stopping_does_not_wait_for_tunnels(origin, larder):
    proxy = larder(origin, config='[server]\nshutdown_timeout = "10m"\n')

    def switch(connection):
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        connection.reader.at_end()
    origin.expect("GET /ws").handle(switch)
    client = Client(proxy)
    client.get("/ws", {"Connection": "Upgrade", "Upgrade": "websocket"}).expect(101, cache="fwd=request; detail=upgrade")
    proxy.process.send_signal(signal.SIGTERM)
    assert proxy.process.wait(TIMEOUT) == 0
    proxy.stop()  # it has said all
    assert not proxy.logged("shutdown_timeout is over")


# --- protocols ----------------------------------------------------------------------------------------------------------------------

def test_stopping_does_not_wait_for_the_rest_of_a_body(larder):
    """Nobody wants it: it was answered without."""
    proxy = larder("http://127.0.0.1:1", config='[server]\nshutdown_timeout = "10m"\n')
    client = Client(proxy)
    client.send("OPTIONS", "/a", {"Max-Forwards": "0", "Content-Length": "100"}, body=b"x" * 50)
    response = client.read_response().expect(200)
    assert "close" not in response.headers.members("Connection")
    client.wait_taken()
    proxy.process.send_signal(signal.SIGTERM)
    assert client.reader.at_end()
    client.send_raw(b"x" * 50)
    client.close()
    assert proxy.process.wait(TIMEOUT) == 0
    proxy.stop()  # it has said all
    assert not proxy.logged("shutdown_timeout is over")


def test_a_websocket_on_a_bypassed_path(origin, larder):
    client = Client(larder(origin, config='[[site]]\n[[site.rule]]\nname = "ws"\npath = "/ws/*"\nbypass = true\n'))
    origin.expect("GET /ws/1", {"Upgrade": "websocket"}).send_raw(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    client.get("/ws/1", {"Connection": "Upgrade", "Upgrade": "websocket"}).expect(101)


@pytest.mark.parametrize("framing", ["Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"])
def test_no_switch_before_the_request_has_ended(origin, client, framing):
    """RFC 9110 §7.8: the new protocol begins behind the request, not within it."""
    def answer(connection):
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert connection.reader.sock.recv(1000) in (b"", b"abc", b"3\r\nabc\r\n")
        connection.close()
    origin.expect("GET /ws").handle(answer, read_body=False)
    client.send_raw(f"GET /ws HTTP/1.1\r\nHost: larder.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{framing}".encode())
    client.read_head().expect(502)


@pytest.mark.parametrize("protocol", ["h2c", "websocket, h2c", "TLS/1.0"])
def test_protocols_that_are_not_configured_are_not_switched_to(origin, client, protocol):
    origin.expect("GET /a", {"Upgrade": None, "HTTP2-Settings": None}).reply(200, NO_STORE)
    client.get("/a", {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": protocol, "HTTP2-Settings": "AAMAAABkAAQAAP__"}).expect(200)


def test_pipelined_requests_before_a_half_close(origin, client):
    origin.on("GET /*", lambda connection: connection.reply(200, NO_STORE, connection.request.path.encode()))
    client.send_raw(b"".join(b"GET /%d HTTP/1.1\r\nHost: larder.test\r\n\r\n" % number for number in range(3)))
    client.shutdown()
    for number in range(3):
        client.read_response().expect(200, body=b"/%d" % number)
    client.expect_closed()


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_before_a_half_close(origin, client, chunked):
    """All of the request is there, though the origin is not connected yet when the client says that it sends no more."""
    origin.expect("POST /a", body=b"hello").reply(200, NO_STORE, b"taken")
    client.send("POST", "/a", {}, b"hello", chunked=chunked)
    client.shutdown()
    client.read_response().expect(200, body=b"taken")
    client.expect_closed()


@pytest.mark.parametrize("framed", [b"Content-Length: 100\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"])
def test_a_body_that_is_cut_by_a_half_close(origin, client, framed):
    """It is never taken for the whole, and no connection to the origin stays."""
    origin.on("POST /a", always(200, NO_STORE))
    client.send_raw(b"POST /a HTTP/1.1\r\nHost: larder.test\r\n" + framed)
    client.shutdown()
    client.expect_closed()
    wait_until(lambda: not origin.open_sockets, "the connection to the origin to close")
    assert all(request.body is None for request in origin.requests)


def test_pipelined_requests_leave_others_their_turn(origin, larder, tmp_path):
    """One worker, and twenty thousand hits asked for in one go: who asks behind them does not wait until all are answered."""
    many = 20_000
    log = tmp_path / "access.log"
    origin.on("GET /a*", always(200, fresh(3600), b"x"))
    proxy = larder(origin, flags=["--workers", "1", "--access-log", log])
    other = Client(proxy)
    for target in ("/a", "/a?other"):
        other.get(target).expect(200, cache="stored")
        other.get(target).expect(200, cache="hit")
    crowd = Client(proxy).connect()
    crowd.sock.settimeout(60)
    sender = threading.Thread(target=lambda: crowd.sock.sendall(b"HEAD /a HTTP/1.1\r\nHost: larder.test\r\n\r\n" * many))
    reader = threading.Thread(target=lambda: read_heads(crowd.sock, many))
    proxy.process.send_signal(signal.SIGSTOP)
    sender.start()
    wait_until(lambda: unread(proxy.port, crowd.sock.getsockname()[1]) or not sender.is_alive(), "requests to wait")
    sender.join(1)  # all of them, or as many as the kernel takes
    other.send("GET", "/a?other")
    reader.start()
    proxy.process.send_signal(signal.SIGCONT)
    other.read_response().expect(200, cache="hit")
    sender.join()
    reader.join()
    crowd.close()
    proxy.stop()
    targets = [json.loads(line)["target"] for line in log.read_text(encoding="utf-8").splitlines()]
    assert len(targets) == 4 + many + 1
    assert targets.index("/a?other", 4) < many // 4


def read_heads(sock, count):
    while count > 0:
        piece = sock.recv(1 << 20)
        assert piece, "larder closed the connection"
        count -= piece.count(b"HTTP/1.1 200")  # one that is cut is not counted: its rest is still to come


def test_max_forwards(origin, client):
    """RFC 9110 §7.6.2."""
    origin.expect("OPTIONS /a", {"Max-Forwards": "1"}).reply(200, NO_STORE)
    client.request("OPTIONS", "/a", {"Max-Forwards": "2"}).expect(200)
    client.request("OPTIONS", "/a", {"Max-Forwards": "0"}).expect(200, cache="detail=max-forwards")


@pytest.mark.parametrize("coding", ["gzip, chunked", "chunked, chunked", "chunked, gzip"])
def test_codings_around_chunked(origin, client, coding):
    """larder never asks for any (TE), and cannot take them off: nothing of it is passed on as if it were the content."""
    origin.expect("GET /a").send_raw(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n2\r\nhi\r\n0\r\n\r\n".encode())
    client.get("/a").expect(502)


# --- validators of servers that compress --------------------------------------------------------------------------------------------

def test_a_weak_tag_confirmed_as_a_strong_one(origin, larder):
    """nginx with gzip makes the tag of its 200 weak and names it strong in the 304; by the letter (`rfc`) that is another one."""
    client = Client(larder(origin))
    origin.expect("GET /a").reply(200, fresh(60, Age="60", ETag='W/"v1"'), b"hello")
    client.get("/a").expect(200)
    origin.expect("GET /a", {"If-None-Match": 'W/"v1"'}).reply(304, fresh(60, Age="0", ETag='"v1"'))
    client.get("/a").expect(200, body=b"hello", cache="fwd=stale; fwd-status=304", headers={"ETag": 'W/"v1"'})
    client.get("/a").expect(200, body=b"hello", cache="hit", headers={"ETag": 'W/"v1"'})


def test_head_in_the_stale_window_refreshes_the_whole(origin, client):
    origin.expect("GET /a").reply(200, {"Cache-Control": "max-age=10, stale-while-revalidate=600", "Age": "60"}, b"old")
    client.get("/a").expect(200)
    behind = origin.expect("GET /a").reply(200, fresh(), b"new")
    client.head("/a").expect(200, cache="hit; detail=stale-while-revalidate")
    behind.wait_answered()
    wait_until(lambda: client.get("/a").body == b"new", "the refreshed response")
