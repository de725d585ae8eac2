"""A store larger than memory: look-ups whose pages are on the disk only wait for it on another thread."""

import os

import pytest
from support.admin import Admin
from support.client import Client
from support.faults import Faults
from support.say import fresh

pytestmark = pytest.mark.plain_only

COLD = "larder_store_cold_look_ups_total"


@pytest.fixture
def small_machine(tmp_path):
    faults = Faults(tmp_path / "control", tmp_path / "larder0" / "cache")
    faults.memory(16 * 1024 * 1024)
    return faults


def serve(origin):
    origin.on("GET /*", lambda exchange: exchange.reply(200, fresh(3600), exchange.request.target.encode() * 50))


def body_of(target):
    return target.encode() * 50


def test_what_is_on_the_disk_only_is_waited_for_and_found(origin, larder, small_machine):
    """Once a request: what was read for it counts as read. Hits, misses, and what is pipelined behind them."""
    serve(origin)
    proxy = larder(origin, config="[cache]\nhot_memory = \"0\"\n", env=small_machine.env)
    client = Client(proxy)
    for number in range(20):
        client.get(f"/{number}").expect(200, body=body_of(f"/{number}"))
    proxy.restart()
    client = Client(proxy)
    threads = len(os.listdir(f"/proc/{proxy.pid}/task"))
    small_machine.cold()
    for number in range(20):
        client.get(f"/{number}").expect(200, body=body_of(f"/{number}"), cache="hit")
    assert len(os.listdir(f"/proc/{proxy.pid}/task")) == threads, "those that wait are there from the start"
    assert Admin(proxy).metrics()[COLD] == 20
    client.get("/new").expect(200, body=body_of("/new"), cache="stored")
    client.send_raw(b"".join(client.encode("GET", f"/{number}") for number in range(5)))
    for number in range(5):
        client.read_response("GET").expect(200, body=body_of(f"/{number}"), cache="hit")
    small_machine.cold(False)
    before = Admin(proxy).metrics()[COLD]
    client.get("/3").expect(200, cache="hit")
    assert Admin(proxy).metrics()[COLD] == before


def test_a_client_that_leaves_meanwhile_disturbs_nobody(origin, larder, small_machine):
    serve(origin)
    proxy = larder(origin, config="[cache]\nhot_memory = \"0\"\n", env=small_machine.env)
    Client(proxy).get("/1").expect(200)
    proxy.restart()
    small_machine.cold()
    for _ in range(50):
        gone = Client(proxy)
        gone.begin("GET", "/1")
        gone.close()
    Client(proxy).get("/1").expect(200, body=body_of("/1"), cache="hit")


def test_a_store_that_fits_is_not_asked(origin, larder, small_machine):
    serve(origin)
    small_machine.memory(1 << 40)
    proxy = larder(origin, config="[cache]\nhot_memory = \"0\"\n", env=small_machine.env)
    small_machine.cold()
    client = Client(proxy)
    client.get("/1").expect(200)
    client.get("/1").expect(200, cache="hit")
    assert Admin(proxy).metrics()[COLD] == 0
