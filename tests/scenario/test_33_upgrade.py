"""SIGUSR2: the program is started anew and takes the place of the one that runs, without a refused connection or a lost request."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from support.admin import Admin
from support.client import Client
from support.parallel import in_parallel
from support.ports import reserved_port
from support.proxy import Adopted, Proxy, bound_to_limits
from support.say import always
from support.wire import Truncated, wait_until

FRESH = {"Cache-Control": "max-age=600"}
BODY = b"x" * 3000


def config(origin, more="", server=""):
    return f'[server]\nworkers = 2\n{server}\n[cache]\nsize = "64MiB"\n[[site]]\norigin = "{origin.url}"\n{more}\n'


def wait_stored(client, path):
    wait_until(lambda: "; hit" in client.get(path).header("Cache-Status"), f"{path} to be stored")


def test_no_request_is_lost_over_five_upgrades(origin, larder):
    """New and kept connections under load: every one is accepted, every answer is right, and what is stored stays stored."""
    origin.on("GET *", always(200, FRESH, BODY))
    proxy = larder(config=config(origin))
    over = threading.Event()
    served = [0] * 6

    def load(number):
        if number == 0:
            try:
                for _ in range(5):
                    want = sum(served) + 50
                    wait_until(lambda: sum(served) >= want, "requests in between")  # noqa: B023
                    assert proxy.upgrade().wait(30) == 0
            finally:
                over.set()
            return
        kept = Client(proxy)
        while not over.is_set():
            if number % 2 == 0:
                kept.get(f"/{served[number] % 10}").expect(200, body=BODY)
            else:
                client = Client(proxy)
                client.get(f"/{served[number] % 10}").expect(200, body=BODY)
                client.close()
            served[number] += 1

    in_parallel(load, range(6))
    client = Client(proxy)
    before = origin.count()
    for path in range(10):
        client.get(f"/{path}").expect(200, body=BODY, cache="hit")
    assert origin.count() == before
    assert len(re.findall("upgraded: ", proxy.stderr)) == 5


def test_stored_responses_are_hits_for_the_new_process(origin, larder):
    """The store changes hands with all that was queued for it."""
    origin.on("GET *", always(200, FRESH, BODY))
    proxy = larder(config=config(origin))
    client = Client(proxy)
    for number in range(50):
        client.get(f"/{number}").expect(200, body=BODY)
    former = proxy.upgrade()
    for number in range(50):
        client.get(f"/{number}").expect(200, body=BODY, cache="hit")
    assert former.wait(30) == 0
    assert origin.count() == 50
    Admin(proxy).status()


def test_what_is_asked_behind_an_upgrade_is_answered_by_the_new_process(origin, larder):
    """Also on connections that were kept, of every worker: the log says it is done when it is."""
    origin.on("GET *", always(200, FRESH, BODY))
    proxy = larder(config=config(origin))
    clients = [Client(proxy) for _ in range(8)]
    wait_stored(clients[0], "/a")
    for client in clients:
        client.get("/a").expect(200, cache="hit")
    for _ in range(5):
        former = proxy.upgrade()
        for client in clients:
            client.get("/a").expect(200, body=BODY, cache="hit")
        assert former.wait(30) == 0
    assert origin.count() == 1
    assert all(client.connections == 1 for client in clients), "they were kept"


def test_a_kept_connection_goes_over(origin, larder):
    """The client does not notice: the same connection is served by the new process when the former one has ended."""
    origin.on("GET *", always(200, FRESH, BODY))
    proxy = larder(config=config(origin))
    client = Client(proxy)
    client.get("/a").expect(200, body=BODY)
    former = proxy.upgrade()
    assert former.wait(30) == 0
    client.get("/a").expect(200, body=BODY, cache="hit")
    assert client.connections == 1


def test_what_runs_is_finished_by_the_process_that_began_it(origin, larder):
    """A download that the former process sends from the store stays whole, though the new one evicts and deletes meanwhile."""
    body = os.urandom(8 << 20)
    origin.on("GET /large", always(200, FRESH, body))
    origin.on("GET /other/*", always(200, FRESH, b"y" * (4 << 20)))
    proxy = larder(config=config(origin).replace("[cache]", '[cache]\nadmit_large = "always"'))
    client = Client(proxy)
    client.get("/large").expect(200, body=body)
    wait_stored(client, "/large")
    slow = Client(proxy)
    download = slow.begin("GET", "/large").expect(200)
    former = proxy.upgrade()
    for number in range(30):  # twice the store
        client.get(f"/other/{number}").expect(200)
    assert download.body == body
    assert former.wait(30) == 0


@contextlib.contextmanager
def upgrade_during_a_post(origin, proxy, target, answer):
    """Within it the new process has the store; behind it the former one has given the origin's answer, and ended."""
    gate = origin.gate()
    origin.expect(f"POST {target}").reply(200, answer, b"done", hold=gate)
    poster = Client(proxy)
    poster.send("POST", target, body=b"x")
    gate.wait_reached()
    former = proxy.upgrade()
    yield
    gate.open()
    poster.read_response().expect(200, body=b"done")
    assert former.wait(30) == 0


def test_what_the_former_process_invalidates_is_invalid_for_the_new_one(origin, larder):
    """RFC 9111 4.4: a POST that was under way during the upgrade removes what is stored, whoever has the store."""
    origin.expect("GET /a").reply(200, FRESH, b"before")
    proxy = larder(config=config(origin))
    client = Client(proxy)
    client.get("/a").expect(200, body=b"before")
    with upgrade_during_a_post(origin, proxy, "/a", {}):
        client.get("/a").expect(200, body=b"before", cache="hit")
    origin.expect("GET /a").reply(200, FRESH, b"after")
    client.get("/a").expect(200, body=b"after")


def test_groups_that_the_former_process_invalidates_are_invalid_for_the_new_one(origin, larder):
    """RFC 9875 3; those of the origin that said so."""
    proxy = larder(config=config(origin))
    client = Client(proxy)
    for target, group in {"/a": "one", "/b": "two"}.items():
        origin.expect(f"GET {target}").reply(200, {**FRESH, "Cache-Groups": f'"{group}"'}, b"before")
        client.get(target).expect(200, body=b"before")
    with upgrade_during_a_post(origin, proxy, "/c", {"Cache-Group-Invalidation": '"one"'}):
        client.get("/a").expect(200, body=b"before", cache="hit")
    origin.expect("GET /a").reply(200, FRESH, b"after")
    client.get("/a").expect(200, body=b"after", cache="fwd=uri-miss")
    client.get("/b").expect(200, body=b"before", cache="hit")
    proxy.restart()  # it is in the journal
    Client(proxy).get("/a").expect(200, body=b"after", cache="hit")


@pytest.mark.parametrize("what", ["configuration", "program"])
def test_what_cannot_start_leaves_the_former_one_serving(origin, larder, what):
    origin.on("GET *", always(200, FRESH, BODY))
    proxy = larder(config=config(origin), program_copy=True)
    client = Client(proxy)
    client.get("/a").expect(200)
    wait_stored(client, "/a")
    file = proxy.directory / "larder.toml" if what == "configuration" else proxy.program
    good = file.read_bytes()
    broken = file.with_name("broken")
    broken.write_bytes(good + b"wrong = 1\n" if what == "configuration" else b"#!/bin/true\n")
    broken.chmod(0o755)
    broken.replace(file)
    proxy.process.send_signal(signal.SIGUSR2)
    proxy.wait_logged("the upgrade failed, this larder goes on")
    assert what == "program" or "larder.toml:" in proxy.stderr, "what is wrong is said as well"
    client.get("/a").expect(200, body=BODY, cache="hit")
    client.get("/b").expect(200)
    wait_stored(client, "/b")
    broken.write_bytes(good)
    broken.chmod(0o755)
    broken.replace(file)
    assert proxy.upgrade().wait(30) == 0
    client.get("/b").expect(200, body=BODY, cache="hit")


def test_a_successor_without_descriptors_to_listen_does_not_take_over(origin, larder):
    origin.on("GET *", always(200, FRESH, BODY))
    proxy = larder(config=config(origin), program_copy=True)
    proxy.command = bound_to_limits(proxy.command)
    proxy.restart()
    assert proxy.upgrade().wait(30) == 0
    last = proxy.listening_fd()
    limit = next(count for count in range(last, 2 * last) if count - count // 8 == last)  # an eighth is not for that
    good = proxy.program.rename(proxy.program.with_name("good"))
    proxy.program.write_text(f'#!/bin/sh\nulimit -n {limit}\nexec "{good}" "$@"\n', encoding="utf-8")
    proxy.program.chmod(0o755)
    proxy.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: proxy.logged("the upgrade failed, this larder goes on") or len(proxy.logged("upgraded: ")) > 1, "the upgrade to end")
    assert proxy.logged("cannot make a worker: ") and len(proxy.logged("upgraded: ")) == 1
    Client(proxy).get("/a").expect(200, body=BODY)


def test_a_successor_that_dies_with_the_store_gives_it_back(origin, larder):
    """It has the store, and fails behind it: an address of the administration is in use. The former one stores again."""
    origin.on("GET *", always(200, FRESH, BODY))
    proxy = larder(config=config(origin))
    client = Client(proxy)
    client.get("/a").expect(200)
    wait_stored(client, "/a")
    hold = socket.socket()
    hold.bind(("127.0.0.1", 0))
    hold.listen()
    file = proxy.directory / "larder.toml"
    good = file.read_text(encoding="utf-8")
    file.write_text(good + f'[admin]\nlisten = "127.0.0.1:{hold.getsockname()[1]}"\n', encoding="utf-8")
    proxy.process.send_signal(signal.SIGUSR2)
    proxy.wait_logged("the upgrade failed, this larder goes on")
    hold.close()
    file.write_text(good, encoding="utf-8")
    order(Admin(proxy), "normal").expect(200)
    client.get("/a").expect(200, body=BODY, cache="hit")
    client.get("/b").expect(200)
    wait_stored(client, "/b")
    assert proxy.upgrade().wait(30) == 0
    client.get("/b").expect(200, body=BODY, cache="hit")


def test_a_successor_that_does_not_hear_gives_the_store_back(origin, larder):
    """It asks for the store, and takes no answer: the former one has let the store go by then, and stores again."""
    origin.on("GET *", always(200, FRESH, BODY))
    proxy = larder(config=config(origin), program_copy=True)
    client = Client(proxy)
    client.get("/a").expect(200)
    wait_stored(client, "/a")
    good = proxy.program.read_bytes()
    deaf = proxy.program.with_name("deaf")
    deaf.write_text(DEAF, encoding="ascii")
    deaf.chmod(0o755)
    deaf.replace(proxy.program)
    proxy.process.send_signal(signal.SIGUSR2)
    proxy.wait_logged("the upgrade failed, this larder goes on")
    assert "the store cannot be given away" in proxy.stderr
    client.get("/a").expect(200, body=BODY, cache="hit")
    client.get("/b").expect(200)
    wait_stored(client, "/b")
    deaf.write_bytes(good)
    deaf.chmod(0o755)
    deaf.replace(proxy.program)
    assert proxy.upgrade().wait(30) == 0
    client.get("/b").expect(200, body=BODY, cache="hit")


DEAF = """#!/usr/bin/python3
import os, signal, socket
sockets = os.environ["LARDER_SUCCESSOR"].split()[2]
channel = socket.socket(fileno=3 + len(sockets))
channel.shutdown(socket.SHUT_RD)
channel.send(bytes([1]))  # CHANNEL_STORE
signal.pause()
"""


def test_unix_sockets_and_the_administration_keep_their_files(origin, larder, tmp_path):
    origin.on("GET *", always(200, FRESH, BODY))
    path = tmp_path / "larder.sock"
    proxy = larder(config=config(origin, server=f'listen = ["127.0.0.1:0", "unix:{path}"]'), listen=())
    for _ in range(2):
        assert proxy.upgrade().wait(30) == 0
        Client(proxy, address=str(path)).get("/a").expect(200, body=BODY)
        Admin(proxy).status()
    proxy.stop()
    assert not path.exists()


def test_relative_paths_go_over(origin, larder, monkeypatch):
    """The new process has the same working directory: a relative cache.dir, and with it the command socket, and a relative listener stay."""
    origin.on("GET *", always(200, FRESH, BODY))
    proxy = larder(config=config(origin, server='listen = ["127.0.0.1:0", "unix:relative.sock"]'), listen=(), cache_dir="stored")
    monkeypatch.chdir(proxy.directory)
    for _ in range(2):
        assert proxy.upgrade().wait(30) == 0
        Client(proxy, address="relative.sock").get("/a").expect(200, body=BODY)
        Admin(proxy).status()
    assert "is closed" not in proxy.stderr
    proxy.stop()
    assert not (proxy.directory / "relative.sock").exists()


def test_listeners_that_are_written_otherwise_go_over(origin, larder, monkeypatch):
    """A socket is known by what it is bound to, not by how the file names it: at an upgrade, and at a reload."""
    origin.on("GET *", always(200, FRESH, BODY))
    def written(ip, port, directory):
        return config(origin, f'[admin]\nsocket = "{directory}admin.sock"', f'listen = ["[{ip}]:{port}", "unix:{directory}larder.sock"]')

    with reserved_port("::1") as port:
        proxy = larder(config=written("::1", port, ""), listen=())
        monkeypatch.chdir(proxy.directory)
        file = proxy.directory / "larder.toml"
        for ip, directory in (("0:0::0001", "./"), ("::1", f"{proxy.directory}/")):
            file.write_text(written(ip, port, directory), encoding="utf-8")
            assert proxy.upgrade().wait(30) == 0
            Client(proxy, address="larder.sock").get("/a").expect(200, body=BODY)
            Client(proxy, address=("::1", port)).get("/a").expect(200, body=BODY)
            Admin(proxy, "admin.sock").status()
        file.write_text(written("0::1", port, ""), encoding="utf-8")
    proxy.process.send_signal(signal.SIGHUP)
    proxy.wait_logged("configuration reloaded")
    Client(proxy, address="larder.sock").get("/a").expect(200, body=BODY)
    assert "is closed" not in proxy.stderr
    proxy.stop()
    assert not Path("larder.sock").exists() and not Path("admin.sock").exists()


def order(admin, mode):
    return admin.post("/v1/mode", json.dumps({"site": "default", "mode": mode}).encode(), {"Content-Type": "application/json"})


def test_a_mode_that_was_ordered_goes_over(origin, larder):
    """No request reaches the origin of a site that is offline, before, during or after an upgrade; what is changed in the file holds, as at a reload."""
    proxy = larder(config=config(origin))
    order(Admin(proxy), "offline").expect(200)
    over = threading.Event()

    def load(number):
        if number == 0:
            try:
                for _ in range(2):  # the second one has learnt it from a predecessor itself
                    assert proxy.upgrade().wait(30) == 0
            finally:
                over.set()
        while not over.is_set():
            client = Client(proxy)
            client.get("/a").expect(504)
            client.close()

    in_parallel(load, range(3))
    Client(proxy).get("/a").expect(504, cache="!hit; !fwd; detail=offline-miss")
    assert origin.count() == 0
    assert [row["mode"] for row in json.loads(Admin(proxy).get("/v1/modes").expect(200).body)["modes"]] == ["offline"]
    file = proxy.directory / "larder.toml"
    file.write_text(config(origin, 'mode = "record"'), encoding="utf-8")
    assert proxy.upgrade().wait(30) == 0
    assert [row["mode"] for row in json.loads(Admin(proxy).get("/v1/modes").expect(200).body)["modes"]] == ["record"]


def test_who_leaves_takes_no_order(origin, larder):
    """It would be lost: the former process says so to a connection of the administration that it still has."""
    gate = origin.gate()
    origin.expect("GET /slow").reply(200, {}, BODY, hold=gate)
    proxy = larder(config=config(origin))
    kept = Admin(proxy)
    kept.status()
    client = Client(proxy)
    client.send("GET", "/slow")
    gate.wait_reached()
    former = proxy.upgrade()
    order(kept, "offline").expect(503)
    kept.post("/v1/purge", b'{"everything": true}', {"Content-Type": "application/json"}).expect(503)
    assert kept.connections == 1
    order(Admin(proxy), "offline").expect(200)
    gate.open()
    client.read_response().expect(200, body=BODY)
    assert former.wait(30) == 0


def test_a_purge_that_comes_while_the_store_changes_hands(origin, larder):
    """It would be lost, as what the former process has in memory is: 503, and the next try finds who has the store."""
    proxy = larder(config=config(origin, 'purge_from = ["127.0.0.1"]'), program_copy=True)
    client = Client(proxy)
    origin.expect("GET /a").reply(200, FRESH, b"before")
    client.get("/a").expect(200)
    wait_stored(client, "/a")
    idle = proxy.program.with_name("idle")
    idle.write_text(IDLE, encoding="ascii")
    idle.chmod(0o755)
    idle.replace(proxy.program)
    proxy.process.send_signal(signal.SIGUSR2)
    origin.on("GET /b", always(200, FRESH, BODY))
    wait_until(lambda: "store-away" in client.get("/b").header("Cache-Status"), "the store to be let go")
    answer = client.request("PURGE", "/a").expect(503, cache="detail=store-away")
    assert answer.header("Retry-After") == "1" and b"another larder has taken the store over" in answer.body
    [successor] = children_of(proxy.pid)
    os.kill(successor, signal.SIGKILL)
    proxy.wait_logged("the upgrade failed, this larder goes on")
    client.get("/a").expect(200, body=b"before", cache="hit")
    client.request("PURGE", "/a").expect(200, cache="detail=purge")
    origin.expect("GET /a").reply(200, FRESH, b"after")
    client.get("/a").expect(200, body=b"after")


IDLE = DEAF.replace("channel.shutdown(socket.SHUT_RD)\n", "")


def test_a_second_upgrade_during_the_first_is_ignored(origin, larder):
    origin.on("GET *", always(200, FRESH, BODY))
    proxy = larder(config=config(origin), program_copy=True)
    good = proxy.program.rename(proxy.program.with_name("good"))
    proxy.program.write_text(f'#!/bin/sh\nuntil [ -e go ]; do sleep 0.01; done\nexec "{good}" "$@"\n', encoding="utf-8")
    proxy.program.chmod(0o755)
    proxy.process.send_signal(signal.SIGUSR2)
    proxy.wait_logged("upgrading: ")
    proxy.process.send_signal(signal.SIGUSR2)
    proxy.wait_logged("an upgrade is under way already")
    Adopted.expect()
    (proxy.directory / "go").touch()
    former = proxy.await_upgrade(1)
    assert former.wait(30) == 0
    Client(proxy).get("/a").expect(200, body=BODY)
    assert len(proxy.logged("upgraded: ")) == len(proxy.logged("upgrading: ")) == 1


def test_a_former_process_that_hangs_is_ended(origin, larder):
    """The new one serves regardless, and ends what the clients of the former one wait for."""
    body = b"x" * (16 << 20)
    origin.on("GET /large", always(200, {"Cache-Control": "no-store"}, body))
    origin.on("GET *", always(200, FRESH, BODY))
    proxy = larder(config=config(origin, server='shutdown_timeout = "4s"'))  # until then the former one is made to hang
    slow = Client(proxy)
    download = slow.begin("GET", "/large").expect(200)
    former = proxy.upgrade()
    former.send_signal(signal.SIGSTOP)
    Client(proxy).get("/a").expect(200, body=BODY)
    assert former.wait(30) == -signal.SIGKILL
    assert f"the former larder hangs: it has not ended in its time, ending it pid={former.pid}" in proxy.stderr
    with pytest.raises(Truncated):
        _ = download.body
    Client(proxy).get("/a").expect(200, body=BODY, cache="hit")
    proxy.wait_logged("the former larder has ended")
    assert proxy.upgrade().wait(30) == 0


@pytest.mark.slow
def test_a_former_process_that_hangs_ends_although_the_new_one_is_gone(origin, tmp_path):
    """It waits for whoever reads what it says, for ever, and nobody is left to end it."""
    gate = origin.gate()
    origin.expect("GET /slow").reply(200, {}, BODY, hold=gate)
    proxy = Proxy(tmp_path / "larder", config=config(origin, server='shutdown_timeout = "4s"'))  # as above
    reading, writing = os.pipe()
    former = subprocess.Popen(proxy.command, stderr=writing, cwd=proxy.directory, env=proxy.env)
    with open(reading, encoding="utf-8") as lines:

        def said(pattern):
            return next(found.group(1) for found in (re.search(pattern, line) for line in lines) if found)

        proxy.addresses = [said(r"listening address=(\S+)")]
        client = Client(proxy)
        client.send("GET", "/slow")
        gate.wait_reached()
        former.send_signal(signal.SIGUSR2)
        new = int(said(r"upgraded: .* pid=(\d+)"))
        former.send_signal(signal.SIGSTOP)
        os.kill(new, signal.SIGKILL)
        with open(f"/proc/self/fd/{writing}", "wb", buffering=0, opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as full:
            while full.write(b"x"):  # until there is no room
                pass
        former.send_signal(signal.SIGCONT)
        assert former.wait(30) == -signal.SIGALRM
    os.close(writing)
    gate.open()
    client.close()


def test_a_new_process_that_hangs_does_not_hold_up_the_former_one(origin, larder):
    """It takes none of the idle connections any more: they are closed, and not each is waited for."""
    origin.on("GET *", always(200, FRESH, BODY))
    proxy = larder(config=config(origin, server='shutdown_timeout = "5s"'))
    Client(proxy).get("/a").expect(200)
    idle = [socket.create_connection(proxy.address) for _ in range(2000)]
    Client(proxy).get("/a").expect(200)  # all of them have been accepted
    former = proxy.upgrade()
    os.kill(proxy.pid, signal.SIGSTOP)
    assert former.wait(30) == 0
    os.kill(proxy.pid, signal.SIGCONT)
    for sock in idle:
        sock.close()
    Client(proxy).get("/a").expect(200, body=BODY)


def test_a_stop_during_an_upgrade_stops_both(origin, larder):
    """While what runs is finished, the new process does not take the place of one that was told to go."""
    gate = origin.gate()
    origin.expect("GET /slow").reply(200, {}, BODY, hold=gate)
    proxy = larder(config=config(origin))
    client = Client(proxy)
    client.send("GET", "/slow")
    gate.wait_reached()
    proxy.process.send_signal(signal.SIGSTOP)  # both come before it does anything
    proxy.process.send_signal(signal.SIGUSR2)
    proxy.process.send_signal(signal.SIGTERM)
    proxy.process.send_signal(signal.SIGCONT)
    proxy.wait_logged("stopping signal=SIGTERM")
    wait_until(lambda: not children_of(proxy.pid), "the new process to end")
    gate.open()
    client.read_response().expect(200, body=BODY)
    assert proxy.process.wait(30) == 0
    assert "upgraded: " not in proxy.stderr


def children_of(pid):
    """Those that run."""
    states = {child: Path(f"/proc/{child}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
              for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()}
    return [int(child) for child, state in states.items() if state != "Z"]
