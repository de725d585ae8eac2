"""larder vary: how many variants, how many bodies, and which fields make them."""

import json
import tomllib

import pytest
from support.client import HOST, Client
from support.proxy import run_larder
from support.say import fresh
from support.wire import wait_until


def ask(proxy, *words):
    code, out, err = run_larder("vary", *words, "--cache-dir", proxy.cache_dir, "--json")
    assert (code, err) == (0, ""), err
    return json.loads(out)


def committed(proxy, count):
    wait_until(lambda: sum(url["variants"] for url in ask(proxy, "--limit", 1000)["urls"]) == count, f"{count} variants to be committed")


def fill(origin, client, path, requests, body, vary):
    """One variant for each of `requests`; body(request) is what it gets."""
    for headers in requests:
        origin.expect(f"GET {path}").reply(200, fresh(600, Vary=vary), body(headers))
        client.get(path, headers).expect(200, cache="stored")


AGENTS = [{"User-Agent": f"agent {n}", "Accept-Encoding": coding} for n in range(6) for coding in ("gzip", "br")]


def pasted(proxy, text):
    """The rule that is suggested, which larder takes as it stands; without its name."""
    rule = "\n".join(line for line in text.splitlines() if line.startswith("    "))
    file = proxy.cache_dir / "pasted.toml"
    file.write_text('[[site]]\norigin = "http://127.0.0.1:1"\n' + rule + "\n", encoding="utf-8")
    code, _, err = run_larder("check", file)
    assert code == 0, err
    one, = tomllib.loads(file.read_text(encoding="utf-8"))["site"][0]["rule"]
    assert one.pop("name").startswith("fewer-variants")
    return one


def test_one_field_makes_them_and_changes_nothing(origin, larder):
    proxy = larder(origin)
    client = Client(proxy)
    fill(origin, client, "/a", AGENTS, lambda headers: headers["Accept-Encoding"].encode(), "User-Agent, Accept-Encoding")
    committed(proxy, 12)
    said = ask(proxy)
    assert (said["urls_stored"], said["with_variants"], said["with_more_variants_than_bodies"]) == (1, 1, 1)
    url, = said["urls"]
    assert url["url"] == f"http://{HOST}/a"
    assert (url["variants"], url["distinct_bodies"], url["variants_needed"], url["bytes"]) == (12, 2, 2, 6 * (2 + 4))
    agent, coding = url["fields"]
    assert (agent["name"], agent["values"], agent["changes_body"]) == ("user-agent", 6, False)
    assert agent["rule"] == 'strip_request_fields = ["user-agent"]'
    assert [value["variants"] for value in agent["top"]] == [2, 2, 2]
    assert (coding["name"], coding["values"], coding["changes_body"]) == ("accept-encoding", 2, True) and "rule" not in coding
    code, text, err = run_larder("vary", "--cache-dir", proxy.cache_dir)
    assert (code, err) == (0, "")
    assert "12 variants, 2 distinct bodies" in text and 'strip_request_fields = ["user-agent"]' in text
    assert "without what no body differs by: 2 variants" in text
    assert pasted(proxy, text) == {"path": "/a", "strip_request_fields": ["user-agent"]}


def test_what_larder_can_normalise(origin, larder):
    proxy = larder(origin)
    client = Client(proxy)
    codings = [{"Accept-Encoding": value} for value in ("gzip", "br", "zstd", "deflate")]
    fill(origin, client, "/a", codings, lambda headers: headers["Accept-Encoding"].encode(), "Accept-Encoding")
    languages = [{"Accept-Language": value} for value in ("en", "de", "en-GB")]
    fill(origin, client, "/b", languages, lambda headers: headers["Accept-Language"][:2].encode(), "Accept-Language")
    committed(proxy, 7)
    fields = {url["url"].rpartition("/")[2]: url["fields"][0] for url in ask(proxy)["urls"]}
    assert fields["a"]["rule"] == "normalize_accept_encoding = true"
    assert fields["b"]["rule"] == 'normalize_accept_language = ["en-gb", "de", "en"]' and fields["b"]["changes_body"]
    for path, setting in (("a", {"normalize_accept_encoding": True}), ("b", {"normalize_accept_language": ["en-gb", "de", "en"]})):
        text = run_larder("vary", f"http://{HOST}/{path}", "--cache-dir", proxy.cache_dir, "--origin", origin.url)[1]
        assert pasted(proxy, text) == {"path": f"/{path}", **setting}


def test_the_worst_first_and_no_more_than_asked_for(origin, larder):
    proxy = larder(origin)
    client = Client(proxy)
    for count in (2, 5, 3, 1, 4):
        fill(origin, client, f"/{count}", [{"X-A": str(n)} for n in range(count)], lambda headers: b"same", "X-A")
    committed(proxy, 2 + 5 + 3 + 4)
    said = ask(proxy, "--limit", 3)
    assert [url["variants"] for url in said["urls"]] == [5, 4, 3]
    assert (said["urls_stored"], said["with_variants"]) == (5, 4)


def test_one_url_by_the_rules_of_its_site(origin, larder):
    config = f'[[site]]\norigin = "{origin.url}"\n[[site.rule]]\nname = "plain"\nstrip_tracking = true\n'
    proxy = larder(config=config)
    client = Client(proxy)
    fill(origin, client, "/a", [{"X-A": "1"}, {}], lambda headers: b"same", "X-A")
    committed(proxy, 2)
    url, = ask(proxy, f"http://{HOST}/a?utm_source=x", "--config", proxy.directory / "larder.toml")["urls"]
    assert (url["variants"], url["distinct_bodies"], url["variants_needed"]) == (2, 1, 1)
    assert {value["value"] for value in url["fields"][0]["top"]} == {"1", None}
    nothing, = ask(proxy, f"http://{HOST}/b", "--config", proxy.directory / "larder.toml")["urls"]
    assert (nothing["variants"], nothing["fields"]) == (0, [])


def test_an_empty_store(origin, larder):
    proxy = larder(origin)
    assert ask(proxy) == {"urls_stored": 0, "with_variants": 0, "with_more_variants_than_bodies": 0, "urls": []}


@pytest.mark.parametrize("words, complaint", [
    (["--limit", "0"], "--limit: expected a number from 1 to 1000"),
    (["--limit", "x"], "--limit"),
    (["--cache-dir", "/nowhere"], "no store can be read in /nowhere: there is none: see --config and --cache-dir"),
    (["ftp://a/", "--origin", "http://127.0.0.1"], "expected a URL"),
    (["http://a/", "http://b/"], "unexpected"),
])
def test_what_cannot_be_answered(words, complaint):
    code, out, err = run_larder("vary", *words)
    assert (code, out) == (2, "") and complaint in err, err
