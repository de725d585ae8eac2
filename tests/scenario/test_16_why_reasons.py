"""Every reason of cache/reason.h has a case here in which larder gives it, and `larder why` explains it.

A new reason needs a case: in STORED where `why` finds it in what is stored, in SUPPOSED where it is a word about an answer of the origin, in
FAILING where the origin fails; in RUNNING where only a running larder knows it, and in ELSEWHERE, with the file of its test, where it takes
more than a scripted origin.
"""

import json
import random
import re
from pathlib import Path

import pytest
from support.client import Client
from support.damage import damage
from support.parallel import occupied
from support.proxy import ROOT, run_larder
from support.say import NO_STORE, always, date, fresh, stale
from support.why import ask, rule, store, text
from support.wire import wait_until

HEADER = (Path(ROOT) / "cache" / "reason.h").read_text(encoding="utf-8")
REASONS = re.findall(r'^ {4}X\([A-Z_]+,\s*"([a-z-]+)"', HEADER, re.M)

DIRECTIVES = rule("request_directives = true")
V1 = {"ETag": '"v1"'}
HEURISTIC = {"Last-Modified": date(-100_000)}

# reason: (configuration, response stored before or None, request, method)
STORED = {
    "fresh": (None, fresh(), {}, None),
    "fresh-heuristic": (None, HEURISTIC, {}, None),
    "fresh-by-rule": (rule('ttl = "60s"'), V1, {}, None),
    "stale-while-revalidate": (None, {"Cache-Control": "max-age=60, stale-while-revalidate=600", "Age": "60", **V1}, {}, None),
    "max-stale": (DIRECTIVES, stale(**V1), {"Cache-Control": "max-stale=100"}, None),
    "method": (None, None, {}, "DELETE"),
    "head": (rule("head_as_get = false"), None, {}, "HEAD"),
    "range": (None, None, {"Range": "items=0-9"}, None),
    "own-tag": (None, None, {"If-Match": '"larder-' + "0" * 32 + '"'}, "PUT"),
    "origin-condition": (None, fresh(), {"If-Match": '"x"'}, None),
    "upgrade": (None, fresh(), {"Connection": "upgrade", "Upgrade": "websocket"}, None),
    "body-on-get": (None, None, {"Content-Length": "3"}, None),
    "unkeyed-field": (rule('pass_request_fields = ["X-Original-URL"]'), None, {"X-Original-URL": "/b"}, None),
    "bypass-rule": (rule("bypass = true"), None, {}, None),
    "request-no-cache": (DIRECTIVES, fresh(60, **V1), {"Cache-Control": "no-cache"}, None),
    "request-max-age": (DIRECTIVES, fresh(60, Age="30", **V1), {"Cache-Control": "max-age=10"}, None),
    "request-min-fresh": (DIRECTIVES, fresh(60, **V1), {"Cache-Control": "min-fresh=100"}, None),
    "only-if-cached": (None, None, {"Cache-Control": "only-if-cached"}, None),
    "cookie": (None, HEURISTIC, {"Cookie": "a=b"}, None),
    "uri-miss": (None, None, {}, None),
    "vary-miss": (None, {**fresh(), "Vary": "Accept-Encoding"}, {"Accept-Encoding": "br"}, None),
    "stale": (None, stale(**V1), {}, None),
    "no-cache": (None, {"Cache-Control": "no-cache", **V1}, {}, None),
    "bad-request": (None, None, {"Expect": "a miracle"}, None),
    "max-forwards": (None, None, {"Max-Forwards": "0"}, "OPTIONS"),
    "no-site": ('[[site]]\nhosts = ["elsewhere.test"]\norigin = "ORIGIN"\n', None, {}, None),
}


@pytest.mark.parametrize("reason", STORED)
def test_of_what_is_stored(origin, larder, reason):
    config, stored, request, method = STORED[reason]
    alone = config is not None and "ORIGIN" in config
    proxy = larder(None if alone else origin, config=config.replace("ORIGIN", origin.url) if alone else config)
    if stored is not None:
        origin.expect("GET /a").reply(200, stored, b"hello")
        store(proxy, Client(proxy), "/a")
    assert ask(proxy, "/a", request, method)["verdict"]["reason"] == reason


# reason: (configuration, response stored before or None, request, method, the origin's answer)
SUPPOSED = {
    "odd-request": (None, None, {"X-Long": "x" * 5000}, None, (404, fresh())),
    "echo": (rule("sentinel = true"), None, {"X-Shop": "evil.example"}, None, (200, {**fresh(), "Link": "<//evil.example/x>; rel=preload"})),
    "stored": (None, None, {}, None, (200, fresh())),
    "stored-by-rule": (rule('default_ttl = "60s"'), None, {}, None, (200, {})),
    "updated": (None, stale(**V1), {}, None, (304, V1)),
    "outdated": (None, stale(**V1), {}, "HEAD", (200, {"ETag": '"v2"'})),
    "revalidated": (None, stale(**V1), {}, None, (304, V1)),
    "not-stored-method": (None, None, {}, "POST", (200, {})),
    "not-stored-status": (None, None, {}, None, (503, {})),
    "not-stored-partial": (None, None, {"Range": "bytes=0-4"}, None, (206, {**fresh(), "Content-Range": "bytes 0-4/*"})),
    "request-no-store": (DIRECTIVES, None, {"Cache-Control": "no-store"}, None, (200, fresh())),
    "no-store": (None, None, {}, None, (200, {"Cache-Control": "no-store"})),
    "private": (None, None, {}, None, (200, {"Cache-Control": "private"})),
    "authorization": (None, None, {"Authorization": "Basic eA=="}, None, (200, fresh())),
    "set-cookie": (None, None, {}, None, (200, {**fresh(), "Set-Cookie": "a=b"})),
    "cookie-not-explicit": (None, None, {"Cookie": "a=b"}, None, (200, HEURISTIC)),
    "vary-star": (None, None, {}, None, (200, {**fresh(), "Vary": "*"})),
    "vary-limit": (None, None, {}, None, (200, {**fresh(), "Vary": ", ".join(f"X-{n}" for n in range(20))})),
    "vary-client": (None, None, {}, None, (200, {**fresh(), "Vary": "X-Forwarded-For"})),
    "vary-twin": (None, None, {"X_Foo": "1"}, None, (200, {**fresh(), "Vary": "X-Foo"})),
    "no-freshness": (None, None, {}, None, (200, {})),
    "must-understand": (None, None, {}, None, (299, {"Cache-Control": "max-age=60, must-understand, no-store"})),
    "tag-limit": (None, None, {}, None, (200, {**fresh(), "Surrogate-Key": " ".join(f"k{n}" for n in range(2000))})),
    "unknown-coding": (None, None, {}, None, (200, {**fresh(), "Transfer-Encoding": "gzip"})),
    "too-large": (None, None, {}, None, (200, {**fresh(), "Content-Length": "9000000000000"})),
    "error-keeps-stored": (None, stale(**V1), {}, None, (503, fresh())),
    "stale-if-error": (rule('stale_if_error = "1h"'), stale(**V1), {}, None, (503, {})),
}
# These answers have no place in a script, or no body that fits.
ONLY_SUPPOSED = ("unknown-coding", "too-large", "not-stored-partial")
# What is said of storing, where Cache-Status says why the origin was asked.
ABOUT_STORING = ("not-stored-method", "not-stored-partial", "updated")


@pytest.mark.parametrize("reason", SUPPOSED)
def test_of_an_answer_that_is_supposed(origin, larder, reason):
    config, stored, request, method, (status, fields) = SUPPOSED[reason]
    proxy = larder(origin, config=config)
    client = Client(proxy)
    if stored is not None:
        origin.expect("GET /a").reply(200, stored, b"hello")
        store(proxy, client, "/a")
    supposed = ask(proxy, "/a", request, method, (status, fields))["supposed"]
    assert supposed["storing" if reason in ABOUT_STORING else "detail"]["reason"] == reason, supposed
    assert supposed["stored"] is (reason in ("stored", "stored-by-rule"))
    if reason in ONLY_SUPPOSED:
        return
    origin.expect(f"{method or 'GET'} /a").reply(status, fields, b"" if status == 304 else b"hello")
    response = client.request(method or "GET", "/a", request, body=b"" if method == "POST" else None)
    assert response.cache["detail"].split(" ")[0] == supposed["detail"]["reason"]
    assert ("stored" in response.cache) is (supposed["stored"] or supposed["confirms"])


@pytest.mark.parametrize("request_fields, content_range, fields, storing", [
    ({"Range": "bytes=0-4"}, "bytes 0-4/10", V1, "stored"),
    ({"Range": "bytes=0-4"}, "bytes 0-4/10", {}, "stored"),
    ({"Range": "bytes=0-4", "If-Range": '"v1"'}, "bytes 0-4/10", {**V1, "Content-Type": "text/plain"}, "stored"),
    ({"Range": "bytes=0-4", "If-Range": '"v1"'}, "bytes 0-4/10", V1, "not-stored-partial"),
    ({"Range": "bytes=0-4"}, "bytes 0-5/10", V1, "range-mismatch"),
    ({}, "bytes 0-4/10", V1, "not-stored-partial"),
])
def test_of_a_part_that_is_supposed(origin, larder, request_fields, content_range, fields, storing):
    proxy = larder(origin)
    answer = {**fresh(), **fields, "Content-Range": content_range}
    supposed = ask(proxy, "/a", request_fields, supposed=(206, {**answer, "Content-Length": "5"}))["supposed"]
    assert (supposed["storing"]["reason"], supposed["stored"]) == (storing, storing == "stored")
    origin.expect("GET /a").reply(206, answer, b"hello")
    response = Client(proxy).get("/a", request_fields).expect(206)
    assert ("stored" in response.cache) is (storing == "stored")
    assert response.cache["detail"] == storing


# reason: (rule, response stored before or None, how the origin fails)
FAILING = {
    "stale-disconnected": (None, stale(**V1), "disconnected"),
    "stale-if-slow": (rule('stale_if_slow = "1s"'), stale(**V1), "slow"),
    "must-revalidate": (None, {"Cache-Control": "max-age=60, must-revalidate", "Age": "60", **V1}, "status"),
    "origin-failed": (None, None, "disconnected"),
    "origin-timeout": (None, None, "timeout"),
}


@pytest.mark.parametrize("reason", FAILING)
def test_of_an_origin_that_fails(origin, larder, reason):
    config, stored, how = FAILING[reason]
    proxy = larder(origin, config=config)
    if stored is not None:
        origin.expect("GET /a").reply(200, stored, b"hello")
        store(proxy, Client(proxy), "/a")
    failure = ask(proxy, "/a")["if_origin_fails"][how]
    assert reason in (failure.get("reason"), failure.get("against_stale", {}).get("reason"))


# --- what only a running larder knows ------------------------------------------------------------------------------------------------


def logged(proxy):
    """The words of the access log about storing, as soon as the exchange has ended."""
    def lines():
        text = proxy.log_path.read_text(encoding="utf-8") if proxy.log_path.exists() else ""
        return [json.loads(line).get("store_reason") for line in text.splitlines()]

    wait_until(lines, "a line of the access log")
    return lines()


def followed(origin, larder):
    proxy = larder(origin)
    first, second = Client(proxy), Client(proxy)
    gate = origin.gate()
    origin.expect("GET /a").reply(200, fresh(), b"hello", hold=gate)
    first.send("GET", "/a")
    gate.wait_reached()
    second.send("GET", "/a")
    second.wait_taken()
    gate.open()
    first.read_response().expect(200, cache="detail=stored")
    return [second.read_response().expect(200).cache["detail"]]


def truncated(origin, larder):
    proxy = larder(origin, flags=["--access-log", "access.log"])
    client = Client(proxy)
    origin.expect("GET /a").send_raw(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\nhello")
    client.send("GET", "/a")
    client.read_head()
    return logged(proxy)


def raced(origin, larder):
    proxy = larder(origin, flags=["--access-log", "access.log", "--workers", "1"])
    client = Client(proxy)
    gate = origin.gate()
    origin.expect("GET /a").reply(200, fresh(), [b"first", gate, b"second"])
    origin.expect("POST /a").reply(204)
    response = client.begin("GET", "/a")
    gate.wait_reached()
    Client(proxy).post("/a").expect(204)
    gate.open()
    assert response.body == b"firstsecond"
    wait_until(lambda: len(logged(proxy)) == 2, "both lines")
    return logged(proxy)


def too_many_connections(origin, larder):
    proxy = larder(origin, config="[server.limits]\nconnections = 1\n")
    origin.on("GET /a", always(200, fresh()))
    inside = Client(proxy)
    inside.get("/a").expect(200)
    return [Client(proxy).get("/a").expect(503).cache["detail"]]


def saturated(origin, larder):
    """One request has the only connection: the next gets what it may have stale, or 503."""
    proxy = larder(origin, config="[server.limits]\norigin_connections = 1\norigin_queue = 0\n", flags=["--workers", "1"])
    client = Client(proxy)
    origin.expect("GET /stale").reply(200, {"Cache-Control": "max-age=60, stale-if-error=600", "Age": "60"}, b"hello")
    client.get("/stale").expect(200)
    gate, slow = occupied(origin, proxy)
    details = [client.get("/stale").expect(200).cache["detail"], client.get("/new").expect(503).cache["detail"]]
    gate.open()
    slow.read_response().expect(200)
    return details


def origins_down(origin, larder):
    origin.on("GET /health", always(500, {"Cache-Control": "no-store"}))
    check = '[[site]]\n[site.health_check]\npath = "/health"\ninterval = "20ms"\nunhealthy = 1\n'
    proxy = larder(origin, config=check)
    proxy.wait_logged("origin unhealthy")
    return [Client(proxy).get("/a").expect(503).cache["detail"]]


def partial(origin, larder):
    """And what `why` says of it."""
    proxy = larder(origin)
    client = Client(proxy)
    origin.expect("GET /a").reply(206, {**fresh(), **V1, "Content-Range": "bytes 0-4/10"}, b"hello")
    client.get("/a", {"Range": "bytes=0-4"}).expect(206, cache="stored")
    wait_until(lambda: ask(proxy, "/a")["variants"], "the part to be committed")
    assert "holds bytes 0-4 of 10" in text(proxy, "/a")
    variant = ask(proxy, "/a")["variants"][0]
    assert (variant["held"], variant["bytes"], "digest" in variant) == ([[0, 4]], 10, False)
    rest = (206, {**fresh(), **V1, "Content-Range": "bytes 5-9/10"})
    assert ask(proxy, "/a", supposed=rest)["supposed"]["stored"]
    assert ask(proxy, "/a", {"Range": "bytes=1-2"})["verdict"]["reason"] == "fresh"
    return [ask(proxy, "/a")["verdict"]["reason"]]


def range_mismatch(origin, larder):
    client = Client(larder(origin))
    origin.expect("GET /a").reply(206, {**fresh(), **V1, "Content-Range": "bytes 0-9/10"}, b"hello")
    return [client.get("/a", {"Range": "bytes=0-9"}).expect(206, cache="!stored").cache["detail"]]


def client_connections(origin, larder):
    proxy = larder(origin, config="[server.limits]\nconnections_per_client = 1\n")
    origin.on("GET /x", always(200, NO_STORE))
    Client(proxy).get("/x").expect(200)
    return Client(proxy).get("/x").expect(503).header("Cache-Status")


def too_many_requests(origin, larder):
    proxy = larder(origin, config="[server.limits]\nrequests = 1\n")
    gate, _ = occupied(origin, proxy)
    answer = Client(proxy).get("/x").expect(503).header("Cache-Status")
    gate.open()
    return answer


def rate_limited(origin, larder):
    client = Client(larder(origin, config=rule('rate_limit = "1/h"')))
    origin.on("GET /x", always(200, NO_STORE))
    client.get("/x").expect(200)
    return client.get("/x").expect(429).header("Cache-Status")


def type_contradicts(origin, larder):
    client = Client(larder(origin, config=rule('default_ttl = "60s"')))
    origin.on("GET /account/x.css", always(200, {"Content-Type": "text/html"}))
    return client.get("/account/x.css").expect(200).header("Cache-Status")


def purge(origin, larder):
    proxy = larder(origin, config='[[site]]\npurge_from = "127.0.0.1"\n')
    return [Client(proxy).request("PURGE", "/a").expect(404).cache["detail"].split()[0]]


def purge_refused(origin, larder):
    proxy = larder(origin, config='[[site]]\npurge_from = "127.0.0.2"\n')
    return [Client(proxy).request("PURGE", "/a").expect(403).cache["detail"]]


def loop(origin, larder):
    client = Client(larder(origin))
    origin.on("GET /a", always(200, NO_STORE))
    client.get("/a").expect(200)
    return [client.get("/a", {"CDN-Loop": origin.last.header("CDN-Loop")}).expect(508).cache["detail"]]


def modes(origin, larder):
    """The same request while the site records, and offline: what is stored, what was recorded, and what is neither."""
    proxy = larder(origin, config='[[site]]\nmode = "record"\n')
    client = Client(proxy)
    origin.expect("GET /stored").reply(200, {**V1, "Cache-Control": "no-cache"}, b"x")
    origin.expect("GET /private").reply(200, {"Cache-Control": "private"}, b"x")
    client.get("/stored").expect(200)
    details = [client.get("/private").expect(200).cache["detail"]]
    assert run_larder("mode", "default", "offline", "--cache-dir", proxy.cache_dir)[0] == 0
    return details + [client.get(target).cache["detail"] for target in ("/stored", "/private", "/none")]


def invalidated(origin, larder):
    client = Client(larder(origin))
    origin.on("GET /a", always(200, fresh()))
    origin.on("POST /a", always(204, body=b""))
    client.get("/a").expect(200)
    client.post("/a").expect(204)
    return [client.get("/a").expect(200).cache["detail"]]


def unreadable(origin, larder):
    proxy = larder(origin)
    body = random.Random(1).randbytes(100_000)
    origin.on("GET /a", always(200, fresh(), body))
    Client(proxy).get("/a").expect(200)
    proxy.stop()
    damage(proxy.cache_dir, body[50_000:50_064])
    proxy.start()
    return [Client(proxy).get("/a", {"Range": "bytes=50000-50099"}).cache["detail"]]


RUNNING = {"invalidated": invalidated, "unreadable": unreadable, "recorded": modes, "offline": modes, "replayed": modes, "offline-miss": modes, "loop": loop, "purge": purge, "purge-refused": purge_refused, "type-contradicts": type_contradicts, "client-connections": client_connections,
           "too-many-requests": too_many_requests, "rate-limit": rate_limited,
           "partial": partial, "range-mismatch": range_mismatch, "stale-saturated": saturated, "origin-saturated": saturated,
           "origins-down": origins_down, "followed": followed, "truncated": truncated, "raced": raced,
           "too-many-connections": too_many_connections}


@pytest.mark.parametrize("reason", RUNNING)
def test_of_a_running_larder(origin, larder, reason):
    assert reason in RUNNING[reason](origin, larder)


# --- the list -----------------------------------------------------------------------------------------------------------------------

ELSEWHERE = {
    "none": "tests/unit/test_reason.c",
    "disk-behind": "tests/unit/test_cache_queue.c",
    "store-failed": "tests/unit/test_cache_disk.c",
    "store-away": "tests/unit/test_cache_disk.c",
    "stream-memory": "tests/unit/test_cache_disk.c",
    "no-memory": "tests/unit/test_retry_after.c",
    "unchanged": "tests/unit/test_cache_freshen.c",
    "first-request": "tests/unit/test_admission.c",
    "min-uses": "tests/unit/test_admission.c",
    "purged": "tests/unit/test_cache_purge.c",
    "purged-soft": "tests/unit/test_cache_purge.c",
}


def test_the_list_is_read():
    assert len(REASONS) > 50


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_has_a_case_and_is_explained(reason):
    cases = [name for name, group in (("STORED", STORED), ("SUPPOSED", SUPPOSED), ("FAILING", FAILING), ("RUNNING", RUNNING), ("ELSEWHERE", ELSEWHERE))
             if reason in group]
    assert len(cases) == 1, f"{reason}: in {cases}, needs one case"
    if reason in ELSEWHERE:
        test = (Path(ROOT) / ELSEWHERE[reason]).read_text(encoding="utf-8")
        assert "REASON_" + reason.upper().replace("-", "_") in test
    code, out, _ = run_larder("why", reason, "--json")
    said = json.loads(out)
    assert code == 0 and said["reason"] == reason and said["text"] and said["hint"] and "no advice" not in said["hint"]
