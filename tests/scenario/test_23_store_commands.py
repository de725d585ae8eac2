"""larder store: looking at a store and after it, while larder runs and when it is stopped."""

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import termios
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.client import HOST, Client
from support.proxy import LARDER, run_larder
from support.say import date, fresh
from support.small_disk import needs_root, read_only
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


def read_files(proxy):
    return {name: (proxy.cache_dir / name).read_bytes() for name in ("data.mdb", "bodies", "marker")}


def spoil_bodies(proxy):
    with (proxy.cache_dir / "bodies").open("r+b") as opened:
        opened.truncate(8192)


def spoil_pages(proxy):
    with (proxy.cache_dir / "data.mdb").open("r+b") as opened:
        for page in range(2, 40):
            opened.seek(page * 4096)
            opened.write(b"\xff" * 64)


def make_newer(proxy):
    file = proxy.cache_dir / "data.mdb"
    file.write_bytes(file.read_bytes().replace(b"larder\0\3", b"larder\0\4"))


@pytest.mark.parametrize("spoil, code, says", [
    (spoil_bodies, 1, "too short"), (spoil_pages, 1, "damaged"), (make_newer, 2, "of format 4, a newer larder's")])
def test_compact_and_import_leave_what_is_damaged_alone(filled, tmp_path, spoil, code, says):
    """Nothing that a start would set aside is given up by maintenance."""
    ok(filled, "export", tmp_path / "all.export")
    filled.stop()
    spoil(filled)
    before = read_files(filled)
    for words in (["compact"], ["import", tmp_path / "all.export"]):
        got, out, err = tool(filled, *words)
        assert (got, out) == (code, "") and says in err and "nothing was changed" in err, (got, out, err)
        assert err.count("\n") == 1, err
        assert read_files(filled) == before
    assert not list(filled.cache_dir.glob("data.mdb.*"))


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
    assert not list(tmp_path.glob("export.*"))
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


def test_export_takes_the_place_of_a_regular_file_only(filled, tmp_path):
    """It is as secret as the store, or as what it replaces; a link is followed, another export does not get in between."""
    file, link, other = tmp_path / "export", tmp_path / "link", tmp_path / "there" / "other"
    other.parent.mkdir()
    link.symlink_to("there/other")
    ok(filled, "export", file)
    assert file.stat().st_mode & 0o7777 == 0o600
    for mode in (0o640, 0o644, 0o600):
        file.chmod(mode)
        before = file.stat().st_ino
        ok(filled, "export", file)
        assert file.stat().st_mode & 0o7777 == mode and file.stat().st_ino != before
    for there in (False, True):
        ok(filled, "export", link)
        assert link.is_symlink() and other.is_file() and other.stat().st_size == file.stat().st_size, there
    (tmp_path / "loop").symlink_to("loop")
    for target, message in ((tmp_path / "loop", "Too many levels"), (tmp_path, "Is a directory"), ("", "No such file"),
                            (tmp_path / "none" / "file", "No such file")):
        code, _, err = tool(filled, "export", target)
        assert code == 2 and "cannot write" in err and message in err, err
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "larder0") == ["export", "link", "loop", "there"]
    assert [path.name for path in other.parent.iterdir()] == ["other"]


def test_export_writes_straight_through_what_is_no_file(filled, tmp_path):
    pipe, link, appended = tmp_path / "pipe", tmp_path / "stdout", tmp_path / "appended"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as pool:
        got = pool.submit(pipe.read_bytes)
        ok(filled, "export", pipe)
        assert got.result()
    assert pipe.is_fifo()
    (tmp_path / "copy").write_bytes(got.result())
    assert "imported 4 responses" in tool(tmp_path / "store", "import", tmp_path / "copy")[2]

    link.symlink_to("/proc/self/fd/1")
    assert abs(len(raw(filled, "export", link)[1]) - len(got.result())) < 10 and link.is_symlink()
    appended.write_bytes(b"before")
    with appended.open("ab") as opened:
        subprocess.run([LARDER, "store", "export", link, "--cache-dir", filled.cache_dir], stdout=opened, check=True)
    assert appended.read_bytes()[:12] == b"before" + got.result()[:6]

    ours, theirs = pty.openpty()
    code, _, err = tool(filled, "export", os.ttyname(theirs))
    assert code == 2 and "is a terminal" in err
    os.close(ours)
    os.close(theirs)


def test_export_destroys_no_store(filled, tmp_path):
    (tmp_path / "link").symlink_to(filled.cache_dir / "bodies")
    names = ("data.mdb", "lock.mdb", "bodies", "lock", "marker", "data.mdb.smaller", "data.mdb.damaged-1", "../cache/data.mdb")
    for state in both(filled):
        for target in (*(filled.cache_dir / name for name in names), tmp_path / "link"):
            code, _, err = tool(filled, "export", target)
            assert code == 2 and "is a file of a store: the export would destroy it" in err, (state, target, err)
        ok(filled, "export", filled.cache_dir / "backup")
    assert json.loads(ok(filled, "check", "--json"))["good"]


def heed_signals():
    """In a new process: who started the tests may have told it to ignore some (nohup, a shell's `&`), which larder then does, too."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def held(*words):
    """A command that waits in front of its first sign of progress: its terminal is stopped, as by Ctrl-S."""
    ours, theirs = pty.openpty()
    termios.tcflow(theirs, termios.TCOOFF)
    with subprocess.Popen([LARDER, "store", *map(str, words)], stdout=subprocess.DEVNULL, stderr=theirs,
                          preexec_fn=heed_signals) as process:

        def let_go():
            termios.tcflow(theirs, termios.TCOON)
            os.close(theirs)
            said = b""
            with contextlib.suppress(OSError):  # it has ended
                while part := os.read(ours, 4096):
                    said += part
            process.wait(60)
            return said.decode()

        try:
            yield process, let_go
        finally:
            process.kill()
            os.close(ours)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_an_export_that_is_interrupted_leaves_nothing(filled, tmp_path, number):
    file = tmp_path / "export"
    file.write_bytes(b"before")
    with held("export", file, "--cache-dir", filled.cache_dir) as (process, let_go):
        wait_until(lambda: list(tmp_path.glob("export.partial-*")), "the file beside it")
        process.send_signal(number)
        assert f'store export: stopped: "{file}" is as it was' in let_go()
    assert process.returncode == -number
    assert file.read_bytes() == b"before" and not list(tmp_path.glob("export.*"))


def test_two_exports_to_one_file(filled, tmp_path):
    file = tmp_path / "export"
    with held("export", file, "--cache-dir", filled.cache_dir) as (process, let_go):
        wait_until(lambda: list(tmp_path.glob("export.partial-*")), "the file beside it")
        assert "exported 4 responses" in tool(filled, "export", file)[2]
        assert "imported 4 responses" in tool(tmp_path / "one", "import", file)[2]
        assert "exported 4 responses" in let_go()
    assert "imported 4 responses" in tool(tmp_path / "two", "import", file)[2]
    assert process.returncode == 0 and not list(tmp_path.glob("export.*"))


def test_an_import_that_is_interrupted_keeps_what_it_has(filled, tmp_path):
    data = raw(filled, "export", "-")[1]
    with subprocess.Popen([LARDER, "store", "import", "-", "--cache-dir", tmp_path / "other", "--cache-size", "64MiB"],
                          stdin=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed_signals) as process:
        process.stdin.write(data[:300_000])  # three of them, and a part of the last
        process.stdin.flush()
        unread = bytearray(4)
        wait_until(lambda: not fcntl.ioctl(process.stdin, termios.FIONREAD, unread) and not any(unread), "all to be read")
        process.send_signal(signal.SIGINT)
        process.stdin.close()  # should it come between two reads
        said = process.stderr.read().decode()
    assert process.returncode == -signal.SIGINT
    assert "imported 3 responses, 98 KiB of bodies" in said and "stopped: what was imported before is kept" in said
    assert len(listed(tmp_path / "other")) == 3
    assert json.loads(ok(tmp_path / "other", "check", "--json"))["good"]


def test_an_import_says_what_did_not_fit(origin, larder, tmp_path):
    client = Client(larder(origin))
    for number in range(30):
        origin.expect(f"GET /{number}").reply(200, fresh(), bytes([number]) * 1_000_000)
        client.get(f"/{number}").expect(200, cache="stored")
    proxy, file = client.proxy, tmp_path / "export"
    proxy.stop()
    assert "exported 30 responses" in tool(proxy, "export", file)[2]
    assert "evicted" not in tool(tmp_path / "large", "import", file, "--cache-size", "64MiB")[2]
    code, _, said = tool(tmp_path / "small", "import", file, "--cache-size", "16MiB")
    evicted = int(re.search(r"not all of it fits: (\d+) responses were evicted again", said)[1])
    assert code == 0 and 0 < evicted == 30 - len(listed(tmp_path / "small"))


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

    for pattern in ("*/b/*", "/b/*", f"http://{HOST}/b/?"):  # one meaning, as of ls
        assert exported("--exclude", pattern) == ["/a", "/cookie", "/tagged"]
        assert [row["url"] for row in listed(proxy, pattern)] == [f"{URL}/b/1", f"{URL}/b/2"]
    assert tool(proxy, "export", tmp_path / "export", "--exclude", "/b/*", "--exclude", "b/*")[2].splitlines()[:-1] == [
        'larder: store export: --exclude "b/*" excludes nothing']
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
