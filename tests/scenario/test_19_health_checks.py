"""Active health checks: what is asked, what counts as well, who is taken out, and what clients get when all are."""

import threading
import time

import pytest
from support.client import Client
from support.say import NO_STORE, always, stale


def config(*origins, check="", site="", server=""):
    urls = ", ".join(f'"{origin.url}"' for origin in origins)
    return (f'{server}\n[[site]]\norigin = [{urls}]\n{site}\n[site.health_check]\npath = "/health"\ninterval = "20ms"\n'
            f"healthy = 2\nunhealthy = 2\n{check}\n")


class Health:
    """What an origin answers to its checks; everything else is 200."""

    def __init__(self, origin):
        self.status = 200
        self.origin = origin
        origin.on("GET /health", lambda exchange: exchange.reply(self.status, NO_STORE, b"-"))
        origin.on("GET *", always(200, NO_STORE, b"x"))

    def requests(self):
        """Those that are not checks."""
        return sum(request.path != "/health" for request in list(self.origin.requests))


def test_an_unhealthy_origin_is_not_asked_until_it_is_well(origins, larder):
    a, b = origins(), origins()
    ill, well = Health(a), Health(b)
    proxy = larder(config=config(a, b), flags=["--workers", "2"])
    ill.status = 503
    proxy.wait_logged("origin unhealthy")
    before = ill.requests()
    for number in range(6):
        Client(proxy).get(f"/{number}").expect(200)
    assert (ill.requests() - before, well.requests()) == (0, 6)
    ill.status = 204
    proxy.wait_logged("origin healthy")
    for number in range(6):
        Client(proxy).get(f"/{number}").expect(200)
    assert ill.requests() - before == 3
    assert len(proxy.logged("origin unhealthy")) == 1, "each change is said once"
    assert "check=503" in proxy.logged("origin unhealthy")[0]


def test_what_a_check_asks(origins, larder):
    """Its path, the Host it was given, on a connection that is not kept; once a process, not once a worker."""
    origin = origins()
    Health(origin)
    start = time.monotonic()
    proxy = larder(config=config(origin, check='host = "up.test"').replace("20ms", "200ms"), flags=["--workers", "8"])
    origin.wait_count(3, "/health")
    count = origin.count("/health")
    passed = time.monotonic() - start
    assert count <= 2 + passed / 0.2, "as many as one worker makes"
    request = origin.requests[0]
    assert request.target == "/health" and request.header("Host") == "up.test"
    assert request.header("Connection") == "close" and request.header("User-Agent") == "larder"
    assert proxy.process.poll() is None


@pytest.mark.parametrize("status, statuses, well", [(301, "", True), (404, "", False), (200, "statuses = [204]", False), (404, "statuses = 404", True)])
def test_which_statuses_mean_well(origins, larder, status, statuses, well):
    origin = origins()
    health = Health(origin)
    health.status = status
    proxy = larder(config=config(origin, check=statuses))
    origin.wait_count(4, "/health")
    if well:
        assert not proxy.logged("origin unhealthy")
    else:
        proxy.wait_logged("origin unhealthy")


def test_all_unhealthy_is_503_at_once_or_stale(origins, larder):
    """Nobody waits for a time-out, and no request goes out."""
    origin = origins()
    stuck, gate = threading.Event(), origin.gate()
    origin.on("GET /health", lambda exchange: (stuck.is_set() and gate.wait(), exchange.reply(200, NO_STORE)))
    origin.on("GET /stored", always(200, stale(ETag='"1"'), b"old"))
    proxy = larder(config=config(origin, check='timeout = "1s"', server='[server.timeouts]\norigin_first_byte = "1h"\n'))
    proxy.before_stop.append(origin.open_gates)
    client = Client(proxy)
    client.get("/stored").expect(200, body=b"old")
    stuck.set()
    proxy.wait_logged("origin unhealthy")
    assert "check=TIMEOUT" in proxy.logged("origin unhealthy")[0]
    response = client.get("/a").expect(503, cache="detail=origins-down")
    assert response.header("Proxy-Status") == "larder; error=destination_unavailable"
    assert response.header("Retry-After") == "1"
    client.post("/a", b"x").expect(503)
    client.get("/stored").expect(200, body=b"old", cache="hit; detail=stale-disconnected")
    assert origin.count("/stored") == 1 and origin.count("/a") == 0
    stuck.clear()
    gate.open()
    proxy.wait_logged("origin healthy")
    client.get("/stored").expect(200, body=b"old", cache="fwd=stale; fwd-status=200")


def test_an_origin_that_is_gone_and_one_that_talks_nonsense(origins, larder):
    gone, mad, well = origins(), origins(), origins()
    gone.stop()
    mad.on("GET *", lambda exchange: (exchange.send(b"hello\r\n\r\n"), exchange.close()))
    Health(well)
    proxy = larder(config=config(gone, mad, well))
    proxy.wait_logged("origin unhealthy", 2)
    said = "".join(proxy.logged("origin unhealthy"))
    assert "check=CONNECT" in said and "check=BAD_RESPONSE" in said
    for number in range(4):
        Client(proxy).get(f"/{number}").expect(200)


def test_checks_do_not_hold_up_a_stop(origins, larder):
    origin = origins()
    gate = origin.gate()
    origin.on("GET *", lambda exchange: gate.wait())
    proxy = larder(config=config(origin).replace('interval = "20ms"', 'interval = "1h"\ntimeout = "1h"'))
    gate.wait_reached()
    start = time.monotonic()
    proxy.stop()
    assert time.monotonic() - start < 20
