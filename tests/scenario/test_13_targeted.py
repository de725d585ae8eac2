"""Targeted cache control (RFC 9213)."""

import pytest
from support.client import Client
from support.say import always, date


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


@pytest.mark.parametrize("directive", ["private", "no-cache"])
@pytest.mark.parametrize("target", ["CDN-Cache-Control", "Edge-Control"])
def test_fields_that_it_names_are_for_one_client(origin, larder, directive, target):
    """RFC 9213 §2.1, RFC 9111 §5.2.2.4, §5.2.2.7: a list of names means there what it means in Cache-Control."""
    client = Client(larder(origin, config='[cache]\ntargets = ["Edge-Control", "CDN-Cache-Control"]\n'))
    fields = {target: f'max-age=60, {directive}="set-cookie, x-user";p=1', "Set-Cookie": "id=1", "X-User": "ann", "ETag": '"v1"'}
    origin.on("GET /a", always(200, fields))
    first = client.get("/a").expect(200, headers={"X-User": "ann"})
    assert (first.headers.all("Set-Cookie"), first.headers.all("X-User")) == (["id=1"], ["ann"]), first
    for _ in range(2):
        other = client.get("/a").expect(200)
        if "hit" in other.cache:
            other.expect(200, headers={"X-User": None, "Set-Cookie": None})
        else:
            assert target == "Edge-Control", other  # not stored, or validated each time
    if target == "CDN-Cache-Control":
        assert origin.count() == 1
