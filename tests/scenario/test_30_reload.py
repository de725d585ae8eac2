"""SIGHUP: another configuration, without a request lost; what is refused; what goes on. SIGUSR1: the access log."""

import json
import os
import resource
import signal
import threading

import pytest
from support.admin import Admin
from support.client import Client
from support.parallel import in_parallel
from support.say import NO_STORE, always
from support.wire import wait_until

FRESH = {"Cache-Control": "max-age=60"}


class Reloaded:
    """A larder whose configuration file is written anew."""

    def __init__(self, proxy):
        self.proxy = proxy
        self.file = proxy.directory / "larder.toml"

    def signal(self, number, text):
        """Sends a signal, and waits for what the log then says."""
        before = len(self.proxy.logged(text))
        self.proxy.process.send_signal(number)
        return self.proxy.wait_logged(text, before + 1)

    def accept(self, config):
        self.file.write_text(config, encoding="utf-8")
        self.signal(signal.SIGHUP, "configuration reloaded")

    def refuse(self, config, text="the former one goes on"):
        self.file.write_text(config, encoding="utf-8")
        return self.signal(signal.SIGHUP, text)


def site(origin, more="", server=""):
    return f'[server]\nworkers = 2\n{server}\n[cache]\nsize = "64MiB"\n[[site]]\norigin = "{origin.url}"\n{more}\n'


def rule(name):
    return f'[[site.rule]]\nname = "{name}"\nbypass = true\n'


def fds_of(proxy):
    return len(os.listdir(f"/proc/{proxy.pid}/fd"))


def files_of(proxy):
    """What its descriptors are."""
    directory = f"/proc/{proxy.pid}/fd"
    return [os.readlink(f"{directory}/{name}") for name in os.listdir(directory)]


def threads_of(proxy):
    return proxy.status("Threads")


def test_a_kept_connection_speaks_for_whom_the_new_list_says(larder, origin):
    """Trust is found out once a connection: here anew."""
    proxy = larder(config=site(origin))
    reloaded = Reloaded(proxy)
    client = Client(proxy)
    origin.on("GET *", always(200, FRESH, b"x"))
    https = {"X-Forwarded-Proto": "https"}
    client.get("/a", https).expect(200, cache="stored")
    reloaded.accept(site(origin, server='trust_forwarded = ["127.0.0.1"]'))
    client.get("/a", https).expect(200, cache="!hit")
    client.get("/a").expect(200, cache="hit")
    reloaded.accept(site(origin, server='trust_forwarded = ["10.0.0.0/8"]'))
    client.get("/a", https).expect(200, cache="hit")
    assert origin.count("/a") == 2


def test_what_is_asked_behind_a_reload_is_answered_by_the_new_configuration(origin, larder):
    """Also on connections that were kept, of every worker: the log says it is done when it is."""
    origin.on("GET *", always(200, NO_STORE, b"x"))
    names = "one", "two"
    proxy = larder(config=site(origin, rule(names[0])))
    reloaded = Reloaded(proxy)
    clients = [Client(proxy) for _ in range(8)]
    for turn in range(1, 21):
        reloaded.accept(site(origin, rule(names[turn % 2])))
        for client in clients:
            client.get("/").expect(200, cache=f"detail={names[turn % 2]}")
    assert all(client.connections == 1 for client in clients), "they were kept"


def test_no_request_is_lost_over_twenty_reloads(origins, larder):
    """Kept and new connections under load, while rules and origin change: every answer comes, and from one configuration."""
    pair = {"a": origins(), "b": origins()}
    for name, one in pair.items():
        one.on("GET *", always(200, NO_STORE, name.encode()))
    configs = [site(one, rule(name)) for name, one in pair.items()]
    proxy = larder(config=configs[0])
    reloaded = Reloaded(proxy)
    threads = threads_of(proxy)
    over = threading.Event()
    seen = set()

    def load(number):
        if number == 0:
            try:
                for turn in range(20):
                    served = sum(one.count() for one in pair.values()) + 20
                    wait_until(lambda: sum(one.count() for one in pair.values()) >= served, "requests in between")  # noqa: B023
                    reloaded.accept(configs[(turn + 1) % 2])
            finally:
                over.set()
            return
        client = Client(proxy)
        while not over.is_set():
            response = client.get(f"/{number}").expect(200)
            name = response.body.decode()
            response.expect(200, cache=f"detail={name}")
            seen.add(name)
            if number % 2:
                client.close()
        if not number % 2:
            assert client.connections == 1, "the connection was kept"

    in_parallel(load, range(7))
    assert seen == {"a", "b"}
    wait_until(lambda: threads_of(proxy) <= threads, "the former workers to end")


def test_each_request_keeps_the_configuration_it_began_with(origins, larder):
    a, b = origins(), origins()
    gate = a.gate()
    a.expect("GET /slow").reply(200, FRESH, b"slow", hold=gate)
    proxy = larder(config=site(a))
    reloaded = Reloaded(proxy)
    client = Client(proxy).send_raw(b"GET /slow HTTP/1.1\r\nHost: larder.test\r\n\r\n")
    gate.wait_reached()
    reloaded.accept(site(b))
    b.expect("GET /new").reply(200, FRESH, b"new")
    Client(proxy).get("/new").expect(200, body=b"new")
    gate.open()
    client.read_response().expect(200, body=b"slow", cache="stored")
    Client(proxy).get("/slow").expect(200, body=b"slow", cache="hit")  # one store for all
    b.expect("GET /next").reply(200, FRESH, b"next")
    client.get("/next").expect(200, body=b"next")  # the kept connection has gone over to the new configuration
    assert client.connections == 1


def test_a_fetch_of_the_former_configuration_serves_the_new_one(origins, larder):
    a, b = origins(), origins()
    gate = a.gate()
    a.expect("GET /x").reply(200, FRESH, b"x", hold=gate)
    proxy = larder(config=site(a))
    first = Client(proxy).send_raw(b"GET /x HTTP/1.1\r\nHost: larder.test\r\n\r\n")
    gate.wait_reached()
    Reloaded(proxy).accept(site(b))
    second = Client(proxy).send_raw(b"GET /x HTTP/1.1\r\nHost: larder.test\r\n\r\n").wait_taken()
    gate.open()
    first.read_response().expect(200, body=b"x")
    second.read_response().expect(200, body=b"x")
    assert (a.count(), b.count()) == (1, 0)


def test_pipelined_requests_are_answered_in_order(origins, larder):
    a, b = origins(), origins()
    gate = a.gate()
    a.expect("GET /1").reply(200, NO_STORE, b"1", hold=gate)
    b.expect("GET /2").reply(200, NO_STORE, b"2")
    proxy = larder(config=site(a))
    client = Client(proxy)
    client.send_raw(b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
    gate.wait_reached()
    Reloaded(proxy).accept(site(b))
    gate.open()
    client.read_response().expect(200, body=b"1")
    client.read_response().expect(200, body=b"2")


def test_half_a_head_is_finished(origin, larder):
    origin.expect("GET /x").reply(200, NO_STORE, b"x")
    proxy = larder(config=site(origin))
    client = Client(proxy).send_raw(b"GET /x HTTP/1.1\r\nHo").wait_taken()
    Reloaded(proxy).accept(site(origin))
    client.send_raw(b"st: h\r\n\r\n").read_response().expect(200, body=b"x")


@pytest.mark.parametrize("what, error", [
    ("not = toml [", "expected TOML"),
    ("[server]\nwokers = 2", "wokers"),
    ('[[test]]\nname = "t"\nrequest = "GET http://h/"\nexpect = { answer = "hit" }\n', 'expected "hit"'),
])
def test_what_is_wrong_is_refused(origin, larder, what, error):
    origin.on("GET *", always(200, NO_STORE, b"x"))
    proxy = larder(config=site(origin))
    reloaded = Reloaded(proxy)
    client = Client(proxy)
    client.get("/1").expect(200)
    text = site(origin, what) if "[server]" not in what else f'{what}\n[[site]]\norigin = "{origin.url}"\n'
    reloaded.refuse(text, error)
    assert proxy.logged("the former one goes on")
    client.get("/2").expect(200)
    assert client.connections == 1
    reloaded.accept(site(origin))
    client.get("/3").expect(200)


def test_without_descriptors_it_is_refused(origin, larder):
    """Where it lacks the last that it would open, for a listener, or one before: what wakes a worker's loop, the loop, the file …"""
    origin.on("GET *", always(200, FRESH, b"hello"))
    proxy = larder(config=site(origin))
    client = Client(proxy)
    client.get("/a").expect(200)
    wait_until(lambda: "hit" in client.get("/a").cache, "it to be stored")
    said = "configuration reloaded", "the former one goes on"
    idle = fds_of(proxy)
    for limit in range(idle + 60, idle, -1):
        before = [len(proxy.logged(text)) for text in said]
        resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (limit, limit))
        proxy.process.send_signal(signal.SIGHUP)
        wait_until(lambda: proxy.process.poll() is not None or [len(proxy.logged(text)) for text in said] != before, "the reload")
        assert proxy.process.poll() is None, f"larder ended\n{proxy.stderr}"
        wait_until(lambda: fds_of(proxy) <= idle, "what is not needed to be closed")
    assert len(proxy.logged(said[0])) > 2 and len(proxy.logged("cannot make a worker")) > 2
    client.get("/a").expect(200, body=b"hello", cache="hit")


def test_listeners_come_and_go(origin, larder, tmp_path):
    """A new address is listened on, one that is gone is not any more, one in use refuses the whole."""
    origin.on("GET *", always(200, NO_STORE, b"x"))
    old, new = tmp_path / "old", tmp_path / "new"
    proxy = larder(listen=(), config=site(origin, server=f'listen = ["127.0.0.1:0", "unix:{old}"]'))
    wait_until(lambda: len(proxy.addresses) == 2, "both addresses")
    reloaded = Reloaded(proxy)
    kept = Client(proxy, address=str(old))
    kept.get("/").expect(200)
    reloaded.accept(site(origin, server=f'listen = ["127.0.0.1:0", "unix:{new}"]'))
    assert (old.exists(), new.exists()) == (False, True)
    kept.get("/").expect(200)
    assert kept.connections == 1, "connections outlive their listener"
    Client(proxy, address=str(new)).get("/").expect(200)
    Client(proxy).get("/").expect(200)  # on the port that was picked at the start
    assert len(proxy.addresses) == 3, "what is still the same is not said again"
    line = reloaded.refuse(site(origin, server=f'listen = ["unix:{old}", "127.0.0.1:{origin.port}"]'))
    assert f"127.0.0.1:{origin.port}" in line
    assert not old.exists(), "nothing of it is left"
    Client(proxy, address=str(new)).get("/").expect(200)


def test_what_only_a_restart_can_change_is_kept_and_named(origin, larder):
    origin.on("GET *", always(200, FRESH, b"x"))
    proxy = larder(config=site(origin))
    reloaded = Reloaded(proxy)
    Client(proxy).get("/").expect(200, cache="stored")
    reloaded.accept(f'[server]\nworkers = 3\n[cache]\nsize = "128MiB"\nmax_variants = 3\n[[site]]\norigin = "{origin.url}"\n')
    named = {line.split("setting=")[1].strip() for line in proxy.logged("a restart is needed")}
    assert named == {"server.workers", "cache.size", "cache.max_variants"}
    Client(proxy).get("/").expect(200, cache="hit")


def test_the_administration_stays_where_it_listens(origin, larder):
    """Named at each reload for as long as the file says otherwise."""
    proxy = larder(config=site(origin))
    reloaded = Reloaded(proxy)
    moved = site(origin) + '[admin]\nlisten = "127.0.0.1:0"\n'
    for reloads in (1, 2):
        reloaded.accept(moved)
        assert len(proxy.logged("setting=admin.listen")) == reloads
    assert json.loads(Admin(proxy).get("/v1/config").expect(200).body)["kept"] == ["admin.listen"]
    reloaded.accept(site(origin))
    assert json.loads(Admin(proxy).get("/v1/config").expect(200).body)["kept"] == []


def test_what_is_known_of_an_origin_goes_on(origins, larder):
    """An origin that was taken out stays out."""
    ill, well = origins(), origins()
    ill.on("GET *", always(500, NO_STORE, b"ill"))
    well.on("GET *", always(200, NO_STORE, b"well"))
    config = (f'[[site]]\norigin = ["{ill.url}", "{well.url}"]\neject_after = 2\neject_time = "1h"\n')
    proxy = larder(config=config)
    reloaded = Reloaded(proxy)
    for number in range(8):
        Client(proxy).get(f"/{number}")
    assert proxy.logged("origin ejected")
    before = ill.count()
    reloaded.accept(config)
    for number in range(8):
        Client(proxy).get(f"/{number}").expect(200, body=b"well")
    assert ill.count() == before


def test_former_configurations_are_limited(origins, larder):
    """Each download goes on with its own configuration; there may only be so many."""
    one = origins()
    gate = one.gate()
    one.on("GET /fast", always(200, NO_STORE, b"fast"))
    one.on("GET /*", lambda exchange: (gate.wait(), exchange.reply(200, NO_STORE, b"x")))
    proxy = larder(config=site(one))
    proxy.before_stop.append(one.open_gates)
    reloaded = Reloaded(proxy)
    waiting = []
    for number in range(8):
        waiting.append(Client(proxy).send_raw(f"GET /{number} HTTP/1.1\r\nHost: h\r\n\r\n".encode()))
        one.wait_count(number + 1)
        reloaded.accept(site(one))
    reloaded.refuse(site(one), "former configurations still run")
    gate.open()
    for client in waiting:
        client.read_response().expect(200, body=b"x")
    wait_until(lambda: threads_of(proxy) < 10, "the former workers to end")
    reloaded.accept(site(one))
    Client(proxy).get("/fast").expect(200)


def test_who_follows_a_fetch_of_a_configuration_that_is_ended_asks_for_himself(origins, larder):
    a, b = origins(), origins()
    gate = a.gate()
    a.on("GET /*", lambda exchange: (gate.wait(), exchange.reply(200, FRESH, b"late")))
    proxy = larder(config=site(a, server='shutdown_timeout = "50ms"'))
    proxy.before_stop.append(a.open_gates)
    reloaded = Reloaded(proxy)
    for number in range(8):
        Client(proxy).send_raw(f"GET /{number} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        a.wait_count(number + 1)
        reloaded.accept(site(b if number == 7 else a))
    follower = Client(proxy).send_raw(b"GET /0 HTTP/1.1\r\nHost: h\r\n\r\n").wait_taken()
    b.expect("GET /0").reply(200, FRESH, b"own")
    reloaded.refuse(site(b), "former configurations still run")
    follower.read_response().expect(200, body=b"own", cache="stored; !collapsed")


def test_stopping_ends_former_workers_too(origins, larder):
    one = origins()
    gate = one.gate()
    one.expect("GET /x").reply(200, NO_STORE, b"x", hold=gate)
    one.expect("GET /tunnel").handle(lambda exchange: (exchange.send(SWITCHES), exchange.reader.at_end(), exchange.close()))
    proxy = larder(config=site(one).replace("workers = 2", "workers = 1"))
    client = Client(proxy).send_raw(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
    gate.wait_reached()
    tunnel = Client(proxy)
    tunnel.get("/tunnel", {"Connection": "Upgrade", "Upgrade": "websocket"}).expect(101)
    reloaded = Reloaded(proxy)
    reloaded.accept(site(one))
    reloaded.signal(signal.SIGTERM, "stopping")
    tunnel.expect_closed()  # the former worker has been told: a tunnel has no end of its own to wait for
    gate.open()
    client.read_response().expect(200, body=b"x", headers={"Connection": "close"})
    assert proxy.process.wait(20) == 0


SWITCHES = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"


def test_an_error_with_quotes_is_one_value(origin, larder, tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    file = logs / "access.log"
    proxy = larder(config=site(origin), flags=["--access-log", str(file)])
    logs.rename(tmp_path / "moved")
    line = Reloaded(proxy).refuse(site(origin))
    assert f'error="server.access_log: cannot write \\"{file}\\": ' in line and line.rstrip().endswith('"'), line


def test_the_access_log_is_opened_anew(origin, larder):
    """SIGUSR1: lines before it are in the file that was moved away, lines after it in a new one."""
    origin.on("GET *", always(200, NO_STORE, b"x"))
    proxy = larder(config=site(origin), flags=["--access-log", "access.log"])
    reloaded = Reloaded(proxy)
    Client(proxy).get("/before").expect(200)
    moved = proxy.directory / "access.log.1"
    proxy.log_path.rename(moved)
    reloaded.signal(signal.SIGUSR1, "opening the access log anew")
    wait_until(lambda: proxy.log_path.exists() and str(moved) not in files_of(proxy), "every worker to have left the former file")
    Client(proxy).get("/after").expect(200)

    def targets(path):
        return [json.loads(line)["target"] for line in path.read_text(encoding="utf-8").splitlines()]

    wait_until(lambda: targets(proxy.log_path), "a line")
    assert (targets(moved), targets(proxy.log_path)) == (["/before"], ["/after"])
