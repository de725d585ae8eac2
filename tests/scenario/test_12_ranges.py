"""Ranges from stored responses and from running fetches (RFC 9110 §14)."""

import random
import re

import pytest
from support.client import Client
from support.say import date, fresh

BODY = random.Random(9110).randbytes(100_000)
ETAG = {"ETag": '"v1"'}


def store(origin, client, body=BODY, **fields):
    origin.expect("GET /a").reply(200, fresh(600, **ETAG, **fields), body)
    client.get("/a").expect(200, body=body, cache="stored")


def parts_of(response):
    """[(content range, bytes)] of a multipart/byteranges."""
    boundary = re.fullmatch(r"multipart/byteranges; ?boundary=\"?([^\"]+)\"?", response.header("Content-Type")).group(1).encode()
    pieces = re.split(rb"(?:\A|\r\n)--" + re.escape(boundary), response.body)
    assert pieces[0] == b"" and pieces[-1].strip() == b"--"
    found = []
    for piece in pieces[1:-1]:
        head, _, content = piece.partition(b"\r\n\r\n")
        found.append((re.search(rb"(?i)content-range: (.*)", head).group(1).strip().decode(), content))
    return found


@pytest.mark.parametrize("size", [10, 5000, 100_000])
@pytest.mark.parametrize("asked, first, last", [("0-4", 0, 4), ("3-", 3, None), ("-5", -5, None), ("0-99999999", 0, None), ("5-5", 5, 5)])
def test_one_range_of_a_stored_response(origin, client, size, asked, first, last):
    body = BODY[:size]
    store(origin, client, body, Content_Type="text/plain")
    first = first if first >= 0 else size + first
    last = size - 1 if last is None else last
    client.get("/a", {"Range": f"bytes={asked}"}).expect(
        206, body=body[first:last + 1], cache="hit",
        headers={"Content-Range": f"bytes {first}-{last}/{size}", "Content-Type": "text/plain", **ETAG})


def test_random_ranges_of_a_stored_response(origin, client):
    store(origin, client)
    choose = random.Random(14)
    for _ in range(200):
        first = choose.randrange(len(BODY))
        last = min(first + choose.choice([0, 10, 4071, 4072, 5000, 70_000]), len(BODY) - 1)
        client.get("/a", {"Range": f"bytes={first}-{last}"}).expect(206, body=BODY[first:last + 1], cache="hit")


def test_several_ranges(origin, client):
    store(origin, client, Content_Type="image/png")
    response = client.get("/a", {"Range": "bytes=0-9, 50000-50009, -10"}).expect(206, cache="hit", headers={"Content-Range": None})
    assert parts_of(response) == [("bytes 0-9/100000", BODY[:10]), ("bytes 50000-50009/100000", BODY[50000:50010]),
                                  ("bytes 99990-99999/100000", BODY[-10:])]


def test_several_ranges_backwards(origin, client):
    store(origin, client)
    response = client.get("/a", {"Range": "bytes=90000-90001,5-6"}).expect(206, cache="hit")
    assert [content for _, content in parts_of(response)] == [BODY[90000:90002], BODY[5:7]]


def test_ranges_that_touch_become_one(origin, client):
    store(origin, client)
    client.get("/a", {"Range": "bytes=0-9,10-19"}).expect(206, body=BODY[:20], headers={"Content-Range": "bytes 0-19/100000"})


@pytest.mark.parametrize("value", ["lines=0-4", "bytes=5-4", "bytes=", "bytes=a-b", "bytes=" + ",".join(["0-"] * 100)])
def test_a_range_that_does_not_count(origin, client, value):
    """RFC 9110 §14.2: ignored, so the whole."""
    store(origin, client)
    client.get("/a", {"Range": value}).expect(200, body=BODY, cache="hit", headers={"Content-Range": None})


def test_beyond_the_end(origin, client):
    store(origin, client)
    client.get("/a", {"Range": "bytes=100000-"}).expect(416, body=b"", headers={"Content-Range": "bytes */100000"})
    client.get("/a").expect(200, body=BODY, cache="hit")


def test_a_refused_range_is_not_for_caches_in_front(origin, client):
    """RFC 9110 §15.5.17, RFC 9111 §3: what says how long the content may be kept says nothing of the refusal."""
    kept = {"ETag": '"v1"', "Vary": "Accept", "Access-Control-Allow-Origin": "*"}
    of_content = {"Content-Type": "text/plain", "Content-Language": "de", "Content-Location": "/a", "Content-Disposition": "attachment", "Expires": date(60),
                  "CDN-Cache-Control": "max-age=60", "Edge-Cache-Control": "max-age=60"}
    origin.expect("GET /a").reply(200, {"Cache-Control": "max-age=60, public", **kept, **of_content}, BODY)
    client.get("/a").expect(200)
    refused = client.get("/a", {"Range": "bytes=100000-"}).expect(416, body=b"", headers={**kept, **{name: None for name in of_content}})
    assert refused.headers.all("Cache-Control") == ["no-store"], refused
    client.get("/a").expect(200, body=BODY, cache="hit", headers={**kept, **of_content})


def test_head_has_no_ranges(origin, client):
    store(origin, client)
    client.head("/a", {"Range": "bytes=0-4"}).expect(200, cache="hit", headers={"Content-Length": "100000"})


@pytest.mark.parametrize("condition, status", [('"v1"', 206), ('"v2"', 200), ('W/"v1"', 200), ("nonsense", 200)])
def test_if_range(origin, client, condition, status):
    store(origin, client)
    client.get("/a", {"Range": "bytes=0-4", "If-Range": condition}).expect(status, body=BODY[:5] if status == 206 else BODY, cache="hit")


@pytest.mark.parametrize("offset_s, status", [(0, 206), (1, 200), (-1, 200)])
def test_if_range_with_a_date(origin, client, offset_s, status):
    modified, condition = date(-5000), date(-5000 + offset_s)  # of one moment, however slow the rest is
    store(origin, client, Last_Modified=modified, Date=date())
    client.get("/a", {"Range": "bytes=0-4", "If-Range": condition}).expect(status)


def test_conditions_come_first(origin, client):
    """RFC 9110 §13.2.2."""
    store(origin, client)
    client.get("/a", {"Range": "bytes=0-4", "If-None-Match": '"v1"'}).expect(304)
    client.get("/a", {"Range": "bytes=0-4", "If-None-Match": '"v2"'}).expect(206, body=BODY[:5])


def test_a_range_of_what_is_not_stored_goes_to_the_origin(origin, client):
    """Its 206 is not taken for the whole."""
    parts = fresh(600, Content_Type="multipart/byteranges; boundary=x", **ETAG)
    origin.expect("GET /a", {"Range": "bytes=5-9,20-29"}).reply(206, parts, b"--x--")
    client.get("/a", {"Range": "bytes=5-9,20-29"}).expect(206, body=b"--x--", cache="fwd=uri-miss; detail=not-stored-partial; !stored")
    store(origin, client)
    client.get("/a", {"Range": "bytes=5-9"}).expect(206, body=BODY[5:10], cache="hit")


def test_a_range_of_a_running_fetch(origin, proxy):
    """The client has its 206 as soon as its bytes are there."""
    leader, follower = Client(proxy), Client(proxy)
    gate = origin.gate()
    origin.expect("GET /a").reply(200, fresh(600, **ETAG), [BODY[:50_000], gate, BODY[50_000:]])
    whole = leader.begin("GET", "/a").expect(200)
    gate.wait_reached()
    follower.get("/a", {"Range": "bytes=40000-40009"}).expect(206, body=BODY[40_000:40_010], cache="collapsed")
    late = Client(proxy)
    late.send("GET", "/a", {"Range": "bytes=99990-"}).wait_taken()
    gate.open()
    late.read_response().expect(206, body=BODY[99_990:], cache="collapsed")
    assert whole.body == BODY


def test_a_range_of_a_stored_error_is_the_error(origin, client):
    origin.expect("GET /a").reply(404, fresh(600), b"not here")
    client.get("/a").expect(404)
    client.get("/a", {"Range": "bytes=0-2"}).expect(404, body=b"not here", cache="hit")


@pytest.mark.parametrize("value", ["bytes=2-1", "bytes=x", "bytes=", "bytes", "bytes=1-2;", "bytes=" + ",".join(f"{n}-{n}" for n in range(100))])
def test_a_range_that_says_nothing_is_none(origin, client, value):
    """RFC 9110 §14.2: it is ignored, so the whole is asked for and stored, together with who else asks for it."""
    origin.expect("GET /a", {"Range": None, "If-Range": None}).reply(200, fresh(), b"hello")
    client.get("/a", {"Range": value, "If-Range": '"v1"'}).expect(200, body=b"hello", cache="fwd=uri-miss; stored; detail=stored")
    client.get("/a", {"Range": value}).expect(200, body=b"hello", cache="hit")


def test_a_range_of_another_unit_is_for_the_origin(origin, client):
    """RFC 9110 §14.2: larder may drop it, but the origin may know it."""
    origin.expect("GET /a", {"Range": "items=0-9"}).reply(206, {"Content-Range": "items 0-9/20"}, b"ten")
    client.get("/a", {"Range": "items=0-9"}).expect(206, body=b"ten", cache="!stored; detail=range")
