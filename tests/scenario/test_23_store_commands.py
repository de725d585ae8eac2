"""larder store: looking at a store and after it, while larder runs and when it is stopped."""

import json
import subprocess

import pytest
from support.client import HOST, Client
from support.proxy import LARDER, run_larder
from support.say import fresh
from support.wire import wait_until

URL = f"http://{HOST}"


def tool(where, verb, *words):
    """Runs `larder store VERB` on a proxy's cache, or a directory: (exit code, standard output, standard error)."""
    return run_larder("store", verb, *words, "--cache-dir", getattr(where, "cache_dir", where))


def ok(where, verb, *words):
    code, out, err = tool(where, verb, *words)
    assert code == 0, (code, out, err)
    return out


def listed(where, *words):
    return [json.loads(line) for line in ok(where, "ls", "--json", *words).splitlines()]


def raw(where, verb, *words, **options):
    done = subprocess.run([LARDER, "store", verb, *words, "--cache-dir", getattr(where, "cache_dir", where)],
                          capture_output=True, check=False, timeout=60, **options)
    return done.returncode, done.stdout


def fill(origin, client, proxy, responses):
    """Has `responses` (path to body, or to (headers, body)) stored and committed."""
    for path, what in responses.items():
        headers, body = what if isinstance(what, tuple) else (fresh(), what)
        origin.expect(f"GET {path}").reply(200, headers, body)
        client.get(path).expect(200)
    wait_until(lambda: len(listed(proxy)) == len(responses), "everything to be committed")


@pytest.fixture
def proxy(larder, origin):
    """One with a small store: tests read its file."""
    return larder(origin, flags=["--cache-size", "128MiB"])  # with a body file


BODIES = {"/a": b"hello", "/b": b"x" * 100_000, "/c/d": b"", "/c/e": bytes(range(256)) * 2000}


@pytest.fixture
def filled(origin, proxy, client):
    fill(origin, client, proxy, BODIES)
    return proxy


def both(proxy):
    """The store while larder runs, then when it is stopped."""
    yield "running"
    proxy.stop()
    yield "stopped"


def test_stat(filled):
    for state in both(filled):
        figures = json.loads(ok(filled, "stat", "--json"))
        assert figures["responses"] == figures["keys"] == figures["fresh"] == len(BODIES), state
        assert figures["body_bytes"] == sum(map(len, BODIES.values()))
        assert figures["body_bytes"] < figures["used_bytes"] < figures["size_bytes"] == 128 << 20
        assert figures["damaged"] == figures["stale_readers"] == 0
        text = ok(filled, "stat")
        assert "responses      4\n" in text and "128 MiB" in text


def test_ls(origin, filled, client):
    vary = {**fresh(), "Vary": "Accept-Language"}
    origin.expect("GET /v").reply(200, vary, b"de")
    client.get("/v", {"Accept-Language": "de"}).expect(200)
    origin.expect("GET /v").reply(200, vary, b"english")
    client.get("/v", {"Accept-Language": "en"}).expect(200)
    wait_until(lambda: len(listed(filled, "*/v")) == 2, "both variants to be committed")
    for state in both(filled):
        rows = listed(filled)
        assert [row["url"] for row in rows] == [URL + path for path in [*BODIES, "/v", "/v"]], state
        assert [row["body_bytes"] for row in rows[:4]] == [len(body) for body in BODIES.values()]
        german, english = rows[4:]
        assert (german["variant"], german["variants"], german["selection"]) == (2, 2, {"accept-language": "de"})
        assert (english["variant"], english["body_bytes"], english["status"]) == (1, 7, 200)
        assert [row["url"] for row in listed(filled, f"{URL}/c/*")] == [f"{URL}/c/d", f"{URL}/c/e"]
        assert [row["url"] for row in listed(filled, "/c/*")] == [f"{URL}/c/d", f"{URL}/c/e"]
        assert len(listed(filled, "/*")) == 6 and listed(filled, "/c") == []
        assert len(listed(filled, "--limit", "3")) == 3
        assert listed(filled, "nothing like it") == []
        assert ok(filled, "ls").count("\n") == 6


def test_get(origin, filled, client):
    vary = {**fresh(), "Vary": "Accept-Language", "X-Which": "german"}
    origin.expect("GET /v").reply(200, vary, b"de")
    client.get("/v", {"Accept-Language": "de"}).expect(200)
    origin.expect("GET /v").reply(404, {**vary, "X-Which": "english"}, b"en")
    client.get("/v", {"Accept-Language": "en"}).expect(404)
    wait_until(lambda: len(listed(filled, "*/v")) == 2, "both variants to be committed")
    for state in both(filled):
        for path, body in BODIES.items():
            code, out = raw(filled, "get", URL + path)
            head, _, got = out.partition(b"\r\n\r\n")
            assert (code, got) == (0, body), (state, path)
            assert head.startswith(b"HTTP/1.1 200 OK\r\n") and b"Content-Length: %d" % len(body) in head
            assert raw(filled, "get", "--body", URL + path) == (0, body)
            assert raw(filled, "get", "--head", f"GET {URL}{path}")[1].endswith(b"\r\n\r\n")
        assert raw(filled, "get", "--body", f"{URL}/v")[1] == b"en", "the newest"
        assert raw(filled, "get", "--body", "--variant", "2", f"{URL}/v")[1] == b"de"
        assert raw(filled, "get", "--body", "-H", "Accept-Language: de", f"{URL}/v")[1] == b"de"
        assert "404 Not Found" in ok(filled, "get", "-H", "Accept-Language: en", f"{URL}/v")
        assert tool(filled, "get", "--variant", "3", f"{URL}/v")[0] == 1
        assert tool(filled, "get", "-H", "Accept-Language: fr", f"{URL}/v")[0] == 1
        code, out, err = tool(filled, "get", f"{URL}/nothing")
        assert (code, out) == (1, "") and "nothing is stored under" in err


def test_check(filled):
    report = json.loads(ok(filled, "check", "--json"))
    assert report["good"] and report["in_use"] and report["responses"] == len(BODIES)
    assert "bodies" not in report
    filled.stop()
    report = json.loads(ok(filled, "check", "--json"))
    assert report["good"] and not report["in_use"] and report["bodies"] == report["responses"] == len(BODIES)
    assert report["orphan_bodies"] == report["lost_pages"] == 0
    assert "good" in ok(filled, "check")


def test_check_finds_a_damaged_body(filled):
    filled.stop()
    bodies = filled.cache_dir / "bodies"
    at = bodies.read_bytes().find(b"x" * 1000)
    assert at >= 0
    with bodies.open("r+b") as opened:
        opened.seek(at + 500)
        opened.write(b"!")
    code, out, err = tool(filled, "check")
    assert code == 1 and "DAMAGED" in out and "1 damaged" in out, out
    assert f'"GET {URL}/b"' in err and "body is damaged" in err
    code, out, err = tool(filled, "export", filled.directory / "export")
    assert code == 1 and "exported 3 responses" in err and "1 damaged" in err


def test_check_finds_damaged_pages(filled):
    filled.stop()
    with (filled.cache_dir / "data.mdb").open("r+b") as opened:
        for page in range(2, 40):
            opened.seek(page * 4096)
            opened.write(b"\xff" * 64)
    code, out, _ = tool(filled, "check")  # which pages these are depends on how many commits there were
    assert code == 1 and "DAMAGED" in out
    for verb in ("stat", "ls"):
        assert tool(filled, verb)[0] in (0, 1, 2), verb


def test_truncated_file(filled):
    filled.stop()
    with (filled.cache_dir / "data.mdb").open("r+b") as opened:
        opened.truncate(20_000)
    for verb in ("stat", "ls", "check"):
        code, _, err = tool(filled, verb)
        assert code in (1, 2), verb
    assert "truncated" in tool(filled, "stat")[2]


def test_compact(filled, client):
    proxy = filled
    code, _, err = tool(proxy, "compact")
    assert code == 2 and "in use by another larder" in err
    client.get("/a").expect(200, cache="hit")
    proxy.stop()
    assert "4 responses" in ok(proxy, "compact")
    assert json.loads(ok(proxy, "stat", "--json"))["size_bytes"] == 128 << 20
    assert json.loads(ok(proxy, "check", "--json"))["good"]
    proxy.start()
    again = Client(proxy)
    for path, body in BODIES.items():
        again.get(path).expect(200, body=body, cache="hit")


def test_export_warms_another_machine(origin, filled, larder, tmp_path):
    file = tmp_path / "export"
    code, _, err = tool(filled, "export", file)
    assert code == 0 and "exported 4 responses" in err
    assert not (tmp_path / "export.partial").exists()
    code, out = raw(filled, "export", "-")
    assert code == 0 and abs(len(out) - file.stat().st_size) < 10

    other = tmp_path / "other"
    code, _, err = tool(other, "import", file, "--cache-size", "64MiB")
    assert code == 0 and "imported 4 responses" in err, err
    assert json.loads(ok(other, "stat", "--json"))["size_bytes"] == 64 << 20
    assert json.loads(ok(other, "check", "--json"))["good"]
    code, _, err = tool(other, "import", file)
    assert code == 0 and "4 were there already" in err
    warm = larder(origin, cache_dir=other)  # the origin expects no request
    client = Client(warm)
    for path, body in BODIES.items():
        client.get(path).expect(200, body=body, cache="hit")


def test_import_needs_a_stopped_store(filled, tmp_path):
    file = tmp_path / "export"
    ok(filled, "export", file)
    code, _, err = tool(filled, "import", file)
    assert code == 2 and "in use by another larder: stop it first" in err


def test_age_goes_on(origin, proxy, client, tmp_path):
    fill(origin, client, proxy, {"/a": ({**fresh(100), "Age": "40"}, b"hello")})
    ok(proxy, "export", tmp_path / "export")
    ok(tmp_path / "other", "import", tmp_path / "export")
    assert 40 <= listed(tmp_path / "other")[0]["age"] < 60
    assert listed(tmp_path / "other")[0]["ttl"] <= 60


def test_export_leaves_out(origin, larder, tmp_path):
    proxy = larder(origin, flags=["--profile", "rfc"])
    client = Client(proxy)
    fill(origin, client, proxy, {"/a": b"a", "/b/1": b"b", "/b/2": b"b",
                                 "/cookie": ({**fresh(), "Set-Cookie": "a=b"}, b"c"),
                                 "/tagged": ({**fresh(), "Cache-Tag": "x"}, b"t")})
    def exported(*flags):
        other = tmp_path / f"other{len(list(tmp_path.iterdir()))}"
        file = tmp_path / "export"
        ok(proxy, "export", file, *flags)
        ok(other, "import", file)
        return [row["url"].removeprefix(URL) for row in listed(other)]

    assert exported("--exclude", "*/b/*") == ["/a", "/cookie", "/tagged"]
    assert exported("--without-private") == ["/a", "/b/1", "/b/2", "/tagged"]
    assert exported("--without-tagged", "--exclude", "*/b/1", "--exclude=*/b/2") == ["/a", "/cookie"]


@pytest.mark.parametrize("spoil, message, code", [
    (lambda data: data[:len(data) // 2], "truncated", 1),
    (lambda data: data[:1000] + b"\0" + data[1001:] if data[1000] else data[:1000] + b"\1" + data[1001:], "damaged", 1),
    (lambda data: b"something else", "no export of larder", 2),
    (lambda data: b"", "no export of larder", 2),
    (lambda data: data + b"more", "damaged", 1),
])
def test_import_of_a_bad_file(filled, tmp_path, spoil, message, code):
    file = tmp_path / "export"
    ok(filled, "export", file)
    file.write_bytes(spoil(file.read_bytes()))
    got, _, err = tool(tmp_path / "other", "import", file)
    assert got == code and message in err, err
    if code == 2:
        assert not (tmp_path / "other").exists() and "imported" not in err
        return
    report = json.loads(ok(tmp_path / "other", "check", "--json"))
    assert report["good"], "whatever was imported is right"


def test_export_while_larder_stores_and_removes(origin, larder, tmp_path):
    """Every response in it is whole; larder is not held up."""
    proxy = larder(origin, flags=["--cache-size", "16MiB"])
    origin.on("GET /item/*", lambda exchange: exchange.reply(200, fresh(), exchange.request.target.encode() * 5000))
    client = Client(proxy)
    for round_ in range(6):
        for item in range(60):
            client.get(f"/item/{round_}-{item}").expect(200)
        ok(proxy, "export", tmp_path / "export")
        assert json.loads(ok(proxy, "check", "--json"))["good"]
    client.get("/item/5-59").expect(200, cache="hit")
    code, _, err = tool(tmp_path / "other", "import", tmp_path / "export")
    assert code == 0, err
    for row in listed(tmp_path / "other"):
        path = row["url"].removeprefix(URL)
        if row["variant"] == 1 and path.endswith("7"):
            assert raw(tmp_path / "other", "get", "--body", row["url"])[1] == path.encode() * 5000
    assert json.loads(ok(tmp_path / "other", "check", "--json"))["good"]


@pytest.mark.parametrize("words, message", [
    ([], None),
    (["frob"], "unknown command"),
    (["stt"], "did you mean stat?"),
    (["get"], "expected KEY"),
    (["export"], "expected FILE"),
    (["stat", "extra"], "unexpected"),
    (["ls", "--limit", "0"], "expected a number from 1 on"),
    (["ls", "--limt", "3"], "did you mean --limit?"),
    (["stat", "--exclude", "x"], "unknown flag"),
    (["get", "--head", "--body", "x"], "exclude each other"),
    (["stat", "--config", "/nowhere.toml"], "/nowhere.toml"),
])
def test_command_line(words, message):
    code, out, err = run_larder("store", *words)
    if message is None:
        assert code == 0 and "export FILE" in out
    else:
        assert code == 2 and message in err and out == ""


def test_no_store(tmp_path):
    for verb in ("stat", "ls", "check", "compact"):
        code, out, err = tool(tmp_path / "none", verb)
        assert (code, out) == (2, "") and "cannot open the store" in err and "there is none: see --config and --cache-dir" in err, verb
    assert not (tmp_path / "none").exists(), "looking makes nothing"


def test_partial_responses(origin, proxy, client, tmp_path):
    body = bytes(range(256)) * 1000
    origin.expect("GET /p").reply(206, {**fresh(), "ETag": '"v1"', "Content-Range": f"bytes 1000-1999/{len(body)}"},
                                  body[1000:2000])
    client.get("/p", {"Range": "bytes=1000-1999"}).expect(206)
    wait_until(lambda: len(listed(proxy)) == 1, "the part to be committed")
    row = listed(proxy)[0]
    assert (row["body_bytes"], row["complete_bytes"]) == (1000, len(body))
    assert "part of 250 KiB" in ok(proxy, "ls")
    code, out, err = tool(proxy, "get", f"{URL}/p")
    assert code == 1 and f"only 1000 of {len(body)} bytes" in err and "206" not in out.splitlines()[0]
    code, _, err = tool(proxy, "export", tmp_path / "export")
    assert code == 0 and "exported 0 responses" in err and "1 partial" in err
    proxy.stop()
    report = json.loads(ok(proxy, "check", "--json"))
    assert report["good"] and report["responses"] == 1 and report["body_bytes"] == 1000
    assert json.loads(ok(proxy, "stat", "--json"))["partial"] == 1
