"""Variants: which stored response a request selects (RFC 9111 §4.1)."""

import pytest
from support.client import Client
from support.say import always, fresh


def language(exchange):
    wanted = exchange.request.header("Accept-Language")
    exchange.reply(200, fresh(60, Vary="Accept-Language"), f"in {wanted}".encode())


def test_variants(origin, client):
    origin.on("GET /a", language)
    for wanted in ("en", "de", None, "fr"):
        headers = {"Accept-Language": wanted} if wanted else None
        client.get("/a", headers).expect(200, body=f"in {wanted}".encode(), cache="!hit; stored")
    for wanted in ("fr", None, "de", "en"):
        headers = {"Accept-Language": wanted} if wanted else None
        client.get("/a", headers).expect(200, body=f"in {wanted}".encode(), cache="hit")
    assert origin.count() == 4


def test_a_miss_for_want_of_a_variant_says_so(origin, client):
    origin.on("GET /a", language)
    client.get("/a", {"Accept-Language": "en"}).expect(200, cache="fwd=uri-miss")
    client.get("/a", {"Accept-Language": "de"}).expect(200, cache="fwd=vary-miss")


def test_absent_empty_and_present_are_three(origin, client):
    origin.on("GET /a", always(200, fresh(60, Vary="X-One")))
    for headers in (None, {"X-One": ""}, {"X-One": "1"}):
        client.get("/a", headers).expect(200, cache="!hit")
        client.get("/a", headers).expect(200, cache="hit")


@pytest.mark.parametrize("vary, first, second, matches", [
    ("x-one", [("X-One", "1")], [("x-ONE", "1")], True),
    ("X-One, X-Two", [("X-One", "1"), ("X-Two", "2")], [("X-Two", "2"), ("X-One", "1")], True),
    ("X-One, X-Two", [("X-One", "1"), ("X-Two", "2")], [("X-One", "1")], False),
    ("X-One", [("X-One", "a, b")], [("X-One", "a"), ("X-One", "b")], True),
    ("X-One", [("X-One", "a, b")], [("X-One", "b, a")], False),
    ("X-One", [("X-One", "a, b")], [("X-One", "a,b")], True),
    ("X-One", [("X-One", "1")], [("X-One", "1"), ("X-Other", "2")], True),
    ("", [("X-One", "1")], [("X-One", "2")], True),
])
def test_matching(origin, client, vary, first, second, matches):
    origin.on("GET /a", always(200, fresh(60, Vary=vary)))
    client.get("/a", first).expect(200)
    client.get("/a", second).expect(200, cache="hit" if matches else "!hit", headers={"Vary": vary})


def test_a_response_without_vary_beside_variants(origin, client):
    """The newest that matches is used."""
    origin.expect("GET /a").reply(200, fresh(60, Vary="X-One"), b"one")
    client.get("/a", {"X-One": "1"}).expect(200)
    origin.expect("GET /a").reply(200, fresh(60), b"any")
    client.get("/a", {"X-One": "2"}).expect(200, body=b"any", cache="stored")
    client.get("/a", {"X-One": "3"}).expect(200, body=b"any", cache="hit")


def test_the_newest_that_matches_however_often_others_are_used(origin, larder):
    """RFC 9111 §4: what a worker keeps in memory changes nothing in that."""
    proxy = larder(origin, flags=["--workers", "1"])
    client = Client(proxy)
    origin.expect("GET /a").reply(200, fresh(60, Vary="X-One"), b"by one")
    client.get("/a", {"X-One": "1"}).expect(200)
    origin.expect("GET /a").reply(200, fresh(60, Vary="X-Two"), b"by two")
    client.get("/a", {"X-One": "2", "X-Two": "1"}).expect(200, cache="stored")
    proxy.restart()  # now all is on the disk
    for _ in range(5):
        client.get("/a", {"X-One": "1"}).expect(200, body=b"by one", cache="hit")
        client.get("/a", {"X-One": "1", "X-Two": "1"}).expect(200, body=b"by two", cache="hit")


def test_vary_with_too_many_fields_is_not_stored(origin, client):
    origin.on("GET /a", always(200, fresh(60, Vary=", ".join(f"X-{n}" for n in range(40)))))
    client.get("/a").expect(200, cache="!stored; detail=vary-limit")


def test_the_number_of_variants_is_bounded(origin, larder):
    """The oldest goes; the newest stay, and none is ever taken for another."""
    proxy = larder(origin, config="[cache]\nmax_variants = 4\n")
    client = Client(proxy)
    origin.on("GET /a", language)
    for number in range(12):
        client.get("/a", {"Accept-Language": f"l{number}"}).expect(200, cache="!hit")
    proxy.restart()  # what was not on the disk yet is not counted
    for number in range(8, 12):
        client.get("/a", {"Accept-Language": f"l{number}"}).expect(200, body=f"in l{number}".encode(), cache="hit")
    client.get("/a", {"Accept-Language": "l0"}).expect(200, body=b"in l0", cache="!hit")
