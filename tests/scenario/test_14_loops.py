"""CDN-Loop (RFC 8586) and Proxy-Status on answers of larder's own (RFC 9209)."""

import re

import pytest
from support.client import Client
from support.say import NO_STORE, always


def test_cdn_loop_is_appended(origin, client):
    origin.expect("GET /a", {"CDN-Loop": re.compile(r"other\.example; abc, larder; id=[0-9a-f]{16}")}).reply(200, NO_STORE)
    client.get("/a", {"CDN-Loop": "other.example; abc"}).expect(200)


def test_connection_cannot_name_it_away(origin, client):
    origin.expect("GET /a", {"CDN-Loop": re.compile(r"other, larder; id=.*")}).reply(200, NO_STORE)
    client.get("/a", {"CDN-Loop": "other", "Connection": "CDN-Loop"}).expect(200)


def test_a_request_that_comes_back_is_refused(origin, client):
    origin.on("GET /a", always(200, NO_STORE))
    client.get("/a").expect(200)
    mark = origin.last.header("CDN-Loop")
    client.get("/a", {"CDN-Loop": f"first, {mark}"}).expect(
        508, cache="detail=loop", headers={"Proxy-Status": "larder; error=proxy_loop_detected"})


@pytest.mark.parametrize("form", [
    "larder;id=%s", "larder ; id=%s", 'larder; id="%s"', "larder\t;\tid=%s", "larder; x=\"a;b,c\"; id=%s", "Larder; ID=%s",
    "other;x=1,larder;id=%s",
])
def test_a_request_that_comes_back_written_anew_is_refused(origin, client, form):
    origin.on("GET /a", always(200, NO_STORE))
    client.get("/a").expect(200)
    mark = re.search(r"id=(\w+)", origin.last.header("CDN-Loop")).group(1)
    client.get("/a", {"CDN-Loop": form % mark}).expect(508, cache="detail=loop")


@pytest.mark.parametrize("form", [
    "larder", "larder; id", "larder; id=", "larder; x=%s", "other; id=%s", 'other; x="larder; id=%s"', 'larder; id="%s',
])
def test_what_does_not_say_so_is_no_loop(origin, client, form):
    origin.on("GET /a", always(200, NO_STORE))
    client.get("/a").expect(200)
    mark = re.search(r"id=(\w+)", origin.last.header("CDN-Loop")).group(1)
    client.get("/a", {"CDN-Loop": form.replace("%s", mark)}).expect(200)


def test_a_larder_before_a_larder_is_no_loop(origin, larder):
    origin.on("GET /a", always(200, NO_STORE))
    inner = larder(origin)
    outer = larder(None, flags=["--origin", f"http://127.0.0.1:{inner.port}"])
    Client(outer).get("/a").expect(200, body=b"body")


@pytest.mark.parametrize("behave, status, error", [
    (lambda expectation: expectation.disconnect(), 502, "connection_terminated"),
    (lambda expectation: expectation.send_raw(b"nonsense\r\n\r\n"), 502, "http_protocol_error"),
    (lambda expectation: expectation.send_raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200000), 502, "http_response_header_section_size"),
    (lambda expectation: expectation.send_raw(b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 1000 + b"\r\n"), 502, "http_response_header_section_size"),
], ids=["gone", "no HTTP", "a large head", "many fields"])
def test_proxy_status(origin, client, behave, status, error):
    behave(origin.expect("GET /a"))
    client.get("/a").expect(status, headers={"Proxy-Status": f"larder; error={error}"})


@pytest.mark.parametrize("fields, limit", [(b"X: " + b"x" * 200000, b"head in [server.limits]"), (b"X: 1\r\n" * 1000, b"fields in [server.limits]")], ids=["size", "count"])
def test_the_text_names_the_limit_of_a_response(origin, client, fields, limit):
    origin.expect("GET /a").send_raw(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n\r\n")
    assert limit in client.get("/a").expect(502).body


def test_proxy_status_of_an_origin_that_is_not_there(larder):
    Client(larder(None, flags=["--origin", "http://127.0.0.1:1"])).get("/a").expect(
        502, headers={"Proxy-Status": "larder; error=connection_refused"})


def test_proxy_status_of_a_bad_request(client):
    client.send_raw(b"GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
    client.read_response().expect(400, headers={"Proxy-Status": "larder; error=http_request_error"})


OTHER_SITE = '[[site]]\nhosts = ["elsewhere.test"]\norigin = "http://127.0.0.1:1"\n'
ONE_AN_HOUR = '[[site]]\n[[site.rule]]\nname = "few"\nrate_limit = "1/h"\n'

# name: (configuration, method, request, status, error type)
OURS = {
    "no site": (OTHER_SITE, "GET", {}, 404, "destination_not_found"),
    "nothing stored": (None, "GET", {"Cache-Control": "only-if-cached"}, 504, "proxy_internal_response"),
    "method": (None, "TRACE", {}, 501, "http_request_denied"),
    "expectation": (None, "GET", {"Expect": "a miracle"}, 417, "http_request_error"),
    "purge refused": ('[[site]]\npurge_from = "127.0.0.2"\n', "PURGE", {}, 403, "http_request_denied"),
    "purge of nothing": ('[[site]]\npurge_from = "127.0.0.1"\n', "PURGE", {}, 404, "http_request_error"),
}


@pytest.mark.parametrize("name", OURS)
def test_proxy_status_of_answers_of_our_own(origin, larder, name):
    """RFC 9209 §2.3: whatever larder refuses says that it was larder, and why."""
    config, method, headers, status, error = OURS[name]
    client = Client(larder(None if config == OTHER_SITE else origin, config=config))
    client.request(method, "/a", headers).expect(status, headers={"Proxy-Status": f"larder; error={error}"})


def test_proxy_status_beyond_limits(origin, larder):
    origin.on("GET /a", always(200, NO_STORE))
    client = Client(larder(origin, config=ONE_AN_HOUR))
    client.get("/a").expect(200, headers={"Proxy-Status": None})
    client.get("/a").expect(429, headers={"Proxy-Status": "larder; error=http_request_error"})
    proxy = larder(origin, config="[server.limits]\nconnections = 1\n")
    inside = Client(proxy)
    inside.get("/a").expect(200)
    Client(proxy).get("/a").expect(503, headers={"Proxy-Status": "larder; error=proxy_internal_response"})


def test_what_is_no_error_has_no_proxy_status(client):
    client.request("OPTIONS", "/a", {"Max-Forwards": "0"}).expect(200, headers={"Proxy-Status": None})
