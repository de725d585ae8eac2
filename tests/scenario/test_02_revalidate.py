"""Stale responses: asked upstream with a condition, confirmed, replaced, or served when the origin fails."""

import re

import pytest
from support.client import HOST, Client
from support.proxy import run_larder
from support.say import always, date, fresh, stale
from support.wire import wait_until


def store(origin, client, headers, body=b"hello", path="/a"):
    origin.expect(f"GET {path}").reply(200, headers, body)
    client.get(path).expect(200, body=body, cache="fwd=uri-miss; stored")


# --- asking -------------------------------------------------------------------------------------------------------------------------

def test_stale_is_revalidated(origin, client):
    """A 304 renews the stored response and the client sees the stored body."""
    store(origin, client, stale(ETag='"v1"'))
    origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(304, fresh(60, Age="0", ETag='"v1"'))
    client.get("/a").expect(200, body=b"hello", cache="fwd=stale; fwd-status=304; detail=revalidated", headers={"Content-Length": "5"})
    client.get("/a").expect(200, body=b"hello", cache="hit; !fwd")


def test_last_modified_alone(origin, client):
    modified = date(-1000)
    store(origin, client, stale(Last_Modified=modified))
    origin.expect("GET /a", {"If-Modified-Since": modified, "If-None-Match": None}).reply(304, fresh(60, Age="0"))
    client.get("/a").expect(200, body=b"hello", cache="fwd=stale; fwd-status=304")
    client.get("/a").expect(200, cache="hit")


def test_both_validators_go_out(origin, client):
    modified = date(-1000)
    store(origin, client, stale(ETag='"v1"', Last_Modified=modified))
    origin.expect("GET /a", {"If-None-Match": '"v1"', "If-Modified-Since": modified}).reply(304, fresh(60, Age="0"))
    client.get("/a").expect(200, body=b"hello")


@pytest.mark.parametrize("etag", ['W/"v1"', '"a,b"', '""', '"\\"'])
def test_the_validator_goes_out_as_it_came(origin, client, etag):
    store(origin, client, stale(ETag=etag))
    origin.expect("GET /a", {"If-None-Match": etag}).reply(304, fresh(60, Age="0"))
    client.get("/a").expect(200, body=b"hello", cache="detail=revalidated")


def test_no_validator_no_condition(origin, client):
    origin.expect("GET /a").reply(200, stale(), b"one")
    client.get("/a").expect(200)
    origin.expect("GET /a", {"If-None-Match": None, "If-Modified-Since": None}).reply(200, fresh(), b"two")
    client.get("/a").expect(200, body=b"two", cache="!hit")


def test_no_cache_is_stored_and_validated_each_time(origin, client):
    store(origin, client, {"Cache-Control": "no-cache", "ETag": '"v1"'})
    for _ in range(3):
        origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(304, {"Cache-Control": "no-cache"})
        client.get("/a").expect(200, body=b"hello", cache="fwd=stale; fwd-status=304")


def test_the_clients_condition_is_not_sent_instead_of_ours(origin, client):
    store(origin, client, stale(ETag='"v1"'))
    origin.expect("GET /a", {"If-None-Match": re.compile('"v1"'), "If-Modified-Since": None}).reply(304, fresh(60, Age="0"))
    client.get("/a", {"If-None-Match": '"other"', "If-Modified-Since": date()}).expect(200, body=b"hello")


def test_variants_are_revalidated_each_by_itself(origin, client):
    for wanted in ("en", "de"):
        origin.expect("GET /a", {"Accept-Language": wanted}).reply(200, stale(ETag=f'"{wanted}"', Vary="Accept-Language"), wanted.encode())
        client.get("/a", {"Accept-Language": wanted}).expect(200)
    for wanted in ("en", "de"):
        origin.expect("GET /a", {"If-None-Match": f'"{wanted}"', "Accept-Language": wanted}).reply(
            304, fresh(60, Age="0", Vary="Accept-Language"))
        client.get("/a", {"Accept-Language": wanted}).expect(200, body=wanted.encode(), cache="detail=revalidated")
        client.get("/a", {"Accept-Language": wanted}).expect(200, body=wanted.encode(), cache="hit")


def test_large_bodies_are_served_after_a_304(origin, client):
    body = bytes(range(256)) * 8192
    store(origin, client, stale(ETag='"v1"'), body)
    origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(304, fresh(60, Age="0"))
    client.get("/a").expect(200, body=body)
    client.get("/a").expect(200, body=body, cache="hit")


# --- what a 304 changes -------------------------------------------------------------------------------------------------------------

FRESHENED = {
    "Cache-Control": "max-age=600", "Expires": "Fri, 01 Jan 2049 00:00:00 GMT", "Content-Type": "text/new", "Content-Language": "de",
    "X-Name": "new", "Set-Cookie2": "new", "Content-Security-Policy": "default-src 'none'",
    "Content-Location": "/new", "Link": "</new>", "Date": "Tue, 05 Jan 2021 10:00:00 GMT", "X-Frame-Options": "DENY",
}


def test_a_304_freshens_every_field(origin, client, proxy):
    """RFC 9111 §3.2; also behind a restart. What the 304 leaves out stays."""
    store(origin, client, {**{name: "old" for name in FRESHENED}, **stale(ETag='"v1"', X_Kept="kept"), "Last-Modified": date(-999), "Date": date(),
                           "Expires": date()})
    renewed = dict(FRESHENED, Date=date())
    origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(304, {**renewed, "Age": "0"})
    want = {**renewed, "ETag": '"v1"', "X-Kept": "kept", "Content-Length": "5"}
    client.get("/a").expect(200, body=b"hello", headers=want)
    client.get("/a").expect(200, body=b"hello", cache="hit", headers=want)
    proxy.restart()
    client.get("/a").expect(200, body=b"hello", cache="hit", headers=want)


def test_a_304_does_not_change_the_length(origin, client):
    store(origin, client, stale(ETag='"v1"'))
    origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(304, fresh(60, Age="0", Content_Length="10", Content_Range="bytes 0-9/10"))
    client.get("/a").expect(200, body=b"hello", headers={"Content-Length": "5"})
    client.get("/a").expect(200, body=b"hello", cache="hit", headers={"Content-Length": "5", "Content-Range": None})


def test_a_304_without_freshness_keeps_what_was_said_before(origin, client):
    store(origin, client, stale(ETag='"v1"'))
    origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(304, {"Age": "0"})
    client.get("/a").expect(200, body=b"hello")
    client.get("/a").expect(200, body=b"hello", cache="hit", headers={"Cache-Control": "max-age=60"})


def test_a_304_can_make_it_uncacheable(origin, client):
    store(origin, client, stale(ETag='"v1"'))
    origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(304, {"Cache-Control": "no-store"})
    client.get("/a").expect(200, body=b"hello")
    origin.expect("GET /a").reply(200, fresh(), b"new")
    client.get("/a").expect(200, body=b"new", cache="!hit")


@pytest.mark.parametrize("directive", ["private", "no-cache"])
def test_fields_of_a_304_that_are_for_one_client(origin, client, directive):
    """RFC 9111 §5.2.2.4, §5.2.2.7: they reach the client whose request the origin answered, and nobody else."""
    control = f'{directive}="Set-Cookie, X-User"'
    store(origin, client, {"Cache-Control": f"max-age=60, {control}", "Age": "60", "ETag": '"v1"', "Set-Cookie": "id=1", "X-User": "ann"})
    origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(304, {"Cache-Control": f"max-age=60, {control}", "Age": "0", "Set-Cookie": "id=2"})
    second = client.get("/a").expect(200, body=b"hello", cache="fwd=stale; fwd-status=304", headers={"X-User": None})
    assert second.headers.all("Set-Cookie") == ["id=2"], second
    client.get("/a").expect(200, body=b"hello", cache="hit", headers={"Set-Cookie": None, "X-User": None})


def test_a_304_with_another_strong_etag(origin, client):
    """RFC 9111 §4.3.4: it does not speak of the stored response; larder asks again without a condition."""
    store(origin, client, stale(ETag='"v1"'))
    origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(304, fresh(60, Age="0", ETag='"v2"'))
    origin.expect("GET /a", {"If-None-Match": None}).reply(200, fresh(60, ETag='"v2"'), b"new")
    client.get("/a").expect(200, body=b"new", headers={"ETag": '"v2"'})
    client.get("/a").expect(200, body=b"new", cache="hit")


@pytest.mark.parametrize("headers", [None, {"If-None-Match": '"v1"'}, {"Range": "bytes=0-1"}])
def test_a_304_nobody_asked_for(origin, client, headers):
    """RFC 9110 §15.4.5: the origin was not told a condition, whatever the client's is, so 304 is no answer."""
    origin.on("GET /a", always(304, fresh(60, ETag='"v1"')))
    for _ in range(2):
        client.get("/a", headers).expect(502, cache="!stored")


def test_a_304_to_a_request_without_validators(origin, client):
    """RFC 9110 §15.4.5: what has no validator cannot be confirmed; larder asked for it anew."""
    store(origin, client, {"Cache-Control": "max-age=60, must-revalidate", "Age": "60"})
    origin.expect("GET /a", {"If-None-Match": None, "If-Modified-Since": None}).reply(304, fresh(60, Age="0"))
    client.get("/a").expect(502)
    origin.expect("GET /a").reply(200, fresh(60), b"new")
    client.get("/a").expect(200, body=b"new")


# --- replaced -----------------------------------------------------------------------------------------------------------------------

def test_a_200_replaces(origin, client, proxy):
    store(origin, client, stale(ETag='"v1"', X_Old="1"))
    origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(200, fresh(60, ETag='"v2"'), b"changed")
    client.get("/a").expect(200, body=b"changed", cache="fwd=stale; fwd-status=200; stored")
    client.get("/a").expect(200, body=b"changed", cache="hit", headers={"ETag": '"v2"', "X-Old": None})
    proxy.restart()
    client.get("/a").expect(200, body=b"changed", cache="hit")


@pytest.mark.parametrize("status", [301, 404, 410])
def test_another_final_answer_replaces(origin, client, status):
    store(origin, client, stale(ETag='"v1"'))
    origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(status, fresh(60, Location="/b"), b"gone")
    client.get("/a").expect(status, body=b"gone")
    client.get("/a").expect(status, body=b"gone", cache="hit")


def test_a_200_that_may_not_be_stored(origin, client):
    store(origin, client, stale(ETag='"v1"'))
    origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(200, {"Cache-Control": "no-store"}, b"secret")
    client.get("/a").expect(200, body=b"secret", cache="!stored")
    origin.expect("GET /a").reply(200, {"Cache-Control": "no-store"}, b"secret 2")
    client.get("/a").expect(200, body=b"secret 2")


# --- the origin fails ---------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_an_error_with_permission_to_be_stale(origin, client, status):
    store(origin, client, {"Cache-Control": "max-age=60, stale-if-error=600", "Age": "60", "ETag": '"v1"'})
    origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(status, {}, b"error")
    client.get("/a").expect(200, body=b"hello", cache=f"fwd-status={status}; detail=stale-if-error", headers={"Age": re.compile(r"^\d+$")})


def test_an_error_beyond_the_permitted_time(origin, client):
    store(origin, client, {"Cache-Control": "max-age=60, stale-if-error=600", "Age": "661", "ETag": '"v1"'})
    origin.expect("GET /a").reply(503, {}, b"error")
    client.get("/a").expect(503, body=b"error")


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_an_error_without_permission(origin, client, status):
    """It is passed on, and never replaces what was good."""
    store(origin, client, stale(ETag='"v1"'))
    origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(status, {}, b"error")
    client.get("/a").expect(status, body=b"error", cache="!stored")
    origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(304, fresh(60, Age="0"))
    client.get("/a").expect(200, body=b"hello")


def test_a_cacheable_error_does_not_replace(origin, client):
    """A 5xx never replaces a good object, whatever lifetime it claims."""
    store(origin, client, {"Cache-Control": "max-age=60, stale-if-error=600", "Age": "60", "ETag": '"v1"'})
    origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(503, fresh(60), b"error")
    client.get("/a").expect(200, body=b"hello")
    origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(304, fresh(60, Age="0"))
    client.get("/a").expect(200, body=b"hello", cache="detail=revalidated")


def test_no_answer_at_all(origin, client):
    """RFC 9111 §4.2.4: disconnected, a stale response may be served unless it forbids that."""
    store(origin, client, stale(ETag='"v1"'))
    origin.on("GET /a", lambda exchange: exchange.close())
    client.get("/a").expect(200, body=b"hello", cache="detail=stale-disconnected", headers={"Age": re.compile(r"^\d+$")})


def test_an_origin_that_is_gone(origins, larder):
    origin = origins()
    client = Client(larder(origin))
    store(origin, client, stale(ETag='"v1"'))
    origin.stop()
    client.get("/a").expect(200, body=b"hello", cache="detail=stale-disconnected")
    client.get("/b").expect(502, cache="detail=origin-failed")


@pytest.mark.parametrize("directive", ["must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=60"])
def test_what_forbids_stale_use(origin, client, directive):
    store(origin, client, {"Cache-Control": f"max-age=60, {directive}, stale-if-error=600", "Age": "60", "ETag": '"v1"'})
    origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(503, {}, b"error")
    client.get("/a").expect(503, body=b"error")
    origin.on("GET /a", lambda exchange: exchange.close())
    client.get("/a").expect(502, cache="detail=origin-failed")


def test_a_truncated_answer_to_a_revalidation(origin, client):
    """It does not replace what is stored."""
    store(origin, client, stale(ETag='"v1"'))
    origin.expect("GET /a").send_raw(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nETag: \"v2\"\r\nContent-Length: 100\r\n\r\nhalf")
    half = client.begin("GET", "/a")
    if half.status == 200 and half.header("ETag") == '"v2"':
        assert half.stream.exact(4) == b"half"
        with pytest.raises(AssertionError):
            half.stream.exact(1)
    client.close()
    origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(304, fresh(60, Age="0"))
    client.get("/a").expect(200, body=b"hello")


def test_stale_is_bounded(origin, larder):
    client = Client(larder(origin, config='[cache]\nmax_stale = "10s"\n'))
    store(origin, client, {"Cache-Control": "max-age=60", "Age": "80", "ETag": '"v1"'})
    origin.on("GET /a", lambda exchange: exchange.close())
    client.get("/a").expect(502)


def test_a_slow_origin_and_permission_to_be_stale(origin, larder, tmp_path):
    patient = larder(origin, cache_dir=tmp_path / "cache")
    store(origin, Client(patient), {"Cache-Control": "max-age=60, stale-if-error=600", "Age": "60", "ETag": '"v1"'})
    patient.stop()
    client = Client(larder(origin, cache_dir=tmp_path / "cache", config='[server.timeouts]\norigin_first_byte = "200ms"\n'))
    gate = origin.gate()
    origin.on("GET /a", lambda exchange: gate.wait())
    client.get("/a").expect(200, body=b"hello", cache="detail=stale-if-error")


# --- stale-while-revalidate ---------------------------------------------------------------------------------------------------------

def test_stale_while_revalidate(origin, client):
    """Answered at once; one request behind, with the stored validator."""
    store(origin, client, {"Cache-Control": "max-age=60, stale-while-revalidate=600", "Age": "60", "ETag": '"v1"'})
    gate = origin.gate()
    behind = origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(304, fresh(60, Age="0"), hold=gate)
    client.get("/a").expect(200, body=b"hello", cache="hit; detail=stale-while-revalidate")
    gate.wait_reached()
    client.get("/a").expect(200, body=b"hello", cache="detail=stale-while-revalidate")
    gate.open()
    behind.wait_answered()
    poll_hit(client, "/a", b"hello")


def test_stale_while_revalidate_replaces(origin, client):
    store(origin, client, {"Cache-Control": "max-age=60, stale-while-revalidate=600", "Age": "60", "ETag": '"v1"'})
    behind = origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(200, fresh(60, ETag='"v2"'), b"new")
    client.get("/a").expect(200, body=b"hello", cache="hit")
    behind.wait_answered()
    poll_hit(client, "/a", b"new")


def test_beyond_the_window_the_client_waits(origin, client):
    store(origin, client, {"Cache-Control": "max-age=60, stale-while-revalidate=10", "Age": "71", "ETag": '"v1"'})
    origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(304, fresh(60, Age="0"))
    client.get("/a").expect(200, body=b"hello", cache="fwd=stale; fwd-status=304")


def test_an_error_behind_keeps_the_stale_one(origin, client):
    store(origin, client, {"Cache-Control": "max-age=60, stale-while-revalidate=600", "Age": "60", "ETag": '"v1"'})
    behind = origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(503, {}, b"error")
    client.get("/a").expect(200, body=b"hello", cache="hit")
    behind.wait_answered()
    origin.on("GET /a", always(304, fresh(60, Age="0")))
    client.get("/a").expect(200, body=b"hello")
    poll_hit(client, "/a", b"hello")


def poll_hit(client, path, body):
    """The result of the request behind shows a moment after the origin has answered it."""

    def settled():
        response = client.get(path).expect(200)
        return response.cache.get("detail") == "fresh" and response.body == body

    wait_until(settled, f"{path} to be fresh")


# --- errors that a rule stores ------------------------------------------------------------------------------------------------------

def stores_errors(larder, origin, ttl="60s", more=""):
    return larder(config=f"""
[[site]]
origin = "{origin.url}"
[[site.rule]]
name = "errors"
statuses = [500, 503]
ttl = "{ttl}"
{more}""")


def test_an_error_for_another_variant_does_not_hide_the_good_ones(origin, larder):
    client = Client(stores_errors(larder, origin))
    origin.expect("GET /a").reply(200, fresh(60, Vary="Accept-Language"), b"en")
    client.get("/a", {"Accept-Language": "en"}).expect(200, cache="stored")
    for _ in range(2):
        origin.expect("GET /a").reply(503, {}, b"down")
        client.get("/a", {"Accept-Language": "de"}).expect(503, cache="fwd=vary-miss; !stored; detail=error-keeps-stored")
    client.get("/a", {"Accept-Language": "en"}).expect(200, body=b"en", cache="hit")


def test_an_error_for_who_cannot_have_the_good_one_does_not_replace_it(origin, larder):
    """A Cookie keeps what was not declared fresh from the request, not what is stored from everybody."""
    client = Client(stores_errors(larder, origin))
    origin.expect("GET /a").reply(200, {"Last-Modified": date(-86400)}, b"good")
    client.get("/a").expect(200, cache="stored")
    origin.expect("GET /a").reply(503, {}, b"down")
    client.get("/a", {"Cookie": "a=1"}).expect(503, cache="fwd=request; !stored")
    client.get("/a").expect(200, body=b"good", cache="hit; detail=fresh-heuristic")


def test_an_error_instead_of_a_missing_part_leaves_the_part(origin, larder):
    client = Client(stores_errors(larder, origin))
    whole = bytes(range(100))
    origin.expect("GET /a", {"Range": "bytes=0-9"}).reply(206, fresh(60, ETag='"v1"', Content_Range="bytes 0-9/100", Content_Type="a/b"), whole[:10])
    client.get("/a", {"Range": "bytes=0-9"}).expect(206, body=whole[:10], cache="stored")
    origin.expect("GET /a", {"Range": "bytes=10-", "If-Range": '"v1"'}).reply(503, {}, b"down")
    client.get("/a").expect(503, cache="fwd=partial; !stored")
    client.get("/a", {"Range": "bytes=2-4"}).expect(206, body=whole[2:5], cache="hit")


def test_an_error_where_only_errors_are_stored_is_stored(origin, larder):
    client = Client(stores_errors(larder, origin))
    origin.expect("GET /a").reply(503, {"Age": "60", "Vary": "Accept-Language"}, b"one")
    client.get("/a", {"Accept-Language": "en"}).expect(503, cache="stored")
    for body in (b"two", b"three"):
        language = {"Accept-Language": "de" if body == b"two" else "en"}
        origin.expect("GET /a").reply(503, {"Vary": "Accept-Language"}, body)
        client.get("/a", language).expect(503, body=body, cache="stored")
        client.get("/a", language).expect(503, body=body, cache="hit")


def test_after_an_error_that_was_not_stored_the_good_one_bridges(origin, larder):
    client = Client(stores_errors(larder, origin, "0", '[[site.rule]]\nstale_if_error = "1h"\n'))
    origin.expect("GET /a").reply(200, stale(Vary="Accept-Language"), b"en")
    client.get("/a", {"Accept-Language": "en"}).expect(200, cache="stored")
    origin.expect("GET /a").reply(503, {"ETag": '"e"'}, b"down")
    client.get("/a", {"Accept-Language": "de"}).expect(503, cache="!stored")
    origin.expect("GET /a").reply(503, {"ETag": '"e"'}, b"down")
    client.get("/a", {"Accept-Language": "en"}).expect(200, body=b"en", cache="fwd=stale; detail=stale-if-error")


def test_why_says_that_an_error_would_not_be_stored(origin, larder):
    proxy = stores_errors(larder, origin)
    origin.expect("GET /a").reply(200, fresh(60, Vary="Accept-Language"), b"en")
    Client(proxy).get("/a", {"Accept-Language": "en"}).expect(200, cache="stored")

    def asked():
        code, out, err = run_larder("why", f"http://{HOST}/a", "-H", "Accept-Language: de", "--status", "503", "--cache-dir", proxy.cache_dir)
        assert code == 0, err
        return out

    wait_until(lambda: "stored        no, error-keeps-stored" in asked(), "why to see what was committed")
