"""larder store: looking at a store, while larder runs and when it is stopped."""

import contextlib
import json
import os
import subprocess
from pathlib import Path

import pytest
from support.client import HOST, Client
from support.proxy import LARDER, run_larder
from support.say import date, fresh
from support.small_disk import needs_root, read_only
from support.store_commands import BODIES, URL, both, fill, held, listed, make_newer, ok, raw, read_files, spoil_bodies, tool
from support.wire import wait_until


@pytest.fixture
def proxy(larder, origin):
    """One with a small store: tests read its file."""
    return larder(origin, flags=["--cache-size", "128MiB"])  # with a body file


@pytest.fixture
def filled(origin, proxy, client):
    fill(origin, client, proxy, BODIES)
    return proxy


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


def test_a_guessed_lifetime_is_no_longer_than_configured(origin, proxy, client, tmp_path):
    """max_heuristic, of `--config` and else its usual value: what a larder of this configuration would say."""
    month = 30 * 86400
    fill(origin, client, proxy, {"/a": ({"Date": date(-3600), "Last-Modified": date(-3600 - month)}, b"x")})
    for setting, bound in (("1h", 3600), ("2h", 7200), ("7d", month / 10), ("0", 0), (None, 86400)):
        config = tmp_path / "larder.toml"
        config.write_text(f'[cache]\nmax_heuristic = "{setting}"\n[[site]]\norigin = "http://a.test"\n', encoding="utf-8")
        words = [] if setting is None else ["--config", config]
        (row,) = listed(proxy, *words)
        assert 3600 <= row["age"] < 3600 + 600 and abs(row["age"] + row["ttl"] - bound) <= 1, setting
        assert json.loads(ok(proxy, "stat", "--json", *words))["fresh"] == (row["ttl"] > 0), setting
        assert ("stale" in ok(proxy, "ls", *words)) == (bound <= 3600), setting


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
        assert raw(filled, "get", "--body", f"HTTP://{HOST.upper()}/c/../%61") == (0, BODIES["/a"]), "normalised as a request"
        for word in ("notaurl", "/a", f"{HOST}/a", "", "GET /a", "REC x", "http://", f"ftp://{HOST}/a"):
            code, out, err = tool(filled, "get", word)
            assert (code, out) == (2, "") and "expected a URL such as http://" in err, (word, err)


def purge(where, *words):
    code, _, err = run_larder("purge", *words, "--cache-dir", where.cache_dir)
    assert code == 0, err


def test_what_was_purged_looks_so_until_it_is_deleted(origin, filled, client):
    """Hard: dead, as if nothing were stored, in whatever variant; softly: stale."""
    vary = {**fresh(), "Vary": "Accept-Language"}
    origin.expect("GET /v").reply(200, vary, b"de")
    client.get("/v", {"Accept-Language": "de"}).expect(200)
    purge(filled, "--prefix", f"{URL}/c/")
    purge(filled, f"{URL}/v")
    purge(filled, "--soft", f"{URL}/b")
    origin.expect("GET /v").reply(200, vary, b"english")
    client.get("/v", {"Accept-Language": "en"}).expect(200)
    wait_until(lambda: len(listed(filled, "*/v")) == 2, "both variants to be committed")
    for state in both(filled):
        rows = {(row["url"].removeprefix(URL), row["variant"]): row for row in listed(filled)}
        marks = {"/a": None, "/b": "soft", "/c/d": "hard", "/c/e": "hard"}
        for path, mark in marks.items():
            row = rows[path, 1]
            assert row.get("purged") == mark and (row["ttl"] > 0) == (mark is None), (state, row)
        assert "purged" not in rows["/v", 1] and rows["/v", 2]["purged"] == "hard", state
        lines = {line.split("  ")[-1].strip(): line for line in ok(filled, "ls", f"{URL}/?*").splitlines()}
        assert " fresh " in lines[f"{URL}/a"] and " stale, purged " in lines[f"{URL}/b"]
        assert " purged " in lines[f"{URL}/c/d"] and "fresh" not in lines[f"{URL}/c/d"]

        figures = json.loads(ok(filled, "stat", "--json"))
        assert (figures["responses"], figures["purged"], figures["fresh"]) == (6, 3, 2), (state, figures)
        assert "purged         3\n" in ok(filled, "stat")

        code, out, err = tool(filled, "get", f"{URL}/c/e")
        assert (code, out) == (1, "") and "was purged" in err, (state, err)
        assert raw(filled, "get", "--body", f"{URL}/v")[1] == b"english", "the newest that is not"
        assert tool(filled, "get", "--variant", "2", f"{URL}/v")[0] == 1
        code, out, err = tool(filled, "get", "-H", "Accept-Language: de", f"{URL}/v")
        assert (code, out) == (1, "") and "was purged" in err
        code, out, err = tool(filled, "get", "--body", f"{URL}/b")
        assert (code, len(out)) == (0, 100_000) and "purged softly: it is stale" in err


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


def test_check_of_a_stopped_store_does_not_hold_up_a_start(origin, filled):
    """It waits here for whoever reads what it tells: larder starts, stores, removes, and the report is one of a store in use."""
    filled.stop()
    bodies = filled.cache_dir / "bodies"
    at = bodies.read_bytes().find(b"x" * 1000)
    with bodies.open("r+b") as opened:
        opened.seek(at + 500)
        opened.write(b"!")
    told, telling = os.pipe()
    os.set_blocking(telling, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(telling, b"." * 65536)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(telling, b".")
    os.set_blocking(telling, True)
    check = subprocess.Popen([LARDER, "store", "check", "--json", "--cache-dir", filled.cache_dir],
                             stdout=subprocess.PIPE, stderr=telling)
    os.close(telling)
    status = Path(f"/proc/{check.pid}/status")
    wait_until(lambda: "\nState:\tS" in status.read_text(encoding="utf-8"), "the check to wait for its reader")
    filled.start()
    client = Client(filled)
    client.get("/a").expect(200, cache="hit")
    origin.expect("GET /new").reply(200, fresh(), b"n" * 50_000)
    client.get("/new").expect(200)
    wait_until(lambda: len(listed(filled, "/new")) == 1, "it to be committed")
    with os.fdopen(told, "rb") as reader:
        assert b"its body is damaged" in reader.read()
    report = json.loads(check.communicate()[0])
    assert check.returncode == 1 and report["in_use"] and report["damaged"] == 1 and "orphan_bodies" not in report


@needs_root
def test_check_on_a_read_only_mount(filled):
    """Of a stopped store that nobody may write to everything can be checked."""
    filled.stop()
    with read_only(filled.cache_dir):
        report = json.loads(ok(filled, "check", "--json"))
        assert report["good"] and not report["in_use"] and report["bodies"] == len(BODIES)


def test_a_damaged_page_under_a_larder_that_runs(filled):
    """Said in words, with the status of damage."""
    with (filled.cache_dir / "data.mdb").open("r+b") as opened:
        whole = opened.read(200 * 4096)
        for page in range(2, 200):
            opened.seek(page * 4096)
            opened.write(b"\xff" * 64)
        code, out, err = tool(filled, "check")
        opened.seek(0)
        opened.write(whole)
    assert code == 1 and "DAMAGED (in use)" in out and "pages of the data file are damaged" in err and "MDB_" not in err


def test_truncated_file(filled):
    filled.stop()
    with (filled.cache_dir / "data.mdb").open("r+b") as opened:
        opened.truncate(20_000)
    for verb in ("stat", "ls", "check"):
        code, _, err = tool(filled, verb)
        assert code in (1, 2), verb
    assert "truncated" in tool(filled, "stat")[2]


def test_a_newer_store_is_not_started_with(filled):
    """Going a version back must not cost what the newer one will want again."""
    filled.stop()
    make_newer(filled)
    before = read_files(filled)
    code, _, err = run_larder("serve", "--listen", "127.0.0.1:0", "--origin", "http://127.0.0.1:1", "--cache-dir", filled.cache_dir,
                              "--cache-size", "128MiB")
    assert code == 2 and "of format 4, a newer larder's, and this one knows format 3" in err, err
    assert "nothing was changed" in err and read_files(filled) == before


def test_check_and_export_of_a_store_without_its_bodies(filled, tmp_path):
    """check says what a start would do, export saves what is good."""
    filled.stop()
    spoil_bodies(filled)
    report = tool(filled, "check", "--json")
    assert report[0] == 1 and json.loads(report[1])["next_start_keeps"] is False
    code, out, _ = tool(filled, "check")
    assert code == 1 and "next start" in out and "begins empty: the body file is missing, too short" in out, out
    code, _, err = tool(filled, "export", tmp_path / "good.export")
    assert code == 1 and "exported 2 responses" in err and "2 damaged and left out" in err, err
    assert "imported 2 responses" in tool(tmp_path / "other", "import", tmp_path / "good.export")[2]


def test_bodies_without_a_data_file(filled):
    """What is lost is said: by check, and by the start."""
    filled.stop()
    with (filled.cache_dir / "data.mdb").open("r+b") as opened:
        opened.truncate(0)
    code, _, err = tool(filled, "check")
    assert code == 1 and "data.mdb is missing or empty" in err, err
    filled.start()
    assert filled.stderr.count("data.mdb is missing or empty") == 1, filled.stderr


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


@pytest.mark.plain_only
def test_a_tool_that_was_there_first_leaves_room_for_every_worker(filled):
    """LMDB's table of readers is as large as who opens the store first makes it."""
    filled.stop()
    with held("check", "--cache-dir", filled.cache_dir) as (tool_process, _):
        maps = Path(f"/proc/{tool_process.pid}/maps")
        wait_until(lambda: "lock.mdb" in maps.read_text(encoding="utf-8"), "the tool to have the store open")
        filled.command += ["--workers", "150"]
        filled.start()
        assert not filled.logged("the store cannot be read")
