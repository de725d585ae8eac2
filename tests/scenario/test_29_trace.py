"""Traces: W3C traceparent, passed on with a span of larder's own, begun by rule, told in the log."""

import json
import re

from support.client import Client
from support.say import fresh
from support.wire import wait_until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
GIVEN = {"Traceparent": f"00-{TRACE}-{CALLER}-01", "Tracestate": "vendor=1"}
LOGGED = ["--access-log", "access.log"]
FIELD = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-0[01]")


def configured(origin, rule=""):
    return f'[[site]]\norigin = "{origin.url}"\n{rule}'


def lines(proxy, count):
    file = proxy.directory / "access.log"
    wait_until(lambda: file.exists() and len(file.read_text().splitlines()) >= count, f"{count} lines")
    return [json.loads(line) for line in file.read_text().splitlines()]


def told(origin, number=-1):
    """What the origin was told."""
    fields = origin.requests[number].headers
    return fields.get("traceparent"), fields.get("tracestate")


def test_passed_on_with_a_span_of_our_own(larder, origin):
    proxy = larder(origin, config=configured(origin), flags=LOGGED)
    client = Client(proxy)
    origin.expect("GET /a").reply(200, fresh(), b"a")
    client.get("/a", GIVEN).expect(200)
    client.get("/a", GIVEN).expect(200, cache="hit")
    field, state = told(origin)
    trace, span = FIELD.fullmatch(field).groups()
    assert trace == TRACE and span != CALLER and field.endswith("-01") and state == "vendor=1"
    first, second = lines(proxy, 2)
    assert first["trace_id"] == second["trace_id"] == TRACE and first["parent_id"] == second["parent_id"] == CALLER
    assert first["span_id"] == span and second["span_id"] not in (span, CALLER)


def test_nothing_is_begun_without_a_rule(larder, origin):
    proxy = larder(origin, config=configured(origin), flags=LOGGED)
    origin.expect("GET /a").reply(200, fresh(), b"a")
    Client(proxy).get("/a").expect(200)
    assert told(origin) == (None, None) and "trace_id" not in lines(proxy, 1)[0]


def test_what_cannot_be_read_is_passed_on_without_a_rule(larder, origin):
    proxy = larder(origin, config=configured(origin), flags=LOGGED)
    origin.expect("GET /a").reply(200, fresh(), b"a")
    Client(proxy).get("/a", {"Traceparent": "00-nonsense"}).expect(200)
    assert told(origin)[0] == "00-nonsense" and "trace_id" not in lines(proxy, 1)[0]


def test_begun_by_rule(larder, origin):
    proxy = larder(origin, config=configured(origin, '[[site.rule]]\nname = "api"\npath = "/api/*"\ntrace = true\n'), flags=LOGGED)
    client = Client(proxy)
    for target in ("/api/1", "/api/2", "/other"):
        origin.expect(f"GET {target}").reply(200, {"Cache-Control": "no-store"}, b"a")
    client.get("/api/1").expect(200)
    trace, span = FIELD.fullmatch(told(origin)[0]).groups()
    client.get("/api/2", {"Traceparent": "00-nonsense", "Tracestate": "vendor=1"}).expect(200)
    other, _ = FIELD.fullmatch(told(origin)[0]).groups()
    assert other != trace and told(origin)[1] is None
    client.get("/other").expect(200)
    assert told(origin) == (None, None)
    line = lines(proxy, 3)[0]
    assert (line["trace_id"], line["span_id"]) == (trace, span) and "parent_id" not in line


def test_a_follower_has_a_span_of_its_own(larder, origin):
    proxy = larder(origin, config=configured(origin), flags=LOGGED)
    gate = origin.gate()
    origin.expect("GET /a").reply(200, fresh(), b"a", hold=gate)
    clients = [Client(proxy) for _ in range(2)]
    for client in clients:
        client.send("GET", "/a", GIVEN)
    gate.wait_reached()
    for client in clients:
        client.wait_taken()
    gate.open()
    for client in clients:
        client.read_response().expect(200)
    spans = {line["span_id"] for line in lines(proxy, 2)}
    assert len(spans) == 2 and FIELD.fullmatch(told(origin)[0]).group(2) in spans
