"""What the traffic is made of: /v1/report, /v1/urls, and `larder report`."""

import json
import signal

import pytest
from support.admin import Admin
from support.client import HOST, Client
from support.proxy import ROOT, run_larder
from support.say import fresh
from support.wire import wait_until

RULES = '[[site]]\norigin = "ORIGIN"\n[[site.rule]]\nname = "checkout"\npath = "/checkout/*"\nbypass = true\n'


def report(proxy, query=""):
    return json.loads(Admin(proxy).get("/v1/report" + query).expect(200).body)


def urls(proxy, query=""):
    return json.loads(Admin(proxy).get("/v1/urls" + query).expect(200).body)


def counted(proxy, requests):
    """The report with so many requests in it."""
    wait_until(lambda: report(proxy)["total"]["requests"] == requests, f"{requests} requests to be counted")
    return report(proxy)


def rows_of(answer):
    return {(row["site"], row["reason"], row["rule"], row["route"]): row for row in answer["rows"]}


def test_a_purge_is_no_rule(proxy, origin, client):
    """Its text in Cache-Status ends with the request, also where the miss it made has another reason in the end."""
    origin.expect("GET /a").reply(200, fresh(), b"x")
    client.get("/a").expect(200)
    Admin(proxy).post("/v1/purge", b'{"everything": true}', {"Content-Type": "application/json"}).expect(200)
    client.get("/a", {"Cache-Control": "only-if-cached"}).expect(504)
    assert {row["reason"]: row["rule"] for row in counted(proxy, 2)["rows"]}["only-if-cached"] is None


def test_what_is_lost_and_why(larder, origin):
    proxy = larder(origin, config=RULES.replace("ORIGIN", origin.url))
    client = Client(proxy)
    for number in (1, 2):
        origin.expect(f"GET /static/{number}.css").reply(200, {"Cache-Control": "max-age=60", "Set-Cookie": "id=7"}, b"x" * 5000)
        client.get(f"/static/{number}.css").expect(200)
    origin.expect("GET /page").reply(200, fresh(), b"page")
    for _ in range(3):
        client.get("/page").expect(200)
    origin.expect("POST /checkout/pay").reply(200, {}, b"paid")
    client.request("POST", "/checkout/pay", body=b"1").expect(200)
    origin.expect("GET /checkout/").reply(200, {}, b"now")
    client.get("/checkout/").expect(200)
    answer = counted(proxy, 7)
    rows = rows_of(answer)
    static = rows["default", "set-cookie", None, "/static/*"]
    assert static["requests"] == 2 and static["hits"] == 0 and 10000 < static["received_bytes"] < 11000
    assert "store_set_cookie" in static["hint"] and static == answer["rows"][0]
    assert rows["default", "uri-miss", None, "/*"]["requests"] == 1
    hits = rows["default", "fresh", None, "/*"]
    assert hits["requests"] == hits["hits"] == 2 and hits["received_bytes"] == 0
    assert rows["default", "bypass-rule", "checkout", "/checkout/*"]["requests"] == 1
    assert rows["default", "method", None, "/checkout/*"]["requests"] == 1
    assert answer["total"]["hits"] == 2 and answer["rest"]["requests"] == 0


def test_what_a_fetch_brings_after_its_client_is_counted(larder, origin):
    proxy = larder(origin)
    gate = origin.gate()
    origin.expect("GET /a/1").reply(200, fresh(60, ETag='"v1"'), [b"x" * 1000, gate, b"y" * 9000])
    client = Client(proxy)
    client.begin("GET", "/a/1").expect(200)  # its head is there: it will be stored
    gate.wait_reached()
    client.reset()
    counted(proxy, 1)
    gate.open()
    wait_until(lambda: report(proxy)["total"]["received_bytes"] > 10000, "the rest to be counted")
    rows = rows_of(report(proxy))
    assert list(rows) == [("default", "uri-miss", None, "/a/*")]
    assert rows["default", "uri-miss", None, "/a/*"]["received_bytes"] < 11000


def test_what_is_revalidated_behind_is_counted(larder, origin):
    proxy = larder(origin)
    client = Client(proxy)
    stale = {"Cache-Control": "max-age=60, stale-while-revalidate=600", "Age": "90", "ETag": '"1"'}
    origin.expect("GET /a").reply(200, stale, b"hello")
    client.get("/a").expect(200)
    origin.expect("GET /a", {"If-None-Match": '"1"'}).reply(304, {**stale, "Age": "0"})
    client.get("/a").expect(200, cache="hit")
    key = ("default", "stale-while-revalidate", None, "/*")
    wait_until(lambda: rows_of(report(proxy)).get(key, {}).get("received_bytes", 0) > 0, "the 304 to be counted")
    row = rows_of(report(proxy))[key]
    assert row["requests"] == row["hits"] == 1


def test_no_site_and_no_request(larder, origin):
    proxy = larder(origin)
    client = Client(proxy)
    client.send_raw(b"GET / HTTP/1.1\r\n\r\n")
    client.read_response().expect(400)
    rows = rows_of(counted(proxy, 1))
    assert list(rows) == [("", "bad-request", None, "")]
    assert urls(proxy)["rows"] == []


def test_a_tunnel_is_counted_with_its_request(proxy, origin, client):
    """RFC 9110 §7.8: what the 101 cost is not lost among requests without a reason."""
    def switch(connection):
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        connection.close()
    origin.expect("GET /ws").handle(switch)
    client.get("/ws", {"Connection": "Upgrade", "Upgrade": "websocket"}).expect(101)
    client.close()
    rows = counted(proxy, 1)["rows"]
    assert [(row["reason"], row["requests"]) for row in rows] == [("upgrade", 1)] and rows[0]["received_bytes"] > 60


def test_urls(proxy, origin, client):
    origin.expect("GET /a?x=1").reply(200, fresh(), b"a")
    origin.expect("GET /b").reply(200, {"Cache-Control": "no-store"}, b"b" * 3000)
    for _ in range(3):
        client.get("/a?x=1").expect(200)
    client.get("/b").expect(200)
    counted(proxy, 4)
    answer = urls(proxy)
    assert [row["url"] for row in answer["rows"]] == [f"http://{HOST}/a?x=1", f"http://{HOST}/b"]
    assert answer["rows"][0]["requests"] == 3 and answer["rows"][0]["hits"] == 2
    assert urls(proxy, "?sort=cost&limit=1")["rows"][0]["url"] == f"http://{HOST}/b"


def test_very_many_urls_are_bounded_and_none_is_lost(larder, origin):
    proxy = larder(origin, flags=["--workers", "1"])
    origin.on("GET /item/*", lambda exchange: exchange.reply(200, {"Cache-Control": "no-store"}, b"x"))
    client = Client(proxy)
    for number in range(1200):
        client.get(f"/item/{number}").expect(200)
    answer = counted(proxy, 1200)
    assert [row["route"] for row in answer["rows"]] == ["/item/*"]
    answer = urls(proxy, "?limit=4096")
    assert sum(row["requests"] for row in answer["rows"]) + answer["rest"]["requests"] == 1200


def test_it_goes_on_over_a_reload(larder, origin):
    proxy = larder(origin, config=RULES.replace("ORIGIN", origin.url))
    client = Client(proxy)
    origin.expect("GET /a").reply(200, fresh(), b"a")
    client.get("/a").expect(200)
    proxy.process.send_signal(signal.SIGHUP)
    proxy.wait_logged("configuration reloaded")
    client.get("/a").expect(200)
    assert counted(proxy, 2)["total"]["hits"] == 1


@pytest.mark.parametrize("target", ["/v1/report?since=yesterday", "/v1/report?limit=0", "/v1/urls?limit=5000", "/v1/urls?sort=name"])
def test_what_is_not_understood(proxy, target):
    assert "expected" in json.loads(Admin(proxy).get(target).expect(400).body)["error"]


def test_answers_are_as_described(proxy, origin, client):
    schemas = json.loads((ROOT / "proxy" / "admin" / "openapi.json").read_text(encoding="utf-8"))["components"]["schemas"]
    origin.expect("GET /a").reply(200, fresh(), b"a")
    client.get("/a").expect(200)
    counted(proxy, 1)
    for name, answer in (("Report", report(proxy)), ("Urls", urls(proxy))):
        assert set(schemas[name]["required"]) == set(answer)
        assert set(schemas[name]["properties"]["rows"]["items"]["required"]) == set(answer["rows"][0])
        assert set(schemas["Counts"]["required"]) == set(answer["total"]) == set(answer["rest"])


def test_the_command(larder, origin):
    proxy = larder(origin)
    client = Client(proxy)
    origin.expect("GET /static/a").reply(200, {"Cache-Control": "private"}, b"x" * 4000)
    origin.expect("GET /page").reply(200, fresh(), b"page")
    for target in ("/static/a", "/page", "/page"):
        client.get(target).expect(200)
    counted(proxy, 3)
    code, text, _ = run_larder("report", "--since", "15m", "--cache-dir", proxy.cache_dir)
    lines = text.splitlines()
    assert code == 0 and "3 requests, 33.3 % answered from the store" in lines[0]
    at = next(index for index, line in enumerate(lines) if "private" in line)
    assert lines[at].endswith("default /static/*") and "private out of the origin's Cache-Control" in lines[at + 1]
    assert not any("fresh" in line.split()[:6] for line in lines[4:])
    code, text, _ = run_larder("report", "--json", "--cache-dir", proxy.cache_dir)
    assert code == 0 and json.loads(text)["total"]["requests"] == 3
    for flags in (["--since", "soon"], ["--limit", "0"]):
        code, _, error = run_larder("report", *flags, "--cache-dir", proxy.cache_dir)
        assert code == 2 and flags[0] in error


@pytest.mark.slow
def test_a_larder_that_hangs(proxy):
    """The kernel takes the connection: without a limit the command would wait for as long as it hangs."""
    proxy.process.send_signal(signal.SIGSTOP)
    code, out, error = run_larder("report", "--cache-dir", proxy.cache_dir)
    proxy.process.send_signal(signal.SIGCONT)
    assert (code, out) == (2, "")
    assert error == f"larder: larder listens at unix:{proxy.cache_dir}/admin.sock, and has not answered for 10 s: it hangs, or was stopped\n"
