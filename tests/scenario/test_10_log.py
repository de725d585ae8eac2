"""The access log: one line a request."""

import json
import re
import subprocess

import pytest
from support.client import Client
from support.proxy import LARDER, ROOT
from support.say import always, fresh, stale
from support.wire import wait_until


@pytest.fixture
def logged(larder, origin, tmp_path):
    """A proxy that logs, its client, and lines(n): waits for n lines and returns them decoded."""
    path = tmp_path / "access.log"

    def start(config=None, flags=(), origin_url=origin):
        # one worker: each has a buffer of its own, and so the order of lines of several is not the order of requests
        proxy = larder(origin_url, config=config, flags=["--access-log", path, "--workers", "1", *flags])

        def lines(count):
            wait_until(lambda: path.exists() and path.read_text(encoding="utf-8").count("\n") >= count, f"{count} log lines")
            text = path.read_text(encoding="utf-8")
            assert text.count("\n") == count, text
            return [json.loads(line) for line in text.splitlines()]

        return Client(proxy), lines

    return start


def test_a_line_for_each_outcome(origin, logged):
    client, lines = logged()
    origin.expect("GET /a?b").reply(200, stale(ETag='"v1"'), b"hello")
    client.get("/a?b", {"User-Agent": "test \"quoted\" \\ \xfc", "Referer": "http://x.test/"}).expect(200)
    origin.expect("GET /a?b").reply(304, fresh(60, Age="0"))
    client.get("/a?b").expect(200)
    client.get("/a?b").expect(200, cache="hit")
    client.get("/a?b", {"If-None-Match": '"v1"'}).expect(304)
    origin.expect("POST /p", body=b"12345").reply(201, {}, b"made")
    client.post("/p", b"12345").expect(201)
    miss, revalidated, hit, not_modified, post = lines(5)
    for line in (miss, revalidated, hit, not_modified, post):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"]), line
        assert (line["client"], line["host"], line["end"]) == ("127.0.0.1", "larder.test", "done"), line
        assert line["total_us"] >= line["first_byte_us"] >= 0 and line["response_bytes"] > line["body_bytes"], line
    assert (miss["method"], miss["target"], miss["status"], miss["outcome"]) == ("GET", "/a?b", 200, "uri-miss"), miss
    assert (miss["reason"], miss["store_reason"], miss["body_bytes"]) == ("uri-miss", "stored", 5), miss
    assert (miss["origin"], miss["origin_status"]) == (origin.url, 200) and miss["origin_us"] >= 0, miss
    assert miss["user_agent"].startswith('test "quoted" \\ ') and miss["referer"] == "http://x.test/", miss
    assert (revalidated["outcome"], revalidated["origin_status"], revalidated["status"]) == ("stale", 304, 200), revalidated
    assert (hit["outcome"], hit["reason"], hit["status"]) == ("hit", "fresh", 200) and "origin" not in hit, hit
    assert 55 <= hit["ttl_s"] <= 60 and hit["age_s"] <= 5, hit
    assert (not_modified["status"], not_modified["body_bytes"]) == (304, 0), not_modified
    assert (post["method"], post["status"], post["outcome"], post["request_bytes"]) == ("POST", 201, "method", 5), post


def test_the_readme_explains_every_key_and_every_end():
    source = (ROOT / "proxy/observe/access_format.c").read_text(encoding="utf-8")
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("#### The access log")[2].partition("**What the store")[0]
    keys = re.findall(r'KEY\("(\w+)"\)', source) + re.findall(r'\\"(\w+)\\":', source)  # by the macro, and in a text
    reasons = (ROOT / "proxy/observe/access_log.h").read_text(encoding="utf-8").partition("#define END_REASONS")[2].partition("enum")[0]
    ends = re.findall(r'X\(\w+, "([\w-]+)"\)', reasons)
    assert len(keys) > 25 and len(ends) > 5, "the sources are written otherwise by now"
    for word in keys + ends:
        assert f"`{word}`" in table, word


def test_the_reason_and_the_rule(origin, logged):
    client, lines = logged(origin_url=None, config=f'[[site]]\norigin = "{origin.url}"\n[[site.rule]]\nname = "past"\npath = "/past"\nbypass = true\n')
    origin.on("GET *", always(200, {"Cache-Control": "private"}))
    client.get("/past").expect(200)
    client.get("/a").expect(200)
    past, private = lines(2)
    assert (past["outcome"], past["reason"], past["rule"]) == ("bypass", "bypass-rule", "past"), past
    assert (private["reason"], private["store_reason"]) == ("uri-miss", "private") and "rule" not in private, private


def test_refusals_and_failures(origin, logged):
    client, lines = logged()
    client.send_raw(b"GET / HTTP/1.1\r\n\r\n")
    client.read_response().expect(400)
    origin.expect("GET /a").disconnect()
    client.close()
    client.get("/a").expect(502)
    bad, failed = lines(2)
    assert bad["status"] == 400 and bad["end"] == "refused", bad
    assert failed["status"] == 502 and failed["reason"] == "origin-failed", failed


@pytest.mark.parametrize("before, count", [(b"", 0), (b"5\r\nhello\r\n", 5)])
def test_a_bad_chunk_counts_for_nothing(origin, logged, before, count):
    client, lines = logged()
    origin.on("POST /a", lambda exchange: exchange.close(), read_body=False)
    client.send_raw(b"POST /a HTTP/1.1\r\nHost: larder.test\r\nTransfer-Encoding: chunked\r\n\r\n" + before + b"zz\r\n")
    client.read_head().expect(400)
    assert lines(1)[0]["request_bytes"] == count


def test_a_client_that_leaves(origin, logged):
    client, lines = logged()
    gate = origin.gate()
    origin.expect("GET /a").reply(200, {"Cache-Control": "no-store"}, [b"first", gate, b"second"])
    assert client.begin("GET", "/a").stream.exact(5) == b"first"
    client.reset()
    left, = lines(1)
    assert left["end"] == "client-gone", left
    gate.open()


def test_an_origin_that_breaks_off(origin, logged):
    client, lines = logged()
    gate = origin.gate()
    origin.expect("GET /a").handle(lambda exchange: (exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"), gate.wait(), exchange.close()))
    response = client.begin("GET", "/a")
    gate.open()
    with pytest.raises(AssertionError):
        _ = response.body
    broke, = lines(1)
    assert broke["end"] == "origin-broke-off" and broke["status"] == 200, broke


def test_hostile_text_stays_in_its_place(origin, logged):
    """Quotes, backslashes and bytes that are no UTF-8 cannot forge a line."""
    client, lines = logged()
    origin.on("GET *", always(200, {"Cache-Control": "no-store"}))
    client.get('/"},{"status":1', {"User-Agent": 'x","status":"1', "Referer": "\xff\xfe\x80"}).expect(200)
    line, = lines(1)
    assert line["status"] == 200


def test_the_combined_format(larder, origin, tmp_path):
    path = tmp_path / "access.log"
    client = Client(larder(origin, config='[server]\naccess_log_format = "combined"\n', flags=["--access-log", path]))
    origin.expect("GET /a").reply(200, fresh(), b"hello")
    client.get("/a", {"User-Agent": "agent", "Referer": "http://x.test/"}).expect(200)
    wait_until(lambda: path.exists() and path.read_text(), "a log line")
    assert re.match(r'127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000\] "GET /a HTTP/1\.1" 200 \d+ "http://x\.test/" "agent"', path.read_text()), \
        path.read_text()


def test_the_log_goes_to_standard_output(origin, tmp_path):
    process = subprocess.Popen([LARDER, "serve", "--origin", origin.url, "--listen", "127.0.0.1:0", "--cache-dir", tmp_path / "cache", "--access-log", "-"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        address = next(m.group(1) for m in (re.search(r"listening\b.*address=(\S+)", line) for line in iter(process.stderr.readline, "")) if m)

        class Started:  # what a client needs to know of a proxy
            clients = []
        Started.address = ("127.0.0.1", int(address.rpartition(":")[2]))
        origin.expect("GET /a").reply(200, fresh(), b"x")
        Client(Started).get("/a", {"Connection": "close"}).expect(200)
        assert json.loads(process.stdout.readline())["status"] == 200
    finally:
        process.terminate()
        process.communicate()
        assert process.returncode == 0


def test_lines_are_flushed_at_the_end(larder, origin, tmp_path):
    path = tmp_path / "access.log"
    proxy = larder(origin, flags=["--access-log", path])
    origin.expect("GET /a").reply(200, fresh(), b"x")
    client = Client(proxy)
    for _ in range(50):
        client.get("/a").expect(200)
    proxy.stop()
    assert path.read_text(encoding="utf-8").count("\n") == 50
