"""What one client sends never becomes what others get: unkeyed fields, odd requests, deceptive paths, bodies of GET."""

import pytest
from support.client import Client
from support.say import always, fresh, stale
from support.why import text
from support.wire import wait_until

REFLECTED = ["X-Original-URL", "X-Original-URI", "X-Rewrite-URL", "X-Original-Host", "X-Host", "X-HTTP-Host-Override", "X-Backend-Host",
             "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "Proxy", "X-Forwarded-Server", "X-Forwarded-Port", "X-Forwarded",
             "X-Forwarded-Scheme", "X-Forwarded-Prefix", "X-Forwarded-Ssl", "X-Real-IP", "X_Real_IP", "Forwarded", "x-oRIGINAL-uRL", "Front-End-Https", "X-Middleware-Subrequest",
             "X_Original_URL", "x_http-METHOD_override", "X_Forwarded_Host", "X_Forwarded", "X-Forwarded_For", "x_forwarded-proto", "Accept_Language",
             "ACCEPT_ENCODING", "If_None_Match", "User_Agent", "Cache_Control", "Transfer_Encoding", "Content_Length"]


def rule(*lines):
    return '[[site]]\n[[site.rule]]\nname = "r"\n' + "".join(line + "\n" for line in lines)


# --- fields that no key holds -------------------------------------------------------------------------------------------------------

TRUST = "[server]\ntrust_forwarded = true\n"
TRUST_RFC7239 = TRUST + 'forwarded = "forwarded"\n'
SET_IN_FRONT = {TRUST: {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"}, TRUST_RFC7239: {"Forwarded": "for=192.0.2.1;proto=https"}}


@pytest.mark.parametrize("name", REFLECTED)
def test_reflected_fields_never_reach_the_origin(origin, client, name):
    origin.expect("GET /a", {name: None}).reply(200, fresh(), b"hello")
    client.get("/a", {name: "evil.test"}).expect(200)
    client.get("/a").expect(200, body=b"hello", cache="hit")


@pytest.mark.parametrize("config", SET_IN_FRONT, ids=["x-forwarded", "rfc7239"])
def test_reflected_fields_that_a_trusted_proxy_passes_on(origin, larder, config):
    """It sets what is its own; the rest is still its client's, and in no key."""
    client = Client(larder(origin, config=config))
    others = [name for name in REFLECTED + ["X-Forwarded-Host"] if name not in SET_IN_FRONT[config]]
    for number, name in enumerate(others):
        seen = origin.expect(f"GET /{number}").reply(200, fresh(), b"hello")
        client.get(f"/{number}", SET_IN_FRONT[config] | {name: "evil.test"}).expect(200)
        assert "evil.test" not in str(list(seen.request.headers)), name
        client.get(f"/{number}", SET_IN_FRONT[config]).expect(200, body=b"hello", cache="hit")


def test_what_the_trusted_proxy_says_is_told_as_it_is_keyed(origin, larder):
    """Where it passes on what its client wrote, too."""
    client = Client(larder(origin, config=TRUST))
    origin.expect("GET /a", {"X-Forwarded-Proto": "http", "X-Forwarded-Host": "larder.test"}).reply(200, fresh())
    client.get("/a", {"X-Forwarded-Proto": "evil.test", "X-Forwarded-Host": "evil.test"}).expect(200)
    client = Client(larder(origin, config=TRUST_RFC7239))
    seen = origin.expect("GET /a").reply(200, fresh())
    client.get("/a", {"Forwarded": 'for=192.0.2.9;host=evil.test, for=192.0.2.1;host="larder.test"'}).expect(200)
    assert seen.request.header("Forwarded") == 'for=192.0.2.9, for=192.0.2.1;host="larder.test", for=127.0.0.1;proto=http;host=larder.test'


def test_whom_the_trusted_proxy_names_in_x_real_ip(origin, larder):
    """Where that is whom it names in X-Forwarded-For: else it is its client's, and an origin that believes it is lied to."""
    client = Client(larder(origin, config=TRUST))
    for path, told in [("/a", "192.0.2.1"), ("/b", None)]:
        origin.expect(f"GET {path}", {"X-Real-IP": told, "X-Forwarded-For": "10.9.9.9, 192.0.2.1, 127.0.0.1"}).reply(200, fresh())
        client.get(path, {"X-Forwarded-For": "10.9.9.9, 192.0.2.1", "X-Real-IP": told or "10.9.9.9"}).expect(200)


TOLD = '[server]\ntrust_forwarded = ["127.0.0.1"]\ntrust_forwarded_fields = ["X-Forwarded-Port", "X-Forwarded-Prefix"]\n'


def test_what_a_trusted_proxy_is_said_to_set_selects(origin, larder):
    """As if each response named it in Vary, which it need not do; a stranger says nothing in it."""
    proxy = larder(origin, config=TOLD)
    front, stranger = Client(proxy), Client(proxy, source="127.0.0.2")
    for prefix in ["/shop", "/other"]:
        origin.expect("GET /a", {"X-Forwarded-Prefix": prefix, "X-Forwarded-Port": "443", "X-Forwarded-Server": None}).reply(200, fresh(), prefix.encode())
        front.get("/a", {"X-Forwarded-Prefix": prefix, "X-Forwarded-Port": "443", "X-Forwarded-Server": "a"}).expect(200, cache="stored")
    origin.expect("GET /a", {"X-Forwarded-Prefix": None}).reply(200, fresh(), b"none")
    stranger.get("/a", {"X-Forwarded-Prefix": "/shop", "X-Forwarded-Port": "443"}).expect(200, body=b"none", cache="fwd=vary-miss; stored")
    front.get("/a").expect(200, body=b"none", cache="hit")
    for prefix in ["/shop", "/other"]:
        front.get("/a", {"X-Forwarded-Prefix": prefix, "X-Forwarded-Port": "443"}).expect(200, body=prefix.encode(), cache="hit")

    def explained():
        out = text(proxy, "/a", {"X-Forwarded-Prefix": "/new", "X-Forwarded-Port": "443"})
        return "because       vary-miss" in out and out
    assert 'x-forwarded-prefix "/shop"; in this request "/new"' in wait_until(explained, "the responses to be committed")


def test_what_a_rule_strips_of_it_neither_selects_nor_goes_on(origin, larder):
    client = Client(larder(origin, config=TOLD + rule('path = "/static/*"', 'strip_request_fields = ["X-Forwarded-Prefix"]')))
    origin.expect("GET /static/a", {"X-Forwarded-Prefix": None, "X-Forwarded-Port": "443"}).reply(200, fresh(), b"a")
    for prefix in ["/shop", "/other"]:
        client.get("/static/a", {"X-Forwarded-Prefix": prefix, "X-Forwarded-Port": "443"}).expect(200, body=b"a")
    client.get("/static/a", {"X-Forwarded-Prefix": prefix, "X-Forwarded-Port": "443"}).expect(200, cache="hit")


def test_what_was_stored_before_a_field_was_believed_is_confirmed_for_one_value_at_most(origin, larder, tmp_path):
    """The origin's 304 speaks of a request that had the field."""
    before = larder(origin, config=TRUST, cache_dir=tmp_path / "cache")
    origin.expect("GET /a", {"X-Forwarded-Prefix": None}).reply(200, stale(ETag='"v1"'), b"none")
    Client(before).get("/a", {"X-Forwarded-Prefix": "/shop"}).expect(200, cache="stored")
    before.stop()
    client = Client(larder(origin, config=TOLD, cache_dir=tmp_path / "cache"))
    origin.expect("GET /a", {"X-Forwarded-Prefix": "/shop", "If-None-Match": '"v1"'}).reply(304, fresh(ETag='"v1"'))
    client.get("/a", {"X-Forwarded-Prefix": "/shop"}).expect(200, body=b"none")
    origin.expect("GET /a", {"X-Forwarded-Prefix": "/other"}).reply(200, fresh(), b"other")
    client.get("/a", {"X-Forwarded-Prefix": "/other"}).expect(200, body=b"other", cache="!hit")


IN_FRONT = "for=192.0.2.1;proto=https"


@pytest.mark.parametrize("sent", [
    f'for="x;host=evil.test, {IN_FRONT}', f"host =evil.test, {IN_FRONT}", f"for=a;proto=evil.test, {IN_FRONT}", f"for=a;proto=http;proto=evil.test, {IN_FRONT}",
    f"for=a;host=larder.test;host=evil.test, {IN_FRONT}", f'for="x;host=evil.test", {IN_FRONT}', f'for="x\\";host=evil.test, {IN_FRONT}'])
def test_what_a_client_writes_in_front_of_the_trusted_proxys_element(origin, larder, sent):
    """RFC 7239 4: the proxy appends to the client's field, and readers differ on what is malformed in it."""
    client = Client(larder(origin, config=TRUST_RFC7239))
    seen = origin.expect("GET /a").reply(200, fresh(), b"hello")
    client.get("/a", {"Forwarded": sent}).expect(200)
    assert "evil.test" not in str(list(seen.request.headers))
    assert seen.request.header("Forwarded").endswith(", for=127.0.0.1;proto=http;host=larder.test")


def test_a_line_with_an_open_quote_does_not_take_the_next_with_it(origin, larder):
    client = Client(larder(origin, config=TRUST_RFC7239))
    seen = origin.expect("GET /a").reply(200, fresh(), b"hello")
    client.get("/a", [("Forwarded", 'for="x;host=evil.test'), ("Forwarded", IN_FRONT)]).expect(200)
    assert seen.request.header("Forwarded") == "for=unknown, for=192.0.2.1, for=127.0.0.1;proto=http;host=larder.test"


@pytest.mark.parametrize("name", ["api_key", "X_Request_Id", "_"])
def test_other_names_with_an_underscore_pass(origin, client, name):
    """Only those that some applications take for a field that decides what is answered are removed."""
    origin.expect("GET /a", {name: "1"}).reply(200, fresh(), b"hello")
    client.get("/a", {name: "1"}).expect(200)
    client.get("/a").expect(200, body=b"hello", cache="hit")


@pytest.mark.parametrize("named, sent", [("X-Tenant-Id", "X_Tenant_Id"), ("X-Tenant-Id", "x-tenant_ID"), ("x_tenant_id", "X-Tenant-Id")])
def test_what_an_application_may_take_for_a_field_that_selects(origin, client, named, sent):
    """RFC 9111 4.1: an answer that may have been chosen by the other field is nobody else's, and such a request gets no variant of others."""
    origin.expect("GET /a", {sent: "evil"}).reply(200, fresh(Vary=named), b"for evil")
    client.get("/a", {sent: "evil"}).expect(200, body=b"for evil", cache="!stored; detail=vary-twin")
    origin.expect("GET /a").reply(200, fresh(Vary=named), b"for all")
    client.get("/a").expect(200, body=b"for all", cache="fwd=uri-miss; stored")
    origin.expect("GET /a", {sent: "evil"}).reply(200, fresh(Vary=named), b"for evil")
    client.get("/a", {sent: "evil"}).expect(200, body=b"for evil", cache="fwd=vary-miss; !stored")
    client.get("/a").expect(200, body=b"for all", cache="hit")


@pytest.mark.parametrize("name, written", [("X-Forwarded-Host", "larder.test"), ("X-Forwarded-Proto", "http"), ("X-Forwarded-For", "127.0.0.1")])
def test_fields_that_larder_writes_itself(origin, client, name, written):
    origin.expect("GET /a", {name: written}).reply(200, fresh())
    client.get("/a", {name: "evil.test"}).expect(200)


# --- what a trusted proxy says of the scheme ------------------------------------------------------------------------------------------

HTTPS = {"X-Forwarded-Proto": "https"}


def redirecting(origin):
    """As applications do that want to be asked by https."""
    origin.expect("GET /a", {"X-Forwarded-Proto": "http"}).reply(301, fresh(Location="https://larder.test/a"))
    origin.expect("GET /a", HTTPS).reply(200, fresh(), b"secure")


def test_http_and_https_are_two_resources(origin, larder):
    """RFC 9110 4.2.2: else a redirect to https would be what https gets, without end."""
    client = Client(larder(origin, config=TRUST))
    redirecting(origin)
    for _ in range(2):
        client.get("/a").expect(301)
        client.get("/a", HTTPS).expect(200, body=b"secure")
    client.get("/a").expect(301, cache="hit")
    client.get("/a", HTTPS).expect(200, body=b"secure", cache="hit")


def test_what_says_https_by_rfc7239(origin, larder):
    client = Client(larder(origin, config=TRUST_RFC7239))
    origin.expect("GET /a").reply(301, fresh(Location="https://larder.test/a"))
    client.get("/a", HTTPS).expect(301)
    origin.expect("GET /a").reply(200, fresh(), b"secure")
    client.get("/a", {"Forwarded": "for=192.0.2.1;proto=https"}).expect(200, body=b"secure", cache="!hit")
    client.get("/a").expect(301, cache="hit")


def test_an_absolute_target_behind_a_trusted_proxy(origin, larder):
    """It names the scheme of the connection; the key has the client's."""
    client = Client(larder(origin, config=TRUST))
    redirecting(origin)
    client.get("http://larder.test/a").expect(301)
    client.get("http://larder.test/a", HTTPS).expect(200, body=b"secure")
    client.get("/a", HTTPS).expect(200, body=b"secure", cache="hit")


def test_without_trust_https_is_only_a_word(origin, client):
    origin.expect("GET /a", {"X-Forwarded-Proto": "http"}).reply(200, fresh(), b"hello")
    client.get("/a", HTTPS).expect(200, body=b"hello")
    client.get("/a").expect(200, body=b"hello", cache="hit")


@pytest.mark.parametrize("style, said", [("x-forwarded", HTTPS | {"X-Forwarded-For": "192.0.2.1"}), ("forwarded", {"Forwarded": "for=192.0.2.1;proto=https"})])
def test_trust_is_in_whom_the_list_has(origin, larder, tmp_path, style, said):
    """From anybody else the fields are what strangers write into them: key, origin, limits and PURGE know the connection only."""
    proxy = larder(origin, listen=["127.0.0.1:0", f"unix:{tmp_path}/l.sock"], config=f"""[server]
trust_forwarded = ["127.0.0.2/31", "unix"]
forwarded = "{style}"
[[site]]
purge_from = ["127.0.0.1", "127.0.0.3"]
""")
    stranger, front, beside = Client(proxy), Client(proxy, source="127.0.0.3"), Client(proxy, address=f"{tmp_path}/l.sock")
    seen = origin.expect("GET /a").reply(200, fresh(), b"secure")
    front.get("/a", said).expect(200, body=b"secure")
    assert "192.0.2.1" in str(list(seen.request.headers))
    beside.get("/a", said).expect(200, cache="hit")
    seen = origin.expect("GET /a").reply(200, fresh(), b"plain")
    stranger.get("/a", said).expect(200, body=b"plain")
    assert "192.0.2.1" not in str(list(seen.request.headers)) and "https" not in str(list(seen.request.headers))
    front.get("/a").expect(200, body=b"plain", cache="hit")
    front.request("PURGE", "/a", said).expect(403)
    stranger.request("PURGE", "/a", said).expect(200)


def test_two_lines_of_such_a_field(origin, client):
    origin.expect("GET /a", {"X-Original-URL": None}).reply(200, fresh())
    client.get("/a", [("X-Original-URL", "/admin"), ("X-A", "1"), ("X-Original-URL", "/admin")]).expect(200)


def test_method_overrides_of_forms_are_the_applications(origin, client):
    """A POST is answered from no cache, and applications do this to say DELETE."""
    origin.expect("POST /a", {"X-HTTP-Method-Override": "DELETE"}).reply(204)
    client.post("/a", b"x", {"X-HTTP-Method-Override": "DELETE"}).expect(204)


def test_a_field_that_a_rule_lets_through_goes_past_the_cache(origin, larder):
    client = Client(larder(origin, config=rule('pass_request_fields = ["X-Original-URL"]')))
    origin.expect("GET /a", {"X-Original-URL": "/b", "X-Host": None}).reply(200, fresh(), b"b")
    client.get("/a", {"X-Original-URL": "/b", "X-Host": "evil.test"}).expect(200, body=b"b", cache="!stored; detail=unkeyed-field")
    origin.expect("GET /a").reply(200, fresh(), b"a")
    client.get("/a").expect(200, body=b"a")
    origin.expect("GET /a", {"X-Original-URL": "/c"}).reply(200, fresh(), b"c")
    client.get("/a", {"X-Original-URL": "/c"}).expect(200, body=b"c", cache="!hit")


def test_a_hop_by_hop_field_hides_nothing(origin, client):
    """What Connection cannot take away: who is asking, and for what."""
    for name, value in {"Cookie": "a=b", "Authorization": "Basic eA==", "Host": "larder.test", "Range": "bytes=0-1", "If-Match": '"x"'}.items():
        origin.expect("GET /a", {name: value}).reply(200, {"Cache-Control": "no-store"})
        client.get("/a", {name: value, "Connection": name} if name != "Host" else {"Connection": name}).expect(200)


# --- errors that were made to be stored ---------------------------------------------------------------------------------------------

ODD = {
    "a long field": {"X-Long": "x" * 5000},
    "many fields": [(f"X-{number}", "1") for number in range(100)],
    "bytes beyond ASCII": {"X-Name": "gr\xfc\xdfe"},
    "a tab": {"X-Name": "a\tb"},
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("status", [400, 403, 404, 413, 431, 500, 501])
def test_errors_to_odd_requests_are_not_stored(origin, client, name, status):
    """The next client gets the resource, not the refusal of the one before."""
    origin.expect("GET /a").reply(status, fresh(), b"refused")
    client.get("/a", ODD[name]).expect(status, cache="!stored; detail=odd-request")
    origin.expect("GET /a").reply(200, fresh(), b"good")
    client.get("/a").expect(200, body=b"good", cache="stored")


@pytest.mark.parametrize("name", ODD)
def test_good_answers_to_odd_requests_are_stored(origin, client, name):
    origin.expect("GET /a").reply(200, fresh(), b"good")
    client.get("/a", ODD[name]).expect(200, cache="stored")
    client.get("/a").expect(200, cache="hit")


def test_errors_to_ordinary_requests_are_stored(origin, client):
    origin.expect("GET /a").reply(404, fresh())
    client.get("/a").expect(404, cache="stored")
    client.get("/a", ODD["a long field"]).expect(404, cache="hit")


# --- bodies of GET and HEAD ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("chunked", [False, True])
def test_content_of_get_is_in_no_key(origin, client, method, chunked):
    origin.expect(f"{method} /a", body=b"evil").reply(200, fresh(), b"" if method == "HEAD" else b"for evil")
    client.request(method, "/a", body=[b"evil"] if chunked else b"evil", chunked=chunked).expect(200, cache="!stored; detail=body-on-get")
    origin.expect("GET /a").reply(200, fresh(), b"good")
    client.get("/a").expect(200, body=b"good", cache="!hit")
    origin.expect(f"{method} /a", body=b"evil").reply(200, fresh())
    client.request(method, "/a", body=b"evil").expect(200, cache="!hit")


# --- the sentinel -------------------------------------------------------------------------------------------------------------------

PAGE = {"Content-Type": "text/html; charset=utf-8"}


@pytest.mark.parametrize("path", ["/account/x.css", "/account;x.js", "/account%2Fx.PNG", "/account/.ico"])
def test_deceptive_paths(origin, larder, path):
    """Web cache deception: a rule for everything that looks static, and an application that answers its page for such a path too."""
    client = Client(larder(origin, config=rule('default_ttl = "1h"')))
    origin.on("GET /*", always(200, PAGE, b"private"))
    for _ in range(2):
        client.get(path).expect(200, cache="!stored; !hit; detail=type-contradicts")
    client.get("/account/x.html").expect(200, cache="stored")


def test_what_the_origin_declares_fresh_is_stored_whatever_its_name(origin, client):
    """A lifetime of its own is the origin's word for this URL."""
    origin.expect("GET /page.js").reply(200, {**fresh(), **PAGE})
    client.get("/page.js").expect(200, cache="stored")


def test_a_rule_judges_all_types_or_none(origin, larder):
    client = Client(larder(origin, config=rule("sentinel = true")))
    origin.expect("GET /a.css").reply(200, {**fresh(), **PAGE})
    client.get("/a.css").expect(200, cache='!stored; detail=type-contradicts')
    origin.expect("GET /b.css").reply(200, fresh(Content_Type="text/css"))
    client.get("/b.css").expect(200, cache="stored")
    client = Client(larder(origin, config=rule("sentinel = false", 'default_ttl = "1h"')))
    origin.expect("GET /c.css").reply(200, PAGE)
    client.get("/c.css").expect(200, cache="stored")


def test_echoes_are_not_stored(origin, larder):
    client = Client(larder(origin, config=rule("sentinel = true")))
    origin.expect("GET /a").reply(200, fresh(Link="<https://evil.example/a.js>; rel=preload"))
    client.get("/a", {"X-Cdn-Host": "evil.example"}).expect(200, cache="!stored; detail=echo")
    origin.expect("GET /b").reply(200, fresh(Vary="X-Cdn-Host", Link="<https://good.example/a.js>; rel=preload"))
    client.get("/b", {"X-Cdn-Host": "good.example"}).expect(200, cache="stored")
