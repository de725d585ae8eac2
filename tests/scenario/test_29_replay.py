"""Trying a configuration on what is remembered: /v1/facts, and `larder check --replay`."""

import json
import signal

from support.admin import Admin
from support.client import HOST, Client
from support.proxy import ROOT, run_larder
from support.say import fresh
from support.wire import wait_until

SITE = '[[site]]\norigin = "{origin}"\n'
COOKIES = SITE + '[[site.rule]]\nname = "static"\npath = "/static/*"\nstore_set_cookie = true\nstrip_query = ["v"]\n'


def facts(proxy):
    lines = Admin(proxy).get("/v1/facts").expect(200).body.decode().splitlines()
    return json.loads(lines[0]), [json.loads(line) for line in lines[1:]]


def remembered(proxy, count):
    wait_until(lambda: len(facts(proxy)[1]) == count, f"{count} facts")
    return facts(proxy)[1]


def replay(proxy, file, *flags):
    code, text, error = run_larder("check", "--replay", file, "--cache-dir", proxy.cache_dir, *flags)
    assert code == 0, error
    return text


def configuration(tmp_path, origin, text, name="new.toml"):
    file = tmp_path / name
    file.write_text(text.format(origin=origin.url), encoding="utf-8")
    return file


def test_what_would_change(larder, origin, tmp_path):
    proxy = larder(origin, config=SITE.format(origin=origin.url))
    client = Client(proxy)
    origin.on("GET /static/*", lambda exchange: exchange.reply(200, {"Cache-Control": "max-age=60", "Set-Cookie": "id=7"}, b"x" * 1000))
    origin.expect("GET /page").reply(200, fresh(), b"page")
    for number in range(4):
        client.get(f"/static/a.css?v={number}").expect(200, cache="fwd=uri-miss; !stored")
        client.get("/page").expect(200)
    remembered(proxy, 8)
    answer = json.loads(replay(proxy, configuration(tmp_path, origin, COOKIES), "--json"))
    assert answer["requests"] == 8 and answer["one_in"] == 1 and answer["unreadable"] == 0
    assert answer["before"]["hits"] == 3 and answer["before"]["origin_requests"] == 5
    assert answer["after"]["hits"] == 6 and answer["after"]["origin_requests"] == 2
    assert answer["after"]["origin_bytes"] < answer["before"]["origin_bytes"] - 3000
    changed = {(group["before"]["reason"], group["after"]["answer"], group["after"]["reason"]): group for group in answer["changed"]}
    hits = changed["set-cookie", "hit", "fresh"]
    assert hits["requests"] == 3 and hits["route"] == "/static/*" and len(hits["examples"]) == 3
    assert changed["set-cookie", "fetch", "stored-by-rule"]["requests"] == 1
    text = replay(proxy, configuration(tmp_path, origin, COOKIES))
    assert "answered from the store       37.5 %      75.0 %" in text and "fetch (set-cookie) -> hit (fresh)  default /static/*" in text


def test_examples_are_different_urls(larder, origin, tmp_path):
    proxy = larder(origin, config=SITE.format(origin=origin.url))
    client = Client(proxy)
    origin.on("GET *", lambda exchange: exchange.reply(200, {"Cache-Control": "private"}, b"x"))
    for path in ("/a", "/a", "/a", "/b"):
        client.get(path).expect(200)
    remembered(proxy, 4)
    bypass = SITE + '[[site.rule]]\nname = "all"\nbypass = true\n'
    answer = json.loads(replay(proxy, configuration(tmp_path, origin, bypass), "--json"))
    assert [(group["requests"], [url[-2:] for url in group["examples"]]) for group in answer["changed"]] == [(4, ["/a", "/b"])]


def test_the_same_changes_nothing(larder, origin, tmp_path):
    """Whatever happens: misses, hits, 304s, variants, passes, errors, followers."""
    proxy = larder(origin, config=SITE.format(origin=origin.url))
    client = Client(proxy)
    stale = {"Cache-Control": "max-age=60", "Age": "90", "ETag": '"1"'}
    origin.expect("GET /stale").reply(200, stale, b"hello")
    client.get("/stale").expect(200)
    origin.expect("GET /stale", {"If-None-Match": '"1"'}).reply(304, {**stale, "Age": "0"})
    client.get("/stale").expect(200, cache="fwd=stale; fwd-status=304")
    client.get("/stale").expect(200, cache="hit")
    origin.on("GET /vary", lambda exchange: exchange.reply(200, fresh(Vary="User-Agent, Cookie"), b"v"))
    for agent in ("a", "b", "a"):
        client.get("/vary", {"User-Agent": agent, "Cookie": "secret"}).expect(200)
    origin.on("POST /form", lambda exchange: exchange.reply(200, {}, b"done"))
    client.request("POST", "/form", body=b"1").expect(200)
    origin.on("GET /private", lambda exchange: exchange.reply(200, {"Cache-Control": "private"}, b"p"))
    client.get("/private").expect(200)
    client.get("/private", {"Authorization": "Basic c2VjcmV0"}).expect(200)
    gate = origin.gate()
    origin.expect("GET /slow").reply(200, fresh(), b"s", hold=gate)
    followers = [Client(proxy) for _ in range(3)]
    for follower in followers:
        follower.send("GET", "/slow")
    gate.wait_reached()
    gate.open()
    for follower in followers:
        follower.read_response().expect(200, body=b"s")
    remembered(proxy, 12)
    assert "no answer changes" in replay(proxy, configuration(tmp_path, origin, SITE))


def test_what_is_not_kept(proxy, origin, client):
    origin.expect("GET /a?token=secret&x").reply(200, fresh(**{"Set-Cookie": "id=secret", "Vary": "X-Key", "ETag": '"secret"'}), b"a")
    client.get("/a?token=secret&x", {"Cookie": "a=secret", "Authorization": "Bearer secret", "X-Key": "secret", "X-Other": "secret"}).expect(200)
    fact = remembered(proxy, 1)[0]
    assert "secret" not in json.dumps(fact)
    names = {field.split(":")[0].lower() for field in fact["fields"]}
    assert {"cookie", "authorization", "x-key"} <= names and "x-other" not in names
    assert fact["url"].startswith(f"http://{HOST}/a?token=") and fact["url"].endswith("&x")
    assert "Set-Cookie: x" in fact["response"]["fields"]


def test_opting_out(larder, origin):
    proxy = larder(origin, config='[server]\nfacts = "0"\n' + SITE.format(origin=origin.url))
    origin.expect("GET /a").reply(200, fresh(), b"a")
    Client(proxy).get("/a").expect(200)
    wait_until(lambda: Admin(proxy).status()["requests"]["total"] == 1, "the request to end")
    assert facts(proxy)[1] == []


def test_the_configuration_in_force_counts_not_the_file(larder, origin, tmp_path):
    """A file that was changed and not loaded yet can be tried against what runs."""
    proxy = larder(origin, config=SITE.format(origin=origin.url))
    origin.on("GET /static/*", lambda exchange: exchange.reply(200, {"Cache-Control": "max-age=60", "Set-Cookie": "id=7"}, b"x"))
    client = Client(proxy)
    for _ in range(2):
        client.get("/static/a").expect(200)
    remembered(proxy, 2)
    file = proxy.directory / "larder.toml"
    file.write_text(COOKIES.format(origin=origin.url), encoding="utf-8")
    assert json.loads(replay(proxy, file, "--json", "-c", file))["after"]["hits"] == 1
    proxy.process.send_signal(signal.SIGHUP)
    proxy.wait_logged("configuration reloaded")
    assert json.loads(replay(proxy, file, "--json", "-c", file))["before"]["hits"] == 1  # what was remembered goes on


def test_a_wrong_file(larder, origin, tmp_path):
    proxy = larder(origin)
    file = configuration(tmp_path, origin, '[[site]]\norigin = "{origin}"\nrules = 1\n')
    code, _, error = run_larder("check", "--replay", file, "--cache-dir", proxy.cache_dir)
    assert code == 2 and "rules" in error
    code, _, error = run_larder("check", "--replay", configuration(tmp_path, origin, SITE), "--cache-dir", tmp_path / "none")
    assert code == 2 and "no larder answers" in error


def test_answers_are_as_described(proxy, origin, client):
    schemas = json.loads((ROOT / "proxy" / "admin" / "openapi.json").read_text(encoding="utf-8"))["components"]["schemas"]
    origin.expect("GET /a").reply(200, fresh(), b"a")
    client.get("/a").expect(200)
    fact = remembered(proxy, 1)[0]
    head = facts(proxy)[0]
    assert set(schemas["Facts"]["required"]) == set(head)
    assert set(schemas["Facts"]["properties"]["config"]["required"]) == set(head["config"])
    assert set(schemas["Fact"]["required"]) == set(fact) - {"response"}
    assert set(schemas["Fact"]["properties"]["response"]["required"]) == set(fact["response"])
