"""A rule's early_hints: a 103 from the stored Link for who has to wait for the origin, and for nobody else."""

import pytest
from support.client import Client
from support.say import fresh, stale

RULE = '[[site]]\n[[site.rule]]\nname = "hints"\nearly_hints = true\n'
NAVIGATES = {"Sec-Fetch-Mode": "navigate"}
LINK = '</a.css>; rel=preload; as=style, </next>; rel=next, <https://cdn.test>; rel="preconnect"'
HINTS = ["</a.css>; rel=preload; as=style", '<https://cdn.test>; rel="preconnect"']


def store(origin, client, headers, status=200, path="/a"):
    origin.expect(f"GET {path}").reply(status, {"Link": LINK, **headers}, b"page")
    client.get(path, NAVIGATES).expect(status, cache="stored")


def hints(response):
    return [(status, fields.all("Link")) for status, fields in response.informational]


def wait_for_origin(origin, client, headers, answer, version="1.1"):
    """A GET whose answer comes after the exchange has begun to wait for it."""
    gate = origin.gate()
    origin.expect("GET /a").reply(*answer, hold=gate)
    client.send("GET", "/a", headers, version=version)
    gate.wait_reached()
    gate.open()
    return client.read_response()


@pytest.mark.parametrize("answer", [(304, fresh(60, Age="0")), (200, fresh(60, ETag='"v2"'), b"other"), (404, {}, b"gone")])
def test_hints_while_it_is_validated(origin, larder, answer):
    """Whatever the answer is, the hints are not in it."""
    client = Client(larder(origin, config=RULE))
    store(origin, client, stale(ETag='"v1"'))
    response = wait_for_origin(origin, client, NAVIGATES, answer)
    assert hints(response) == [(103, HINTS)]
    assert response.header("Link") == (LINK if answer[0] == 304 else None)


def test_at_once(origin, larder):
    """Before the origin has said anything; followers get them too."""
    proxy = larder(origin, config=RULE)
    client, follower = Client(proxy), Client(proxy)
    store(origin, client, stale(ETag='"v1"'))
    gate = origin.gate()
    origin.expect("GET /a").reply(304, fresh(60, Age="0"), hold=gate)
    for one in (client, follower):
        one.send("GET", "/a", NAVIGATES)
        status, fields = one.read_informational()
        assert (status, fields.all("Link")) == (103, HINTS)
    gate.open()
    for one in (client, follower):
        assert one.read_response().expect(200, body=b"page").informational == []


def test_not_with_a_hit(origin, larder):
    client = Client(larder(origin, config=RULE))
    store(origin, client, fresh())
    assert client.get("/a", NAVIGATES).expect(200, cache="hit").informational == []


@pytest.mark.parametrize("headers, version", [({}, "1.1"), ({"Sec-Fetch-Mode": "cors"}, "1.1"), (NAVIGATES, "1.0")])
def test_not_for_everyone(origin, larder, headers, version):
    client = Client(larder(origin, config=RULE))
    store(origin, client, stale(ETag='"v1"'))
    assert hints(wait_for_origin(origin, client, headers, (304, fresh(60, Age="0")), version)) == []


def test_not_without_a_rule(origin, client):
    store(origin, client, stale(ETag='"v1"'))
    assert hints(wait_for_origin(origin, client, NAVIGATES, (304, fresh(60, Age="0")))) == []


@pytest.mark.parametrize("headers, status", [
    ({"Link": "</next>; rel=next"}, 200),
    ({"Cache-Control": 'max-age=60, no-cache="Link"'}, 200),
    ({}, 404),
])
def test_nothing_to_hint(origin, larder, headers, status):
    client = Client(larder(origin, config=RULE))
    store(origin, client, {**stale(ETag='"v1"'), **headers}, status)
    assert hints(wait_for_origin(origin, client, NAVIGATES, (200, fresh(60), b"new"))) == []


def test_the_origins_own_come_behind(origin, larder):
    """Its 103 is passed on as ever; ours went out before it."""
    client = Client(larder(origin, config=RULE))
    store(origin, client, stale(ETag='"v1"'))
    gate = origin.gate()

    def answer(exchange):
        gate.wait()
        exchange.reply(304, fresh(60, Age="0"), interim=[(103, {"Link": "</b.css>; rel=preload"})])

    origin.expect("GET /a").handle(answer)
    client.send("GET", "/a", NAVIGATES)
    gate.wait_reached()
    gate.open()
    assert hints(client.read_response().expect(200)) == [(103, HINTS), (103, ["</b.css>; rel=preload"])]
