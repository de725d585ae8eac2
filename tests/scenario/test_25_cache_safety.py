"""What one client sends never becomes what others get: unkeyed fields, odd requests, deceptive paths, bodies of GET."""

import pytest
from support.client import Client
from support.say import always, fresh

REFLECTED = ["X-Original-URL", "X-Original-URI", "X-Rewrite-URL", "X-Original-Host", "X-Host", "X-HTTP-Host-Override", "X-Backend-Host",
             "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "Proxy", "X-Forwarded-Server", "X-Forwarded-Port",
             "X-Forwarded-Scheme", "X-Forwarded-Prefix", "X-Forwarded-Ssl", "Forwarded", "x-oRIGINAL-uRL", "Front-End-Https", "X-Middleware-Subrequest",
             "X_Original_URL", "x_http-METHOD_override", "X_Forwarded_Host", "X-Forwarded_For", "x_forwarded-proto", "Accept_Language",
             "ACCEPT_ENCODING", "If_None_Match", "User_Agent", "Cache_Control", "Transfer_Encoding", "Content_Length"]


def rule(*lines):
    return '[[site]]\n[[site.rule]]\nname = "r"\n' + "".join(line + "\n" for line in lines)


# --- fields that no key holds -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", REFLECTED)
def test_reflected_fields_never_reach_the_origin(origin, client, name):
    origin.expect("GET /a", {name: None}).reply(200, fresh(), b"hello")
    client.get("/a", {name: "evil.test"}).expect(200)
    client.get("/a").expect(200, body=b"hello", cache="hit")


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

TRUST = "[server]\ntrust_forwarded = true\n"
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
    client = Client(larder(origin, config=TRUST + 'forwarded = "forwarded"\n'))
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
