"""Entity tags of larder's own, for origins that send no validator."""

import re

import pytest
from support.client import Client
from support.say import date, fresh
from support.why import rule

OWN = re.compile(r'"larder-[0-9a-f]{32}"')


def own_tag(client, target="/a"):
    tag = client.get(target).expect(200, cache="hit").header("ETag")
    assert OWN.fullmatch(tag), tag
    return tag


def test_a_hit_has_a_tag_and_a_client_gets_its_304(origin, client):
    origin.expect("GET /a").reply(200, fresh(), b"hello")
    client.get("/a").expect(200)
    tag = own_tag(client)
    client.get("/a", {"If-None-Match": tag}).expect(304, headers={"ETag": tag})
    client.get("/a", {"If-None-Match": f'"other", {tag}'}).expect(304)
    client.get("/a", {"If-None-Match": '"other"'}).expect(200, body=b"hello")


def test_ranges_go_with_it(origin, client):
    origin.expect("GET /a").reply(200, fresh(), b"hello")
    client.get("/a").expect(200)
    tag = own_tag(client)
    client.get("/a", {"Range": "bytes=1-2", "If-Range": tag}).expect(206, body=b"el")
    client.get("/a", {"Range": "bytes=1-2", "If-Range": '"other"'}).expect(200, body=b"hello")


def test_equal_bytes_fetched_again_are_a_304(origin, client):
    """The origin has no condition to answer and sends all of it; the client that has it needs nothing."""
    origin.expect("GET /a").reply(200, fresh(), b"hello")
    client.get("/a").expect(200)
    tag = own_tag(client)
    origin.expect("POST /a").reply(204)
    client.post("/a").expect(204)
    origin.expect("GET /a", {"If-None-Match": None}).reply(200, fresh(), b"hello")
    client.get("/a", {"If-None-Match": tag}).expect(304, cache="fwd=uri-miss; fwd-status=200; stored", headers={"ETag": tag})
    origin.expect("POST /a").reply(204)
    client.post("/a").expect(204)
    origin.expect("GET /a").reply(200, fresh(), b"other")
    client.get("/a", {"If-None-Match": tag}).expect(200, body=b"other")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "POST"])
@pytest.mark.parametrize("stored", [True, False])
def test_a_change_under_such_a_tag_is_refused(origin, client, method, stored):
    """RFC 9110 §13.1.1: the origin does not know the tag. It would refuse, or not look, and then an update might be lost."""
    tag = '"larder-' + "0" * 32 + '"'
    if stored:
        origin.expect("GET /a").reply(200, fresh(), b"hello")
        client.get("/a").expect(200)
        tag = own_tag(client)
    client.request(method, "/a", {"If-Match": tag}, body=b"new").expect(412, cache="detail=own-tag")
    client.request(method, "/a", {"If-Match": f"{tag}, {tag}"}, body=b"new").expect(412)
    if stored:
        client.get("/a").expect(200, body=b"hello", cache="hit")


@pytest.mark.parametrize("match", ['"v1"', "*", '"larder-v1"', '"larder-' + "0" * 32 + '", "v1"'])
def test_other_conditions_are_for_the_origin(origin, client, match):
    origin.expect("PUT /a", {"If-Match": match}).reply(412, {}, b"")
    client.put("/a", b"new", {"If-Match": match}).expect(412, cache="fwd=method; fwd-status=412")


def test_a_get_under_such_a_tag_is_compared(origin, client):
    """And a range of it, which is what it is used for."""
    origin.expect("GET /a", {"If-Match": None}).reply(200, fresh(), b"hello")
    client.get("/a").expect(200)
    tag = own_tag(client)
    other = '"larder-' + "0" * 32 + '"'
    client.get("/a", {"If-Match": tag}).expect(200, body=b"hello", cache="hit")
    client.get("/a", {"If-Match": f"{other}, {tag}", "Range": "bytes=1-2"}).expect(206, body=b"el", cache="hit")
    client.head("/a", {"If-Match": tag}).expect(200, cache="hit")
    client.get("/a", {"If-Match": other}).expect(412, cache="hit; detail=own-tag")
    origin.expect("GET /b", {"If-Match": None}).reply(200, fresh(), b"hello")
    client.get("/b", {"If-Match": tag}).expect(200, body=b"hello", cache="fwd=uri-miss; stored")
    origin.expect("GET /c").reply(404, fresh(), b"none")
    client.get("/c", {"If-Match": tag}).expect(404, body=b"none")


def test_such_a_tag_never_reaches_the_origin(origin, client):
    """Nor where the client's own conditions go there because its answer is not shared."""
    tag = '"larder-' + "0" * 32 + '"'
    origin.expect("GET /a").reply(200, {"Cache-Control": "no-store"}, b"hello")
    client.get("/a").expect(200)
    origin.expect("GET /a", {"If-None-Match": None}).reply(200, {"Cache-Control": "no-store"}, b"hello")
    client.get("/a", {"If-None-Match": tag}).expect(200, body=b"hello")
    origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(304, {"Cache-Control": "no-store", "ETag": '"v1"'})
    client.get("/a", {"If-None-Match": '"v1"'}).expect(304)


def hold(how_long, *more):
    return rule(f'hold_back = "{how_long}"', *more)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_the_first_answer_has_it(origin, larder, framing):
    """Also where the body comes a moment behind its head, and for who follows."""
    proxy = larder(origin, config=hold("1h"))
    client, follower = Client(proxy), Client(proxy)
    gate = origin.gate()
    origin.expect("GET /a").reply(200, fresh(), [gate, b"hello"], framing=framing)
    for one in (client, follower):
        one.send("GET", "/a")
        gate.wait_reached()
    gate.open()
    tags = {one.read_response().expect(200, body=b"hello").header("ETag") for one in (client, follower)}
    assert tags == {own_tag(client)}


def test_a_head_waits_so_long_and_no_longer(origin, larder):
    client = Client(larder(origin, config=hold("10ms")))
    gate = origin.gate()
    origin.expect("GET /a").reply(200, fresh(), [b"hel", gate, b"lo"])
    response = client.begin("GET", "/a").expect(200, headers={"ETag": None})
    gate.open()
    assert response.body == b"hello"
    own_tag(client)


def test_a_body_that_breaks_off_before_its_head_went_out(origin, larder):
    client = Client(larder(origin, config=hold("1h")))
    gate = origin.gate()
    origin.expect("GET /a").reply(200, {**fresh(), "Content-Length": "9"}, [b"hello", gate], close=True)
    client.send("GET", "/a")
    gate.wait_reached()
    gate.open()
    client.read_response().expect(502)


NOT_HELD = {
    "large": (hold("1h"), fresh(), [bytes(70_000)]),
    "of the origin's tag": (hold("1h"), fresh(60, ETag='"v1"'), [b"hel"]),
    "of the origin's date": (hold("1h"), fresh(60, Last_Modified=date(-100)), [b"hel"]),
    "not stored": (hold("1h"), {"Cache-Control": "no-store"}, [b"hel"]),
    "without tags of ours": (hold("1h", "own_etag = false"), fresh(), [b"hel"]),
    "by rule": (hold("0"), fresh(), [b"hel"]),
}


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("name", NOT_HELD)
def test_what_is_not_held_back(origin, larder, name, framing):
    config, headers, begin = NOT_HELD[name]
    client = Client(larder(origin, config=config))
    gate = origin.gate()
    origin.expect("GET /a").reply(200, headers, [*begin, gate, b"lo"], framing=framing)
    response = client.begin("GET", "/a", {"If-None-Match": '"larder-00"'}).expect(200)
    gate.open()
    assert response.body == b"".join(begin) + b"lo"


def test_the_origins_validators_come_first(origin, client):
    for target, fields in (("/a", {"ETag": '"v1"'}), ("/b", {"Last-Modified": date(-100)})):
        origin.expect(f"GET {target}").reply(200, fresh(60, **fields), b"hello")
        client.get(target).expect(200)
        client.get(target).expect(200, cache="hit", headers={"ETag": fields.get("ETag")})


def test_off_in_the_rfc_profile_and_by_rule(origin, larder):
    for options in ({"flags": ["--profile", "rfc"]}, {"config": '[[site]]\n[[site.rule]]\nname = "no-tags"\nown_etag = false\n'}):
        client = Client(larder(origin, **options))
        origin.expect("GET /a").reply(200, fresh(), b"hello")
        client.get("/a").expect(200)
        client.get("/a").expect(200, cache="hit", headers={"ETag": None})


# --- HEAD and POST ------------------------------------------------------------------------------------------------------------------

def test_head_freshens_what_is_stored(origin, client):
    """RFC 9111 §4.3.5."""
    origin.expect("GET /a").reply(200, fresh(60, Age="60", ETag='"v1"', X_Old="1"), b"hello")
    client.get("/a").expect(200)
    origin.expect("HEAD /a").reply(200, fresh(60, Age="0", ETag='"v1"', X_New="2", Content_Length="5"))
    client.head("/a").expect(200, cache="fwd=stale; fwd-status=200; stored; detail=updated",
                             headers={"X-Old": None, "X-New": "2", "Content-Length": "5"})
    client.get("/a").expect(200, body=b"hello", cache="hit", headers={"X-Old": "1", "X-New": "2"})


def test_head_shows_that_it_is_not_current(origin, client):
    for number, fields in enumerate(({"ETag": '"v2"'}, {"ETag": '"v1"', "Content-Length": "6"})):
        origin.expect(f"GET /{number}").reply(200, fresh(60, Age="60", ETag='"v1"'), b"hello")
        client.get(f"/{number}").expect(200)
        origin.expect(f"HEAD /{number}").reply(200, fresh(60, Age="0", **fields))
        client.head(f"/{number}").expect(200, cache="fwd=stale; !stored; detail=outdated")
        origin.expect(f"GET /{number}", {"If-None-Match": None}).reply(200, fresh(60, **fields), b"hello2")
        client.get(f"/{number}").expect(200, body=b"hello2")


def test_only_a_200_freshens(origin, client):
    origin.expect("GET /a").reply(200, fresh(60, Age="60", ETag='"v1"'), b"hello")
    client.get("/a").expect(200)
    origin.expect("HEAD /a").reply(410, fresh(60, ETag='"v1"'))
    client.head("/a").expect(410)
    origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(304, fresh(60, Age="0"))
    client.get("/a").expect(200, body=b"hello")


def test_a_post_for_later_gets(origin, client):
    """RFC 9110 §9.3.3: explicitly fresh, and its Content-Location the target."""
    origin.expect("POST /a", body=b"x").reply(200, fresh(60, Content_Location="/a"), b"result")
    client.post("/a", b"x").expect(200, body=b"result", cache="fwd=method; stored")
    client.get("/a").expect(200, body=b"result", cache="hit")


def test_a_post_that_is_only_a_post(origin, client):
    for number, fields in enumerate(({"Content-Location": "/other"}, {}, {"Content-Location": "http://elsewhere.test/2"})):
        origin.expect(f"POST /{number}").reply(200, fresh(60, **fields), b"result")
        client.post(f"/{number}", b"").expect(200, cache="!stored")
        origin.expect(f"GET /{number}").reply(200, {"Cache-Control": "no-store"}, b"get")
        client.get(f"/{number}").expect(200, body=b"get")


def test_a_post_invalidates_before_it_stores(origin, client):
    origin.expect("GET /a").reply(200, fresh(600), b"old")
    client.get("/a").expect(200)
    origin.expect("POST /a").reply(200, fresh(60, Content_Location="/a"), b"new")
    client.post("/a", b"").expect(200)
    client.get("/a").expect(200, body=b"new", cache="hit")
