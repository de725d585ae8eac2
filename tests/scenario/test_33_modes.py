"""How a site is run: offline, from what is stored alone; recording, for offline; switched while larder runs."""

import json
import random
import signal

import pytest
from support import why
from support.admin import Admin
from support.client import HOST, Client
from support.damage import damage
from support.proxy import run_larder
from support.say import always
from support.wire import wait_until

JSON = {"Content-Type": "application/json"}
FRESH = {"Cache-Control": "max-age=60"}
WORKERS = ["--workers", "4"]


def order(proxy, mode, site="default"):
    body = json.dumps({"site": site, "mode": mode}).encode()
    return json.loads(Admin(proxy).post("/v1/mode", body, JSON).expect(200).body)["modes"]


def modes(proxy):
    return {row["site"] + row["path"]: row["mode"] for row in json.loads(Admin(proxy).get("/v1/modes").expect(200).body)["modes"]}


def offline_miss(response):
    response.expect(504, headers={"Proxy-Status": "larder; error=destination_unavailable"}, cache="!hit; !fwd; detail=offline-miss")


# --- offline ------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("fields", [
    {"Cache-Control": "max-age=60", "Age": "3600"},
    {"Cache-Control": "max-age=60, must-revalidate", "Age": "3600"},
    {"Cache-Control": "s-maxage=60", "Age": "3600"},
    {"Cache-Control": "no-cache"},
    {"Cache-Control": "max-age=60, stale-while-revalidate=9999", "Age": "100"},
    {"Last-Modified": "Sat, 01 Jan 2000 00:00:00 GMT", "Age": "900000000"},
])
def test_whatever_its_age_is_served(origin, larder, fields):
    proxy = larder(origin)
    client = Client(proxy)
    origin.expect("GET /a").reply(200, {"ETag": '"1"', **fields}, b"hello")
    client.get("/a").expect(200)
    order(proxy, "offline")
    client.get("/a").expect(200, body=b"hello", cache="hit; detail=offline")
    client.get("/a", {"Cookie": "a=b", "Cache-Control": "no-cache"}).expect(200, body=b"hello", cache="hit; detail=offline")
    client.get("/a", {"If-None-Match": '"1"'}).expect(304, cache="hit")
    client.head("/a").expect(200, cache="hit")
    client.get("/a", {"Range": "bytes=1-2"}).expect(206, body=b"el")


def test_fresh_is_fresh(proxy, origin, client):
    origin.expect("GET /a").reply(200, FRESH, b"hello")
    client.get("/a").expect(200)
    order(proxy, "offline")
    client.get("/a").expect(200, body=b"hello", cache="hit; detail=fresh")


def test_a_miss_is_504_and_nothing_goes_out(proxy, origin, client):
    order(proxy, "offline")
    for method in ("GET", "HEAD", "OPTIONS"):
        offline_miss(client.request(method, "/a"))
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        offline_miss(client.request(method, "/a", body=b"x"))
    offline_miss(client.get("/a", {"If-Match": '"1"'}))
    offline_miss(client.get("/a", {"Upgrade": "websocket", "Connection": "upgrade"}))
    offline_miss(client.get("/a", {"Cache-Control": "only-if-cached"}))
    assert origin.count() == 0


def test_vary_selects_as_ever(proxy, origin, client):
    """RFC 9111 4.1: what another request selects is never served."""
    origin.expect("GET /a").reply(200, {"Vary": "Accept-Language", "Cache-Control": "no-cache", "ETag": '"1"'}, b"hallo")
    client.get("/a", {"Accept-Language": "de"}).expect(200)
    order(proxy, "offline")
    client.get("/a", {"Accept-Language": "de"}).expect(200, body=b"hallo", cache="hit")
    offline_miss(client.get("/a", {"Accept-Language": "en"}))


def test_a_part_serves_what_it_holds(proxy, origin, client):
    origin.expect("GET /a").reply(206, {**FRESH, "ETag": '"1"', "Content-Range": "bytes 0-4/10"}, b"01234")
    client.get("/a", {"Range": "bytes=0-4"}).expect(206)
    order(proxy, "offline")
    client.get("/a", {"Range": "bytes=1-3"}).expect(206, body=b"123", cache="hit")
    offline_miss(client.get("/a"))
    offline_miss(client.get("/a", {"Range": "bytes=3-7"}))


def test_what_was_purged_is_gone(proxy, origin, client):
    origin.expect("GET /a").reply(200, FRESH, b"hello")
    origin.expect("GET /b").reply(200, {**FRESH, "ETag": '"1"'}, b"hello")
    client.get("/a").expect(200)
    client.get("/b").expect(200)
    order(proxy, "offline")
    for url, soft in ((f"http://{HOST}/a", False), (f"http://{HOST}/b", True)):
        Admin(proxy).post("/v1/purge", json.dumps({"urls": url, "soft": soft}).encode(), JSON).expect(200)
    offline_miss(client.get("/a"))
    client.get("/b").expect(200, body=b"hello", cache="hit; detail=offline")


def test_a_bypassed_path_is_looked_up(larder, origin):
    proxy = larder(origin, config='[[site]]\nmode = "record"\n[[site.rule]]\nname = "all"\nbypass = true\n')
    client = Client(proxy)
    origin.expect("GET /a").reply(200, FRESH, b"hello")
    client.get("/a", {"If-None-Match": '"1"', "Range": "bytes=0-1"}).expect(206, body=b"he")  # asked for as a whole
    assert origin.last.header("If-None-Match") is None and origin.last.header("Range") is None
    order(proxy, "offline")
    client.get("/a").expect(200, body=b"hello", cache="hit; detail=replayed")


def test_who_waits_for_a_connection_gets_504(larder, origin):
    """What has not reached the origin when the site goes offline does not reach it later."""
    proxy = larder(origin, flags=["--workers", "1"], config="[server.limits]\norigin_connections = 1\n[server.timeouts]\norigin_queue = \"60s\"\n")
    first, second = Client(proxy), Client(proxy)
    gate = origin.gate()
    origin.expect("GET /a").reply(200, FRESH, b"hello", hold=gate)
    first.send("GET", "/a")
    gate.wait_reached()
    second.send("GET", "/b")
    wait_until(lambda: Admin(proxy).metrics()["larder_requests_in_flight"] == 2, "the second to wait in line")
    order(proxy, "offline")
    gate.open()
    first.read_response().expect(200, body=b"hello")  # what runs is finished
    second.read_response().expect(504, headers={"Proxy-Status": "larder; error=destination_unavailable"})
    assert origin.count() == 1


def test_health_checks_pause(larder, origins):
    """Those of another site go on meanwhile."""
    both = [origins(), origins()]
    for one in both:
        one.on("GET /health", always(200, {}, b""))
    proxy = larder(config="".join(f'[[site]]\nhosts = "{name}.test"\norigin = "{one.url}"\n[site.health_check]\npath = "/health"\ninterval = "10ms"\n'
                                  for name, one in zip("ab", both)))
    both[0].wait_count(2, "/health")
    order(proxy, "offline", site="a.test")
    asked = [one.count("/health") for one in both]  # one more may have been on its way
    both[1].wait_count(asked[1] + 6, "/health")
    assert both[0].count("/health") <= asked[0] + 1
    order(proxy, "normal", site="a.test")
    both[0].wait_count(asked[0] + 3, "/health")


# --- record -------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("status, fields, asked", [
    (200, {"Cache-Control": "no-store"}, {}),
    (200, {"Cache-Control": "private, max-age=60"}, {}),
    (200, {"Cache-Control": "max-age=60", "Set-Cookie": "id=7"}, {}),
    (200, {"Cache-Control": "max-age=60"}, {"Authorization": "Basic eA=="}),
    (200, {}, {"Cookie": "id=7"}),
    (200, {"Cache-Control": "max-age=60", "Vary": "*"}, {}),
    (200, {}, {}),
    (404, {"Cache-Control": "no-store"}, {}),
    (302, {"Location": "/b", "Cache-Control": "no-store"}, {}),
    (500, {}, {}),
    (503, {"Cache-Control": "no-store", "Retry-After": "1"}, {}),
])
def test_what_is_not_for_a_cache_is_replayed(larder, origin, status, fields, asked):
    proxy = larder(origin, config='[[site]]\nmode = "record"\n')
    client = Client(proxy)
    for body in (b"first", b"second"):  # nothing of it is reused while the origin is there
        origin.expect("GET /a").reply(status, fields, body)
        client.get("/a", asked).expect(status, body=body, cache="fwd=uri-miss; stored; detail=recorded")
    order(proxy, "normal")
    origin.expect("GET /a").reply(status, fields, b"third")
    client.get("/a", asked).expect(status, body=b"third", cache="fwd=uri-miss; !stored; !hit")
    order(proxy, "offline")
    replayed = client.get("/a").expect(status, body=b"second", cache="hit; detail=replayed")
    for name, value in fields.items():
        assert replayed.header(name) == value
    proxy.restart()  # recordings are on the disk; the mode was an order
    assert modes(proxy) == {"default/": "record"}
    order(proxy, "offline")
    Client(proxy).get("/a").expect(status, body=b"second", cache="hit; detail=replayed")


def test_what_may_be_stored_is_stored(larder, origin):
    proxy = larder(origin, config='[[site]]\nmode = "record"\n[[site.rule]]\nname = "often"\nmin_uses = 3\n')
    client = Client(proxy)
    origin.expect("GET /a").reply(200, FRESH, b"hello")
    client.get("/a").expect(200, cache="fwd=uri-miss; stored; detail=stored")
    client.get("/a").expect(200, body=b"hello", cache="hit; detail=fresh")


def test_the_newer_of_the_two_is_served(larder, origin):
    proxy = larder(origin, config='[[site]]\nmode = "record"\n')
    client = Client(proxy)
    origin.expect("GET /a").reply(200, {"Cache-Control": "max-age=60", "Age": "60", "ETag": '"1"'}, b"stored")
    client.get("/a").expect(200, cache="stored; detail=stored")
    origin.expect("GET /a").reply(200, {"Cache-Control": "private"}, b"recorded")
    client.get("/a").expect(200, cache="stored; detail=recorded")
    order(proxy, "offline")
    client.get("/a").expect(200, body=b"recorded", cache="detail=replayed")
    order(proxy, "record")
    origin.expect("GET /a").reply(200, {"Cache-Control": "max-age=60", "ETag": '"2"'}, b"newest")
    client.get("/a").expect(200, body=b"newest")
    order(proxy, "offline")
    client.get("/a").expect(200, body=b"newest", cache="hit; detail=fresh")


@pytest.mark.parametrize("first, second, found", [
    ("max-age=60", "private", "hit; detail=offline"),  # what was recorded last cannot be read
    ("private", "max-age=60", "hit; detail=replayed"),  # what was stored last
])
def test_the_other_of_the_two_is_served_where_one_cannot_be_read(larder, origin, first, second, found):
    proxy = larder(origin, config='[[site]]\nmode = "record"\n')
    bodies = [random.Random(seed).randbytes(100_000) for seed in (1, 2)]
    client = Client(proxy)
    for cache_control, body in zip((first, second), bodies):
        origin.expect("GET /a").reply(200, {"Cache-Control": cache_control, "Age": "60"}, body)
        client.get("/a").expect(200, body=body)
    client.close()
    proxy.stop()
    damage(proxy.cache_dir, bodies[1][50_000:50_064])
    proxy.start()
    order(proxy, "offline")
    client = Client(proxy)
    for _ in range(2):
        client.get("/a", {"Range": "bytes=50000-50099"}).expect(206, body=bodies[0][50_000:50_100], cache=found)
    client.close()
    proxy.stop()
    damage(proxy.cache_dir, bodies[0][50_000:50_064])
    proxy.start()
    order(proxy, "offline")
    offline_miss(Client(proxy).get("/a", {"Range": "bytes=50000-50099"}))


def test_vary_selects_recordings(larder, origin):
    proxy = larder(origin, config='[[site]]\nmode = "record"\n')
    client = Client(proxy)
    for language in ("de", "en"):
        origin.expect("GET /a").reply(200, {"Cache-Control": "private", "Vary": "Accept-Language"}, language.encode())
        client.get("/a", {"Accept-Language": language}).expect(200)
    order(proxy, "offline")
    for language in ("de", "en"):
        client.get("/a", {"Accept-Language": language}).expect(200, body=language.encode(), cache="detail=replayed")
    offline_miss(client.get("/a", {"Accept-Language": "fr"}))


@pytest.mark.parametrize("vary", [None, "*"])
def test_what_a_trusted_proxy_says_selects_recordings(larder, origin, vary):
    """trust_forwarded_fields: as if each response named them in Vary, also behind Vary: *, which else selects nothing."""
    proxy = larder(origin, config='[server]\ntrust_forwarded = true\ntrust_forwarded_fields = ["X-Forwarded-Prefix"]\n'
                                  '[[site]]\nmode = "record"\n')
    client = Client(proxy)
    for prefix in ("/shop", "/other"):
        fields = {"Cache-Control": "private", **({"Vary": vary} if vary else {})}
        origin.expect("GET /a").reply(200, fields, prefix.encode())
        client.get("/a", {"X-Forwarded-Prefix": prefix}).expect(200)
    order(proxy, "offline")
    for prefix in ("/shop", "/other"):
        client.get("/a", {"X-Forwarded-Prefix": prefix}).expect(200, body=prefix.encode(), cache="hit; detail=replayed")
    offline_miss(client.get("/a", {"X-Forwarded-Prefix": "/third"}))


def test_nobody_follows_a_recording(larder, origin):
    """Two at a time: each gets what the origin said to him."""
    proxy = larder(origin, flags=WORKERS, config='[[site]]\nmode = "record"\n')
    one, other = Client(proxy), Client(proxy)
    gate = origin.gate()
    origin.expect("GET /a").reply(200, {"Cache-Control": "private"}, b"one", hold=gate)
    one.send("GET", "/a")
    gate.wait_reached()
    other.send("GET", "/a")
    wait_until(lambda: Admin(proxy).metrics()["larder_requests_in_flight"] == 2, "both to wait")
    origin.expect("GET /a").reply(200, {"Cache-Control": "private"}, b"other")
    gate.open()
    assert {one.read_response().body, other.read_response().body} == {b"one", b"other"}


@pytest.mark.parametrize("request_fields, status, fields", [
    ({"If-Match": '"1"'}, 412, {}),
    ({}, 200, {"Cache-Control": "private", "Vary": "X-Forwarded-For"}),
])
def test_what_cannot_be_found_again_is_not_recorded(larder, origin, request_fields, status, fields):
    proxy = larder(origin, config='[[site]]\nmode = "record"\n')
    client = Client(proxy)
    origin.expect("GET /a").reply(status, fields, b"x")
    client.get("/a", request_fields).expect(status, cache="!stored")
    order(proxy, "offline")
    offline_miss(client.get("/a"))


def test_other_sites_are_left_alone(larder, origin):
    proxy = larder(config=f'[[site]]\norigin = "{origin.url}"\n[[site]]\nhosts = "a.test"\norigin = "{origin.url}"\nmode = "record"\n')
    client = Client(proxy)
    for host, recorded in (("a.test", True), ("b.test", False)):
        origin.expect("GET /a").reply(200, {"Cache-Control": "no-store"}, b"x")
        client.get("/a", host=host).expect(200, cache="detail=recorded" if recorded else "!stored; detail=no-store")


def test_recordings_are_purged_by_the_same_names(larder, origin):
    proxy = larder(origin, config='[[site]]\nmode = "record"\n')
    client = Client(proxy)
    url = f"http://{HOST}/img/a.png"
    for what in ({"urls": url}, {"prefixes": f"http://{HOST}/img/"}, {"globs": "http://*/img/*.png"}, {"tags": "t"}, {"sites": HOST},
                 {"everything": True}):
        order(proxy, "record")
        origin.expect("GET /img/a.png").reply(200, {"Cache-Control": "private", "Surrogate-Key": "t"}, b"x")
        client.get("/img/a.png").expect(200, cache="detail=recorded")
        order(proxy, "offline")
        client.get("/img/a.png").expect(200, cache="detail=replayed")
        Admin(proxy).post("/v1/purge", json.dumps(what).encode(), JSON).expect(200)
        offline_miss(client.get("/img/a.png"))


def test_large_and_chunked(larder, origin):
    proxy = larder(origin, config='[[site]]\nmode = "record"\n')
    client = Client(proxy)
    body = bytes(range(256)) * 4096
    origin.expect("GET /a").reply(200, {"Cache-Control": "no-store"}, body, framing="chunked")
    client.get("/a").expect(200, body=body)
    order(proxy, "offline")
    client.get("/a").expect(200, body=body, cache="detail=replayed")
    client.get("/a", {"Range": "bytes=1000000-1000009"}).expect(206, body=body[1000000:1000010])


# --- switching ----------------------------------------------------------------------------------------------------------------------

def test_in_force_on_every_worker(larder, origin):
    proxy = larder(origin, flags=WORKERS)
    clients = [Client(proxy) for _ in range(16)]
    origin.on("GET *", always(200, {"Cache-Control": "no-store"}, b"x"))
    for _ in range(5):
        order(proxy, "offline")
        for client in clients:
            offline_miss(client.get("/a"))
        order(proxy, "normal")
        for client in clients:
            client.get("/a").expect(200)


def reload(proxy, config):
    before = proxy.stderr.count("configuration reloaded")
    (proxy.directory / "larder.toml").write_text(config, encoding="utf-8")
    proxy.process.send_signal(signal.SIGHUP)
    wait_until(lambda: proxy.stderr.count("configuration reloaded") > before, "the reload")


def test_reload_and_restart(larder, origin):
    """An order holds over a reload, but not over a change of what it overrules, nor a restart."""
    def config(mode, rest=""):
        return f'[server]\nworkers = 2\n[cache]\nsize = "64MiB"\n[[site]]\norigin = "{origin.url}"\nmode = "{mode}"\n{rest}'

    proxy = larder(config=config("normal"))
    order(proxy, "offline")
    reload(proxy, config("normal", '[[site.rule]]\nname = "r"\nttl = "1s"\n'))
    assert modes(proxy) == {"default/": "offline"}
    offline_miss(Client(proxy).get("/a"))
    reload(proxy, config("record"))
    assert modes(proxy) == {"default/": "record"}
    reload(proxy, config("normal"))
    assert modes(proxy) == {"default/": "normal"}
    order(proxy, "offline")
    proxy.restart()
    assert modes(proxy) == {"default/": "normal"}


def test_the_command(larder, origin):
    sites = "".join(f'[[site]]\n{more}origin = "{origin.url}"\n' for more in ("", 'hosts = ["a.test", "b.test"]\n', 'hosts = "a.test"\npath = "/app"\n'))
    proxy = larder(config=sites)
    place = ["--cache-dir", proxy.cache_dir]
    assert run_larder("mode", *place) == (0, "default  normal\na.test  normal\na.test/app  normal\n", "")
    assert run_larder("mode", "b.test", "offline", *place) == (0, "a.test  offline, by order; configured: normal\n", "")
    code, out, _ = run_larder("mode", "a.test/app", "record", "--json", *place)
    assert code == 0 and json.loads(out)["modes"] == [{"site": "a.test", "path": "/app", "mode": "record", "configured": "normal"}]
    assert modes(proxy) == {"default/": "normal", "a.test/": "offline", "a.test/app": "record"}
    status = Admin(proxy).status()
    assert [(row["site"], row["path"], row["mode"]) for row in status["modes"]] == [("a.test", "/", "offline"), ("a.test", "/app", "record")]
    metrics = Admin(proxy).metrics()
    assert metrics['larder_site_mode{site="a.test",path="/",mode="offline"}'] == 1
    assert metrics['larder_site_mode{site="a.test",path="/",mode="normal"}'] == 0
    assert metrics['larder_site_mode{site="default",path="/",mode="normal"}'] == 1
    code, out, err = run_larder("mode", "c.test", "offline", *place)
    assert code == 2 and 'no site is called "c.test"' in err
    code, out, err = run_larder("mode", "a.test", "of", *place)
    assert code == 2 and err == 'larder: mode: expected normal, offline or record behind the site, found "of"\n'
    code, out, err = run_larder("mode", "a.test", *place)
    assert code == 2 and "expected normal, offline or record" in err


def test_refused_orders(proxy):
    admin = Admin(proxy)
    admin.post("/v1/mode", b'{"site": "default", "mode": "offline"}').expect(415)
    for body in (b"", b"[]", b"{", b'{"site": "default"}', b'{"mode": "offline"}', b'{"site": 1, "mode": "offline"}', b'{"site": "default", "mode": "off"}',
                 b'{"site": "default", "mode": "offline", "more": 1}'):
        admin.post("/v1/mode", body, JSON).expect(400)
    admin.post("/v1/mode", b'{"site": "x", "mode": "offline"}', JSON).expect(404)
    assert modes(proxy) == {"default/": "normal"}


# --- looking at it ------------------------------------------------------------------------------------------------------------------

def test_why_tells(larder, origin):
    """larder why asks the larder that runs how the site is run, and speaks as its answers do."""
    proxy = larder(origin, config='[[site]]\nmode = "record"\n')
    client = Client(proxy)
    origin.expect("GET /private").reply(200, {"Cache-Control": "private"}, b"x")
    client.get("/private").expect(200)
    supposed = why.ask(proxy, "/private", supposed=(200, {"Cache-Control": "private"}))
    assert supposed["mode"] == "record" and supposed["verdict"]["action"] == "fetch"
    assert not supposed["supposed"]["stored"] and supposed["supposed"]["recorded"]
    assert "recorded" in why.text(proxy, "/private", supposed=(200, {"Cache-Control": "private"}))
    order(proxy, "offline")
    wait_until(lambda: why.ask(proxy, "/private")["verdict"]["reason"] == "replayed", "the recording to be committed")
    told = why.ask(proxy, "/private")
    assert told["mode"] == "offline" and told["verdict"]["action"] == "hit"
    assert "mode          offline" in why.text(proxy, "/private")
    for target, method in (("/none", "GET"), ("/private", "POST")):
        told = why.ask(proxy, target, method=method)
        assert (told["verdict"]["action"], told["verdict"]["reason"], told["answer"]["status"]) == ("reply", "offline-miss", 504)
    via_admin = json.loads(Admin(proxy).get(f"/v1/why?url=http://{HOST}/private").expect(200).body)
    assert via_admin["verdict"]["reason"] == "replayed"


def test_the_store_shows_recordings(larder, origin, tmp_path):
    proxy = larder(origin, config='[[site]]\nmode = "record"\n')
    client = Client(proxy)
    origin.expect("GET /a").reply(200, {"Cache-Control": "private"}, b"secret")
    client.get("/a").expect(200)
    place = ["--cache-dir", proxy.cache_dir]
    wait_until(lambda: run_larder("store", "ls", *place)[1] != "", "it to be committed")
    assert run_larder("store", "ls", *place)[1].endswith(f"http://{HOST}/a  recorded\n")
    assert json.loads(run_larder("store", "ls", "--json", *place)[1])["recorded"] is True
    assert run_larder("store", "get", f"REC http://{HOST}/a", "--body", *place)[1] == "secret"
    assert run_larder("store", "get", f"http://{HOST}/a", *place)[0] != 0
    assert run_larder("store", "check", *place)[0] == 0
    file = tmp_path / "export"
    assert run_larder("store", "export", file, *place)[0] == 0
    assert b"secret" not in file.read_bytes()
