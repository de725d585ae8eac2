"""The wall clock jumps, by a day: nothing is fresh that may not be, nothing waits or ends before its time, and purges hold."""

import time

import pytest
from support.admin import Admin
from support.client import Client
from support.clock import Clock
from support.say import date
from support.wire import wait_until

pytestmark = pytest.mark.plain_only

DAY = 86400


@pytest.fixture
def clocked(larder, origin, tmp_path):
    """A proxy, and jump(seconds): from now on its wall clock is so far from the machine's."""
    clock = Clock(tmp_path / "clock")

    def answer(exchange):
        fields = {"Cache-Control": "max-age=600", "ETag": '"v1"', "Date": date(clock.offset_s)}
        status = 304 if exchange.request.headers.get("If-None-Match") == '"v1"' else 200
        exchange.reply(status, fields, b"hello")

    origin.on("GET *", answer)
    return larder(origin, env=clock.env), clock.jump


def wait_hit(client, path="/a"):
    wait_until(lambda: "; hit" in client.get(path).expect(200, body=b"hello").header("Cache-Status"), "a hit")


@pytest.mark.parametrize("first", [DAY, -DAY])
def test_what_was_fresh_is_validated_after_a_jump(origin, clocked, first):
    """Forward it is stale; back nobody knows how old it is, and it is not fresh for a day more than it may be."""
    proxy, jump = clocked
    client = Client(proxy)
    wait_hit(client)
    before = origin.count()
    for offset in (first, 0):  # there, and put right again
        jump(offset)
        client.get("/a").expect(200, body=b"hello", cache="fwd=stale; fwd-status=304; !hit")
        wait_hit(client)
    assert origin.count() == before + 2
    assert client.connections == 1


def test_a_clock_that_is_put_back_a_little_changes_nothing(origin, clocked):
    proxy, jump = clocked
    client = Client(proxy)
    wait_hit(client)
    before = origin.count()
    jump(-30)
    client.get("/a").expect(200, body=b"hello", cache="hit", headers={"Age": "0"})
    assert origin.count() == before


@pytest.mark.parametrize("offset", [DAY, -DAY])
def test_what_waits_waits_on(origin, clocked, offset):
    """Timeouts are of the clock that does not jump."""
    proxy, jump = clocked
    client = Client(proxy)
    gate = origin.gate()
    origin.expect("GET /slow").reply(200, {"Cache-Control": "no-store"}, b"late", hold=gate)
    client.send("GET", "/slow")
    gate.wait_reached()
    begun = time.monotonic()
    jump(offset)
    wait_hit(Client(proxy), "/other")
    gate.open()
    client.read_response().expect(200, body=b"late")
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("offset", [DAY, -DAY])
def test_a_purge_holds_over_a_jump(origin, clocked, offset):
    """Purges are in force by their order, not by the time."""
    proxy, jump = clocked
    client = Client(proxy)
    wait_hit(client)
    jump(offset)
    Admin(proxy).post("/v1/purge", b'{"everything": true}', {"Content-Type": "application/json"}).expect(200)
    before = origin.count()
    client.get("/a").expect(200, body=b"hello", cache="fwd=uri-miss; !hit")
    wait_hit(client)
    jump(0)
    client.get("/a").expect(200, cache="fwd=stale; fwd-status=304")
    assert origin.count() == before + 2
