"""The administration: its listeners and who may speak to them, the status and the metrics."""

import json
import os
import re
import shutil
import signal
import subprocess
from urllib.parse import urlencode

import pytest
from support import why
from support.admin import Admin, admin_addresses
from support.client import HOST, Client
from support.proxy import LARDER, ROOT, run_larder
from support.say import NO_STORE
from support.wire import wait_until

TOKEN = "0123456789abcdef"


def test_status_over_the_socket(proxy, origin, client):
    origin.expect("GET /a").reply(200, {"Cache-Control": "max-age=60"}, b"hello")
    client.get("/a").expect(200, body=b"hello")
    client.get("/a").expect(200, body=b"hello", cache="hit")
    wait_until(lambda: Admin(proxy).status()["store"]["objects"] == 1, "the response to be stored")
    wait_until(lambda: Admin(proxy).status()["requests"]["total"] == 2, "both to be counted")  # behind their last byte
    status = Admin(proxy).status()
    assert status["pid"] == proxy.pid and status["store"]["failed"] is False
    assert status["requests"]["hits"] == 1 and status["requests"]["in_flight"] == 0
    assert status["connections"] == 1


def test_the_socket_is_its_owners_alone_and_goes(larder, origin):
    proxy = larder(origin)
    socket = proxy.cache_dir / "admin.sock"
    assert socket.stat().st_mode & 0o777 == 0o600
    proxy.kill9()
    assert socket.exists()
    proxy.start()  # in place of what was left
    Admin(proxy).get("/v1/status").expect(200)
    proxy.stop()
    assert not socket.exists()


def test_no_socket(larder, origin):
    proxy = larder(origin, config='[admin]\nsocket = "off"\n')
    assert not (proxy.cache_dir / "admin.sock").exists()


def test_what_is_not_there(proxy):
    admin = Admin(proxy)
    assert "error" in json.loads(admin.get("/nothing").expect(404).body)
    refused = admin.request("POST", "/metrics", body=b"").expect(405, headers={"Allow": "GET, HEAD"})
    assert json.loads(refused.body) == {"error": "expected GET, HEAD"}
    admin.get("/v1/purge").expect(405, headers={"Allow": "POST"})
    admin.request("HEAD", "/v1/status").expect(200, body=b"")
    assert admin.connections == 1


@pytest.mark.parametrize("raw, status", [
    (b"GET /v1/status HTTP/1.1\r\n\r\n", 400),
    (b"GET /v1/status HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    (b"GET /v1/status HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 40000 + b"\r\n\r\n", 431),
    (b"POST /v1/status HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n" + b"x" * 1100000, 413),
], ids=["no host", "two framings", "large head", "large body"])
def test_bad_requests(proxy, raw, status):
    admin = Admin(proxy)
    admin.send_raw(raw)
    assert admin.read_response().status == status


def test_requests_in_line(proxy):
    admin = Admin(proxy)
    admin.send_raw(b"GET /v1/status HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
    for _ in range(3):
        admin.read_response().expect(200).body


def test_a_token_over_tcp(larder, origin):
    proxy = larder(origin, config=f'[admin]\nlisten = "127.0.0.1:0"\ntoken = "{TOKEN}"\n')
    admin = Admin(proxy, admin_addresses(proxy)[0])
    for given in (None, "Bearer", "Bearer ", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}0", f"Basic {TOKEN}", TOKEN):
        fields = {} if given is None else {"Authorization": given}
        admin.get("/v1/status", fields).expect(401, headers={"WWW-Authenticate": "Bearer"})
        admin.get("/metrics", fields).expect(401)
    admin.get("/v1/status", {"Authorization": f"Bearer {TOKEN}"}).expect(200)
    Admin(proxy).get("/v1/status").expect(200)  # who can open the socket needs none


def test_a_token_from_a_file(larder, origin, tmp_path):
    (tmp_path / "token").write_text(f"{TOKEN}\nand a remark\n", encoding="ascii")
    proxy = larder(origin, config=f'[admin]\nlisten = "127.0.0.1:0"\ntoken = "file:{tmp_path}/token"\n')
    admin = Admin(proxy, admin_addresses(proxy)[0])
    admin.get("/v1/status").expect(401)
    admin.get("/v1/status", {"Authorization": f"Bearer {TOKEN}"}).expect(200)


def test_without_a_token_only_names_of_this_machine(larder, origin):
    """A page that has its own name resolved to 127.0.0.1 cannot read what lies there."""
    proxy = larder(origin, config='[admin]\nlisten = "127.0.0.1:0"\n')
    admin = Admin(proxy, admin_addresses(proxy)[0])
    for host in ("localhost", "localhost:9145", "127.0.0.1:9145", "[::1]:9145"):
        admin.get("/v1/status", host=host).expect(200)
    for host in ("rebound.example", "localhost.example:80", "127.rebound.example", "127.0.0.1.example", "10.0.0.1"):
        admin.get("/v1/status", host=host).expect(403)


def test_a_reload_without_a_token_opens_no_door(larder, origin):
    """The listeners stay as they were opened: one that other machines reach goes on to want a token."""
    proxy = larder(origin, config=f'[admin]\nlisten = "0.0.0.0:0"\ntoken = "{TOKEN}"\n')
    port = admin_addresses(proxy)[0][1]
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    Admin(proxy, ("127.0.0.1", port)).get("/v1/status", bearer).expect(200)
    (proxy.directory / "larder.toml").write_text("", encoding="utf-8")
    proxy.process.send_signal(signal.SIGHUP)
    proxy.wait_logged("configuration reloaded")
    Admin(proxy, ("127.0.0.1", port)).get("/v1/status").expect(401)
    Admin(proxy, ("127.0.0.1", port)).get("/v1/status", bearer).expect(401)
    Admin(proxy).get("/v1/status").expect(200)


def test_nothing_for_pages_of_other_origins(larder, origin):
    proxy = larder(origin, config='[admin]\nlisten = "127.0.0.1:0"\n')
    admin = Admin(proxy, admin_addresses(proxy)[0])
    own = f"127.0.0.1:{admin_addresses(proxy)[0][1]}"
    order = {"Content-Type": "application/json"}
    for page in ("http://evil.example", "null", "http://localhost", f"{own}"[:-1]):
        admin.get("/v1/status", {"Origin": page}, host=own).expect(403)
        admin.request("POST", "/v1/purge", {**order, "Origin": page}, body=b'{"everything": true}', host=own).expect(403)
    admin.get("/v1/status", {"Origin": f"http://{own}"}, host=own).expect(200)
    admin.request("POST", "/v1/purge", {**order, "Origin": f"http://{own}"}, body=b'{"everything": true}', host=own).expect(200)


def test_the_page_needs_no_token_and_may_ask_only_here(larder, origin):
    proxy = larder(origin, config=f'[admin]\nlisten = "127.0.0.1:0"\ntoken = "{TOKEN}"\n')
    admin = Admin(proxy, admin_addresses(proxy)[0])
    for path, kind in (("/", "text/html"), ("/dashboard.css", "text/css"), ("/dashboard.js", "text/javascript"), ("/chart.js", "text/javascript")):
        page = admin.get(path).expect(200)
        assert page.headers.get("Content-Type").startswith(kind) and page.body
        policy = page.headers.get("Content-Security-Policy")
        assert policy.startswith("default-src 'none'; script-src 'self';") and "unsafe" not in policy and "http" not in policy
    admin.request("POST", "/", body=b"").expect(405, headers={"Allow": "GET, HEAD"})
    admin.get("/v1/sites").expect(401)


def test_sites_and_origins(larder, origin):
    proxy = larder(origin, config='[[site]]\nhosts = "a.test"\norigin = "http://127.0.0.1:1"\n')
    client = Client(proxy)
    origin.expect("GET /a").reply(200, {"Cache-Control": "max-age=60"}, b"x" * 2000)
    client.get("/a").expect(200)
    client.get("/a").expect(200, cache="hit")
    client.get("/", host="a.test").expect(502)
    wait_until(lambda: Admin(proxy).status()["requests"]["total"] == 3, "all to be counted")
    answer = json.loads(Admin(proxy).get("/v1/sites").expect(200).body)
    sites = {site["name"]: site for site in answer["sites"]}
    assert sites["default"]["requests"] == 2 and sites["default"]["hits"] == 1 and sites["default"]["answers"] == 1
    assert sites["default"]["sent_bytes"] > 4000 > sites["default"]["received_bytes"] > 2000
    assert sites["a.test"]["requests"] == sites["a.test"]["failures"] == 1
    assert {each["url"]: each["state"] for each in answer["origins"]} == {origin.url: "in-service", "http://127.0.0.1:1": "in-service"}


def test_history(proxy, origin, client):
    def samples(since=""):
        return json.loads(Admin(proxy).get(f"/v1/history{since}").expect(200).body)["samples"]

    assert samples()[0]["requests"] == 0
    origin.expect("GET /a").reply(200, {"Cache-Control": "max-age=60"}, b"hello")
    client.get("/a").expect(200)
    client.get("/a").expect(200, cache="hit")
    wait_until(lambda: samples()[-1]["requests"] == 2, "a sample")
    last = samples()[-1]
    assert last["hits"] == 1 and sum(last["waits"]) == 1 and last["connections"] == 1
    assert all(sample["time_ms"] > last["time_ms"] for sample in samples(f"?since={last['time_ms']}"))
    Admin(proxy).get("/v1/history?since=yesterday").expect(400)


def test_why_is_told_as_by_the_command(larder, origin):
    """In the process that has the store open, as in one that reads it; but for what the origin answered last, which only the first knows."""
    proxy = larder(origin, config=why.rule('path = "/private/*"', "bypass = true"))
    client = Client(proxy)
    origin.expect("GET /a?b=%26").reply(200, {"Cache-Control": "max-age=60", "Vary": "Accept-Language"}, b"x" * 100000)
    why.store(proxy, client, "/a?b=%26", {"Accept-Language": "de"})

    def told(target, fields=None):
        parameters = [("url", f"http://{HOST}{target}")] + [("field", f"{name}: {value}") for name, value in (fields or {}).items()]
        return json.loads(Admin(proxy).get(f"/v1/why?{urlencode(parameters)}").expect(200).body)

    def ageless(answer):
        return re.sub(r'"(age|ttl)": \d+|ttl=\d+', "", json.dumps({name: value for name, value in answer.items() if name != "last"}))

    for target, fields in (("/a?b=%26", {"Accept-Language": "de"}), ("/a?b=%26", {"Accept-Language": "en"}), ("/private/x", {}), ("/none", {})):
        assert ageless(told(target, fields)) == ageless(why.ask(proxy, target, fields))
    assert told("/a?b=%26", {"Accept-Language": "de"})["verdict"]["action"] == "hit"
    Admin(proxy).request("POST", "/v1/purge", {"Content-Type": "application/json"}, body=b'{"everything": true}').expect(200)
    assert told("/a?b=%26", {"Accept-Language": "de"})["verdict"]["action"] == "fetch"
    for query in ("", "?url=%zz", "?url=a%00", "?url=vary", "?url=http://a/&url=http://b/", "?url=http://a/&field=x", "?url=http://a/&status=99",
                  "?url=http://a/&response_field=x", "?url=http://a/&form=xml"):
        Admin(proxy).get(f"/v1/why{query}").expect(400)
    assert json.loads(Admin(proxy).get("/v1/why?url=vary-miss").expect(200).body)["reason"] == "vary-miss"


@pytest.mark.parametrize("settings, said", [
    ('listen = ":0"', "admin.listen: expected a token too, for an address that other machines reach"),
    ('listen = ["127.0.0.1:0", "192.0.2.1:80"]', "admin.listen: expected a token too"),
    ('token = "short"', "admin.token: expected 16 to 1024 letters, digits"),
    ('token = "file:/does/not/exist"', "admin.token: expected a file that can be read: /does/not/exist"),
])
def test_refused_settings(tmp_path, settings, said):
    file = tmp_path / "larder.toml"
    file.write_text(f'[[site]]\norigin = "http://127.0.0.1:1"\n[admin]\n{settings}\n', encoding="utf-8")
    code, _, error = run_larder("check", file)
    assert code == 2 and said in error and error.count("\n") == 1


def test_an_address_in_use(larder, origin, tmp_path):
    proxy = larder(origin, config='[admin]\nlisten = "127.0.0.1:0"\n')
    port = admin_addresses(proxy)[0][1]
    file = tmp_path / "larder.toml"
    file.write_text(f'[admin]\nlisten = "127.0.0.1:{port}"\n', encoding="utf-8")
    code, _, error = run_larder("serve", "--config", file, "--origin", origin.url, "--listen", "127.0.0.1:0", "--cache-dir", tmp_path / "other",
                                "--cache-size", "16MiB")
    assert code == 2 and f"127.0.0.1:{port}" in error


def test_metrics(larder, origin):
    proxy = larder(origin, config='[[site]]\nhosts = "a.test"\norigin = "http://127.0.0.1:1"\n')
    client = Client(proxy)
    origin.expect("GET /a").reply(200, {"Cache-Control": "max-age=60"}, b"x" * 2000)
    client.get("/a").expect(200)
    client.get("/a").expect(200, cache="hit")
    client.get("/a").expect(200, cache="hit")
    origin.expect("POST /b").reply(500, {}, b"")
    client.request("POST", "/b", body=b"").expect(500)
    client.get("/", host="a.test").expect(502)
    wait_until(lambda: Admin(proxy).status()["requests"]["total"] == 5, "all to be counted")
    metrics = Admin(proxy).metrics()
    assert metrics['larder_requests_total{site="default",outcome="hit",reason="fresh"}'] == 2
    assert metrics['larder_requests_total{site="default",outcome="uri-miss",reason="uri-miss"}'] == 1
    assert metrics['larder_responses_total{site="default",status="2xx"}'] == 3
    assert metrics['larder_responses_total{site="default",status="5xx"}'] == 1
    assert metrics['larder_responses_total{site="a.test",status="5xx"}'] == 1
    assert metrics['larder_client_sent_bytes_total{site="default",outcome="hit"}'] > 4000
    assert 2000 < metrics['larder_origin_received_bytes_total{site="default"}'] < 3000
    assert metrics['larder_response_size_bytes_bucket{site="default",le="1024"}'] == 1
    assert metrics['larder_response_size_bytes_bucket{site="default",le="4096"}'] == 4
    assert metrics['larder_response_size_bytes_sum{site="default"}'] == 6000
    assert metrics['larder_request_duration_seconds_count{site="default"}'] == 4
    assert metrics['larder_origin_first_byte_seconds_count{site="default"}'] == 2
    assert metrics[f'larder_origin_in_service{{site="default",path="/",origin="{origin.url}"}}'] == 1
    assert metrics["larder_client_connections"] == 1 and metrics["larder_requests_in_flight"] == 0
    assert metrics["larder_workers"] >= 1


def test_how_requests_ended_is_counted(larder, origin):
    """By the words of the access log; also of a request that never came whole, and so belongs to no site."""
    proxy = larder(origin, config='[server.timeouts]\nclient_head = "300ms"\nclient_body = "300ms"\n')

    def ended(**wanted):
        wanted = {name.replace("_", "-"): count for name, count in wanted.items()}
        wait_until(lambda: Admin(proxy).ends() == wanted, f"{wanted} to be counted")

    origin.expect("GET /a").reply(200, NO_STORE, b"hello")
    Client(proxy).get("/a").expect(200)
    ended(done=1)
    Client(proxy).send_raw(b"GET /a HTTP/1.1\r\n\r\n").read_response().expect(400)
    ended(done=1, refused=1)
    Client(proxy).send_raw(b"GET /late HTTP/1.1\r\n").read_response().expect(408)
    ended(done=1, refused=1, client_timeout=1)
    origin.on("POST /p", lambda exchange: None)
    Client(proxy).send_raw(b"POST /p HTTP/1.1\r\nHost: larder.test\r\nContent-Length: 9\r\n\r\n").read_response().expect(408)
    ended(done=1, refused=1, client_timeout=2)
    origin.expect("GET /cut").handle(lambda exchange: (exchange.send_head(200, {"Content-Length": "9"}), exchange.close()))
    with pytest.raises(AssertionError):
        _ = Client(proxy).get("/cut").body
    ended(done=1, refused=1, client_timeout=2, origin_broke_off=1)
    gate = origin.gate()
    origin.expect("GET /gone").reply(200, NO_STORE, b"x", hold=gate)
    leaves = Client(proxy).send("GET", "/gone")
    gate.wait_reached()
    leaves.reset()
    ended(done=1, refused=1, client_timeout=2, origin_broke_off=1, client_gone=1)
    gate.open()
    assert Admin(proxy).metrics()['larder_requests_ended_total{site="",end="client-timeout"}'] == 1


def test_a_quote_in_a_path_stays_in_its_label(larder, origin):
    proxy = larder(origin, config=f"[[site]]\npath = '/a\"b'\norigin = \"{origin.url}\"\n")
    metrics = Admin(proxy).metrics()
    assert metrics[f'larder_origin_in_service{{site="default",path="/a\\"b",origin="{origin.url}"}}'] == 1
    assert metrics['larder_site_mode{site="default",path="/a\\"b",mode="normal"}'] == 1


def test_requests_in_flight(proxy, origin, client):
    gate = origin.gate()
    origin.expect("GET /a").reply(200, {}, b"hello", hold=gate)
    client.send("GET", "/a")
    gate.wait_reached()
    assert Admin(proxy).metrics()["larder_requests_in_flight"] == 1
    gate.open()
    client.read_response().expect(200, body=b"hello")
    wait_until(lambda: Admin(proxy).metrics()["larder_requests_in_flight"] == 0, "the request to end")


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool comes with Debian's prometheus")
def test_promtool_has_nothing_to_say(larder, origin):
    proxy = larder(origin, config='[[site]]\nhosts = "a.test"\norigin = "http://127.0.0.1:1"\n')
    Client(proxy).get("/", host="a.test").expect(502)
    text = Admin(proxy).get("/metrics").expect(200).body
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert done.returncode == 0 and not done.stdout and not done.stderr, done.stdout + done.stderr


def test_answers_are_as_described(proxy):
    """Members of the answers and those that openapi.json requires are the same."""
    schemas = json.loads((ROOT / "proxy" / "admin" / "openapi.json").read_text(encoding="utf-8"))["components"]["schemas"]

    def check(schema, value, place):
        if schema["type"] == "array":
            assert value, place
            for index, item in enumerate(value):
                check(schema["items"], item, f"{place}[{index}]")
        elif schema["type"] == "object":
            assert set(schema["required"]) == set(value), place
            for name, member in schema["properties"].items():
                check(member, value[name], f"{place}.{name}")
        else:
            kinds = {"string": str, "integer": int, "boolean": bool}
            assert isinstance(value, kinds[schema["type"]]) or (value is None and schema.get("nullable")), place

    Client(proxy).request("TRACE", "/").expect(501)
    wait_until(lambda: Admin(proxy).status()["requests"]["total"] == 1, "it to be counted")
    Admin(proxy).post("/v1/mode", b'{"site": "default", "mode": "record"}', {"Content-Type": "application/json"}).expect(200)
    check(schemas["Status"], Admin(proxy).status(), "status")
    for name, path in (("Sites", "/v1/sites"), ("History", "/v1/history"), ("Modes", "/v1/modes")):
        check(schemas[name], json.loads(Admin(proxy).get(path).expect(200).body), path)


def test_the_configuration_in_force(larder, origin):
    proxy = larder(origin, config='[server]\nworkers = 2 # two\n')
    told = json.loads(Admin(proxy).get("/v1/config").expect(200).body)
    schema = json.loads((ROOT / "proxy" / "admin" / "openapi.json").read_text(encoding="utf-8"))["components"]["schemas"]["Config"]
    assert list(told) == schema["required"] == list(schema["properties"])
    assert told["text"] == "[server]\nworkers = 2 # two\n" and told["file"].endswith("larder.toml") and told["since"].endswith("Z")
    assert (told["sites"], told["rules"], told["tests"], told["kept"]) == (1, 0, 0, [])
    assert f"--origin {origin.url} --access-log off --cache-dir {proxy.cache_dir}" in told["flags"]


@pytest.mark.parametrize("token, text", [
    (f'"{TOKEN}"', f'token = "{"*" * len(TOKEN)}"'),
    (f'"{TOKEN[:-1]}\\u0066"', None),
])
def test_its_token_is_not_told(larder, origin, token, text):
    proxy = larder(origin, config=f"[admin]\ntoken = {token}\n")
    told = json.loads(Admin(proxy).get("/v1/config").expect(200).body)["text"]
    assert told == (text and f"[admin]\n{text}\n")


# --- larder's own commands ------------------------------------------------------------------------------------------------------------


OUTPUTS = ["version", "help", "help why", "check FILE", "why purged", f"why http://{HOST}/a", "vary", "purges", "purges --json", "report", "mode",
           "store stat", "store check", "store ls", f"store get http://{HOST}/a"]


@pytest.fixture
def say(proxy, origin, client, tmp_path):
    """Runs a command of OUTPUTS with standard output to somewhere: (exit status, standard error)."""
    origin.expect("GET /a").reply(200, {"Cache-Control": "max-age=60"}, b"hello")
    client.get("/a").expect(200)
    wait_until(lambda: Admin(proxy).status()["store"]["objects"] == 1, "the response to be stored")
    file = tmp_path / "good.toml"
    file.write_text(f'[[site]]\norigin = "{origin.url}"\n', encoding="utf-8")

    def run(command, out):
        words = command.replace("FILE", str(file)).split()
        asks = words[0] in ("vary", "purges", "report", "mode", "store") or "http" in command
        done = subprocess.run([LARDER, *words, *(["--cache-dir", proxy.cache_dir] if asks else [])], stdout=out, stderr=subprocess.PIPE, text=True,
                              check=False, timeout=60)
        return done.returncode, done.stderr

    return run


@pytest.mark.parametrize("command", [command for command in OUTPUTS if command != "purges"])  # there are none to print
def test_output_that_cannot_be_written_is_a_failure(say, command):
    with open("/dev/full", "wb") as full:
        code, error = say(command, full)
    assert code == 2 and error.startswith("larder: cannot write to standard output") and error.count("\n") == 1, error


@pytest.mark.parametrize("command", OUTPUTS)
def test_a_reader_that_has_enough_is_no_failure(say, command):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert say(command, writer) == (0, "")
    finally:
        os.close(writer)


@pytest.mark.parametrize("words", [["purge", "--all"], ["purges"], ["report"], ["mode"], ["why", "http://a.test/"]])
def test_a_mistake_in_the_file_leaves_a_way(tmp_path, words):
    file = tmp_path / "bad.toml"
    file.write_text("[cache]\nsise = 1\n", encoding="utf-8")
    code, out, error = run_larder(*words, "--config", file)
    mistake, hint = error.splitlines()
    assert (code, out) == (2, "") and mistake.startswith(f"{file}:2:")
    assert hint == "larder: --cache-dir DIR instead of --config reaches the larder that runs without the file"
