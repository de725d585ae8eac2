"""larder why: what it says of a request is what the request then gets."""

import re

import pytest
from support.client import HOST, Client
from support.proxy import run_larder
from support.say import always, date, fresh, stale
from support.why import ask, rule, store, text
from support.wire import wait_until


def agree(why, response):
    """Cache-Status says what was foretold, a moment before."""
    verdict, answer = why["verdict"], why["answer"]
    if verdict["outcome"] == "hit":
        assert "hit" in response.cache, response
        age, ttl = int(response.header("Age")), int(response.cache["ttl"])
        assert abs(age + ttl - answer["age"] - answer["ttl"]) <= 1 and ttl <= answer["ttl"] + 1, (answer, response)
    elif verdict["outcome"] != "none":
        assert response.cache["fwd"] == verdict["outcome"], (why, response)
    if answer["detail_is_final"]:
        token, _, rule = response.cache["detail"].partition(" ")
        assert token == verdict["reason"], (verdict, response)
        assert (rule or None) == verdict.get("rule"), (verdict, response)
    if "status" in answer:
        assert response.status == answer["status"], (why, response)


HEURISTIC = {"Last-Modified": date(-100_000)}
VARY = {**fresh(), "Vary": "Accept-Encoding"}
DIRECTIVES = rule("request_directives = true")
SWR = {"Cache-Control": "max-age=60, stale-while-revalidate=600", "Age": "60", "ETag": '"v1"'}

# name: (configuration, response stored before or None, request, reason, action)
SITUATIONS = {
    "fresh": (None, fresh(), {}, "fresh", "hit"),
    "heuristic": (None, HEURISTIC, {}, "fresh-heuristic", "hit"),
    "by rule": (rule('ttl = "60s"'), fresh(0, ETag='"v1"'), {}, "fresh-by-rule", "hit"),
    "by default rule": (rule('default_ttl = "60s"'), {"ETag": '"v1"'}, {}, "fresh-by-rule", "hit"),
    "stale": (None, stale(ETag='"v1"'), {}, "stale", "revalidate"),
    "stale without validator": (rule('stale_if_error = "1h"'), stale(), {}, "stale", "revalidate"),
    "no-cache": (None, {"Cache-Control": "no-cache", "ETag": '"v1"'}, {}, "no-cache", "revalidate"),
    "stale while revalidate": (None, SWR, {}, "stale-while-revalidate", "hit-revalidate"),
    "absent": (None, None, {}, "uri-miss", "fetch"),
    "other variants": (None, VARY, {"Accept-Encoding": "br"}, "vary-miss", "fetch"),
    "bypass": (rule('path = "/a"', "bypass = true"), None, {}, "bypass-rule", "pass"),
    "cookie": (None, HEURISTIC, {"Cookie": "a=b"}, "cookie", "fetch"),
    "if-match": (None, fresh(), {"If-Match": '"x"'}, "origin-condition", "pass"),
    "upgrade": (None, fresh(), {"Connection": "upgrade", "Upgrade": "websocket"}, "upgrade", "pass"),
    "upgrade to what is not configured": (None, fresh(), {"Connection": "upgrade", "Upgrade": "h2c"}, "fresh", "hit"),
    "only-if-cached": (None, None, {"Cache-Control": "only-if-cached"}, "only-if-cached", "reply"),
    "only-if-cached, stale": (None, stale(ETag='"v1"'), {"Cache-Control": "only-if-cached"}, "only-if-cached", "reply"),
    "only-if-cached, fresh": (None, fresh(), {"Cache-Control": "only-if-cached"}, "fresh", "hit"),
    "client's no-cache": (DIRECTIVES, fresh(60, ETag='"v1"'), {"Cache-Control": "no-cache"}, "request-no-cache", "revalidate"),
    "client's no-cache that does not count": (None, fresh(60, ETag='"v1"'), {"Cache-Control": "no-cache"}, "fresh", "hit"),
    "client's max-age": (DIRECTIVES, fresh(60, Age="30", ETag='"v1"'), {"Cache-Control": "max-age=10"}, "request-max-age", "revalidate"),
    "client's min-fresh": (DIRECTIVES, fresh(60, ETag='"v1"'), {"Cache-Control": "min-fresh=100"}, "request-min-fresh", "revalidate"),
    "client's max-stale": (DIRECTIVES, stale(ETag='"v1"'), {"Cache-Control": "max-stale=100"}, "max-stale", "hit"),
    "range of what is stored": (None, fresh(), {"Range": "bytes=1-2"}, "fresh", "hit"),
    "range behind the end": (None, fresh(), {"Range": "bytes=100-"}, "fresh", "hit"),
    "range of what is not": (None, None, {"Range": "bytes=1-2"}, "uri-miss", "fetch"),
    "several ranges of what is not": (None, None, {"Range": "bytes=1-2,4-5"}, "uri-miss", "fetch"),
    "ranges in other units": (None, None, {"Range": "items=0-9"}, "range", "pass"),
    "ranges that say nothing": (None, None, {"Range": "bytes=2-1"}, "uri-miss", "fetch"),
    "condition that holds": (None, fresh(60, ETag='"v1"'), {"If-None-Match": '"v1"'}, "fresh", "hit"),
    "condition that does not": (None, fresh(60, ETag='"v1"'), {"If-None-Match": '"v2"'}, "fresh", "hit"),
    "since": (None, fresh(60, Last_Modified=date(-100)), {"If-Modified-Since": date(-50)}, "fresh", "hit"),
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_it_says_what_then_happens(origin, larder, name):
    config, stored, request, reason, action = SITUATIONS[name]
    proxy = larder(origin, config=config)
    client = Client(proxy)

    def answer(exchange):
        validates = "If-None-Match" in exchange.request.headers and stored is not None
        exchange.reply(304 if validates else 200, {**(stored or fresh()), "Age": "0"} if validates else stored or fresh(), b"hello")

    origin.on("GET /a", answer)
    if stored is not None:
        store(proxy, client, "/a")
    why = ask(proxy, "/a", request)
    assert (why["verdict"]["reason"], why["verdict"]["action"]) == (reason, action), why
    asked = origin.count("/a")
    response = client.get("/a", request)
    agree(why, response)
    assert why["verdict"]["source"] and why["verdict"]["hint"]
    if action in ("hit", "reply"):
        assert origin.count("/a") == asked
    said = text(proxy, "/a", request)
    assert said.startswith(("answered", "304", "revalidated", "fetched", "passed"))


def test_methods_and_what_is_refused(origin, larder):
    proxy = larder(origin)
    client = Client(proxy)
    for method, target, headers, reason in (("POST", "/a", {}, "method"), ("DELETE", "/a", {}, "method"),
                                            ("TRACE", "/a", {}, "bad-request"), ("GET", "/%zz", {}, "bad-request"),
                                            ("GET", "/a", {"Expect": "a miracle"}, "bad-request")):
        why = ask(proxy, target, headers, method)
        assert why["verdict"]["reason"] == reason, why
        if reason != "bad-request":
            origin.expect(f"{method} {target}").reply(200, {"Cache-Control": "no-store"}, b"")
        agree(why, client.request(method, target, headers))
    why = ask(proxy, "/a", {"Max-Forwards": "0"}, "OPTIONS")
    agree(why, client.request("OPTIONS", "/a", {"Max-Forwards": "0"}))
    assert why["verdict"]["reason"] == "max-forwards"
    assert "the request target is malformed" in text(proxy, "/%zz")


def test_a_body_on_get(origin, larder):
    proxy = larder(origin)
    why = ask(proxy, "/a", {"Content-Length": "3"})
    origin.expect("GET /a", body=b"abc").reply(200, fresh(), b"x")
    agree(why, Client(proxy).request("GET", "/a", body=b"abc"))
    assert why["verdict"]["reason"] == "body-on-get"


def test_head_of_what_is_stored(origin, larder):
    proxy = larder(origin)
    client = Client(proxy)
    origin.expect("GET /a").reply(200, fresh(), b"hello")
    store(proxy, client, "/a")
    why = ask(proxy, "/a", method="HEAD")
    agree(why, client.head("/a").expect(200, cache="hit"))


@pytest.mark.parametrize("config, reason", [(None, "uri-miss"), (rule("head_as_get = false"), "head")])
def test_head_of_what_is_not_stored(origin, larder, config, reason):
    proxy = larder(origin, config=config)
    why = ask(proxy, "/a", method="HEAD", supposed=(200, fresh()))
    assert (why["verdict"]["reason"], why["supposed"]["stored"]) == (reason, reason == "uri-miss")
    origin.expect(f"{'GET' if reason == 'uri-miss' else 'HEAD'} /a").reply(200, fresh(), b"hello" if reason == "uri-miss" else b"")
    response = Client(proxy).head("/a").expect(200)
    agree(ask(proxy, "/none", method="HEAD"), response)
    assert response.cache["detail"] == why["supposed"]["detail"]["reason"]


def test_what_the_client_gets_of_a_supposed_answer(origin, larder):
    proxy = larder(origin)
    answer = (200, {**fresh(), "ETag": '"1"', "Content-Length": "5"})
    for fields, status in (({"If-None-Match": '"1"'}, 304), ({"If-None-Match": '"2"'}, 200), ({"Range": "bytes=0-1"}, 206), ({"Range": "bytes=5-"}, 416)):
        assert ask(proxy, "/a", fields, supposed=answer)["supposed"]["client_status"] == status, fields


def test_no_site(origin, larder):
    proxy = larder(config=f'[[site]]\nhosts = ["elsewhere.test"]\norigin = "{origin.url}"\n')
    why = ask(proxy, "/a")
    agree(why, Client(proxy).get("/a").expect(404))
    assert why["verdict"]["reason"] == "no-site"
    origin.expect("GET /a").reply(200, fresh(), b"x")
    agree(ask(proxy, "/a", {"Host": "elsewhere.test"}), Client(proxy, host="elsewhere.test").get("/a"))


@pytest.mark.parametrize("fields, config, reason", [
    (stale(ETag='"v1"'), None, None),
    ({"Cache-Control": "max-age=60, stale-if-error=600", "Age": "60", "ETag": '"v1"'}, None, "stale-if-error"),
    (stale(ETag='"v1"'), rule('stale_if_error = "10m"'), "stale-if-error"),
    ({"Cache-Control": "max-age=60, must-revalidate", "Age": "60", "ETag": '"v1"'}, None, None),
])
def test_when_the_origin_fails(origin, larder, fields, config, reason):
    """What is said of a 503 is what one brings."""
    proxy = larder(origin, config=config)
    client = Client(proxy)
    origin.expect("GET /a").reply(200, fields, b"hello")
    store(proxy, client, "/a")
    why = ask(proxy, "/a")
    failures = why["if_origin_fails"]
    origin.expect("GET /a").reply(503, {}, b"no")
    response = client.get("/a")
    assert failures["status"]["stale"] is (reason is not None)
    assert failures["status"].get("reason") == reason
    if reason is None:
        response.expect(503)
    else:
        response.expect(200, body=b"hello", cache=f"fwd=stale; detail={reason}")
    freshness = why["variants"][0]["freshness"]
    if "must-revalidate" in fields["Cache-Control"]:
        assert freshness["stale_forbidden_by"] == "must-revalidate"
        assert "stale_if_error" not in freshness, "nobody gave one"
        assert failures["disconnected"] == {"stale": False, **{key: failures["disconnected"][key] for key in ("reason", "source", "text", "against_stale")}}
        assert failures["disconnected"]["reason"] == "origin-failed"
        assert "never: must-revalidate" in text(proxy, "/a")
    else:
        assert failures["disconnected"]["stale"]


def test_variants_are_shown_with_what_selects_them(origin, larder):
    proxy = larder(origin)
    client = Client(proxy)
    origin.on("GET /a", lambda exchange: exchange.reply(200, VARY, (exchange.request.header("Accept-Encoding") or "none").encode()))
    store(proxy, client, "/a", {"Accept-Encoding": "gzip"})
    store(proxy, client, "/a", {"Accept-Encoding": "br"}, variants=2)
    store(proxy, client, "/a", variants=3)
    variants = ask(proxy, "/a", {"Accept-Encoding": "gzip"})["variants"]
    assert [variant["selected"] for variant in variants] == [False, False, True]
    assert [variant["selection"]["accept-encoding"] for variant in variants] == [None, "br", "gzip"]
    assert [variant["bytes"] for variant in variants] == [4, 2, 4]
    assert len({variant["digest"] for variant in variants}) == 3
    said = text(proxy, "/a", {"Accept-Encoding": "zstd"})
    assert "vary-miss" in said and "3 variants" in said
    assert 'accept-encoding "br"; in this request "zstd"' in said
    assert 'accept-encoding absent; in this request "zstd"' in said


def test_variants_of_a_time_when_other_fields_were_trusted(origin, larder, tmp_path):
    """They are by other fields than those of now: each is compared all the same, and a 304 does not keep them."""
    trust = '[server]\ntrust_forwarded = true\ntrust_forwarded_fields = {}\n'
    vary = {**stale(ETag='"v1"'), "Vary": "X-Tenant"}
    before = larder(origin, config=trust.format('["X-Forwarded-Prefix"]'), cache_dir=tmp_path / "cache")
    origin.expect("GET /a").reply(200, vary, b"hello")
    store(before, Client(before), "/a", {"X-Tenant": "one", "X-Forwarded-Prefix": "/shop"})
    before.stop()
    proxy = larder(origin, config=trust.format("[]"), cache_dir=tmp_path / "cache")
    assert 'x-tenant "one"; in this request "two"' in text(proxy, "/a", {"X-Tenant": "two"})
    assert 'x-forwarded-prefix "/shop"' in text(proxy, "/a", {"X-Tenant": "two"})
    origin.expect("GET /b").reply(200, vary, b"hello")
    store(proxy, Client(proxy), "/b", {"X-Tenant": "one"})
    proxy.stop()
    after = larder(origin, config=trust.format('["X-Forwarded-Prefix"]'), cache_dir=tmp_path / "cache")
    answer = (304, {"ETag": '"v1"'})
    assert ask(after, "/b", {"X-Tenant": "one"}, supposed=answer)["supposed"]["storing"]["reason"] == "outdated"
    origin.expect("GET /b").reply(*answer)
    Client(after).get("/b", {"X-Tenant": "one"}).expect(200, body=b"hello", cache="fwd=stale; !stored; detail=revalidated")


def test_a_304_that_does_not_keep_what_is_stored(origin, larder):
    """What it says of storing is asked of the fields that it leaves; the client gets the stored response once more."""
    proxy = larder(origin)
    client = Client(proxy)
    answer = (304, {"ETag": '"v1"', "Cache-Control": "no-store"})
    origin.expect("GET /a").reply(200, stale(ETag='"v1"'), b"hello")
    store(proxy, client, "/a")
    supposed = ask(proxy, "/a", supposed=answer)["supposed"]
    assert supposed["confirms"] and not supposed["stored"]
    assert (supposed["storing"]["reason"], supposed["client_status"]) == ("no-store", 200), supposed
    assert "no longer, no-store" in text(proxy, "/a", supposed=answer)
    origin.expect("GET /a").reply(*answer)
    client.get("/a").expect(200, body=b"hello", cache="fwd=stale; fwd-status=304; !stored; detail=revalidated")
    origin.expect("GET /a", {"If-None-Match": None}).reply(200, {"Cache-Control": "no-store"}, b"new")
    client.get("/a").expect(200, body=b"new")


def test_rules_and_the_key(origin, larder):
    proxy = larder(origin, config='[[site]]\n'
                   '[[site.rule]]\nname = "elsewhere"\npath = "/b/*"\nttl = "1s"\n'
                   '[[site.rule]]\nname = "clean"\nstrip_tracking = true\nsort_query = true\nstrip_request_fields = ["X-Debug"]\n'
                   '[[site.rule]]\nname = "text"\ncontent_type = "text/*"\nttl = "2m"\n'
                   '[[site.rule]]\nname = "last"\nttl = "3m"\nstale_if_error = "1h"\n')
    client = Client(proxy)
    target = "/a?b=1&utm_source=x&a=2"
    why = ask(proxy, target, {"X-Debug": "1"})
    assert why["key"] == f"GET http://{HOST}/a?a=2&b=1"
    assert [item["matches"] for item in why["rules"]] == ["no", "yes", "depends-on-response", "yes"]
    assert why["settings_by_rule"] == {"ttl": "last", "stale_if_error": "last"}
    assert "X-Debug" in why["request"]["fields"] and "X-Debug" not in why["request"]["after_rules"]["fields"]
    assert "X-Debug is removed" in text(proxy, target, {"X-Debug": "1"})
    origin.expect("GET /a?a=2&b=1").reply(200, fresh(10, Content_Type="text/plain"), b"x")
    store(proxy, client, target)
    why = ask(proxy, target)
    assert [item["matches"] for item in why["rules"]] == ["no", "yes", "yes", "yes"]
    assert why["settings_by_rule"] == {"ttl": "text", "stale_if_error": "last"}
    freshness = why["variants"][0]["freshness"]
    assert (freshness["lifetime"], freshness["from"], freshness["rule"]) == (120, "rule", "text")
    assert freshness["stale_if_error"] == {"seconds": 3600, "rule": "last"}
    said = text(proxy, target)
    assert 'rule          "last" matches: ttl (an earlier rule gives it), stale_if_error' in said
    assert 'by rule "text" (config)' in said
    agree(why, client.get(target))


def test_a_window_that_is_not_given(origin, larder):
    """Also where there is no lifetime that it could stand behind: then one that is given has no length."""
    proxy = larder(origin, config=rule('stale_while_revalidate = "1h"'))
    without = larder(origin)
    for each, said in ((proxy, "revalidating  0 s behind the lifetime, rule "), (without, "revalidating  not given")):
        origin.expect("GET /a").reply(200, {"ETag": '"v1"'}, b"x")
        store(each, Client(each), "/a")
        assert said in text(each, "/a")


@pytest.mark.parametrize("fields, source, field, lifetime", [
    ({"Cache-Control": "max-age=60"}, "max-age", "Cache-Control", 60),
    ({"Cache-Control": "max-age=60, s-maxage=90"}, "s-maxage", "Cache-Control", 90),
    ({"Expires": 600}, "expires", "Expires", 600),
    ({"CDN-Cache-Control": "max-age=30", "Cache-Control": "max-age=60"}, "max-age", "CDN-Cache-Control", 30),
    ({"Last-Modified": -1000}, "heuristic", "Last-Modified", 100),
    ({"Last-Modified": -100 * 86400}, "heuristic", "Last-Modified", 86400),
    ({"Cache-Control": "no-cache", "ETag": '"v"'}, "none", None, 0),
])
def test_where_a_lifetime_comes_from(origin, larder, fields, source, field, lifetime):
    proxy = larder(origin)
    fields = {name: date(value) if isinstance(value, int) else value for name, value in fields.items()}
    origin.on("GET /a", always(200, {**fields, "Date": date()}))
    store(proxy, Client(proxy), "/a")
    freshness = ask(proxy, "/a")["variants"][0]["freshness"]
    assert (freshness["from"], freshness.get("field")) == (source, field)
    assert abs(freshness["lifetime"] - lifetime) <= 1
    assert ("heuristic from Last-Modified, at most max_heuristic (" in text(proxy, "/a")) == (lifetime == freshness["max_heuristic"])


@pytest.mark.parametrize("directive", ["no-store", "private"])
def test_what_was_not_stored_is_absent(origin, larder, directive):
    proxy = larder(origin)
    client = Client(proxy)
    origin.on("GET /a", always(200, {"Cache-Control": directive}))
    client.get("/a").expect(200, cache=f"detail={directive}")
    said = text(proxy, "/a")
    assert "uri-miss" in said and "nothing under this key" in said and "detail in Cache-Status" in said
    code, out, _ = run_larder("why", directive)
    assert code == 0 and "no rule lifts it" in out and "RFC 9111 5.2.2" in out


def test_own_validators_and_304(origin, larder):
    proxy = larder(origin)
    client = Client(proxy)
    origin.on("GET /a", always(200, fresh()))
    store(proxy, client, "/a")
    tag = ask(proxy, "/a")["answer"]["etag"]
    assert tag == client.get("/a").header("ETag")
    assert f"304 for       If-None-Match: {tag}" in text(proxy, "/a")
    why = ask(proxy, "/a", {"If-None-Match": tag})
    assert why["answer"]["not_modified"] and why["answer"]["status"] == 304
    assert text(proxy, "/a", {"If-None-Match": tag}).startswith("304 from the store")


def test_a_revalidation_says_what_it_sends(origin, larder):
    proxy = larder(origin)
    client = Client(proxy)
    modified = date(-100)
    origin.expect("GET /a").reply(200, stale(ETag='"v1"', Last_Modified=modified), b"hello")
    store(proxy, client, "/a")
    why = ask(proxy, "/a")
    assert why["to_origin"] == {"If-None-Match": '"v1"', "If-Modified-Since": modified}
    origin.expect("GET /a", why["to_origin"]).reply(304, fresh(60, Age="0"))
    agree(why, client.get("/a"))
    wait_until(lambda: ask(proxy, "/a")["verdict"]["reason"] == "fresh", "the freshened head to be committed")


NAVIGATES = {"Sec-Fetch-Mode": "navigate"}


def test_the_103_that_is_sent(origin, larder):
    proxy = larder(origin, config=rule("early_hints = true"))
    client = Client(proxy)
    origin.expect("GET /a").reply(200, stale(ETag='"v1"', Link="</a.css>; rel=preload; as=style, </next>; rel=next"), b"page")
    store(proxy, client, "/a")
    why = ask(proxy, "/a", NAVIGATES)
    assert why["answer"]["early_hints"] == ["</a.css>; rel=preload; as=style"]
    assert "at once       103 with Link: </a.css>; rel=preload; as=style\n" in text(proxy, "/a", NAVIGATES)
    assert "early_hints" not in ask(proxy, "/a")["answer"] and "at once  " not in text(proxy, "/a")
    gate = origin.gate()
    origin.expect("GET /a").reply(304, fresh(60, Age="0"), hold=gate)
    client.send("GET", "/a", NAVIGATES)
    gate.wait_reached()
    gate.open()
    sent = client.read_response().informational
    assert [(status, fields.all("Link")) for status, fields in sent] == [(103, why["answer"]["early_hints"])]
    wait_until(lambda: ask(proxy, "/a")["verdict"]["action"] == "hit", "the freshened head to be committed")
    assert "early_hints" not in ask(proxy, "/a", NAVIGATES)["answer"]


def test_what_is_invalidated(origin, larder):
    """RFC 9111 §4.4, RFC 9875 §3: by what is asked; with what the origin might answer, all of it."""
    proxy = larder(origin)
    client = Client(proxy)
    url = f"http://{HOST}"
    origin.on("GET /*", always(200, {**fresh(), "Cache-Groups": '"shop"'}))
    for target in ("/a", "/b", "/c", "/d"):
        store(proxy, client, target)
    assert "invalidates" not in ask(proxy, "/a")["answer"] and "invalidates" not in text(proxy, "/a")
    assert ask(proxy, "/a", method="POST")["answer"]["invalidates"] == f"{url}/a"
    assert f"invalidates   {url}/a, and what Location" in text(proxy, "/a", method="POST")
    fields = {"Location": "/b", "Content-Location": "http://elsewhere.test/c", "Cache-Group-Invalidation": '"shop", "x"'}
    supposed = ask(proxy, "/a", method="POST", supposed=(201, fields))["supposed"]
    assert supposed["invalidates"] == [f"{url}/a", f"{url}/b"] and supposed["invalidates_groups"] == ["shop", "x"]
    said = text(proxy, "/a", method="POST", supposed=(201, fields))
    assert f"invalidates   {url}/a (RFC 9111 4.4)\n                {url}/b\n                the group \"shop\" of" in said
    supposed = ask(proxy, "/a", method="POST", supposed=(500, fields))["supposed"]
    assert (supposed["invalidates"], supposed["invalidates_groups"]) == ([], [])
    assert "nothing: it is an error" in text(proxy, "/a", method="POST", supposed=(500, fields))
    origin.expect("POST /a").reply(201, {"Location": "/b"}, b"")
    client.post("/a", b"").expect(201)
    for target, hit in (("/a", False), ("/b", False), ("/c", True)):
        client.get(target).expect(200, cache="hit" if hit else "!hit")
    origin.expect("POST /a").reply(201, fields, b"")
    client.post("/a", b"").expect(201)
    client.get("/d").expect(200, cache="!hit")


def test_https_is_what_clients_say_where_tls_ends_in_front(origin, larder):
    proxy = larder(origin)
    origin.on("GET /a", always(200, fresh()))
    store(proxy, Client(proxy), "/a")
    code, out, _ = run_larder("why", f"HTTPS://{HOST}/a", "--origin", origin.url, "--cache-dir", proxy.cache_dir)
    assert code == 0 and out.startswith("answered from the store\n")


@pytest.mark.parametrize("config, removed", [(None, ["X-Real-IP", "X-Forwarded-Port", "X-Forwarded-For", "Forwarded"]),
                                             ("[server]\ntrust_forwarded = true\n", ["X-Forwarded-Port", "Forwarded"])])
def test_what_of_the_forwarded_fields_no_origin_gets(origin, larder, config, removed):
    proxy = larder(origin, config=config)
    sent = {"X-Real-IP": "192.0.2.1", "X-Forwarded-Port": "443", "X-Forwarded-For": "192.0.2.1", "Forwarded": "for=192.0.2.1", "X-Other": "1"}
    out = text(proxy, "/a", sent)
    assert re.findall(r"^  field +(\S+) is removed$", out, re.M) == removed


def test_https_is_another_resource_where_a_trusted_proxy_says_so(origin, larder):
    proxy = larder(origin, config="[server]\ntrust_forwarded = true\n")
    origin.on("GET /a", always(200, fresh()))
    Client(proxy).get("/a", {"X-Forwarded-Proto": "https"}).expect(200, cache="stored")

    def explained():
        code, out, _ = run_larder("why", f"https://{HOST}/a", "--cache-dir", proxy.cache_dir)
        return code == 0 and out.startswith("answered from the store\n") and out
    out = wait_until(explained, "the response to be committed")
    assert f"GET https://{HOST}/a\n" in out and "the origin's last answer" in out
    code, out, _ = run_larder("why", f"http://{HOST}/a", "--cache-dir", proxy.cache_dir)
    assert code == 0 and out.startswith("fetched from the origin") and f"GET http://{HOST}/a\n" in out


def test_a_purge_request(origin, larder):
    """The same status, and without purge_from what every other method gets."""
    config = '[[site]]\npurge_from = "127.0.0.1"\n'
    proxy = larder(origin, config=config)
    client = Client(proxy)
    origin.on("GET /a", always(200, fresh()))
    store(proxy, client, "/a")
    for status in (200, 404):
        said = ask(proxy, "/a", method="PURGE")
        assert (said["verdict"]["action"], said["verdict"]["reason"], said["answer"]["status"]) == ("reply", "purge", status)
        client.request("PURGE", "/a").expect(status, cache="detail=purge")
    assert text(proxy, "/a", method="PURGE").startswith("answered by larder itself\n")
    assert ask(larder(origin), "/a", method="PURGE")["verdict"]["action"] == "pass"


def test_no_cache_without_a_validator(origin, larder):
    """default_ttl does not help; ttl does, and what the origin is to leave out is named."""
    said = text(larder(origin), "/a", supposed=(200, {"Cache-Control": "no-cache"}))
    assert "no-freshness" in said and "max-age without no-cache" in said and "a rule's ttl" in said
