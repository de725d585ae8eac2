"""larder why as a command: which larder or store it asks, what it cannot read, and what it leaves as it was."""

import json
import re
import subprocess
from urllib.parse import quote

import pytest
from support.admin import Admin
from support.client import HOST, Client
from support.proxy import LARDER, run_larder
from support.say import always, fresh
from support.why import ask, command, rule, store
from support.wire import wait_until


def test_a_large_body_and_many_looks_change_nothing(origin, larder):
    """Looking takes no lock that larder needs, and writes nothing."""
    proxy = larder(origin)
    client = Client(proxy)
    origin.on("GET /a", always(200, fresh(), bytes(1_000_000)))
    store(proxy, client, "/a")
    for _ in range(20):
        assert ask(proxy, "/a")["variants"][0]["bytes"] == 1_000_000
    origin.on("GET /b/*", always(200, fresh()))
    for number in range(50):
        client.get(f"/b/{number}").expect(200)
    wait_until(lambda: ask(proxy, "/b/49")["variants"], "the last one to be committed")
    client.get("/a").expect(200, body=bytes(1_000_000), cache="hit")
    proxy.restart()
    Client(proxy).get("/a").expect(200, body=bytes(1_000_000), cache="hit")


def test_a_look_that_is_killed(origin, larder):
    proxy = larder(origin, config='[cache]\nadmit_large = "always"\n', flags=["--cache-size", "16MiB"])
    client = Client(proxy)
    origin.on("GET /b/*", always(200, fresh(), bytes(500_000)))
    for number in range(120):  # several times the size of the store
        looking = subprocess.Popen([LARDER, *command(proxy, "/b/0")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        client.get(f"/b/{number}").expect(200)
        looking.kill()
        looking.wait()
    wait_until(lambda: ask(proxy, "/b/119")["variants"], "the last one to be committed")


def test_without_a_configuration_the_running_larder_is_asked(origin, larder):
    """It knows its sites and rules: the same text and JSON, of a supposed answer, too, but for what it remembers; what it refuses is one line."""
    proxy = larder(origin, config=rule('path = "/private/*"', "bypass = true"))
    origin.on("GET /a", always(200, fresh(Vary="Accept-Language")))
    store(proxy, Client(proxy), "/a", {"Accept-Language": "de, en"})

    def ageless(text):
        text = re.sub(r"\nthe origin's last answer\n(  .*\n)+|\"last\":\{.*?\}\},", "", text)
        return re.sub(r'(age|ttl)("?:|=| +)[ "]*\d+( s \(.*\))?|(fresh for|received) .*|"[a-z_]*(time|ms)": ?[^,}]*', "", text)

    for words in (["/a", "-H", "Accept-Language: de, en"], ["/a"], ["/private/x?y=1&z=%26"], ["/a", "--method", "PUT"],
                  ["/n", "--response-header", "Cache-Control: max-age=9", "--response-header", "Vary: A", "--status", "203"]):
        for form in ([], ["--json"]):
            asked = ["why", f"http://{HOST}{words[0]}", *words[1:], *form, "--cache-dir", proxy.cache_dir]
            code, out, err = run_larder(*asked)
            assert (code, err) == (0, "")
            assert ageless(out) == ageless(run_larder(*asked, *flags_of(proxy))[1])
    code, out, err = run_larder("why", f"http://{HOST}/", "--status", "304", "--response-header", "A", "--cache-dir", proxy.cache_dir)
    assert (code, out) == (2, "") and "expected a response field" in err
    code, out, err = run_larder("why", f"http://{HOST}/" + "a" * 100_000, "--cache-dir", proxy.cache_dir)
    assert (code, out) == (2, "") and "longer than what larder reads" in err and err.count("\n") == 1
    proxy.stop()
    code, out, err = run_larder("why", f"http://{HOST}/a", "--cache-dir", proxy.cache_dir)
    assert (code, out) == (2, "") and f"no larder answers at unix:{proxy.cache_dir}/admin.sock" in err and err.count("\n") == 1


def flags_of(proxy):
    return [word for flag, value in zip(proxy.command, proxy.command[1:]) if flag in ("--config", "--origin") for word in (flag, value)]


def test_a_stopped_store(origin, larder):
    proxy = larder(origin)
    origin.on("GET /a", always(200, fresh()))
    store(proxy, Client(proxy), "/a")
    proxy.stop()
    data = (proxy.cache_dir / "data.mdb").stat().st_mtime_ns
    assert ask(proxy, "/a")["verdict"]["reason"] == "fresh"
    assert (proxy.cache_dir / "data.mdb").stat().st_mtime_ns == data
    proxy.start()
    assert ask(proxy, "/a")["verdict"]["reason"] == "fresh"
    proxy.kill9()
    assert ask(proxy, "/a")["verdict"]["reason"] == "fresh"


def test_stores_that_cannot_be_read(tmp_path):
    flags = ("--origin", "http://127.0.0.1:1")
    code, out, err = run_larder("why", "http://a/", *flags, "--cache-dir", tmp_path / "none")
    assert (code, out) == (2, "") and "there is none: see --config and --cache-dir" in err
    assert not (tmp_path / "none").exists()
    (tmp_path / "data.mdb").write_bytes(b"something else" * 1000)
    code, out, err = run_larder("why", "http://a/", *flags, "--cache-dir", tmp_path)
    assert (code, out) == (2, "") and "not LMDB's" in err
    assert [file.name for file in tmp_path.iterdir()] == ["data.mdb"]


@pytest.mark.parametrize("words, complaint", [
    ((), "expected a URL"),
    (("--json",), "expected a URL"),
    (("/path",), "expected a URL"),
    (("ftp://a/",), "expected a URL"),
    (("http:///a",), "expected a URL"),
    (("http://a/", "http://b/"), "unexpected"),
    (("http://a/", "-H"), "expected 'NAME: VALUE'"),
    (("http://a/", "-H", "no colon"), "expected a field"),
    (("http://a/", "-H", "bad name: x"), "expected a field"),
    (("http://a/", "-H", "A: b\r\nC: d"), "expected a field"),
    (("http://a/", "--method", "G T"), "expected a method"),
    (("http://a/", "--jsn"), "did you mean --json"),
    (("http://a/", "--json=1"), "expected nothing"),
    (("http://a/", "--workers", "2"), "unknown flag"),
    (("http://a/", "--profile", "loose"), "profile"),
    (("nonsense",), "expected a URL such as http://127.0.0.1:8080/page, or a reason such as vary-miss, found \"nonsense\""),
    (("vary-mis",), "did you mean vary-miss?"),
    (("http://a/", "--status", "99"), "--status: expected a status code from 200 to 599"),
    (("http://a/", "--response-header", "no colon"), "expected a response field"),
])
def test_wrong_words(origin, larder, words, complaint):
    proxy = larder(origin)
    code, out, err = run_larder("why", "--cache-dir", proxy.cache_dir, "--origin", origin.url, *words)
    assert (code, out) == (2, "")
    assert complaint in err and err.count("\n") == 1, err
    if "--workers" not in words and "--profile" not in words:  # what is wrong with the words is said without any configuration
        code, out, err = run_larder("why", *words)
        assert (code, out) == (2, "") and complaint in err and err.count("\n") == 1, err


def test_what_the_origin_last_answered(origin, larder):
    """Only the larder that runs knows it; of the query's values a hash, so that another one is another URL."""
    proxy = larder(origin)
    client = Client(proxy)
    origin.on("GET /a*", always(200, {**fresh(), "Set-Cookie": "a=b"}))
    client.get("/a?q=1&r").expect(200, cache="detail=set-cookie")

    def running(target, *more):
        url = f"http://{HOST}{target}"
        return json.loads(Admin(proxy).get("/v1/why?url=" + quote(url, safe="") + "".join(more)).expect(200).body)

    wait_until(lambda: "last" in running("/a?q=1&r"), "the fact")
    last = running("/a?q=1&r")["last"]
    assert (last["status"], last["asked"]["reason"], last["stored"], last["storing"]["reason"]) == (200, "uri-miss", False, "set-cookie")
    assert last["storing"]["hint"] and last["seconds_ago"] < 600
    assert "last" not in running("/a?q=2&r") and "last" not in running("/a?q=1&r", "&method=HEAD")
    text_form = Admin(proxy).get("/v1/why?form=text&url=" + quote(f"http://{HOST}/a?q=1&r", safe="")).expect(200).body.decode()
    words = ("why", "--cache-dir", proxy.cache_dir, "--origin", origin.url, f"http://{HOST}/a?q=1&r")
    beside = json.loads(run_larder(*words, "--json")[1])["last"]  # a process of its own asks it
    assert (beside["status"], beside["asked"], beside["storing"]) == (200, last["asked"], last["storing"])
    assert "the origin's last answer" in run_larder(*words)[1] and "the origin's last answer" not in run_larder(*words, "--method", "HEAD")[1]
    assert re.search(r"the origin's last answer\n  asked         \d+ s ago, uri-miss; answered 200 OK\n  stored        no, set-cookie: ", text_form)
