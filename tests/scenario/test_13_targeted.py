"""Targeted cache control (RFC 9213)."""

import pytest
from support.client import Client
from support.say import date


def respond(origin, **fields):
    return origin.expect("GET /a").reply(200, fields, b"body")


@pytest.mark.parametrize("fields, cached", [
    ({"CDN_Cache_Control": "max-age=60", "Cache_Control": "no-store"}, True),
    ({"CDN_Cache_Control": "max-age=60", "Cache_Control": "max-age=0", "Expires": "0"}, True),
    ({"CDN_Cache_Control": "max-age=60"}, True),
    ({"CDN_Cache_Control": "no-store", "Cache_Control": "max-age=60"}, False),
    ({"CDN_Cache_Control": "private", "Cache_Control": "max-age=60"}, False),
    ({"CDN_Cache_Control": "max-age=0", "Cache_Control": "max-age=60"}, False),
    # invalid or empty: as if it were not there (§2.1)
    ({"CDN_Cache_Control": "&&&&&", "Cache_Control": "max-age=60"}, True),
    ({"CDN_Cache_Control": "max-age =60", "Cache_Control": "no-store"}, False),
    ({"CDN_Cache_Control": "", "Cache_Control": "max-age=60"}, True),
    # not what RFC 9651 calls an integer, or a key
    ({"CDN_Cache_Control": 'max-age="60"', "Cache_Control": "max-age=60"}, False),
    ({"CDN_Cache_Control": "MAX-AGE=60", "Cache_Control": "no-store"}, False),
])
def test_the_targeted_field_decides(origin, client, fields, cached):
    respond(origin, **{name.replace("_", "-"): value for name, value in fields.items()})
    client.get("/a").expect(200, headers={name.replace("_", "-"): value for name, value in fields.items() if value})
    if cached:
        client.get("/a").expect(200, cache="hit")
    else:
        respond(origin, Cache_Control="no-store")
        client.get("/a").expect(200, cache="!hit")


def test_age_counts_all_the_same(origin, client):
    origin.expect("GET /a").reply(200, {"CDN-Cache-Control": "max-age=60", "Age": "60", "ETag": '"v1"'}, b"body")
    client.get("/a").expect(200)
    origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(304, {"CDN-Cache-Control": "max-age=60", "Age": "0"})
    client.get("/a").expect(200, cache="fwd=stale")
    client.get("/a").expect(200, cache="hit")


def test_targets_are_configured(origin, larder):
    client = Client(larder(origin, config='[cache]\ntargets = ["Edge-Cache-Control", "CDN-Cache-Control"]\n'))
    origin.expect("GET /a").reply(200, {"Edge-Cache-Control": "no-store", "CDN-Cache-Control": "max-age=60", "Date": date()}, b"a")
    client.get("/a").expect(200, cache="detail=no-store")
    origin.expect("GET /b").reply(200, {"Edge-Cache-Control": "nothing=", "CDN-Cache-Control": "max-age=60"}, b"b")
    client.get("/b").expect(200, cache="stored")
