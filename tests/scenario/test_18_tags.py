"""Tags of responses, and groups (RFC 9875): kept, passed on or not, and what they invalidate."""

from support.client import Client
from support.say import fresh

TAGS = {"Surrogate-Key": "a b", "Cache-Tag": "c", "xkey": "d", "Cache-Groups": '"e"'}

STRIP = """
[[site]]
[[site.rule]]
name = "no-tags"
path = "/s/*"
strip_tags = true
"""


def test_tags_are_passed_on(origin, client):
    origin.expect("GET /a").reply(200, fresh(**TAGS), b"hello")
    client.get("/a").expect(200, headers=TAGS)
    client.get("/a").expect(200, cache="hit", headers=TAGS)


def test_a_rule_keeps_them_from_clients(origin, larder):
    client = Client(larder(origin, config=STRIP))
    origin.expect("GET /s/a").reply(200, fresh(**TAGS), b"hello")
    origin.expect("GET /s/b").reply(200, {"Cache-Control": "no-store", **TAGS}, b"hello")
    for target, cache in (("/s/a", "fwd=uri-miss"), ("/s/a", "hit"), ("/s/b", "fwd=uri-miss")):
        client.get(target).expect(200, cache=cache, headers={**dict.fromkeys(TAGS), "Cache-Groups": '"e"'})


def test_a_response_with_too_many_is_not_stored(origin, client):
    many = " ".join(f"t{i}" for i in range(1025))
    origin.expect("GET /a").reply(200, fresh(**{"Surrogate-Key": many}), b"hello")
    client.get("/a").expect(200, cache="fwd=uri-miss; !stored; detail=tag-limit")
    groups = ", ".join(f'"g{i}"' for i in range(65))
    origin.expect("GET /b").reply(200, fresh(**{"Cache-Groups": groups}), b"hello")
    client.get("/b").expect(200, cache="fwd=uri-miss; !stored; detail=tag-limit")
