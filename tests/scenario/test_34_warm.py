"""larder warm: URLs from everywhere, asked for through larder, so that the next one to ask has a hit."""

import gzip
import time

import pytest
from support.client import HOST, Client
from support.parallel import in_parallel
from support.proxy import run_larder
from support.say import always, fresh

BASE = f"http://{HOST}"


def warm(proxy, *words, code=0, quiet=True):
    host, port = proxy.address
    done, out, err = run_larder("warm", *words, "--listen", f"{host}:{port}", *(["--quiet"] if quiet else []))
    assert done == code, out + err
    return out, err


def figures(out):
    """{'stored now': 2, …}"""
    pairs = (line.rsplit(maxsplit=1) for line in out.splitlines()[1:])
    return {name.strip(): int(count) for name, count in pairs if count.isdigit()}


def test_urls(proxy, origin, client):
    for target in ("/a", "/b?c=d"):
        origin.expect(f"GET {target}").reply(200, fresh(), b"hello")
    out, err = warm(proxy, f"{BASE}/a", f"{BASE}/b?c=d", f"{BASE}/a#twice")
    assert out.startswith("2 requests for 2 URLs\n") and err == ""
    assert figures(out) == {"stored now": 2, "hits": 0, "not stored": 0, "failed": 0}
    client.get("/a").expect(200, body=b"hello", cache="hit")
    assert origin.last.header("User-Agent") == "larder-warm"
    assert figures(warm(proxy, f"{BASE}/a")[0])["hits"] == 1


def test_where_larder_listens_it_says_itself(proxy, origin, tmp_path):
    """By the socket beside its cache: the port was picked by the system."""
    origin.expect("GET /a").reply(200, fresh(), b"hello")
    code, out, err = run_larder("warm", f"{BASE}/a", "--cache-dir", proxy.cache_dir, "--quiet")
    assert code == 0 and figures(out)["stored now"] == 1, err
    code, out, err = run_larder("warm", f"{BASE}/a", "--cache-dir", tmp_path / "none", "--quiet")
    assert code == 2 and out == "" and err.startswith("larder: warm: no larder answers at unix:") and err.count("\n") == 1


def test_variants(proxy, origin):
    """Several values of one name: one request each, with every value of the others."""
    origin.on("GET /a", lambda exchange: exchange.reply(200, fresh(Vary="Accept-Encoding, Accept-Language"), b"x"))
    out, _ = warm(proxy, f"{BASE}/a", "-H", "Accept-Encoding: gzip", "-H", "Accept-Encoding: br", "-H", "Accept-Language: de",
                  "-H", "accept-encoding: zstd", "-H", "X-One: 1")
    assert out.startswith("3 requests for 1 URL\n") and figures(out)["stored now"] == 3
    assert {request.header("Accept-Encoding") for request in origin.requests} == {"gzip", "br", "zstd"}
    assert {(request.header("Accept-Language"), request.header("X-One")) for request in origin.requests} == {("de", "1")}


def test_a_user_agent_of_ones_own(proxy, origin):
    """Its field in place of ours, which would be part of every variant by Vary."""
    origin.on("GET /a", lambda exchange: exchange.reply(200, fresh(Vary="User-Agent"), b"x"))
    warm(proxy, f"{BASE}/a", "-H", "user-agent: a", "-H", "User-Agent: b")
    assert sorted(request.header("User-Agent") for request in origin.requests) == ["a", "b"]
    Client(proxy).get("/a", {"User-Agent": "a"}).expect(200, cache="hit")


@pytest.mark.parametrize("field, said", [("Host: x", "give the URL with that host"), ("connection: close", "Connection makes no variant"),
                                         ("Content-Length: 3", "GET without content"), ("Transfer-Encoding: chunked", "GET without content")])
def test_fields_that_are_not_for_variants(proxy, field, said):
    _, err = warm(proxy, f"{BASE}/a", "-H", field, code=2)
    assert err.startswith("larder: -H: ") and said in err


def test_what_is_not_stored_and_what_fails(proxy, origin):
    answers = {"/no-store": (200, {"Cache-Control": "no-store"}), "/private": (200, {"Cache-Control": "private"}),
               "/private2": (200, {"Cache-Control": "private"}), "/moved": (302, {"Location": "/a"}), "/gone": (404, {"Cache-Control": "no-store"}),
               "/stored404": (404, fresh()), "/broken": (500, {})}
    for target, (status, fields) in answers.items():
        origin.expect(f"GET {target}").reply(status, fields, b"x")
    out, err = warm(proxy, *(BASE + target for target in answers), code=1, quiet=False)
    told = figures(out)
    assert (told["stored now"], told["not stored"], told["failed"]) == (1, 4, 2)
    assert (told["no-store"], told["private"], told["not-stored-status"]) == (1, 2, 1)
    assert sorted(err.splitlines()) == [f"larder: warm: 404: {BASE}/gone", f"larder: warm: 500: {BASE}/broken"]


def test_sitemaps(proxy, origin):
    def xml(kind, element, *urls):
        return f"<{kind}>{''.join(f'<{element}><loc>{url}</loc></{element}>' for url in urls)}</{kind}>".encode()

    origin.expect("GET /index.xml").reply(200, fresh(), xml("sitemapindex", "sitemap", f"{BASE}/one.xml", f"{BASE}/two.xml", f"{BASE}/index.xml"))
    origin.expect("GET /one.xml").reply(200, fresh(), xml("urlset", "url", f"{BASE}/1", "https://other.test/2"))
    origin.expect("GET /two.xml").reply(200, fresh(), xml("urlset", "url", f"{BASE}/1", f"{BASE}/3"))
    origin.on("GET *", always(200, fresh(), b"x"))
    out, _ = warm(proxy, "--sitemap", f"{BASE}/index.xml")
    assert figures(out)["stored now"] == 3
    Client(proxy, host="other.test").get("/2").expect(200, cache="hit")
    origin.expect("GET /none.xml").reply(404, {}, b"")
    _, err = warm(proxy, "--sitemap", f"{BASE}/none.xml", code=2)
    assert "larder answers with status 404" in err
    origin.expect("GET /no.xml").reply(200, fresh(), b"<html></html>")
    _, err = warm(proxy, "--sitemap", f"{BASE}/no.xml", code=2)
    assert "it is no sitemap" in err


@pytest.mark.parametrize("style, field", [("x-forwarded", {"X-Forwarded-Proto": "https"}), ("forwarded", {"Forwarded": "for=192.0.2.1;proto=https"})])
def test_https_behind_a_trusted_proxy(larder, origin, style, field):
    """It is asked for as that proxy would: what clients of https get is warm then."""
    proxy = larder(origin, config=f'[server]\ntrust_forwarded = true\nforwarded = "{style}"\n')
    origin.on("GET *", always(200, fresh(), b"x"))
    out, _ = warm(proxy, f"{BASE}/1".replace("http:", "https:"))
    assert figures(out)["stored now"] == 1
    Client(proxy).get("/1", field).expect(200, cache="hit")
    Client(proxy).get("/1").expect(200, cache="!hit")


def test_compressed_sitemaps(proxy, origin):
    """As a file, as a content coding, and as both; of what explodes no more than a limit is taken."""
    index = f"<sitemapindex><sitemap><loc>{BASE}/one.xml.gz</loc></sitemap><sitemap><loc>{BASE}/two.xml.gz</loc></sitemap></sitemapindex>".encode()
    one, two = (f"<urlset><url><loc>{BASE}/{number}</loc></url></urlset>".encode() for number in (1, 2))
    origin.expect("GET /index.xml").reply(200, fresh(Content_Encoding="gzip"), gzip.compress(index))
    origin.expect("GET /one.xml.gz").reply(200, fresh(Content_Type="application/gzip"), gzip.compress(one))
    origin.expect("GET /two.xml.gz").reply(200, fresh(Content_Encoding="gzip"), gzip.compress(gzip.compress(two)))
    for number in (1, 2):
        origin.expect(f"GET /{number}").reply(200, fresh(), b"x")
    out, err = warm(proxy, "--sitemap", f"{BASE}/index.xml")
    assert (figures(out)["stored now"], err) == (2, "")
    origin.expect("GET /cut.xml.gz").reply(200, fresh(), gzip.compress(one)[:-1])
    _, err = warm(proxy, "--sitemap", f"{BASE}/cut.xml.gz", code=2)
    assert err == f'larder: warm: "{BASE}/cut.xml.gz": what is compressed is damaged\n'
    origin.expect("GET /bomb.xml.gz").reply(200, fresh(), gzip.compress(b"<urlset>" + bytes(65 << 20)))
    _, err = warm(proxy, "--sitemap", f"{BASE}/bomb.xml.gz", code=2)
    assert "the body is larger than allowed" in err


@pytest.mark.parametrize("format", ["json", "combined"])
def test_its_own_access_log(larder, origin, tmp_path, format):
    """What one larder was asked for, another one is warmed with."""
    log = tmp_path / "access.log"
    proxy = larder(origin, config=f'[server]\naccess_log_format = "{format}"\n', flags=["--access-log", str(log)])
    origin.on("GET *", always(200, fresh(), b"x"))
    client = Client(proxy)
    for target in ("/a", "/b?c", "/a"):
        client.get(target).expect(200)
    proxy.stop()
    other = larder(origin)
    out, _ = warm(other, "--access-log", log, *(["--host", HOST] if format == "combined" else []))
    assert figures(out)["stored now"] == 2
    Client(other).get("/b?c").expect(200, cache="hit")


def test_lists(proxy, origin, tmp_path):
    origin.on("GET *", always(200, fresh(), b"x"))
    urls = tmp_path / "urls"
    urls.write_text(f"# all\n{BASE}/1\n\n{BASE}/2\nnonsense\n", encoding="utf-8")
    out, _ = warm(proxy, "--urls", urls)
    assert figures(out)["stored now"] == 2 and "1 line names no URL" in out
    _, err = warm(proxy, "--urls", tmp_path / "none", code=2)
    assert "No such file" in err
    urls.write_text("", encoding="utf-8")
    _, err = warm(proxy, "--urls", urls, code=2)
    assert "there is no URL" in err


def test_as_many_at_a_time_as_it_may(proxy, origin):
    gates = [origin.gate() for _ in range(6)]
    for number, gate in enumerate(gates):
        origin.expect(f"GET /{number}").reply(200, fresh(), b"x", hold=gate)

    def open_in_turn():
        for first in range(0, len(gates), 2):
            pair = gates[first:first + 2]
            for gate in pair:
                gate.wait_reached()
            assert origin.count() == first + 2  # the next ones wait for these
            for gate in pair:
                gate.open()

    def ask():
        return warm(proxy, *(f"{BASE}/{number}" for number in range(6)), "--concurrency", "2", "--rate", "off")[0]

    results = in_parallel(lambda function: function(), [ask, open_in_turn])
    assert figures(results[0])["stored now"] == 6


def test_the_rate_holds(proxy, origin):
    """20 at 50/s take 380 ms at least: nothing makes them faster."""
    origin.on("GET *", always(200, fresh(), b"x"))
    begun = time.monotonic()
    warm(proxy, *(f"{BASE}/{number}" for number in range(20)), "--rate", "50/s", "--concurrency", "8")
    assert time.monotonic() - begun >= 0.38


def test_over_a_unix_socket(larder, origin, tmp_path):
    path = tmp_path / "larder.sock"
    larder(origin, listen=(f"unix:{path}",))
    origin.expect("GET /a").reply(200, fresh(), b"x")
    assert run_larder("warm", f"{BASE}/a", "--listen", f"unix:{path}", "--quiet")[0] == 0


def test_nobody_listens(tmp_path):
    code, out, err = run_larder("warm", f"{BASE}/a", "--listen", f"unix:{tmp_path}/none")
    assert (code, out) == (2, "") and f"no larder listens at unix:{tmp_path}/none: is it running, with this configuration? See --config, --cache-dir and --listen" in err


@pytest.mark.parametrize("words, said", [
    ([], "expected a URL, --urls, --sitemap or --access-log"),
    (["nonsense"], "warm: \"nonsense\""),
    ([f"{BASE}/a", "--rate", "fast"], "--rate: expected requests a second"),
    ([f"{BASE}/a", "--concurrency", "0"], "--concurrency: expected a number from 1 to 64"),
    ([f"{BASE}/a", "-H", "nonsense"], "-H: expected a field"),
    ([f"{BASE}/a", *[word for number in range(65) for word in ("-H", f"A: {number}")]], "-H: expected at most 64 combinations"),
])
def test_mistakes(words, said):
    code, out, err = run_larder("warm", *words)
    assert (code, out) == (2, "") and said in err and err.count("\n") == 1


def test_in_record_mode_everything_is_kept(larder, origin):
    """The way to a copy of a site that works without it."""
    proxy = larder(origin, config='[[site]]\nmode = "record"\n')
    origin.expect("GET /a").reply(200, {"Cache-Control": "private"}, b"x")
    assert figures(warm(proxy, f"{BASE}/a")[0])["stored now"] == 1
