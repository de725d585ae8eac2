"""What is stored, and what a stored response is used for."""

import time

import pytest
from support.client import Client
from support.say import always, date, fresh, stale

ETAG = {"ETag": '"v1"'}


def visit_twice(client, status=200):
    """Two visits to /a, which is there by origin.on; the second response."""
    client.get("/a").expect(status)
    return client.get("/a").expect(status)


def is_since(begun, age, now):
    """It was so old at some moment since `begun`, and has aged with the clock, which is not seen at the same instant everywhere."""
    assert age <= int(now) <= age + time.monotonic() - begun + 1


# --- hits ---------------------------------------------------------------------------------------------------------------------------

def test_first_visit_is_stored_and_the_second_is_a_hit(origin, client):
    origin.expect("GET /a").reply(200, fresh(60, ETag='"v1"', X_Name="value"), b"hello")
    begun = time.monotonic()
    client.get("/a").expect(200, body=b"hello", cache="fwd=uri-miss; fwd-status=200; stored; ttl; detail=stored; !hit; !collapsed",
                            headers={"Age": None})
    hit = client.get("/a").expect(200, body=b"hello", cache="hit; ttl; detail=fresh; !fwd; !stored", headers={
        "ETag": '"v1"', "X-Name": "value", "Cache-Control": "max-age=60", "Content-Length": "5"})
    is_since(begun, 0, hit.header("Age"))


def test_ttl_counts_down_from_what_the_origin_said(origin, client):
    origin.expect("GET /a").reply(200, fresh(60, Age="20"), b"x")
    begun = time.monotonic()
    client.get("/a").expect(200)
    is_since(begun, 20, 60 - int(client.get("/a").cache["ttl"]))


def test_age_on_a_miss_and_on_a_hit(origin, client):
    origin.expect("GET /a").reply(200, fresh(60, Age="30"), b"x")
    begun = time.monotonic()
    client.get("/a").expect(200, headers={"Age": "30"})
    is_since(begun, 30, client.get("/a").expect(200, cache="hit").header("Age"))


def test_age_counts_the_time_in_an_upstream_cache(origin, client):
    """RFC 9111 §4.2.3: apparent age from Date counts where it is more than Age says."""
    begun = time.monotonic()
    origin.expect("GET /a").reply(200, fresh(3600, Date=date(-100)), b"x")
    client.get("/a").expect(200)
    is_since(begun, 100, client.get("/a").expect(200, cache="hit").header("Age"))


def test_date_and_expires_are_sent_as_stored(origin, client):
    stored = {"Date": date(-10), "Expires": date(3600)}
    origin.expect("GET /a").reply(200, stored, b"x")
    client.get("/a").expect(200, headers=stored)
    client.get("/a").expect(200, cache="hit", headers=stored)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 65535, 65536, 65537, 1_000_003])
def test_bodies_of_all_sizes_and_framings(origin, client, framing, size):
    body = bytes((i * 31 + (i >> 8)) & 255 for i in range(size))
    origin.expect("GET /a").reply(200, fresh(), body, framing=framing)
    client.get("/a").expect(200, body=body, cache="stored")
    client.get("/a").expect(200, body=body, cache="hit", headers={"Content-Length": str(size)})


def test_a_chunked_response_is_a_hit_for_http_1_0(origin, client):
    origin.expect("GET /a").reply(200, fresh(), b"hello", framing="chunked")
    client.get("/a").expect(200)
    client.get("/a", version="1.0").expect(200, body=b"hello", cache="hit", headers={"Content-Length": "5", "Transfer-Encoding": None})


def test_hop_by_hop_fields_are_not_stored(origin, client):
    origin.expect("GET /a").reply(200, {"Connection": "X-Private", "X-Private": "1", "Keep-Alive": "timeout=5", **fresh()}, b"x")
    client.get("/a").expect(200, headers={"X-Private": None})
    client.get("/a").expect(200, cache="hit", headers={"X-Private": None, "Keep-Alive": None})


def test_field_order_and_repetition_survive_the_store(origin, client):
    origin.expect("GET /a").reply(200, [("X-B", "1"), ("X-A", "2"), ("X-B", "3"), ("Cache-Control", "max-age=60"), ("X-Empty", "")], b"x")
    client.get("/a").expect(200)
    hit = client.get("/a").expect(200, cache="hit")
    assert [(n, v) for n, v in hit.headers if n.startswith("X-")] == [("X-B", "1"), ("X-A", "2"), ("X-B", "3"), ("X-Empty", "")]


def test_trailers_are_not_merged_into_the_stored_head(origin, client):
    origin.expect("GET /a").reply(200, fresh(), b"x", framing="chunked", trailers={"X-Sum": "5", "Set-Cookie": "a=b"})
    client.get("/a").expect(200)
    client.get("/a").expect(200, cache="hit", headers={"X-Sum": None, "Set-Cookie": None})


# --- freshness ----------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name, headers", [
    ("max-age", {"Cache-Control": "max-age=60"}),
    ("s-maxage beats max-age", {"Cache-Control": "max-age=0, s-maxage=60"}),
    ("s-maxage beats Expires", {"Cache-Control": "s-maxage=60", "Expires": date(-60)}),
    ("max-age beats Expires", {"Cache-Control": "max-age=60", "Expires": "0"}),
    ("Expires", {"Expires": date(3600)}),
    ("Expires counts from Date", {"Date": date(-300), "Expires": date(3600)}),
    ("Expires in the form of RFC 850", {"Expires": "Friday, 01-Jan-49 00:00:00 GMT"}),
    ("Expires in asctime's form", {"Expires": "Fri Jan  1 00:00:00 2049"}),
    ("quoted arguments", {"Cache-Control": 'max-age="60"'}),
    ("directives in any case", {"Cache-Control": "MAX-AGE=60"}),
    ("leading zeros", {"Cache-Control": "max-age=0060"}),
    ("a huge number", {"Cache-Control": "max-age=99999999999999999999"}),
    ("unknown directives", {"Cache-Control": 'x, y=z, w="max-age=0, no-store", max-age=60'}),
    ("several lines", {"Cache-Control": ["public", "max-age=60"]}),
    ("the first of two", {"Cache-Control": "max-age=60, max-age=0"}),
    ("an Age that is no number", {"Cache-Control": "max-age=60", "Age": "abc"}),
    ("Age below the lifetime", {"Cache-Control": "max-age=60", "Age": "50"}),
    ("Pragma means nothing", {"Cache-Control": "max-age=60", "Pragma": "no-cache"}),
    ("a heuristic", {"Date": date(), "Last-Modified": date(-10000)}),
    ("a heuristic with an age within it", {"Date": date(), "Last-Modified": date(-10000), "Age": "900"}),
    ("public without anything, with Last-Modified", {"Cache-Control": "public", "Date": date(), "Last-Modified": date(-10000)}),
    ("immutable", {"Cache-Control": "max-age=60, immutable"}),
    ("must-revalidate while fresh", {"Cache-Control": "max-age=60, must-revalidate"}),
])
def test_fresh(origin, client, name, headers):
    origin.on("GET /a", always(200, headers))
    visit_twice(client).expect(200, cache="hit")
    assert origin.count() == 1, name


@pytest.mark.parametrize("name, headers", [
    ("max-age=0", {"Cache-Control": "max-age=0"}),
    ("s-maxage=0", {"Cache-Control": "max-age=60, s-maxage=0"}),
    ("Age is the lifetime", {"Cache-Control": "max-age=60", "Age": "60"}),
    ("Age is huge", {"Cache-Control": "max-age=60", "Age": "99999999999999"}),
    ("negative", {"Cache-Control": "max-age=-60"}),
    ("decimal", {"Cache-Control": "max-age=60.5"}),
    ("not a number", {"Cache-Control": "max-age=abc"}),
    ("single quotes", {"Cache-Control": "max-age='60'"}),
    ("the first of two is stale", {"Cache-Control": "max-age=0, max-age=60"}),
    ("Expires: 0", {"Expires": "0"}),
    ("Expires in the past", {"Date": date(), "Expires": date(-60)}),
    ("Expires is Date", {"Date": "Tue, 05 Jan 2021 10:00:00 GMT", "Expires": "Tue, 05 Jan 2021 10:00:00 GMT"}),
    ("Expires is no date", {"Expires": "tomorrow"}),
    ("no-cache", {"Cache-Control": "max-age=60, no-cache"}),
    ("a heuristic with an age beyond it", {"Date": date(), "Last-Modified": date(-10000), "Age": "1001"}),
    ("Last-Modified is now", {"Date": date(), "Last-Modified": date()}),
    ("only a validator", {"ETag": '"v1"'}),
])
def test_not_fresh(origin, client, name, headers):
    """Whether it was stored or not, the second visit reaches the origin."""
    origin.on("GET /a", always(200, headers))
    visit_twice(client).expect(200, cache="!hit")
    assert origin.count() == 2, name


def test_a_heuristic_says_so(origin, client):
    origin.expect("GET /a").reply(200, {"Date": date(), "Last-Modified": date(-10000)}, b"x")
    client.get("/a").expect(200)
    hit = client.get("/a").expect(200, cache="hit; detail=fresh-heuristic")
    assert 900 <= int(hit.cache["ttl"]) <= 1000


@pytest.mark.parametrize("status", [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501])
def test_heuristics_for_statuses_that_allow_them(origin, client, status):
    origin.on("GET /a", always(status, {"Date": date(), "Last-Modified": date(-10000)}))
    visit_twice(client, status=status).expect(status, cache="hit")


@pytest.mark.parametrize("status", [201, 302, 303, 307, 400, 403, 500, 503, 599])
def test_no_heuristics_for_others(origin, client, status):
    origin.on("GET /a", always(status, {"Date": date(), "Last-Modified": date(-10000)}))
    visit_twice(client, status=status).expect(status, cache="!hit")
    assert origin.count() == 2


# --- storing ------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("headers, reason", [
    ({"Cache-Control": "no-store, max-age=60"}, "no-store"),
    ({"Cache-Control": "NO-STORE"}, "no-store"),
    ({"Cache-Control": "private, max-age=60"}, "private"),
    ({"Cache-Control": "max-age=60", "Vary": "*"}, "vary-star"),
    ({"Cache-Control": "max-age=60", "Vary": ["Accept", "X, *"]}, "vary-star"),
    ({}, "no-freshness"),
    ({"Cache-Control": "max-age=60", "Set-Cookie": "a=b"}, "set-cookie"),
])
def test_not_stored(origin, client, headers, reason):
    origin.on("GET /a", always(200, headers))
    client.get("/a").expect(200, cache=f"fwd=uri-miss; !stored; detail={reason}")
    client.get("/a").expect(200, cache=f"!hit; !stored; detail={reason}")
    assert origin.count() == 2


def test_private_for_one_field_keeps_the_field_from_others(origin, client):
    """RFC 9111 §5.2.2.7: a shared cache must not store that field; larder may also not store at all."""
    origin.on("GET /a", always(200, {"Cache-Control": 'max-age=60, private="X-User"', "X-User": "ann"}))
    client.get("/a").expect(200, headers={"X-User": "ann"})
    second = client.get("/a").expect(200)
    if "hit" in second.cache:
        assert "X-User" not in second.headers


def test_no_cache_for_one_field_keeps_the_field_from_hits(origin, client):
    origin.on("GET /a", always(200, {"Cache-Control": 'max-age=60, no-cache="X-User"', "X-User": "ann", **ETAG}))
    client.get("/a").expect(200, headers={"X-User": "ann"})
    second = client.get("/a").expect(200)
    if "hit" in second.cache:
        assert "X-User" not in second.headers


@pytest.mark.parametrize("status", [200, 203, 300, 301, 302, 303, 307, 308, 400, 403, 404, 405, 410, 414, 418, 451, 499, 500, 501, 502, 503, 504, 599])
def test_any_status_with_explicit_freshness(origin, client, status):
    """Negative responses and redirects among them; `Location` is kept."""
    origin.expect("GET /a").reply(status, fresh(60, Location="/b"), b"body")
    client.get("/a").expect(status, cache=f"stored; fwd-status={status}")
    client.get("/a").expect(status, body=b"body", cache="hit", headers={"Location": "/b"})


def test_204_is_stored(origin, client):
    origin.expect("GET /a").reply(204, fresh(60, X_Name="value"))
    client.get("/a").expect(204, cache="stored")
    client.get("/a").expect(204, body=b"", cache="hit", headers={"X-Name": "value", "Content-Length": None})


def test_a_partial_response_is_not_taken_for_the_whole(origin, client):
    origin.expect("GET /a", {"Range": "bytes=0-1"}).reply(206, fresh(60, Content_Range="bytes 0-1/5"), b"he")
    client.get("/a", {"Range": "bytes=0-1"}).expect(206, body=b"he", cache="!hit; stored")
    origin.expect("GET /a", {"Range": "bytes=2-"}).reply(200, fresh(), b"hello")
    client.get("/a").expect(200, body=b"hello", cache="!hit; stored")
    client.get("/a", {"Range": "bytes=0-1"}).expect(206, body=b"he", cache="hit")


@pytest.mark.parametrize("headers, stored", [
    ({"Cache-Control": "max-age=60"}, False),
    ({"Cache-Control": "max-age=60, public"}, True),
    ({"Cache-Control": "max-age=60, must-revalidate"}, True),
    ({"Cache-Control": "s-maxage=60"}, True),
    ({"Cache-Control": "max-age=60, proxy-revalidate"}, False),
    ({"Expires": date(3600)}, False),
])
def test_authorization(origin, client, headers, stored):
    """RFC 9111 §3.5: answers to Authorization are stored only with a permission; the field is forwarded in any case."""
    origin.on("GET /a", always(200, headers))
    first = client.get("/a", {"Authorization": "Basic eA=="}).expect(200)
    assert origin.last.header("Authorization") == "Basic eA=="
    if not stored:
        first.expect(200, cache="!stored; detail=authorization")
    client.get("/a").expect(200, cache="hit" if stored else "!hit")


def test_a_request_with_authorization_may_be_served_what_others_got(origin, client):
    """What was stored from a request without Authorization is anybody's."""
    origin.on("GET /a", always(200, fresh()))
    client.get("/a").expect(200)
    client.get("/a", {"Authorization": "Basic eA=="}).expect(200)


def test_set_cookie_is_not_stored_by_default(origin, client):
    origin.on("GET /a", always(200, fresh(60, Set_Cookie="session=1")))
    client.get("/a").expect(200, cache="!stored; detail=set-cookie", headers={"Set-Cookie": "session=1"})
    client.get("/a").expect(200, cache="!hit")


def test_set_cookie_is_stored_by_the_rfc_profile(origin, larder):
    client = Client(larder(origin, flags=["--profile", "rfc"]))
    origin.expect("GET /a").reply(200, fresh(60, Set_Cookie="session=1"), b"x")
    client.get("/a").expect(200, cache="stored")
    client.get("/a").expect(200, cache="hit", headers={"Set-Cookie": "session=1"})


def test_a_request_with_cookie_gets_what_is_explicitly_fresh(origin, client):
    origin.expect("GET /a").reply(200, fresh(), b"x")
    client.get("/a").expect(200, cache="stored")
    client.get("/a", {"Cookie": "a=b"}).expect(200, cache="hit")


def test_a_request_with_cookie_gets_no_guess(origin, client):
    guess = {"Date": date(), "Last-Modified": date(-10000)}
    origin.expect("GET /a").reply(200, guess, b"x")
    client.get("/a").expect(200, cache="stored")
    client.get("/a").expect(200, cache="hit")
    origin.expect("GET /a", {"Cookie": "a=b"}).reply(200, guess, b"for a=b")
    client.get("/a", {"Cookie": "a=b"}).expect(200, body=b"for a=b", cache="!hit; !stored")
    client.get("/a").expect(200, body=b"x", cache="hit")


def test_a_request_with_cookie_gets_a_guess_under_rfc(origin, larder):
    client = Client(larder(origin, flags=["--profile", "rfc"]))
    origin.expect("GET /a").reply(200, {"Date": date(), "Last-Modified": date(-10000)}, b"x")
    client.get("/a", {"Cookie": "a=b"}).expect(200, cache="stored")
    client.get("/a", {"Cookie": "c=d"}).expect(200, cache="hit")


# --- request directives -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("headers", [{"Cache-Control": "no-cache"}, {"Cache-Control": "max-age=0"}, {"Cache-Control": "no-store"},
                                     {"Cache-Control": "min-fresh=1000"}, {"Pragma": "no-cache"}])
def test_request_directives_do_not_reach_through(origin, client, headers):
    origin.expect("GET /a").reply(200, fresh(), b"x")
    client.get("/a").expect(200)
    client.get("/a", headers).expect(200, cache="hit")


HONOUR = """
[[site]]
origin = "{origin}"
[[site.rule]]
name = "honour"
request_directives = true
"""


@pytest.mark.parametrize("headers", [{"Cache-Control": "no-cache"}, {"Cache-Control": "max-age=0"}, {"Cache-Control": "min-fresh=1000"}])
def test_request_directives_reach_through_where_configured(origin, larder, headers):
    client = Client(larder(config=HONOUR.format(origin=origin.url)))
    origin.on("GET /a", always(200, fresh(60, Age="5")))
    client.get("/a").expect(200)
    client.get("/a", headers).expect(200, cache="fwd=request")
    assert origin.count() == 2


def test_request_no_store_where_configured(origin, larder):
    client = Client(larder(config=HONOUR.format(origin=origin.url)))
    origin.on("GET /a", always(200, fresh(60)))
    client.get("/a", {"Cache-Control": "no-store"}).expect(200, cache="!stored; detail=request-no-store")
    client.get("/a").expect(200, cache="!hit; stored")


def test_only_if_cached(origin, client):
    """RFC 9111 §5.2.1.7: 504 when nothing stored can be used."""
    client.get("/a", {"Cache-Control": "only-if-cached"}).expect(504, cache="detail=only-if-cached; !fwd")  # RFC 9211 §2.2
    origin.expect("GET /a").reply(200, fresh(), b"x")
    client.get("/a").expect(200)
    client.get("/a", {"Cache-Control": "only-if-cached"}).expect(200, cache="hit")
    origin.expect("GET /b").reply(200, {"Cache-Control": "max-age=60", "Age": "60", "ETag": '"v1"'}, b"x")
    client.get("/b").expect(200)
    client.get("/b", {"Cache-Control": "only-if-cached"}).expect(504, cache="detail=only-if-cached; !fwd")


# --- HEAD ---------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_head_from_a_stored_get(origin, client, framing):
    origin.expect("GET /a").reply(200, fresh(60, ETag='"v1"'), b"hello", framing=framing)
    client.get("/a").expect(200)
    client.head("/a").expect(200, body=b"", cache="hit", headers={"Content-Length": "5", "ETag": '"v1"', "Cache-Control": "max-age=60"})


@pytest.mark.parametrize("framing, length", [("length", "5"), ("chunked", None)])
def test_head_without_a_stored_get(origin, client, framing, length):
    """The origin is asked with GET, so that the answer is stored and later requests need not ask."""
    origin.expect("GET /a", {"Range": None, "If-None-Match": None}).reply(200, fresh(60, ETag='"v1"'), b"hello", framing=framing)
    client.head("/a", {"Range": "bytes=1-2", "If-None-Match": '"v0"'}).expect(
        200, body=b"", cache="fwd=uri-miss; fwd-status=200; stored; detail=stored", headers={"Content-Length": length, "ETag": '"v1"'})
    client.get("/a").expect(200, body=b"hello")  # a hit, or behind the fetch that the HEAD began
    client.head("/a").expect(200, body=b"", cache="hit", headers={"Content-Length": "5"})
    origin.expect("GET /b").reply(200, fresh(60, ETag='"v1"'), b"hello")
    client.head("/b", {"If-None-Match": '"v1"'}).expect(304, cache="stored")


def test_head_of_what_is_not_for_a_cache(origin, client):
    """Once that is known it goes out as HEAD: a body would be nobody's."""
    origin.expect("GET /a").reply(200, {"Cache-Control": "no-store"}, b"hello")
    client.head("/a").expect(200, body=b"", cache="!stored; detail=no-store", headers={"Content-Length": "5"})
    origin.expect("HEAD /a").reply(200, {"Cache-Control": "no-store", "Content-Length": "5"})
    client.head("/a").expect(200, body=b"", cache="!stored; detail=head", headers={"Content-Length": "5"})


def test_head_as_head_by_rule(origin, larder):
    """It goes out as HEAD, and its answer is not taken for a GET's."""
    client = Client(larder(origin, config='[[site]]\n[[site.rule]]\nhead_as_get = false\n'))
    origin.expect("HEAD /a").reply(200, fresh(60, Content_Length="5"))
    client.head("/a").expect(200, cache="!hit; !stored; detail=head", headers={"Content-Length": "5"})
    origin.expect("GET /a").reply(200, fresh(), b"hello")
    client.get("/a").expect(200, body=b"hello", cache="stored")


def test_head_on_something_stale(origin, client):
    """A HEAD goes out as HEAD: no surprise transfer of the body."""
    origin.expect("GET /a").reply(200, stale(ETag='"v1"'), b"hello")
    client.get("/a").expect(200)
    origin.expect("HEAD /a").reply(200, fresh(60, ETag='"v1"', Content_Length="5"))
    client.head("/a").expect(200, body=b"", cache="!hit", headers={"Content-Length": "5"})


# --- the key ------------------------------------------------------------------------------------------------------------------------

def test_host_and_query_are_part_of_the_key(origin, client):
    for host, target in (("one.test", "/a"), ("two.test", "/a"), ("one.test", "/a?"), ("one.test", "/a?x"), ("one.test", "/a?y"), ("one.test", "/A")):
        origin.expect(f"GET {target}", {"Host": host}).reply(200, fresh(), f"{host} {target}".encode())
        client.get(target, host=host).expect(200, cache="!hit", body=f"{host} {target}".encode())
        client.get(target, host=host).expect(200, cache="hit", body=f"{host} {target}".encode())


def test_equal_hosts_share(origin, client):
    origin.expect("GET /a").reply(200, fresh(), b"x")
    client.get("/a", host="www.example.test").expect(200)
    client.get("/a", host="WWW.Example.Test").expect(200, cache="hit")
    client.get("/a", host="www.example.test:80").expect(200, cache="hit")
    client.get("http://www.example.test/a", host="www.example.test").expect(200, cache="hit")


def test_methods_do_not_share(origin, client):
    origin.expect("GET /a").reply(200, fresh(), b"x")
    client.get("/a").expect(200)
    origin.expect("OPTIONS /a").reply(200, fresh(), b"options")
    client.request("OPTIONS", "/a").expect(200, body=b"options", cache="!hit; !stored")
    client.get("/a").expect(200, body=b"x", cache="hit")


def test_a_get_with_a_body_is_not_answered_from_the_cache(origin, client):
    origin.expect("GET /a", body=b"query").reply(200, fresh(), b"answer")
    client.request("GET", "/a", body=b"query").expect(200, cache="!hit; !stored; detail=body-on-get")


def test_posts_are_not_stored(origin, client):
    for _ in range(2):
        origin.expect("POST /a").reply(200, fresh(), b"x")
        client.post("/a").expect(200, cache="fwd=method; !stored")


# --- limits -------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_max_object_size(origin, larder, framing):
    client = Client(larder(origin, config='[cache]\nmax_object_size = "100KiB"\n'))
    origin.on("GET /big", always(200, fresh(), bytes(100 * 1024 + 1), framing=framing))
    client.get("/big").expect(200, body=bytes(100 * 1024 + 1))
    second = client.get("/big").expect(200, body=bytes(100 * 1024 + 1), cache="!hit")
    if framing == "length":
        second.expect(200, cache="!stored; detail=too-large")
    origin.expect("GET /small").reply(200, fresh(), bytes(100 * 1024), framing=framing)
    client.get("/small").expect(200, cache="stored")
    client.get("/small").expect(200, cache="hit")
