"""Conditional requests from clients: 304 from what is stored, and what goes to the origin instead."""

import re

import pytest
from support.client import Client
from support.say import always, date, fresh, stale

MODIFIED = "Tue, 05 Jan 2021 10:00:00 GMT"
BEFORE = "Tue, 05 Jan 2021 09:59:59 GMT"
AFTER = "Tue, 05 Jan 2021 10:00:01 GMT"


def store(origin, client, headers, body=b"hello", path="/a"):
    origin.expect(f"GET {path}").reply(200, headers, body)
    client.get(path).expect(200, body=body, cache="stored")


# --- from what is stored ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("etag, condition, status", [
    ('"v1"', '"v1"', 304),
    ('"v1"', '"v2"', 200),
    ('"v1"', '"v0", "v1", "v2"', 304),
    ('"v1"', '"v0","v1"', 304),
    ('"v1"', 'W/"v1"', 304),
    ('W/"v1"', '"v1"', 304),
    ('W/"v1"', 'W/"v1"', 304),
    ('W/"v1"', 'W/"v2"', 200),
    ('"v1"', "*", 304),
    ('"v1"', 'v1', 200),
    ('"v1"', '"V1"', 200),
    ('"a,b"', '"a,b"', 304),
    ('"a,b"', '"a", "b"', 200),
    ('""', '""', 304),
    ("unquoted", "unquoted", 304),
    ('"v1"', '', 200),
])
def test_if_none_match(origin, client, etag, condition, status):
    store(origin, client, fresh(60, ETag=etag))
    response = client.get("/a", {"If-None-Match": condition}).expect(status, cache="hit")
    assert response.body == (b"" if status == 304 else b"hello")


@pytest.mark.parametrize("headers", [
    {"ETag": '"v1"', "Last-Modified": MODIFIED, "Content-Type": "text/plain", "Content-Language": "en", "X-Any": "1", "Server": "s"},
    {"ETag": '"v1"', "Via": "1.0 before", "Content-Type": "text/plain"},
    {"ETag": '"v1"', "Cache-Control": 'max-age=60, no-cache="X-Any"', "X-Any": "1"},
    {"ETag": '"v1"', "Vary": "TE, Accept-Language"},
    {"Content-Type": "text/plain"},
], ids=["plain", "via", "qualified", "vary", "no validator"])
@pytest.mark.parametrize("method, asked", [
    ("GET", {}), ("HEAD", {}), ("GET", {"If-None-Match": '"v0", "v1"'}), ("GET", {"If-None-Match": '"v2"'}), ("HEAD", {"If-None-Match": "*"}),
    ("GET", {"If-Modified-Since": AFTER}), ("GET", {"Range": "bytes=1-2"}), ("GET", {"Range": "bytes=9-"}),
], ids=str)
def test_a_hit_from_memory_has_the_head_of_one_from_the_store(origin, larder, headers, method, asked):
    """After a start the first two look-ups ask the store, the others what it keeps in memory (cache/hot.h)."""
    proxy = larder(origin)
    store(origin, Client(proxy), fresh(60, Date=date(), **{name.replace("-", "_"): value for name, value in headers.items()}))
    proxy.restart()
    client = Client(proxy)

    heads = [re.sub(rb"(Age: |ttl=)[0-9]+", rb"\1", client.request(method, "/a", asked).raw_head) for _ in range(4)]
    assert heads[3] == heads[2] == heads[1] == heads[0]
    assert b"larder; hit" in heads[0]


def test_if_none_match_in_several_lines(origin, client):
    store(origin, client, fresh(60, ETag='"v1"'))
    client.get("/a", [("If-None-Match", '"v0"'), ("If-None-Match", '"v1"')]).expect(304, cache="hit")


def test_a_star_matches_without_an_etag(origin, client):
    store(origin, client, fresh())
    client.get("/a", {"If-None-Match": "*"}).expect(304, cache="hit")


@pytest.mark.parametrize("condition, status", [
    (MODIFIED, 304), (AFTER, 304), (BEFORE, 200), ("Tuesday, 05-Jan-21 10:00:00 GMT", 304), ("Tue Jan  5 10:00:00 2021", 304),
    ("yesterday", 200), ("Tue, 05 Jan 2021 10:00:00 UTC", 200),
])
def test_if_modified_since(origin, client, condition, status):
    store(origin, client, fresh(60, Last_Modified=MODIFIED))
    client.get("/a", {"If-Modified-Since": condition}).expect(status, cache="hit")


@pytest.mark.parametrize("none_match, since, status", [
    ('"v1"', BEFORE, 304),
    ('"v2"', AFTER, 200),
])
def test_if_none_match_takes_precedence(origin, client, none_match, since, status):
    """RFC 9110 §13.2.2."""
    store(origin, client, fresh(60, ETag='"v1"', Last_Modified=MODIFIED))
    client.get("/a", {"If-None-Match": none_match, "If-Modified-Since": since}).expect(status, cache="hit")


@pytest.mark.parametrize("condition, status", [(date(3600), 304), (BEFORE, 200)])
def test_if_modified_since_without_last_modified(origin, client, condition, status):
    """RFC 9111 §4.3.2: evaluated against Date."""
    store(origin, client, fresh(3600, Date=date(-100), ETag='"v1"'))
    client.get("/a", {"If-Modified-Since": condition}).expect(status, cache="hit")


def test_fields_of_a_304(origin, client):
    """RFC 9110 §15.4.5: what the 200 would say, but nothing about the body."""
    kept = {"Date": date(-5), "ETag": '"v1"', "Last-Modified": MODIFIED, "Cache-Control": "max-age=60", "Expires": date(600), "Vary": "X-One",
            "Content-Location": "/a.en"}
    store(origin, client, {**kept, "Content-Type": "text/plain", "X-Name": "value"})
    response = client.get("/a", {"If-None-Match": '"v1"'}).expect(304, body=b"", cache="hit", headers={**kept, "Content-Length": None, "Transfer-Encoding": None})
    assert 5 <= int(response.header("Age")) <= 10
    client.get("/a").expect(200, body=b"hello", cache="hit", headers={"X-Name": "value"})


def test_the_connection_goes_on_after_a_304(origin, client):
    store(origin, client, fresh(60, ETag='"v1"'))
    for _ in range(3):
        client.get("/a", {"If-None-Match": '"v1"'}).expect(304)
        client.get("/a").expect(200, body=b"hello")
    assert client.connections == 1


def test_head_is_conditional_too(origin, client):
    store(origin, client, fresh(60, ETag='"v1"'))
    client.head("/a", {"If-None-Match": '"v1"'}).expect(304, cache="hit")
    client.head("/a", {"If-None-Match": '"v2"'}).expect(200, cache="hit")


def test_only_a_200_becomes_a_304(origin, client):
    """RFC 9110 §13.2.1: conditions are ignored where the answer without them is no 2xx."""
    origin.expect("GET /a").reply(404, fresh(60, ETag='"v1"'), b"not found")
    client.get("/a").expect(404, cache="stored")
    client.get("/a", {"If-None-Match": '"v1"'}).expect(404, body=b"not found", cache="hit")
    client.get("/a", {"If-None-Match": "*"}).expect(404, cache="hit")


def test_variants_have_their_own_etags(origin, client):
    for wanted in ("en", "de"):
        origin.expect("GET /a").reply(200, fresh(60, ETag=f'"{wanted}"', Vary="Accept-Language"), wanted.encode())
        client.get("/a", {"Accept-Language": wanted}).expect(200)
    client.get("/a", {"Accept-Language": "en", "If-None-Match": '"en"'}).expect(304, cache="hit")
    client.get("/a", {"Accept-Language": "en", "If-None-Match": '"de"'}).expect(200, body=b"en", cache="hit")


# --- with a revalidation upstream ---------------------------------------------------------------------------------------------------

def test_a_confirmed_response_and_a_client_that_holds_it(origin, client):
    store(origin, client, stale(ETag='"v1"'))
    origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(304, fresh(60, Age="0"))
    client.get("/a", {"If-None-Match": '"v1"'}).expect(304, body=b"", headers={"ETag": '"v1"', "Content-Length": None})
    client.get("/a").expect(200, body=b"hello", cache="hit")


def test_a_changed_response_and_a_client_that_holds_the_old_one(origin, client):
    store(origin, client, stale(ETag='"v1"'))
    origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(200, fresh(60, ETag='"v2"'), b"changed")
    client.get("/a", {"If-None-Match": '"v1"'}).expect(200, body=b"changed")
    client.get("/a", {"If-None-Match": '"v2"'}).expect(304, cache="hit")


def test_a_changed_response_and_a_client_that_holds_the_new_one(origin, client):
    store(origin, client, stale(ETag='"v1"'))
    origin.on("GET /a", lambda exchange: exchange.reply(304, fresh(60, Age="0", ETag='"v2"')) if '"v2"' in (exchange.request.header("If-None-Match") or "")
              else exchange.reply(200, fresh(60, ETag='"v2"'), b"changed"))
    client.get("/a", {"If-None-Match": '"v2"'}).expect(304, headers={"ETag": '"v2"'})
    client.get("/a").expect(200, body=b"changed")


def test_stale_served_to_a_client_that_holds_it(origin, client):
    store(origin, client, {"Cache-Control": "max-age=60, stale-if-error=600", "Age": "60", "ETag": '"v1"'})
    origin.expect("GET /a").reply(503)
    client.get("/a", {"If-None-Match": '"v1"'}).expect(304, cache="detail=stale-if-error")


# --- on a miss ----------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("condition", [{"If-None-Match": '"v1"'}, {"If-Modified-Since": MODIFIED}, {"If-None-Match": "*"}])
def test_a_clients_validator_on_a_miss(origin, client, condition):
    """The cache is filled with the whole response, and the client gets the 304 that it would get from a hit."""
    origin.expect("GET /a").reply(200, fresh(60, ETag='"v1"', Last_Modified=MODIFIED), b"hello")
    client.get("/a", condition).expect(304, body=b"", headers={"ETag": '"v1"'})
    client.get("/a").expect(200, body=b"hello")  # a hit, or a follower of the fetch that still runs


def test_a_clients_old_validator_on_a_miss(origin, client):
    origin.expect("GET /a").reply(200, fresh(60, ETag='"v2"'), b"hello")
    client.get("/a", {"If-None-Match": '"v1"'}).expect(200, body=b"hello", cache="stored")
    client.get("/a").expect(200, body=b"hello", cache="hit")


def test_a_304_to_a_clients_validator_is_not_stored(origin, client):
    """An origin that answers 304 to whatever comes: the client that asked may have it, nobody else."""
    def answer(exchange):
        if "If-None-Match" in exchange.request.headers:
            exchange.reply(304, fresh(60, ETag='"v1"'))
        else:
            exchange.reply(200, fresh(60, ETag='"v1"'), b"hello")

    origin.on("GET /a", answer)
    client.get("/a", {"If-None-Match": '"v1"'}).expect(304)
    client.get("/a").expect(200, body=b"hello")


def test_a_validator_and_something_that_is_not_stored(origin, client):
    """A client that holds what the origin confirms gets its 304 there too."""
    def answer(exchange):
        held = exchange.request.header("If-None-Match") == '"v1"'
        exchange.reply(304 if held else 200, {"Cache-Control": "no-store", "ETag": '"v1"'}, b"" if held else b"hello")

    origin.on("GET /a", answer)
    for _ in range(2):
        client.get("/a", {"If-None-Match": '"v1"'}).expect(304, body=b"", cache="!stored")
        client.get("/a").expect(200, body=b"hello", cache="!stored; !hit")


def test_a_large_body_behind_a_304_on_a_miss(origin, client):
    body = bytes(range(256)) * 8192
    origin.expect("GET /a").reply(200, fresh(60, ETag='"v1"'), body)
    client.get("/a", {"If-None-Match": '"v1"'}).expect(304)
    client.get("/a").expect(200, body=body)  # a hit, or a follower of the fetch that still runs


def test_range_with_a_validator_on_a_miss(origin, client):
    """No partial body is taken for the whole."""
    origin.on("GET /a", lambda exchange: exchange.reply(206, fresh(60, ETag='"v1"', Content_Range="bytes 0-1/5"), b"he") if "Range" in exchange.request.headers
              else exchange.reply(200, fresh(60, ETag='"v1"'), b"hello"))
    client.get("/a", {"Range": "bytes=0-1", "If-Range": '"v1"'}).expect(206, body=b"he")
    client.get("/a").expect(200, body=b"hello")


# --- for the origin -----------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("condition", [{"If-Match": '"v0"'}, {"If-Unmodified-Since": BEFORE}])
def test_preconditions_for_the_origin(origin, client, condition):
    """If-Match and If-Unmodified-Since are forwarded even where a fresh response is stored; its 412 comes back and is not stored."""
    store(origin, client, fresh(60, ETag='"v1"', Last_Modified=MODIFIED))
    origin.expect("GET /a", condition).reply(412, {}, b"no")
    client.get("/a", condition).expect(412, body=b"no", cache="!hit; !stored; detail=origin-condition")
    client.get("/a").expect(200, body=b"hello", cache="hit")


def test_preconditions_of_unsafe_methods(origin, client):
    origin.expect("PUT /a", {"If-Match": '"v1"', "If-None-Match": None}, body=b"new").reply(412, {}, b"no")
    client.put("/a", b"new", {"If-Match": '"v1"'}).expect(412, body=b"no")
    origin.expect("PUT /a", {"If-None-Match": "*"}, body=b"new").reply(412, {}, b"no")
    client.put("/a", b"new", {"If-None-Match": "*"}).expect(412, body=b"no")


def test_conditions_go_past_a_bypass(origin, larder):
    config = f'[[site]]\norigin = "{origin.url}"\n[[site.rule]]\nname = "past"\nbypass = true\n'
    client = Client(larder(config=config))
    origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(304, {"ETag": '"v1"'})
    client.get("/a", {"If-None-Match": '"v1"'}).expect(304, cache="fwd=bypass; detail=bypass-rule")


def test_the_stored_response_is_not_what_the_origin_would_say_now(origin, client):
    """Fresh is fresh: the origin is not asked, even when it has changed."""
    store(origin, client, fresh(60, ETag='"v1"'))
    origin.on("GET /a", always(200, fresh(60, ETag='"v2"'), b"changed"))
    client.get("/a", {"If-None-Match": '"v1"'}).expect(304, cache="hit")
    assert origin.count() == 1
