"""Partial responses: stored, answered from, grown, completed (RFC 9110 §14, §15.3.7; RFC 9111 §3.3, §3.4)."""

import random

import pytest
from support.client import Client
from support.proxy import run_larder
from support.say import always, date, fresh, named, stale
from support.wire import wait_until

BODY = random.Random(206).randbytes(100_000)
ETAG = {"ETag": '"v1"'}


def say_part(origin, first, last, body=BODY, fields=None, asked=None, if_range=None, **options):
    """The origin expects Range (by default for just that) and answers with the part."""
    part = {"Content-Range": f"bytes {first}-{last}/{len(body)}", **(fields if fields is not None else fresh(600, **ETAG))}
    wanted = {"Range": asked or f"bytes={first}-{last}", "If-Range": if_range, "If-None-Match": None}
    return origin.expect("GET /a", wanted).reply(206, part, body[first:last + 1], **options)


def ask(client, first, last, **more):
    return client.get("/a", {"Range": f"bytes={first}-{last}", **named(more)})


def expect_part(response, first, last, cache, body=BODY):
    return response.expect(206, body=body[first:last + 1], cache=cache, headers={"Content-Range": f"bytes {first}-{last}/{len(body)}"})


def store_part(origin, client, first, last, **options):
    say_part(origin, first, last, **options)
    expect_part(ask(client, first, last), first, last, "stored", options.get("body", BODY))


def committed(proxy, client, first, last):
    """Waits until the store says so, not the memory: a new process finds it."""
    proxy.stop()
    proxy.start()
    expect_part(ask(client, first, last), first, last, "hit")


# --- stored, and answered from ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked, first, last", [("10-19", 10, 19), ("10-", 10, 99_999), ("-10", 99_990, 99_999), ("0-200000", 0, 99_999)])
def test_a_part_is_stored(origin, client, asked, first, last):
    say_part(origin, first, last, asked=f"bytes={asked}")
    response = client.get("/a", {"Range": f"bytes={asked}"})
    expect_part(response, first, last, "fwd=uri-miss; fwd-status=206; stored; detail=stored")
    expect_part(client.get("/a", {"Range": f"bytes={asked}"}), first, last, "hit; detail=fresh")


def test_what_it_holds_is_served_in_every_form(origin, client):
    store_part(origin, client, 50_000, 99_999)
    for asked, first, last in [("60000-60009", 60_000, 60_009), ("99000-", 99_000, 99_999), ("-5", 99_995, 99_999)]:
        expect_part(client.get("/a", {"Range": f"bytes={asked}"}), first, last, "hit")
    several = client.get("/a", {"Range": "bytes=90000-90001,50000-50004"}).expect(206, cache="hit", headers={"Content-Range": None})
    assert BODY[90_000:90_002] in several.body and BODY[50_000:50_005] in several.body
    client.get("/a", {"Range": "bytes=100000-"}).expect(416, headers={"Content-Range": "bytes */100000"})
    client.head("/a").expect(200, cache="hit", headers={"Content-Length": "100000", "Content-Range": None})
    client.get("/a", {"If-None-Match": '"v1"'}).expect(304, cache="hit")
    expect_part(ask(client, 60_000, 60_001, If_Range='"v1"'), 60_000, 60_001, "hit")


def test_it_survives_a_restart(origin, proxy, client):
    store_part(origin, client, 50_000, 99_999)
    say_part(origin, 100, 199, if_range='"v1"')
    expect_part(ask(client, 100, 199), 100, 199, "fwd=partial; stored")
    proxy.stop()
    proxy.start()
    expect_part(ask(client, 120, 130), 120, 130, "hit")
    expect_part(ask(client, 70_000, 80_000), 70_000, 80_000, "hit")


@pytest.mark.parametrize("content_range, size, detail", [
    ("bytes 0-9/100000", 9, "range-mismatch"), ("bytes 0-9/100000", 11, "range-mismatch"), ("bytes 0-9/*", 10, "not-stored-partial"),
    ("bytes 9-0/100000", 10, "not-stored-partial"), ("bytes 0-9/5", 10, "not-stored-partial"), ("lines 0-9/100000", 10, "not-stored-partial"),
    (None, 10, "not-stored-partial")])
def test_what_is_no_single_part_of_a_known_whole_passes(origin, client, content_range, size, detail):
    fields = fresh(600, **ETAG) | ({"Content-Range": content_range} if content_range else {})
    for _ in range(2):
        origin.expect("GET /a", {"Range": "bytes=0-9"}).reply(206, fields, BODY[:size])
        ask(client, 0, 9).expect(206, body=BODY[:size], cache=f"fwd=uri-miss; !stored; detail={detail}", headers={"Content-Range": content_range})


@pytest.mark.parametrize("size", [9, 11])
def test_a_body_of_the_wrong_length_is_not_kept(origin, client, size):
    """Its length shows at the end only."""
    for _ in range(2):
        say_part(origin, 0, 9, body=BODY).handle(lambda exchange: exchange.reply(
            206, fresh(600, Content_Range="bytes 0-9/100000", **ETAG), BODY[:size], framing="chunked"))
        ask(client, 0, 9).expect(206, cache="fwd=uri-miss")


def test_several_ranges_of_the_origin_pass(origin, client):
    for _ in range(2):
        origin.expect("GET /a", {"Range": "bytes=0-1,5000-5001"}).reply(206, fresh(600, Content_Type="multipart/byteranges; boundary=x", **ETAG), b"--x--")
        client.get("/a", {"Range": "bytes=0-1,5000-5001"}).expect(206, body=b"--x--", cache="!stored")


def test_a_whole_answer_to_several_ranges_is_stored_whole(origin, proxy):
    """RFC 9111 §3: a 200 is the whole, whatever was asked for."""
    gate = origin.gate()
    origin.expect("GET /a", {"Range": "bytes=0-1,5000-5001"}).reply(200, fresh(600, **ETAG), [BODY[:50_000], gate, BODY[50_000:]])
    leader = Client(proxy).begin("GET", "/a", {"Range": "bytes=0-1,5000-5001"}).expect(206, cache="fwd=uri-miss; stored")
    gate.wait_reached()
    follower = Client(proxy).get("/a", {"Range": "bytes=0-2,5000-5001"}).expect(206, cache="collapsed")
    gate.open()
    for answer in leader, follower:
        assert BODY[5_000:5_002] in answer.body
    Client(proxy).get("/a").expect(200, body=BODY)
    assert origin.count("/a") == 1


def test_the_one_part_that_several_ranges_got_is_stored(origin, client):
    """RFC 9110 §15.3.7.2: where only one of them is left."""
    say_part(origin, 5, 9, asked="bytes=5-9,200000-200009")
    response = client.get("/a", {"Range": "bytes=5-9,200000-200009"})
    expect_part(response, 5, 9, "fwd=uri-miss; stored")
    expect_part(ask(client, 6, 8), 6, 8, "hit")


def test_a_whole_answer_to_a_range_is_stored_whole(origin, client):
    origin.expect("GET /a", {"Range": "bytes=5-9"}).reply(200, fresh(600, **ETAG), BODY)
    expect_part(ask(client, 5, 9), 5, 9, "fwd=uri-miss; stored")
    client.get("/a").expect(200, body=BODY, cache="hit")


@pytest.mark.parametrize("cache_control", ["no-store", "private"])
def test_what_may_not_be_stored_is_not(origin, client, cache_control):
    for _ in range(2):
        say_part(origin, 0, 9, fields={"Cache-Control": cache_control, **ETAG})
        expect_part(ask(client, 0, 9), 0, 9, "!stored")


# --- grown and completed ------------------------------------------------------------------------------------------------------------


def test_only_what_is_missing_is_fetched(origin, proxy, client):
    store_part(origin, client, 1000, 1999)
    say_part(origin, 2000, 2999, if_range='"v1"')
    expect_part(ask(client, 1500, 2999), 1500, 2999, "fwd=partial; fwd-status=206; stored")
    say_part(origin, 0, 999, if_range='"v1"')
    expect_part(ask(client, 0, 2999), 0, 2999, "fwd=partial")
    expect_part(ask(client, 0, 2999), 0, 2999, "hit")
    committed(proxy, client, 0, 2999)


def test_a_get_completes_it(origin, proxy, client):
    store_part(origin, client, 0, 4_999, fields=fresh(600, Content_Type="image/png", **ETAG))
    say_part(origin, 5_000, 99_999, asked="bytes=5000-", if_range='"v1"', fields=fresh(600, X_New="1", **ETAG))
    client.get("/a").expect(200, body=BODY, cache="fwd=partial; stored", headers={
        "Content-Range": None, "Content-Length": "100000", "Content-Type": "image/png", "X-New": "1", **ETAG})
    client.get("/a").expect(200, body=BODY, cache="hit", headers={"X-New": "1"})
    proxy.stop()
    proxy.start()
    client.get("/a").expect(200, body=BODY, cache="hit", headers={"Content-Type": "image/png", "X-New": "1"})


def test_several_gaps_are_fetched_one_by_one(origin, client):
    for first in (10_000, 30_000, 50_000):
        say_part(origin, first, first + 9_999, if_range='"v1"' if first > 10_000 else None)
        expect_part(ask(client, first, first + 9_999), first, first + 9_999, "stored")
    for first, last in ((0, 9_999), (20_000, 29_999), (40_000, 49_999), (60_000, 99_999)):
        say_part(origin, first, last, asked=f"bytes={first}-{last if last < 99_999 else ''}", if_range='"v1"')
    client.get("/a").expect(200, body=BODY, cache="fwd=partial")
    client.get("/a").expect(200, body=BODY, cache="hit")


def test_many_gaps_are_not_worth_it(origin, client):
    for first in range(0, 100_000, 10_000):
        say_part(origin, first, first, if_range='"v1"' if first > 0 else None)
        expect_part(ask(client, first, first), first, first, "stored")
    origin.expect("GET /a", {"Range": None, "If-Range": None}).reply(200, fresh(600, **ETAG), BODY)
    client.get("/a").expect(200, body=BODY, cache="stored")


def test_the_map_is_bounded(origin, proxy, client):
    """Slices beyond the limit are not kept, those before stay."""
    for first in range(0, 70 * 20, 20):
        say_part(origin, first, first + 9, if_range='"v1"' if first > 0 else None)
        expect_part(ask(client, first, first + 9), first, first + 9, "fwd-status=206")
    proxy.stop()
    proxy.start()
    for first in range(0, 60 * 20, 20):
        expect_part(ask(client, first, first + 9), first, first + 9, "hit")


def test_a_last_modified_that_is_strong_will_do(origin, client):
    fields = fresh(600, Last_Modified=date(-5000), Date=date())
    store_part(origin, client, 0, 9, fields=fields)
    say_part(origin, 10, 19, fields=fields, if_range=fields["Last-Modified"])
    expect_part(ask(client, 0, 19), 0, 19, "fwd=partial")


@pytest.mark.parametrize("validator", [{}, {"ETag": 'W/"v1"'}, {"Last-Modified": date(-1), "Date": date()}])
def test_without_a_strong_validator_nothing_is_combined(origin, client, validator):
    fields = fresh(600) | validator
    store_part(origin, client, 0, 9, fields=fields)
    expect_part(ask(client, 5, 9), 5, 9, "hit")
    say_part(origin, 5, 19, fields=fields)
    expect_part(ask(client, 5, 19), 5, 19, "stored")  # takes the place of the other
    say_part(origin, 0, 4, asked="bytes=0-4", fields=fields)
    expect_part(ask(client, 0, 4), 0, 4, "stored")


def test_the_rest_of_it_may_be_the_whole(origin, client):
    """Without a validator the rest is asked for, and only a 200 is of use."""
    store_part(origin, client, 0, 9, fields=fresh(600))
    origin.expect("GET /a", {"Range": "bytes=10-", "If-Range": None}).reply(200, fresh(600), BODY)
    client.get("/a").expect(200, body=BODY, cache="fwd=partial; stored")
    store_second = {"Range": "bytes=0-9"}
    client.get("/a", store_second).expect(206, cache="hit")


def test_a_part_without_validator_is_dropped(origin, client):
    store_part(origin, client, 0, 9, fields=fresh(600))
    say_part(origin, 10, 99_999, asked="bytes=10-", fields=fresh(600))
    origin.expect("GET /a", {"Range": None}).reply(200, fresh(600), BODY[::-1])
    client.get("/a").expect(200, body=BODY[::-1], cache="stored")


# --- the origin has another version -------------------------------------------------------------------------------------------------

OTHER = BODY[::-1]
ETAG2 = {"ETag": '"v2"'}


def test_a_200_takes_its_place(origin, client):
    store_part(origin, client, 0, 9)
    origin.expect("GET /a", {"Range": "bytes=10-19", "If-Range": '"v1"'}).reply(200, fresh(600, **ETAG2), OTHER)
    expect_part(ask(client, 0, 19), 0, 19, "fwd=partial; stored", OTHER)
    client.get("/a").expect(200, body=OTHER, headers=ETAG2)  # its end may still be on the way
    client.get("/a").expect(200, body=OTHER, cache="hit", headers=ETAG2)


def test_a_part_of_another_version_is_not_mixed(origin, client):
    """An origin that ignores If-Range."""
    store_part(origin, client, 0, 9)
    say_part(origin, 10, 19, body=OTHER, fields=fresh(600, **ETAG2), if_range='"v1"')
    say_part(origin, 0, 19, body=OTHER, fields=fresh(600, **ETAG2))
    expect_part(ask(client, 0, 19), 0, 19, "stored", OTHER)
    expect_part(ask(client, 0, 9), 0, 9, "hit", OTHER)


@pytest.mark.parametrize("status", [304, 416])
def test_an_answer_that_helps_nobody(origin, client, status):
    store_part(origin, client, 0, 9)
    origin.expect("GET /a", {"Range": "bytes=10-19"}).reply(status, fresh(600))
    say_part(origin, 0, 19, body=OTHER, fields=fresh(600, **ETAG2))
    expect_part(ask(client, 0, 19), 0, 19, "stored", OTHER)


def test_another_version_at_the_second_gap_breaks_off(origin, proxy, client):
    """What was sent cannot be taken back; what is stored is not mixed."""
    store_part(origin, client, 1_000, 1_999)
    say_part(origin, 0, 999, if_range='"v1"')
    origin.expect("GET /a", {"Range": "bytes=2000-", "If-Range": '"v1"'}).reply(200, fresh(600, **ETAG2), OTHER)
    with pytest.raises(Exception):
        _ = client.get("/a").body
    origin.on("GET /a", always(200, fresh(600, **ETAG2), OTHER))
    wait_until(lambda: Client(proxy).get("/a").body == OTHER)


def test_a_mis_sized_rest_is_never_taken_for_it(origin, proxy, client):
    store_part(origin, client, 0, 9)
    say_part(origin, 10, 19, if_range='"v1"').handle(lambda exchange: exchange.reply(
        206, fresh(600, Content_Range="bytes 10-19/100000", **ETAG), BODY[10:15], framing="chunked"))
    with pytest.raises(Exception):
        _ = ask(Client(proxy), 0, 19).body
    say_part(origin, 10, 19, if_range='"v1"')
    expect_part(ask(client, 0, 19), 0, 19, "fwd=partial")


def test_less_than_was_asked_for(origin, client):
    store_part(origin, client, 0, 9)
    say_part(origin, 10, 14, asked="bytes=10-19", if_range='"v1"')
    say_part(origin, 15, 19, if_range='"v1"')
    expect_part(ask(client, 0, 19), 0, 19, "fwd=partial")


# --- stale --------------------------------------------------------------------------------------------------------------------------


def test_a_stale_part_is_revalidated(origin, proxy, client):
    store_part(origin, client, 0, 99, fields=stale(**ETAG))
    proxy.stop()
    proxy.start()
    origin.expect("GET /a", {"If-None-Match": '"v1"', "Range": "bytes=0-9", "If-Range": None}).reply(304, fresh(600, X_New="1", **ETAG))
    expect_part(ask(client, 0, 9), 0, 9, "fwd=stale; fwd-status=304").expect(206, headers={"X-New": "1"})
    expect_part(ask(client, 50, 59), 50, 59, "hit").expect(206, headers={"X-New": "1"})


def test_a_stale_part_that_has_changed(origin, client):
    store_part(origin, client, 0, 99, fields=stale(**ETAG))
    origin.expect("GET /a", {"If-None-Match": '"v1"', "Range": "bytes=0-9"}).reply(
        206, fresh(600, Content_Range="bytes 0-9/100000", **ETAG2), OTHER[:10])
    expect_part(ask(client, 0, 9), 0, 9, "fwd=stale; stored", OTHER)
    say_part(origin, 10, 19, body=OTHER, fields=fresh(600, **ETAG2), if_range='"v2"')
    expect_part(ask(client, 0, 19), 0, 19, "fwd=partial", OTHER)


def test_a_stale_part_that_lacks_something(origin, client):
    """The answer to If-Range confirms the rest of it."""
    store_part(origin, client, 0, 99, fields=stale(**ETAG))
    say_part(origin, 100, 199, if_range='"v1"')
    expect_part(ask(client, 50, 199), 50, 199, "fwd=stale; stored")
    expect_part(ask(client, 0, 199), 0, 199, "hit")


def test_stale_if_the_origin_is_away(origin, client):
    store_part(origin, client, 0, 99, fields=stale(**ETAG), close=True)
    origin.expect("GET /a").disconnect()
    expect_part(ask(client, 0, 9), 0, 9, "detail=stale-disconnected")
    origin.expect("GET /a").disconnect()
    ask(client, 0, 199).expect(502)


def test_a_stale_whole_one_is_revalidated_for_a_range(origin, client):
    origin.expect("GET /a").reply(200, stale(**ETAG), BODY)
    client.get("/a").expect(200, body=BODY)
    origin.expect("GET /a", {"If-None-Match": '"v1"', "Range": None}).reply(304, fresh(600, **ETAG))
    expect_part(ask(client, 5, 9), 5, 9, "fwd=stale; fwd-status=304")
    expect_part(ask(client, 5, 9), 5, 9, "hit")


# --- several at once ----------------------------------------------------------------------------------------------------------------


def all_ask(proxy, ranges):
    """Clients that have asked for one of these each, and wait for the answers."""
    return [Client(proxy).send("GET", "/a", {"Range": f"bytes={first}-{last}"}).wait_taken() for first, last in ranges]


def test_the_same_range_is_fetched_once(origin, proxy):
    gate = origin.gate()
    say_part(origin, 0, 9_999, hold=gate)
    clients = all_ask(proxy, [(0, 9_999)] * 8)
    gate.wait_reached()
    gate.open()
    for client in clients:
        expect_part(client.read_response(), 0, 9_999, "")


def test_different_ranges_in_parallel_share_one_map(origin, proxy, client):
    gate = origin.gate()
    waiting = []

    def answer(exchange):
        first, last = map(int, exchange.request.header("Range").removeprefix("bytes=").split("-"))
        waiting.append(first)
        gate.wait()
        exchange.reply(206, fresh(600, Content_Range=f"bytes {first}-{last}/{len(BODY)}", **ETAG), BODY[first:last + 1])

    origin.on("GET /a", answer)
    ranges = [(first, first + 4_999) for first in range(0, 40_000, 5_000)]
    clients = all_ask(proxy, ranges)
    wait_until(lambda: len(waiting) == len(ranges))
    gate.open()
    for one, (first, last) in zip(clients, ranges):
        expect_part(one.read_response(), first, last, "stored")
    expect_part(ask(client, 0, 39_999), 0, 39_999, "hit")
    committed(proxy, client, 0, 39_999)


def test_a_whole_answer_to_a_range_serves_all_who_come_after_its_head(origin, proxy):
    """Whatever they ask for: it is the whole, is kept, and runs on without the one who began it."""
    gate = origin.gate()
    origin.expect("GET /a", {"Range": "bytes=0-0"}).reply(200, fresh(600, **ETAG), [BODY[:50_000], gate, BODY[50_000:]])
    leader = Client(proxy)
    expect_part(ask(leader, 0, 0), 0, 0, "stored")
    leader.close()
    for first, last in [(1, 1), (0, 0), (40_000, 40_009)]:
        expect_part(ask(Client(proxy), first, last), first, last, "collapsed")
    several = Client(proxy).get("/a", {"Range": "bytes=0-1,500-509"}).expect(206, cache="collapsed", headers={"Content-Range": None})
    assert BODY[500:510] in several.body
    whole = Client(proxy).begin("GET", "/a").expect(200, cache="collapsed")
    gate.open()
    assert whole.body == BODY
    assert origin.count("/a") == 1


def test_a_part_that_streams_serves_nobody_who_wants_another(origin, proxy):
    gate = origin.gate()
    origin.expect("GET /a", {"Range": "bytes=0-9999"}).reply(
        206, fresh(600, Content_Range=f"bytes 0-9999/{len(BODY)}", **ETAG), [BODY[:100], gate, BODY[100:10_000]])
    part = Client(proxy).begin("GET", "/a", {"Range": "bytes=0-9999"}).expect(206)
    gate.wait_reached()
    say_part(origin, 5, 9)
    expect_part(ask(Client(proxy), 5, 9), 5, 9, "fwd=uri-miss; stored")
    gate.open()
    assert part.body == BODY[:10_000]


def test_a_part_does_not_take_the_place_of_the_whole(origin, proxy, client):
    gate = origin.gate()
    say_part(origin, 0, 9, hold=gate)
    [part] = all_ask(proxy, [(0, 9)])
    gate.wait_reached()
    origin.expect("GET /a", {"Range": None}).reply(200, fresh(600, **ETAG), BODY)
    client.get("/a").expect(200, body=BODY, cache="stored")
    gate.open()
    expect_part(part.read_response(), 0, 9, "")
    client.get("/a").expect(200, body=BODY, cache="hit")


def test_invalidated_while_it_is_completed(origin, client, proxy):
    store_part(origin, client, 0, 9)
    gate = origin.gate()
    say_part(origin, 10, 19, if_range='"v1"', hold=gate)
    [part] = all_ask(proxy, [(0, 19)])
    gate.wait_reached()
    origin.expect("POST /a").reply(204)
    client.post("/a", b"x").expect(204)
    gate.open()
    expect_part(part.read_response(), 0, 19, "")
    say_part(origin, 0, 19, body=OTHER, fields=fresh(600, **ETAG2))
    expect_part(ask(client, 0, 19), 0, 19, "stored", OTHER)


# --- If-Range of a client ------------------------------------------------------------------------------------------------------------

TYPED = fresh(600, Content_Type="text/plain", **ETAG)


def ask_if(client, condition, first=5, last=9):
    return ask(client, first, last, If_Range=condition)


def test_the_answer_to_if_range_is_kept(origin, proxy, client):
    """RFC 9111 §3.3: with a strong validator; the client's condition is for the origin, which knows what is current."""
    say_part(origin, 5, 9, fields=TYPED, if_range='"v1"')
    expect_part(ask_if(client, '"v1"'), 5, 9, "fwd=uri-miss; fwd-status=206; stored; detail=stored")
    expect_part(ask_if(client, '"v1"'), 5, 9, "hit")
    expect_part(ask(client, 6, 8), 6, 8, "hit")
    committed(proxy, client, 5, 9)


@pytest.mark.parametrize("fields", [
    fresh(600, **ETAG), fresh(600, Content_Type="text/plain"), fresh(600, Content_Type="text/plain", ETag='W/"v1"'),
], ids=["without type", "without validator", "with a weak one"])
def test_one_that_may_leave_something_out_is_not(origin, client, fields):
    """RFC 9110 §15.3.7: it need not have what the client holds already."""
    for _ in range(2):
        say_part(origin, 5, 9, fields=fields, if_range='"v1"')
        expect_part(ask_if(client, '"v1"'), 5, 9, "fwd=uri-miss; detail=not-stored-partial; !stored")


def test_a_200_to_if_range_is_stored_whole(origin, client):
    origin.expect("GET /a", {"Range": "bytes=5-9", "If-Range": '"v0"'}).reply(200, TYPED, BODY)
    ask_if(client, '"v0"').expect(200, body=BODY, cache="fwd=uri-miss; fwd-status=200; stored")
    expect_part(ask_if(client, '"v1"'), 5, 9, "hit")
    ask_if(client, '"v0"').expect(200, body=BODY, cache="hit")


def test_if_range_of_a_stale_part_passes(origin, client):
    """The origin knows whether what the client holds is current."""
    store_part(origin, client, 5, 9, fields=stale(**ETAG))
    origin.expect("GET /a", {"Range": "bytes=5-9", "If-Range": '"v1"'}).reply(200, fresh(600, ETag='"v2"'), b"all of the new one")
    ask_if(client, '"v1"').expect(200, body=b"all of the new one", cache="!stored; detail=range")


# --- purges -------------------------------------------------------------------------------------------------------------------------


def purge_tag(proxy, tag):
    code, _, err = run_larder("purge", "--tag", tag, "--cache-dir", proxy.cache_dir)
    assert code == 0, err


def tagged(names):
    return fresh(600, **ETAG, Surrogate_Key=names)


@pytest.mark.parametrize("tag", ["old", "both", "new"])
@pytest.mark.parametrize("restart", [False, True], ids=["in memory", "on disk"])
def test_what_names_one_part_names_the_whole(origin, proxy, client, tag, restart):
    """The second part was fetched to complete the first."""
    store_part(origin, client, 0, 9, fields=tagged("old both"))
    say_part(origin, 10, 19, fields=tagged("new both"), asked="bytes=10-19", if_range='"v1"')
    expect_part(ask(client, 5, 19), 5, 19, "fwd=partial")
    if restart:
        committed(proxy, client, 0, 19)
    purge_tag(proxy, tag)
    say_part(origin, 0, 19, fields=tagged("newest"))
    expect_part(ask(client, 0, 19), 0, 19, "fwd=uri-miss")


@pytest.mark.parametrize("tag", ["old", "new"])
@pytest.mark.parametrize("restart", [False, True], ids=["in memory", "on disk"])
def test_what_names_one_of_two_that_knew_nothing_of_each_other(origin, proxy, client, tag, restart):
    gates = [origin.gate(), origin.gate()]
    clients = [Client(proxy), Client(proxy)]
    for (first, last, names), gate, one in zip([(0, 9, "old"), (10, 19, "new")], gates, clients):
        say_part(origin, first, last, fields=tagged(names), hold=gate)
        one.send("GET", "/a", {"Range": f"bytes={first}-{last}"})
        gate.wait_reached()
    for gate, one in zip(gates, clients):
        gate.open()
        one.read_response().expect(206, cache="stored")
    if restart:
        committed(proxy, client, 0, 19)
    else:
        expect_part(ask(client, 0, 19), 0, 19, "hit")
    purge_tag(proxy, tag)
    say_part(origin, 0, 19, fields=tagged("newest"))
    expect_part(ask(client, 0, 19), 0, 19, "fwd=uri-miss")
