"""What larder and a service manager tell each other: sd_notify, and sockets that are open already."""

import os
import signal
import socket
import subprocess
import sys

import pytest
from support.client import Client
from support.proxy import LARDER, Proxy
from support.say import always
from support.wire import TIMEOUT, wait_until

# Starts a command as a service manager does: with the descriptors of the first argument from 3 on, for this process id.
GIVE = """
import fcntl, os, sys
given = [fcntl.fcntl(int(fd), fcntl.F_DUPFD_CLOEXEC, 100) for fd in sys.argv[1].split(",")]
for index, fd in enumerate(given):
    os.dup2(fd, 3 + index)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(given)), LISTEN_FDNAMES=":".join("x" for _ in given))
os.execv(sys.argv[2], sys.argv[2:])
"""


def config(origin, server=""):
    return f'[server]\nworkers = 2\n{server}\n[cache]\nsize = "64MiB"\n[[site]]\norigin = "{origin.url}"\n'


class Manager:
    """The socket of a service manager."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.settimeout(TIMEOUT)
        self.sock.bind(path)

    def next(self):
        """The next message, as a dictionary."""
        return dict(line.split("=", 1) for line in self.sock.recv(4096).decode().splitlines())

    def next_but_watchdog(self):
        while True:
            message = self.next()
            if "WATCHDOG" not in message:
                return message


@pytest.mark.parametrize("abstract", [False, True])
def test_the_manager_is_told(tmp_path, origin, monkeypatch, abstract):
    name = f"@larder-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    manager = Manager(name.replace("@", "\0", 1))
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    proxy = Proxy(tmp_path / "larder", config=config(origin)).start()
    assert manager.next() == {"READY": "1", "STATUS": "serving"}

    proxy.process.send_signal(signal.SIGHUP)
    message = manager.next()
    assert message["RELOADING"] == "1"
    assert int(message["MONOTONIC_USEC"]) > 0
    assert manager.next() == {"READY": "1", "STATUS": "serving"}

    (proxy.directory / "larder.toml").write_text("wrong", encoding="utf-8")
    proxy.process.send_signal(signal.SIGHUP)
    assert manager.next()["RELOADING"] == "1"
    assert manager.next() == {"READY": "1", "STATUS": "serving; the last reload was refused"}

    proxy.stop()
    assert manager.next()["STOPPING"] == "1"


def test_the_manager_is_told_which_process_is_the_service_after_an_upgrade(tmp_path, origin, monkeypatch):
    manager = Manager(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    proxy = Proxy(tmp_path / "larder", config=config(origin)).start()
    assert manager.next()["READY"] == "1"
    former = proxy.upgrade()
    assert int(manager.next()["MAINPID"]) == proxy.pid != former.pid
    assert former.wait(TIMEOUT) == 0
    proxy.stop()
    assert manager.next()["STOPPING"] == "1", "and the former one said nothing of the kind"


def test_a_manager_that_is_not_there_matters_to_nobody(tmp_path, origin, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    Proxy(tmp_path / "larder", config=config(origin)).start().stop()


def activated(directory, sockets, config_text):
    """A larder that is started with sockets that are open already."""
    proxy = Proxy(directory, config=config_text, listen=())
    proxy.pass_fds = [one.fileno() for one in sockets]
    proxy.command = [sys.executable, "-c", GIVE, ",".join(map(str, proxy.pass_fds)), *proxy.command]
    return proxy.start()


def listening(address, family=socket.AF_INET):
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.bind(address)
    sock.listen(64)
    return sock


def test_sockets_that_are_open_already(tmp_path, origin):
    """They are used where server.listen has their address; a connection that waits on one is served."""
    origin.on("GET *", always(200, {}, b"x"))
    path = str(tmp_path / "unix")
    tcp, unix = listening(("127.0.0.1", 0)), listening(path, socket.AF_UNIX)
    waiting = socket.create_connection(tcp.getsockname())
    listen = f'listen = ["127.0.0.1:{tcp.getsockname()[1]}", "unix:{path}", "127.0.0.1:0"]'
    proxy = activated(tmp_path / "larder", [tcp, unix], config(origin, listen))
    wait_until(lambda: len(proxy.addresses) == 3, "all addresses")
    waiting.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert waiting.recv(100).startswith(b"HTTP/1.1 200")
    for address in [tcp.getsockname(), path, ("127.0.0.1", int(proxy.addresses[2].split(":")[1]))]:
        Client(proxy, address=address).get("/").expect(200)
    proxy.process.send_signal(signal.SIGHUP)
    proxy.wait_logged("configuration reloaded")
    Client(proxy, address=path).get("/").expect(200)
    proxy.stop()
    assert os.path.exists(path), "the file is the manager's"
    for sock in (tcp, unix):  # and so are the sockets: connections wait for the next start
        client = socket.socket(sock.family, socket.SOCK_STREAM)
        client.connect(sock.getsockname())
        client.close()


def test_what_is_no_listening_socket_is_refused(tmp_path, origin):
    other, datagrams = listening(("127.0.0.1", 0)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    proxy = activated(tmp_path / "larder", [other, datagrams], config(origin, 'listen = "127.0.0.1:0"'))
    assert f"server.listen does not name, it is closed address=127.0.0.1:{other.getsockname()[1]}" in proxy.stderr
    assert "no listening stream socket" in proxy.stderr
    proxy.stop()


def test_sockets_for_another_process_are_left_alone(tmp_path, origin, monkeypatch):
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_PID", "1")
    Proxy(tmp_path / "larder", config=config(origin)).start().stop()


def test_the_unit_is_right(tmp_path):
    """systemd's own check of it."""
    unit = LARDER.parent / "proxy" / "larder.service"
    try:
        text = unit.read_text(encoding="utf-8")
        line = next(line for line in text.splitlines() if line.startswith("ExecStart="))
        copy = tmp_path / "larder.service"
        copy.write_text(text.replace(line.split()[0], f"ExecStart={LARDER}"), encoding="utf-8")
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False, timeout=60)
    except FileNotFoundError:
        pytest.skip("systemd-analyze is missing")
    assert "larder.service" not in done.stderr, done.stderr
