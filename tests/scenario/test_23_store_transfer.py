"""larder store: what a store holds goes into a file and into another store; one that is stopped gets smaller."""

import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import termios
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.client import HOST, Client
from support.proxy import LARDER
from support.say import fresh
from support.store_commands import BODIES, URL, both, fill, heed_signals, held, listed, make_newer, ok, raw, read_files, spoil_bodies, spoil_pages, tool
from support.wire import wait_until


@pytest.fixture
def proxy(larder, origin):
    """One with a small store: tests read its file."""
    return larder(origin, flags=["--cache-size", "128MiB"])  # with a body file


@pytest.fixture
def filled(origin, proxy, client):
    fill(origin, client, proxy, BODIES)
    return proxy


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
