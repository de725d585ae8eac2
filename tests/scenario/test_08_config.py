"""The command line and the configuration: what is refused, and what each setting does."""

import fcntl
import os
import re
import socket
import stat
import subprocess
import threading

import pytest
from support.client import Client
from support.proxy import LARDER, SANITIZERS, run_larder
from support.say import always, date, fresh, stale
from support.wire import TIMEOUT, wait_until


def site(origin, *rules, **keys):
    """A [[site]] of this origin, with keys and [[site.rule]]s given as text."""
    lines = ["[[site]]", f'origin = "{origin.url}"'] + [f"{key} = {value}" for key, value in keys.items()]
    for rule in rules:
        lines += ["[[site.rule]]", rule]
    return "\n".join(lines) + "\n"


def check(tmp_path, text):
    file = tmp_path / "larder.toml"
    file.write_text(text, encoding="utf-8")
    return (file, *run_larder("check", file))


# --- what is refused ----------------------------------------------------------------------------------------------------------------

ORIGIN = '[[site]]\norigin = "http://127.0.0.1:3000"\n'

WRONG = {
    "not TOML": ("[server\nlisten = 1\n", r":1:"),
    "an unknown key": ("[server]\nlisten = \"127.0.0.1:0\"\nworkres = 2\n" + ORIGIN, r":3:1: server\.workres: unknown key.*workers"),
    "an unknown table": ("[servers]\nworkers = 2\n" + ORIGIN, r":1:\d+: servers"),
    "an unknown key of a site": (ORIGIN + "orign = 1\n", r":3:1: site\[1\]\.orign: unknown key.*origin"),
    "an unknown key of a rule": (ORIGIN + '[[site.rule]]\nname = "x"\ntll = "1m"\n', r":5:1: site\[1\]\.rule\[1\]\.tll: unknown key.*ttl"),
    "a wrong type": ("[server]\nworkers = \"two\"\n" + ORIGIN, r":2:11: server\.workers: expected .*, found "),
    "a number too large": ("[server]\nworkers = 100000\n" + ORIGIN, r":2:11: server\.workers: "),
    "a number too small": ("[cache]\nsize = \"1KiB\"\n" + ORIGIN, r":2:8: cache\.size: "),
    "a duration without unit": ("[server.timeouts]\nclient_head = \"10\"\n" + ORIGIN, r":2:15: server\.timeouts\.client_head: "),
    "a size that is none": ("[cache]\nsize = \"many\"\n" + ORIGIN, r":2:8: cache\.size: "),
    "an address that is none": ("[server]\nlisten = \"nowhere\"\n" + ORIGIN, r":2:10: server\.listen"),
    "an address in a list": ("[server]\nlisten = [\"127.0.0.1:0\", \"nowhere\"]\n" + ORIGIN, r":2:\d+: server\.listen\[2\]: "),
    "a choice that is none": ("[cache]\nprofile = \"loose\"\n" + ORIGIN, r":2:11: cache\.profile: .*safe.*rfc"),
    "an origin that is no URL": ('[[site]]\norigin = "nowhere"\n', r":2:10: site\[1\]\.origin"),
    "an origin with a path": ('[[site]]\norigin = "http://127.0.0.1:1/a"\n', r":2:10: site\[1\]\.origin"),
    "an origin of another scheme": ('[[site]]\norigin = "ftp://127.0.0.1"\n', r":2:10: site\[1\]\.origin"),
    "no site": ("[server]\nworkers = 1\n", r"site: missing.*--origin"),
    "a site without origin": ('[[site]]\nhosts = ["a.test"]\n', r"site\[1\]\.origin: missing"),
    "two sites alike": (ORIGIN + ORIGIN, r"site\[2\]\.hosts: "),
    "a rule twice": (ORIGIN + '[[site.rule]]\nname = "x"\n[[site.rule]]\nname = "x"\n', r":6:8: site\[1\]\.rule\[2\]\.name: "),
    "a rule that bypasses and stores": (ORIGIN + '[[site.rule]]\nname = "x"\nbypass = true\nttl = "1m"\n', r":6:\d+: site\[1\]\.rule\[1\]\.ttl: "),
    "a key twice": ("[server]\nworkers = 1\nworkers = 2\n" + ORIGIN, r":3:\d+: "),
    "a status out of range": (ORIGIN + '[[site.rule]]\nname = "x"\nstatuses = [99]\nttl = "1m"\n', r":5:\d+: site\[1\]\.rule\[1\]\.statuses"),
}


@pytest.mark.parametrize("name", WRONG)
def test_mistakes_are_said_in_one_line(tmp_path, name):
    """File, line, column, key and what was expected; exit 2, from `check` and from `serve` alike."""
    text, want = WRONG[name]
    file, code, _, error = check(tmp_path, text)
    assert code == 2, error
    assert error.count("\n") == 1 and str(file) in error, error
    assert re.search(want, error), error
    code, _, from_serve = run_larder("serve", "--config", file, "--listen", "127.0.0.1:0", "--cache-dir", tmp_path / "cache")
    assert code == 2 and from_serve.count("\n") == 1 and re.search(want, from_serve), from_serve
    assert not (tmp_path / "cache").exists(), "it made the cache before it read the configuration"


def test_check_says_that_a_file_is_right(tmp_path):
    _, code, output, error = check(tmp_path, ORIGIN)
    assert code == 0 and output.count("\n") == 1, (output, error)


def test_check_names_what_the_machine_lacks(tmp_path):
    """It is right all the same: it may be for another machine."""
    (tmp_path / "file").touch()
    for log, why in [(tmp_path / "access.log", None), (tmp_path / "none" / "access.log", "No such file or directory"),
                     (tmp_path / "file" / "access.log", "Not a directory"), ("-", None), ("off", None)]:
        _, code, output, error = check(tmp_path, f'[server]\naccess_log = "{log}"\n{ORIGIN}')
        assert code == 0 and ": ok" in output
        assert error == (f'larder: server.access_log: "{log.parent}": {why}, on this machine\n' if why else "")
    for log, why in [(tmp_path, "Is a directory"), ("/dev/null", None), ("/dev/stdout", None), (tmp_path / "file", None)]:
        _, code, output, error = check(tmp_path, f'[server]\naccess_log = "{log}"\n{ORIGIN}')
        assert code == 0 and ": ok" in output
        assert error == (f'larder: server.access_log: "{log}": {why}, on this machine\n' if why else "")
    (tmp_path / "sub").mkdir()
    for target, place in [("made.log", None), ("sub/made.log", None), (tmp_path / "sub" / "made.log", None), ("other", None),
                          ("none/made.log", "none"), (tmp_path / "none" / "made.log", "none")]:
        for name, to in (("link", target), ("other", "sub/made.log")):
            (tmp_path / name).unlink(missing_ok=True)
            (tmp_path / name).symlink_to(to)
        _, code, output, error = check(tmp_path, f'[server]\naccess_log = "{tmp_path / "link"}"\n{ORIGIN}')
        assert code == 0 and ": ok" in output
        assert error == (f'larder: server.access_log: "{tmp_path / place}": No such file or directory, on this machine\n' if place else ""), target
    _, code, _, error = check(tmp_path, f'[server]\nuser = "no-such"\ngroup = "none-such"\n{ORIGIN}')
    assert code == 0 and error == ('larder: server.user: no such user on this machine: "no-such"\n'
                                   'larder: server.group: no such group on this machine: "none-such"\n')


def test_the_example_is_right(tmp_path):
    example = LARDER.resolve().parents[1] / "config.example.toml"
    code, _, error = run_larder("check", example)
    assert code == 0, error
    # and so it is with every setting switched on, one rule at a time
    text = re.sub(r"(?m)^#(?=[a-z\[])", "", example.read_text(encoding="utf-8"))
    (tmp_path / "all.toml").write_text(text, encoding="utf-8")
    code, _, error = run_larder("check", tmp_path / "all.toml")
    assert code == 0, error


def test_a_missing_file(tmp_path):
    code, _, error = run_larder("serve", "--config", tmp_path / "missing.toml")
    assert code == 2 and "missing.toml" in error and error.count("\n") == 1, error


@pytest.mark.parametrize("arguments", [
    [], ["srve"], ["serve", "--orign", "http://127.0.0.1:1"], ["serve", "--origin"], ["serve", "--origin", "nowhere"],
    ["serve", "--origin", "http://127.0.0.1:1", "--workers", "many"], ["serve", "--origin", "http://127.0.0.1:1", "--cache-size", "1 parsec"],
    ["serve", "--origin", "http://127.0.0.1:1", "--profile", "loose"], ["serve", "--origin", "http://127.0.0.1:1", "--listen", "nowhere"],
    ["serve", "--origin", "http://127.0.0.1:1", "--log-level", "shout"], ["serve"], ["check"],
])
def test_wrong_command_lines(arguments, tmp_path):
    code, _, error = run_larder(*arguments, cwd=tmp_path)
    assert code == 2 and error.strip(), error
    assert not arguments or error.count("\n") == 1, error


def test_a_port_in_use(tmp_path, proxy, client, origin):
    code, _, error = run_larder("serve", "--origin", origin.url, "--listen", f"127.0.0.1:{proxy.port}", "--cache-dir", tmp_path / "other")
    assert code == 2 and f"127.0.0.1:{proxy.port}" in error and error.count("\n") == 1, error
    origin.expect("GET /a").reply(200, fresh(), b"x")
    client.get("/a").expect(200)


def test_a_port_in_use_by_another_program(tmp_path, origin):
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        code, _, error = run_larder("serve", "--origin", origin.url, "--listen", address, "--cache-dir", tmp_path / "cache")
    assert code == 2 and address in error and error.count("\n") == 1, error


def test_a_directory_that_cannot_be_written(tmp_path, origin):
    (tmp_path / "file").write_text("in the way")
    code, _, error = run_larder("serve", "--origin", origin.url, "--listen", "127.0.0.1:0", "--cache-dir", tmp_path / "file" / "cache")
    assert code == 2 and "file" in error and error.count("\n") == 1, error


def test_an_access_log_that_cannot_be_written(tmp_path, origin):
    code, _, error = run_larder("serve", "--origin", origin.url, "--listen", "127.0.0.1:0", "--cache-dir", tmp_path / "cache", "--access-log",
                                tmp_path / "missing" / "access.log")
    assert code == 2 and "access.log" in error and error.count("\n") == 1, error


def test_version_and_help():
    code, output, _ = run_larder("version")
    assert code == 0 and re.search(r"\d+\.\d+\.\d+", output)
    for words in (["help"], ["help", "serve"], ["help", "demo"], ["help", "check"]):
        code, output, _ = run_larder(*words)
        assert code == 0 and "larder" in output
    assert "--cache-size" in run_larder("help", "serve")[1]


# --- listening ----------------------------------------------------------------------------------------------------------------------

def test_several_addresses(origin, larder):
    proxy = larder(origin, listen=("127.0.0.1:0", "[::1]:0"))
    assert len(set(proxy.addresses)) == 2
    origin.expect("GET /a").reply(200, fresh(), b"x")
    for address in proxy.addresses:
        host, _, port = address.rpartition(":")
        Client(proxy, address=(host.strip("[]"), int(port))).get("/a").expect(200)


def test_every_address(origin, larder):
    proxy = larder(origin, listen=(":0",))
    port = proxy.port
    origin.expect("GET /a").reply(200, fresh(), b"x")
    Client(proxy, address=("127.0.0.1", port)).get("/a").expect(200)
    Client(proxy, address=("::1", port)).get("/a").expect(200, cache="hit")


def test_a_unix_socket(origin, larder, tmp_path):
    path = tmp_path / "larder.sock"
    proxy = larder(origin, listen=(f"unix:{path}",))
    origin.expect("GET /a").reply(200, fresh(), b"x")
    client = Client(proxy, address=str(path))
    client.get("/a").expect(200, cache="stored")
    client.get("/a").expect(200, cache="hit")
    assert stat.S_ISSOCK(path.stat().st_mode)
    proxy.restart()  # what was left behind is no obstacle
    Client(proxy, address=str(path)).get("/a").expect(200, cache="hit")
    proxy.kill9()
    proxy.start()
    Client(proxy, address=str(path)).get("/a").expect(200)


def test_a_unix_socket_in_use(origin, larder, tmp_path):
    path = tmp_path / "larder.sock"
    proxy = larder(origin, listen=(f"unix:{path}",))
    code, _, error = run_larder("serve", "--origin", origin.url, "--listen", f"unix:{path}", "--cache-dir", tmp_path / "other")
    assert code == 2 and "larder.sock" in error, error
    origin.expect("GET /a").reply(200, fresh(), b"x")
    Client(proxy, address=str(path)).get("/a").expect(200)


def test_flags_override_the_file(origin, larder):
    proxy = larder(origin, config='[[site]]\norigin = "http://127.0.0.1:1"\n[server]\nlisten = "127.0.0.1:1"\n')
    origin.expect("GET /a").reply(200, fresh(), b"x")
    Client(proxy).get("/a").expect(200)


@pytest.fixture
def default_port():
    """No other run of these tests has it: those of the sanitizers' builds go on at once."""
    with open(__file__, encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield 8080


def test_origin_alone_is_enough(origin, default_port, tmp_path):
    """`larder serve --origin URL`: listens on its default address and makes its cache where it stands."""
    address = ("127.0.0.1", default_port)
    try:
        socket.create_server(address).close()
    except OSError:
        pytest.skip("port 8080 is in use here")
    process = subprocess.Popen([LARDER, "serve", "--origin", origin.url], cwd=tmp_path, stderr=subprocess.PIPE, text=True, env={**os.environ, **SANITIZERS})
    try:
        lines = []
        threading.Thread(target=lambda: lines.extend(process.stderr), daemon=True).start()

        def connects():
            try:
                return socket.create_connection(address, timeout=1)
            except OSError:
                return None

        wait_until(connects, "127.0.0.1:8080").close()
        assert (tmp_path / "larder-cache").is_dir()
    finally:
        process.terminate()
        assert process.wait(TIMEOUT) == 0


# --- sites --------------------------------------------------------------------------------------------------------------------------

def test_sites_by_host_and_path(origins, larder):
    exact, wildcard, path, rest = (origins() for _ in range(4))
    config = (site(exact, hosts='["www.example.test"]') + site(wildcard, hosts='["*.example.test"]') +
              site(path, hosts='["www.example.test"]', path='"/api"') + site(rest))
    client = Client(larder(config=config))
    for host, target, origin in (("www.example.test", "/", exact), ("WWW.EXAMPLE.TEST", "/x", exact), ("www.example.test:8080", "/", exact),
                                 ("a.example.test", "/", wildcard), ("a.b.example.test", "/", wildcard), ("example.test", "/", rest),
                                 ("www.example.test", "/api", path), ("www.example.test", "/api/x", path), ("www.example.test", "/apis", exact),
                                 ("other.test", "/api", rest)):
        origin.expect(f"GET {target}").reply(200, {"Cache-Control": "no-store"})
        client.get(target, host=host).expect(200)


def test_no_site(origin, larder):
    client = Client(larder(config=site(origin, hosts='["www.example.test"]')))
    client.get("/", host="other.test").expect(404, cache="detail=no-site")


def test_host_header(origin, larder):
    client = Client(larder(config=site(origin, host_header='"internal.test"')))
    origin.expect("GET /a", {"Host": "internal.test", "X-Forwarded-Host": "www.example.test"}).reply(200, fresh(), b"x")
    client.get("/a", host="www.example.test").expect(200)


def test_several_origins_of_one_site(origins, larder):
    """When the first is gone the other answers."""
    gone, there = origins(), origins()
    gone.stop()
    client = Client(larder(config=f'[[site]]\norigin = ["{gone.url}", "{there.url}"]\n'))
    there.on("GET *", always(200, {"Cache-Control": "no-store"}))
    for number in range(6):
        client.get(f"/{number}").expect(200)


def test_the_name_in_via(origin, larder):
    proxy = larder(origin, config='[server]\nname = "edge-1"\n')
    origin.expect("GET /a", {"Via": "1.1 edge-1"}).reply(200, fresh(), b"x")
    client = Client(proxy)
    client.send("GET", "/a")
    assert b"\r\nVia: 1.1 edge-1\r\n" in client.reader.exact(1) + client.reader.some(65536)


# --- rules --------------------------------------------------------------------------------------------------------------------------

def test_ttl_overrides_the_origin(origin, larder):
    client = Client(larder(config=site(origin, 'name = "long"\npath = "/a*"\nttl = "10m"')))
    origin.expect("GET /a").reply(200, {"Cache-Control": "max-age=0"}, b"x")
    client.get("/a").expect(200, cache="stored; detail=stored-by-rule; detail=long")
    hit = client.get("/a").expect(200, cache="hit; detail=fresh-by-rule; detail=long")
    assert 590 <= int(hit.cache["ttl"]) <= 600
    origin.on("GET /b", always(200, {"Cache-Control": "max-age=0"}))
    for _ in range(2):
        client.get("/b").expect(200, cache="!hit")


def test_ttl_zero_shortens(origin, larder):
    client = Client(larder(config=site(origin, 'name = "never"\nttl = "0s"')))
    origin.on("GET /a", always(200, fresh(60, ETag='"v1"')))
    for _ in range(2):
        client.get("/a").expect(200, cache="!hit")


def test_default_ttl_fills_the_gap(origin, larder):
    client = Client(larder(config=site(origin, 'name = "gap"\ndefault_ttl = "10m"')))
    origin.expect("GET /a").reply(200, {}, b"x")
    client.get("/a").expect(200, cache="stored")
    client.get("/a").expect(200, cache="hit; detail=gap")
    origin.on("GET /b", always(200, {"Cache-Control": "max-age=0"}))
    for _ in range(2):
        client.get("/b").expect(200, cache="!hit")


def test_a_rule_does_not_store_what_is_forbidden(origin, larder):
    client = Client(larder(config=site(origin, 'name = "gap"\ndefault_ttl = "10m"')))
    for headers in ({"Cache-Control": "no-store"}, {"Cache-Control": "private"}):
        origin.on("GET /a", always(200, headers))
        for _ in range(2):
            client.get("/a").expect(200, cache="!hit; !stored")


def test_the_first_rule_that_gives_a_setting_counts(origin, larder):
    client = Client(larder(config=site(origin, 'name = "one"\npath = "/a/*"\nttl = "1m"', 'name = "two"\nttl = "1h"')))
    origin.on("GET *", always(200, {}))
    for target, low, high in (("/a/x", 50, 60), ("/b", 3500, 3600)):
        client.get(target).expect(200)
        assert low <= int(client.get(target).expect(200, cache="hit").cache["ttl"]) <= high


def test_rules_by_status_and_type(origin, larder):
    client = Client(larder(config=site(origin, 'name = "missing"\nstatuses = [404]\nttl = "1m"',
                                       'name = "images"\ncontent_type = "image/*"\nttl = "1h"')))
    origin.on("GET /missing", always(404, {"Content-Type": "text/html"}))
    origin.on("GET /image", always(200, {"Content-Type": "IMAGE/png; x=y"}))
    origin.on("GET /page", always(200, {"Content-Type": "text/html"}))
    for target, status, hit in (("/missing", 404, True), ("/image", 200, True), ("/page", 200, False)):
        client.get(target).expect(status)
        client.get(target).expect(status, cache="hit" if hit else "!hit")


def test_rules_by_method(origin, larder):
    client = Client(larder(config=site(origin, 'name = "heads"\nmethods = ["HEAD"]\nbypass = true')))
    origin.expect("GET /a").reply(200, fresh(), b"x")
    client.get("/a").expect(200)
    origin.expect("HEAD /a").reply(200, fresh(60, Content_Length="1"))
    client.head("/a").expect(200, cache="fwd=bypass; detail=heads")
    client.get("/a").expect(200, cache="hit")


def test_bypass(origin, larder):
    client = Client(larder(config=site(origin, 'name = "past"\npath = "/past/*"\nbypass = true')))
    origin.on("GET /past/a", always(200, fresh()))
    for _ in range(2):
        client.get("/past/a").expect(200, cache="fwd=bypass; !stored; detail=bypass-rule; detail=past")
    assert origin.count() == 2


def test_store_set_cookie(origin, larder):
    client = Client(larder(config=site(origin, 'name = "biscuits"\nstore_set_cookie = true')))
    origin.expect("GET /a").reply(200, fresh(60, Set_Cookie="a=b"), b"x")
    client.get("/a").expect(200, cache="stored")
    client.get("/a").expect(200, cache="hit", headers={"Set-Cookie": "a=b"})


def test_ignore_cookies(origin, larder):
    client = Client(larder(config=site(origin, 'name = "blind"\nignore_cookies = true')))
    origin.expect("GET /a").reply(200, {"Date": date(), "Last-Modified": date(-10000)}, b"x")
    client.get("/a", {"Cookie": "a=b"}).expect(200, cache="stored")
    client.get("/a", {"Cookie": "c=d"}).expect(200, cache="hit")


def test_stale_windows_by_rule(origin, larder):
    client = Client(larder(config=site(origin, 'name = "patient"\nstale_if_error = "10m"')))
    origin.expect("GET /a").reply(200, stale(ETag='"v1"'), b"hello")
    client.get("/a").expect(200)
    origin.expect("GET /a").reply(503)
    client.get("/a").expect(200, body=b"hello", cache="detail=stale-if-error; detail=patient")


def test_stale_while_revalidate_by_rule(origin, larder):
    client = Client(larder(config=site(origin, 'name = "swift"\nstale_while_revalidate = "10m"')))
    origin.expect("GET /a").reply(200, stale(ETag='"v1"'), b"hello")
    client.get("/a").expect(200)
    behind = origin.expect("GET /a", {"If-None-Match": '"v1"'}).reply(304, fresh(60, Age="0"))
    client.get("/a").expect(200, body=b"hello", cache="hit; detail=stale-while-revalidate; detail=swift")
    behind.wait_answered()


def test_query_parameters(origin, larder):
    client = Client(larder(config=site(origin, 'name = "clean"\nstrip_tracking = true\nstrip_query = ["ref", "s_*"]\nsort_query = true')))
    origin.expect("GET /a?a=1&b=2").reply(200, fresh(), b"x")
    client.get("/a?b=2&a=1&utm_source=mail&fbclid=x&ref=y&s_id=z").expect(200, cache="stored")
    client.get("/a?a=1&b=2&gclid=other").expect(200, cache="hit")
    origin.expect("GET /a?refs=1").reply(200, fresh(), b"y")
    client.get("/a?refs=1").expect(200, body=b"y", cache="!hit")


def test_accept_encoding(origin, larder):
    client = Client(larder(config=site(origin, 'name = "three"\nnormalize_accept_encoding = true')))
    origin.on("GET /a", lambda exchange: exchange.reply(200, fresh(60, Vary="Accept-Encoding"), (exchange.request.header("Accept-Encoding") or "").encode()))
    for value, want in (("gzip, deflate, br", b"br"), ("br;q=1, gzip;q=0.5", b"br"), ("gzip, deflate", b"gzip"), ("br;q=0, gzip", b"gzip"), ("deflate", b""),
                        ("identity", b"")):
        client.get("/a", {"Accept-Encoding": value}).expect(200, body=want)
    assert origin.count() == 3


def test_request_fields_removed(origin, larder):
    client = Client(larder(config=site(origin, 'name = "quiet"\nstrip_request_fields = ["Cookie", "X-Debug"]')))
    origin.expect("GET /a", {"Cookie": None, "X-Debug": None, "X-Name": "1"}).reply(200, {"Date": date(), "Last-Modified": date(-10000)}, b"x")
    client.get("/a", {"Cookie": "a=b", "X-Debug": "1", "X-Name": "1"}).expect(200, cache="stored")


# --- the demo -----------------------------------------------------------------------------------------------------------------------

def test_the_demo(larder, tmp_path):
    """What `./dev run` shows without an origin of one's own."""
    demo = subprocess.Popen([LARDER, "demo", "--listen", "127.0.0.1:0", "--delay", "10ms"], cwd=tmp_path, stdout=subprocess.PIPE, text=True,
                            env={**os.environ, **SANITIZERS})
    try:
        url = re.search(r"http://[\d.:]+", demo.stdout.readline()).group(0)
        client = Client(larder(url))
        client.get("/").expect(200, cache="fwd=uri-miss; stored")
        client.get("/").expect(200, cache="hit")
        client.get("/cached-demo").expect(200, headers={"ETag": '"demo-v1"'})
        client.get("/cached-demo", {"If-None-Match": '"demo-v1"'}).expect(304, cache="hit")
        for target in ("/style.css", "/logo.svg", "/api/items", "/feed.xml", "/only-last-modified", "/clock"):
            client.get(target).expect(200, cache="stored")
        client.get("/no-validator").expect(200, cache="!stored; detail=no-freshness")
        client.get("/private").expect(200, cache="!stored; detail=private")
        client.get("/error").expect(500)
        client.get("/nothing-here").expect(404)
    finally:
        demo.terminate()
        assert demo.wait(TIMEOUT) == 0
