"""Purging as operators do it: orders to the administration, larder's own commands, PURGE requests."""

import json
import threading

import pytest
from support.admin import Admin, admin_addresses
from support.client import HOST, Client
from support.parallel import in_parallel
from support.proxy import run_larder
from support.say import always, fresh
from support.wire import wait_until

BASE = f"http://{HOST}"
JSON = {"Content-Type": "application/json"}
WORKERS = ["--workers", "4"]
TRUSTING = "[server]\ntrust_forwarded = true\n"
SITES = '[[site]]\nhosts = ["a.test", "*.a.test"]\norigin = "ORIGIN"\n[[site]]\norigin = "ORIGIN"\n'


def order(proxy, **what):
    """Purges; the sequence of the last row."""
    admin = Admin(proxy)
    answer = admin.post("/v1/purge", json.dumps(what).encode(), JSON).expect(200)
    admin.close()
    return json.loads(answer.body)["sequence"]


def journal(proxy, query=""):
    return json.loads(Admin(proxy).get("/v1/purges" + query).expect(200).body)["purges"]


def clients_of(proxy, host=HOST, count=8):
    """So many connections that every worker has some."""
    return [Client(proxy, host=host) for _ in range(count)]


def fill(origin, client, target, body=b"old", host=None, **fields):
    origin.expect(f"GET {target}").reply(200, fresh(**{"ETag": '"1"', **fields}), body)
    client.get(target, host=host).expect(200, body=body, cache="fwd=uri-miss; stored")


# --- every kind ---------------------------------------------------------------------------------------------------------------------

KINDS = {
    "a URL": {"urls": f"{BASE}/img/a.png?x=1"},
    "a URL, another spelling": {"urls": [f"http://{HOST.upper()}:80/%69mg/./a.png?x=1"]},
    "a URL as it is called where TLS ends": {"urls": f"https://{HOST}:443/img/a.png?x=1"},
    "a prefix": {"prefixes": f"{BASE}/img/"},
    "a prefix where TLS ends": {"prefixes": f"https://{HOST}/img/"},
    "a glob where TLS ends": {"globs": f"HTTPS://{HOST}/*.png?*"},
    "a glob": {"globs": f"http://{HOST.upper()}/*.png?*"},
    "a tag": {"tags": ["none", "two"]},
    "a host": {"sites": HOST},
    "hosts below": {"sites": "*." + HOST.split(".", 1)[1]},
    "the only site": {"sites": "default"},
    "everything": {"everything": True},
}
OTHERS = {
    "a URL": {"urls": f"{BASE}/img/a.png?x=2"},
    "a prefix": {"prefixes": f"{BASE}/img/b"},
    "a glob": {"globs": f"{BASE}/*.jpg"},
    "a tag": {"tags": ["on", "one two", "TWO"]},
    "a host": {"sites": "other.test"},
    "nothing": {"everything": False, "urls": f"{BASE}/"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_hard(larder, origin, kind):
    proxy = larder(origin, flags=WORKERS)
    clients = clients_of(proxy)
    fill(origin, clients[0], "/img/a.png?x=1", **{"Surrogate-Key": "one two"})
    for client in clients:
        client.get("/img/a.png?x=1").expect(200, body=b"old", cache="hit")
    sequence = order(proxy, **KINDS[kind])
    origin.expect("GET /img/a.png?x=1").reply(200, fresh(), b"new")
    first = clients[0].get("/img/a.png?x=1").expect(200, body=b"new", cache="fwd=uri-miss; stored; detail=purged")
    assert f"sequence {sequence}" in first.cache["detail"]
    for client in clients:
        client.get("/img/a.png?x=1").expect(200, body=b"new", cache="hit")


@pytest.mark.parametrize("kind", KINDS)
def test_both_schemes_behind_a_trusted_proxy(larder, origin, kind):
    """Who orders a purge may well know only one of them, and a PURGE request says none."""
    client = Client(larder(origin, config=TRUSTING))
    for scheme in ("http", "https"):
        origin.expect("GET /img/a.png?x=1").reply(200, fresh(**{"Surrogate-Key": "one two"}), b"old")
        client.get("/img/a.png?x=1", {"X-Forwarded-Proto": scheme}).expect(200, body=b"old", cache="fwd=uri-miss; stored")
    order(client.proxy, **KINDS[kind])
    for scheme in ("http", "https"):
        origin.expect("GET /img/a.png?x=1").reply(200, fresh(), b"new")
        client.get("/img/a.png?x=1", {"X-Forwarded-Proto": scheme}).expect(200, body=b"new", cache="fwd=uri-miss; detail=purged")


def test_purge_request_means_both_schemes(larder, origin):
    client = Client(larder(origin, config=TRUSTING + '[[site]]\npurge_from = ["127.0.0.1"]\n'))
    origin.on("GET /a", always(200, fresh()))
    client.get("/a", {"X-Forwarded-Proto": "https"}).expect(200, cache="stored")
    client.request("PURGE", "/a").expect(200)
    client.get("/a", {"X-Forwarded-Proto": "https"}).expect(200, cache="!hit")


@pytest.mark.parametrize("kind", KINDS)
def test_soft(larder, origin, kind):
    proxy = larder(origin, flags=WORKERS)
    clients = clients_of(proxy)
    fill(origin, clients[0], "/img/a.png?x=1", **{"Surrogate-Key": "one two"})
    order(proxy, soft=True, **KINDS[kind])
    origin.expect("GET /img/a.png?x=1", {"If-None-Match": '"1"'}).reply(304, fresh())
    clients[0].get("/img/a.png?x=1").expect(200, body=b"old", cache="fwd=stale; fwd-status=304")
    for client in clients:
        client.get("/img/a.png?x=1").expect(200, body=b"old", cache="hit")


@pytest.mark.parametrize("part", [False, True], ids=["whole", "part"])
def test_what_a_304_freshened_was_born_after_the_purge(proxy, origin, client, part):
    """On the disk, too: the purge names it no more, the next one does."""
    request = {"Range": "bytes=0-2"} if part else None
    status, fields = (206, {"Content-Range": "bytes 0-2/9"}) if part else (200, {})
    origin.expect("GET /a").reply(status, fresh(600, ETag='"1"', **{"Surrogate-Key": "one", **fields}), b"old")
    client.get("/a", request).expect(status, body=b"old", cache="stored")
    proxy.restart()
    for _ in range(2):
        order(proxy, soft=True, tags="one")
        origin.expect("GET /a", {"If-None-Match": '"1"'}).reply(304, fresh(600))
        client.get("/a", request).expect(status, body=b"old", cache="fwd=stale; fwd-status=304")
        client.get("/a", request).expect(status, body=b"old", cache="hit")
        proxy.restart()
        client.get("/a", request).expect(status, body=b"old", cache="hit")


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_not_named_stays(proxy, origin, client, kind):
    fill(origin, client, "/img/a.png?x=1", **{"Surrogate-Key": "one two"})
    order(proxy, **OTHERS[kind])
    client.get("/img/a.png?x=1").expect(200, body=b"old", cache="hit")


def test_all_variants_of_a_url(proxy, origin, client):
    for language in ("en", "de"):
        origin.expect("GET /a").reply(200, fresh(Vary="Accept-Language"), language.encode())
        client.get("/a", {"Accept-Language": language}).expect(200, body=language.encode())
    order(proxy, urls=f"{BASE}/a")
    for language in ("en", "de"):
        origin.expect("GET /a").reply(200, fresh(Vary="Accept-Language"), b"new")
        client.get("/a", {"Accept-Language": language}).expect(200, body=b"new", cache="!hit")


def test_a_url_after_the_rules_of_its_site(larder, origin):
    proxy = larder(origin, config='[[site]]\n[[site.rule]]\nname = "q"\nstrip_tracking = true\nsort_query = true\n')
    client = Client(proxy)
    fill(origin, client, "/a?x=1&y=2")
    order(proxy, urls=f"{BASE}/a?y=2&utm_source=mail&x=1")
    origin.expect("GET /a?x=1&y=2").reply(200, fresh(), b"new")
    client.get("/a?x=1&y=2").expect(200, body=b"new")


@pytest.mark.parametrize("what", [{"urls": f"{BASE}/a?id=1&s=9"}, {"globs": f"{BASE}/a?id=1"}, {"prefixes": f"{BASE}/a"}])
def test_what_lies_under_another_key_by_no_vary_search(larder, origin, what):
    """One response for many URLs (No-Vary-Search): each of them leads a purge to it."""
    proxy = larder(origin, config='[[site]]\n[[site.rule]]\nname = "nvs"\nno_vary_search = true\n')
    client = Client(proxy)
    fields = {"No-Vary-Search": 'params=("s")'}
    fill(origin, client, "/a?id=1&s=1", **fields)
    client.get("/a?id=1&s=2").expect(200, body=b"old", cache="hit")
    wait_until(lambda: Admin(proxy).status()["store"]["objects"] >= 2, "the response and what it says of its path to be stored")
    order(proxy, **what)
    origin.expect("GET /a?id=1&s=3").reply(200, fresh(**fields), b"new")
    client.get("/a?id=1&s=3").expect(200, body=b"new", cache="!hit")
    assert all("search=" not in row["name"] for row in journal(proxy))


def test_a_site_is_its_hosts(larder, origin):
    proxy = larder(None, config=SITES.replace("ORIGIN", origin.url))
    client = Client(proxy)
    hosts = ("a.test", "b.a.test", "c.test")
    for host in hosts:
        fill(origin, client, "/a", host=host)
    order(proxy, sites="a.test")
    client.get("/a", host="c.test").expect(200, cache="hit")
    for host in hosts[:2]:
        origin.expect("GET /a").reply(200, fresh(), b"new")
        client.get("/a", host=host).expect(200, body=b"new")
    Admin(proxy).post("/v1/purge", b'{"sites": "default"}', JSON).expect(400)  # it has no hosts, and is not the only one


@pytest.mark.parametrize("name, known", [
    ("www.a.test", True), ("*.a.test", True), ("*.www.a.test", True), ("*.test", True), ("B.TEST", True), ("*.b.test", False),
    ("nosuch", False), ("c.test", False), ("*.c.test", False), ("*.xa.test", False), ("xa.test", False),
])
def test_a_host_that_no_site_serves_is_said(larder, origin, name, known):
    proxy = larder(None, config=f'[[site]]\nhosts = ["a.test", "*.a.test", "b.test"]\norigin = "{origin.url}"\n')
    code, out, error = run_larder("purge", "--site", name, "--cache-dir", proxy.cache_dir)
    assert (code, out) == ((0, "purged, sequence 1\n") if known else (2, ""))
    assert known or f'no site is called "{name}", and none serves such a host' in error
    assert bool(journal(proxy)) == known


@pytest.mark.parametrize("words, known", [
    (["http://c.test/"], False), (["http://a.test/", "http://c.test/"], False), (["https://WWW.A.TEST:443/x"], True), (["http://b.test:81/"], True),
    (["--prefix", "http://c.test/x"], False), (["--prefix", "http://b.test/x"], True), (["--prefix", "http://xa.test/"], False),
    (["--glob", "http://c.test/*"], False), (["--glob", "http://C.test:81/x"], False), (["--glob", "HTTP://B.test:81/*"], True),
    (["--glob", "http://*/x"], True), (["--glob", "http://c.*/x"], True), (["--glob", "http://?.test/x"], True),
])
def test_a_url_that_no_site_serves_is_said(larder, origin, words, known):
    proxy = larder(None, config=f'[[site]]\nhosts = ["a.test", "*.a.test", "b.test"]\norigin = "{origin.url}"\n')
    code, out, error = run_larder("purge", *words, "--cache-dir", proxy.cache_dir)
    assert (code, out) == ((0, "purged, sequence 1\n") if known else (2, ""))
    assert known or f'no site serves the host of "{words[-1]}"' in error
    assert bool(journal(proxy)) == known


def test_what_was_asked_before_does_not_come_in_behind(proxy, origin, client):
    gate = origin.gate()
    origin.expect("GET /a").reply(200, fresh(), b"old", hold=gate)
    client.send("GET", "/a")
    gate.wait_reached()
    order(proxy, everything=True)
    gate.open()
    client.read_response().expect(200, body=b"old")  # its request began before
    origin.expect("GET /a").reply(200, fresh(), b"new")
    client.get("/a").expect(200, body=b"new", cache="!hit")


def test_what_was_asked_before_and_turns_out_to_belong_under_another_key(larder, origin):
    """Nobody knew yet that the response would be for several URLs when one of them was purged."""
    client = Client(larder(origin, config='[[site]]\n[[site.rule]]\nname = "nvs"\nno_vary_search = true\n'))
    fields = fresh(**{"No-Vary-Search": "key-order"})
    gate = origin.gate()
    origin.expect("GET /a?y=1&x=1").reply(200, fields, b"old", hold=gate)
    client.send("GET", "/a?y=1&x=1")
    gate.wait_reached()
    order(client.proxy, urls=f"{BASE}/a?y=1&x=1")
    gate.open()
    client.read_response().expect(200, body=b"old")
    origin.expect("GET /a?y=1&x=1").reply(200, fields, b"new")
    client.get("/a?y=1&x=1").expect(200, body=b"new", cache="!hit")
    client.get("/a?x=1&y=1").expect(200, body=b"new", cache="hit")


# --- durable ------------------------------------------------------------------------------------------------------------------------

def test_kill_after_the_answer(larder, origin):
    proxy = larder(origin, flags=WORKERS)
    for target in ("/a", "/b", "/c"):
        fill(origin, Client(proxy), target, **{"Cache-Tag": target[1:]})
    wait_until(lambda: Admin(proxy).status()["store"]["objects"] == 3, "all to be stored")
    sequence = order(proxy, tags="a", urls=f"{BASE}/b")
    proxy.kill9()
    proxy.start()
    client = Client(proxy)
    for target in ("/a", "/b"):
        origin.expect(f"GET {target}").reply(200, fresh(), b"new")
        client.get(target).expect(200, body=b"new", cache="!hit")
    client.get("/c").expect(200, body=b"old", cache="hit")
    assert order(proxy, tags="z") > sequence


def test_no_old_byte_after_the_answer(larder, origin):
    """Eight clients ask without pause while a tag is purged, over and over: what starts after the answer is new."""
    proxy = larder(origin, flags=WORKERS)
    version = [0]
    floor = [0]
    over = threading.Event()

    def answer(request):
        request.reply(200, fresh(**{"Cache-Tag": "t"}), b"%d" % version[0])

    origin.on("GET /a", answer)

    def ask():
        client = Client(proxy)
        while not over.is_set():
            least = floor[0]
            assert int(client.get("/a").expect(200).body) >= least

    def purge():
        try:
            for number in range(1, 31):
                version[0] = number
                order(proxy, tags="t")
                floor[0] = number
        finally:
            over.set()

    in_parallel(lambda function: function(), [purge] + [ask] * 8)


# --- orders that are not right -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("body, said", [
    (b"", "JSON"), (b"{", "JSON"), (b"[]", "an object"), (b"{}", "something to purge"), (b'{"url": "http://a/"}', "expected urls"),
    (b'{"urls": "/a"}', "absolute URLs"), (b'{"urls": [1]}', "absolute URLs"), (b'{"urls": "ftp://a/"}', "absolute URLs"),
    (b'{"globs": "*.png"}', "absolute URLs"), (b'{"prefixes": "/img/"}', "absolute URLs"),
    (b'{"prefixes": "http://a.test/img/*"}', "no * at the end (that is a glob)"), (b'{"tags": ""}', "tags"),
    (b'{"sites": "a b"}', "sites"), (b'{"sites": "a.test:80"}', "sites"), (b'{"soft": 1, "tags": "a"}', "found"),
    (b'{"tags": "a", "tags": "b"}', "JSON"), (b'{"tags": "\xff"}', "JSON"),
    (json.dumps({"tags": [str(i) for i in range(257)]}).encode(), "at most 256"),
], ids=lambda value: value[:20].decode("latin-1") if isinstance(value, bytes) else value)
def test_wrong_orders(proxy, body, said):
    response = Admin(proxy).post("/v1/purge", body, JSON).expect(400)
    assert said in json.loads(response.body)["error"]
    assert journal(proxy) == []


def test_a_form_of_another_page_is_no_order(proxy):
    Admin(proxy).post("/v1/purge", b'{"everything": true}', {"Content-Type": "text/plain"}).expect(415)
    Admin(proxy).post("/v1/purge", b'{"everything": true}').expect(415)


def test_the_journal(proxy):
    order(proxy, tags=["a", "b"])
    last = order(proxy, urls=f"{BASE}/a", soft=True)
    rows = journal(proxy)
    assert [(row["kind"], row["mode"], row["name"]) for row in rows] == [("tag", "hard", "a"), ("tag", "hard", "b"), ("url", "soft", f"{BASE}/a")]
    assert rows[-1]["sequence"] == last and rows[0]["time"].endswith("Z")
    assert journal(proxy, "?limit=1") == rows[-1:] and journal(proxy, f"?since={rows[0]['sequence']}") == rows[1:]
    assert journal(proxy, "?limit=2") == rows[-2:]
    Admin(proxy).get("/v1/purges?limit=0").expect(400)
    Admin(proxy).get("/v1/purges?since=x").expect(400)


def test_two_hundred_orders_at_once(larder, origin):
    proxy = larder(origin)
    in_parallel(lambda _: [order(proxy, tags=f"t{i}") for i in range(10)], range(20))
    assert len(journal(proxy, "?limit=1000")) == 10


def test_a_client_that_does_not_wait(proxy):
    admin = Admin(proxy)
    admin.send("POST", "/v1/purge", JSON, b'{"tags": "gone"}')
    admin.reset()
    wait_until(lambda: [row["name"] for row in journal(proxy)] == ["gone"], "the purge to be written")


# --- larder purge, larder purges ------------------------------------------------------------------------------------------------------

def test_the_commands(proxy, origin, client):
    where = ["--cache-dir", proxy.cache_dir]
    for target in ("/a", "/b", "/c"):
        fill(origin, client, target, **{"Cache-Tag": target[1:]})
    assert run_larder("purge", f"{BASE}/a", "--tag", "b", *where) == (0, "purged, sequences 1 to 2\n", "")
    code, out, _ = run_larder("purges", *where)  # now: they are forgotten when nothing is left that they name
    assert code == 0 and len(out.splitlines()) == 2 and out.splitlines()[0].endswith(f'url     hard  "{BASE}/a"')
    client.get("/c").expect(200, cache="hit")
    for target in ("/a", "/b"):
        origin.expect(f"GET {target}").reply(200, fresh(), b"new")
        client.get(target).expect(200, body=b"new")
    assert run_larder("purge", "--all", "--soft", *where) == (0, "purged softly, sequence 3\n", "")
    code, out, _ = run_larder("purges", "--limit", "1", "--json", *where)
    assert code == 0 and json.loads(out)["purges"][0]["kind"] == "all"
    assert run_larder("purge", "--tag", "c", "--wait", *where) == (0, "purged, sequence 4\n", "")
    code, out, _ = run_larder("purge", "--tag", "d", "--tag", "e", "--json", *where)
    assert code == 0 and json.loads(out) == {"first_sequence": 5, "sequence": 6}


def test_the_commands_by_the_file_of_serve(larder, origin, tmp_path):
    config = f'[admin]\nsocket = "off"\nlisten = "127.0.0.1:0"\n[[site]]\nhosts = "a.test"\norigin = "{origin.url}"\n'
    proxy = larder(origin, config=config + '[cache]\nsize = "64MiB"\n')
    host, port = admin_addresses(proxy)[0]
    file = tmp_path / "same.toml"
    file.write_text(config.replace("127.0.0.1:0", f"{host}:{port}"), encoding="utf-8")
    assert run_larder("purge", "--site", "a.test", "--config", file)[0] == 0
    assert [row["name"] for row in json.loads(run_larder("purges", "--json", "--config", file)[1])["purges"]] == ["a.test"]


@pytest.mark.parametrize("arguments, said", [
    (["purge", "/a"], "URL: expected absolute URLs"),
    (["purge", "--prefix", "/a"], "--prefix: expected absolute URLs"),
    (["purge", "--glob", "/a*"], "--glob: expected absolute URLs"),
    (["purge", "--tag", ""], "--tag: expected names of tags"),
    (["purge"], "expected a URL, --prefix"),
    (["purge", "--tag"], "--tag: expected TAG"),
    (["purges", "--limit", "x"], "--limit: expected a number"),
    (["purges", "--limit", "0"], "expected a limit from 1"),
])
def test_wrong_commands(proxy, arguments, said):
    where = ["--cache-dir", proxy.cache_dir] if len(arguments) > 1 and arguments[-1] != "--tag" else []
    code, out, error = run_larder(*arguments, *where)
    assert code == 2 and not out and said in error and error.count("\n") == 1


def test_no_larder_runs(tmp_path):
    code, out, error = run_larder("purge", "--all", "--cache-dir", tmp_path)
    assert code == 2 and not out and f"no larder answers at unix:{tmp_path}/admin.sock" in error


# --- PURGE --------------------------------------------------------------------------------------------------------------------------

def allowing(*networks):
    return f"[[site]]\npurge_from = {json.dumps(list(networks))}\n"


def test_purge_requests(larder, origin):
    proxy = larder(origin, config=allowing("10.0.0.0/8", "127.0.0.0/8"), flags=WORKERS)
    clients = clients_of(proxy)
    fill(origin, clients[0], "/a?x=1")
    clients[0].request("PURGE", "/a?x=1").expect(200, cache="detail=purge", headers={"Cache-Status": "larder; detail=\"purge sequence 1\""})
    for number, client in enumerate(clients):
        if number == 0:
            origin.expect("GET /a?x=1").reply(200, fresh(), b"new")
        client.get("/a?x=1").expect(200, body=b"new")
    clients[0].request("PURGE", "/b").expect(404, cache="detail=purge")


def test_a_purge_is_no_rule_in_the_log(larder, origin, tmp_path):
    path = tmp_path / "access.log"
    client = Client(larder(origin, config=allowing("127.0.0.1"), flags=["--access-log", path, "--workers", "1"]))
    fill(origin, client, "/a")
    client.request("PURGE", "/a").expect(200, cache="detail=purge")
    origin.expect("GET /a").reply(200, fresh(), b"new")
    assert "sequence 1" in client.get("/a").expect(200, body=b"new").cache["detail"], "there it stays"
    wait_until(lambda: path.read_text().count("\n") == 3, "the lines to be written")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["reason"] for line in lines[1:]] == ["purge", "purged"]
    assert not any("rule" in line for line in lines), lines


def test_purge_requests_are_durable(larder, origin):
    proxy = larder(origin, config=allowing("127.0.0.1"))
    client = Client(proxy)
    fill(origin, client, "/a")
    wait_until(lambda: Admin(proxy).status()["store"]["objects"] == 1, "it to be stored")
    client.request("PURGE", "/a").expect(200)
    proxy.kill9()
    proxy.start()
    origin.expect("GET /a").reply(200, fresh(), b"new")
    Client(proxy).get("/a").expect(200, body=b"new")


@pytest.mark.parametrize("networks", [["10.0.0.0/8"], ["::1"], ["127.0.0.2"], ["127.0.0.2/31"], ["unix"]])
def test_purge_requests_from_elsewhere(larder, origin, networks):
    client = Client(larder(origin, config=allowing(*networks)))
    fill(origin, client, "/a")
    client.request("PURGE", "/a").expect(403, cache="detail=purge-refused")
    client.get("/a").expect(200, cache="hit")


def test_purge_requests_over_a_unix_socket(larder, origin, tmp_path):
    proxy = larder(origin, config=allowing("unix"), listen=[f"unix:{tmp_path}/l.sock"])
    Client(proxy).request("PURGE", "/a").expect(404, cache="detail=purge")


@pytest.mark.parametrize("rule", ["", '[[site.rule]]\nname = "strip"\nstrip_request_fields = ["X-Forwarded-For"]\n'])
def test_purge_requests_through_a_trusted_proxy(larder, origin, rule):
    """Its address is everybody's: whom it names must be allowed, too."""
    client = Client(larder(origin, config="[server]\ntrust_forwarded = true\n" + allowing("127.0.0.1") + rule))
    fill(origin, client, "/a")
    for named in ("203.0.113.9", "127.0.0.1, 203.0.113.9", "nobody"):
        client.request("PURGE", "/a", {"X-Forwarded-For": named}).expect(403, cache="detail=purge-refused")
    client.get("/a").expect(200, cache="hit")
    client.request("PURGE", "/a", {"X-Forwarded-For": "203.0.113.9, 127.0.0.1"}).expect(200)
    client.request("PURGE", "/a").expect(404)


NAMED = {"x-forwarded": ("X-Forwarded-For", "{}"), "forwarded": ("Forwarded", "for={};proto=http")}


@pytest.mark.parametrize("style, other", [("x-forwarded", "forwarded"), ("forwarded", "x-forwarded")])
def test_only_the_field_of_the_style_names_who_purges(larder, origin, style, other):
    """The proxy in front writes that one; the other may be its client's own."""
    def said(which, address):
        return {NAMED[which][0]: NAMED[which][1].format(address)}
    client = Client(larder(origin, config=f'[server]\ntrust_forwarded = true\nforwarded = "{style}"\n' + allowing("127.0.0.1")))
    fill(origin, client, "/a")
    client.request("PURGE", "/a", said(style, "203.0.113.9") | said(other, "127.0.0.1")).expect(403, cache="detail=purge-refused")
    client.request("PURGE", "/a", {NAMED[style][0]: "by=127.0.0.1"}).expect(403)  # it names nobody, but it is not the proxy that asks
    client.get("/a").expect(200, cache="hit")
    client.request("PURGE", "/a", said(style, "127.0.0.1") | said(other, "203.0.113.9")).expect(200)


def test_purge_requests_without_a_word_about_them(origin, client):
    """Then it is a method like any other."""
    origin.expect("PURGE /a").reply(405, {}, b"")
    client.request("PURGE", "/a").expect(405, cache="fwd=method")


@pytest.mark.parametrize("value", ['"10.0.0.0/33"', '"10.0.0.1/8"', '"localhost"', '["127.0.0.1", 1]', '""'])
def test_wrong_networks(tmp_path, value):
    file = tmp_path / "larder.toml"
    file.write_text(f'[[site]]\norigin = "http://127.0.0.1:1"\npurge_from = {value}\n', encoding="utf-8")
    code, _, error = run_larder("check", file)
    assert code == 2 and "purge_from" in error and "expected an address" in error


def test_the_purge_is_named_with_its_own_reason_only(proxy, origin):
    """What else decides after a purge does not carry the purge's name."""
    client = Client(proxy)
    fill(origin, client, "/a")
    assert order(proxy, urls=[f"{BASE}/a"])
    client.get("/a", {"Cache-Control": "only-if-cached"}).expect(504, cache="detail=only-if-cached")
    origin.expect("GET /a").reply(206, {"Content-Range": "items 0-9/20"}, b"ten")
    client.get("/a", {"Range": "items=0-9"}).expect(206, cache="fwd=uri-miss; detail=range")
    for _ in range(2):  # a kept connection that turns out closed is tried once more
        origin.expect("GET /a").disconnect()
    client.get("/a").expect(502, cache="detail=origin-failed")
