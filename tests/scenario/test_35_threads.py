"""How threads are run; those that cannot be started while larder runs: it goes on as it was, and loses no request."""

import mmap
import os
import signal
import struct
from pathlib import Path

import pytest
from support.client import Client
from support.parallel import in_parallel
from support.say import NO_STORE, always
from support.shims import preloaded
from support.wire import TIMEOUT, wait_until

pytestmark = pytest.mark.plain_only

CONFIG = '[server]\nworkers = 2\n[cache]\nsize = "64MiB"\n[[site]]\norigin = "{url}"\n'


class Threads:
    """The shim's control page."""

    def __init__(self, path):
        path.write_bytes(bytes(mmap.PAGESIZE))
        with path.open("r+b") as file:
            self.page = mmap.mmap(file.fileno(), mmap.PAGESIZE)

    def fail(self, at, hold=False, pid=0):
        """The `at`-th from now on fails (of this process); with `hold` not before release()."""
        self.page[0:40] = struct.pack("=5Q", 0, 0, 0, int(hold), pid)
        self.page[8:16] = struct.pack("=Q", at)

    def failed(self):
        return struct.unpack("=Q", self.page[16:24])[0]

    def wait_failed(self):
        wait_until(lambda: self.failed() == 1, "a thread not to be started")

    def release(self):
        self.page[24:32] = bytes(8)


@pytest.fixture
def threads(tmp_path):
    return Threads(tmp_path / "threads")


@pytest.fixture
def proxy(threads, larder, origin, tmp_path):
    return larder(config=CONFIG.format(url=origin.url), env={**preloaded("thread"), "THREAD_CONTROL": str(tmp_path / "threads")})


@pytest.mark.parametrize("at", [1, 2])
def test_a_reload_whose_workers_cannot_all_be_started(origin, proxy, threads, at):
    """Those that could have answered nobody, and took nobody's connection."""
    gate = origin.gate()
    origin.on("GET /kept", always(200, NO_STORE, b"kept"))
    origin.on("GET /*", lambda exchange: (gate.wait(), exchange.reply(200, NO_STORE, exchange.request.path.encode())))
    kept = Client(proxy)
    kept.get("/kept").expect(200, body=b"kept")
    clients = []

    def ask(count):
        for _ in range(count):
            clients.append(Client(proxy))
            clients[-1].send("GET", f"/{len(clients)}")

    for turn in range(3):
        threads.fail(at, hold=True)
        proxy.process.send_signal(signal.SIGHUP)
        threads.wait_failed()
        ask(20)
        os.kill(proxy.pid, signal.SIGSTOP)
        ask(20)  # they wait in the kernel's queue
        threads.release()
        os.kill(proxy.pid, signal.SIGCONT)
        proxy.wait_logged("cannot start a thread", turn + 1)
    origin.wait_count(1 + len(clients))
    gate.open()
    for number, response in enumerate(in_parallel(lambda client: client.read_response(), clients), 1):
        response.expect(200, body=f"/{number}".encode())
    kept.get("/kept").expect(200, body=b"kept")
    assert kept.connections == 1
    threads.fail(0)
    proxy.process.send_signal(signal.SIGHUP)
    proxy.wait_logged("configuration reloaded")
    kept.get("/kept").expect(200, body=b"kept")


def test_an_upgrade_asks_the_former_process_for_no_thread(origin, proxy, threads):
    """It goes on writing by the one it has: what it still answers is invalidated for its successor."""
    origin.expect("GET /a").reply(200, {"Cache-Control": "max-age=600"}, b"old")
    client, other = Client(proxy), Client(proxy)
    client.get("/a").expect(200, body=b"old")
    wait_until(lambda: "; hit" in client.get("/a").header("Cache-Status"), "it to be stored")
    gate = origin.gate()
    origin.expect("POST /a").reply(200, NO_STORE, b"done", hold=gate)
    other.send("POST", "/a", body=b"x")
    gate.wait_reached()
    threads.fail(1, pid=proxy.pid)
    former = proxy.upgrade()
    gate.open()
    other.read_response("POST").expect(200, body=b"done")
    assert former.wait(TIMEOUT) == 0
    assert threads.failed() == 0
    origin.expect("GET /a").reply(200, NO_STORE, b"new")
    Client(proxy).get("/a").expect(200, body=b"new")


def test_the_thread_that_writes_the_store_interrupts_no_other(proxy):
    """When it is woken: it has the policy for that, and the others have not."""

    def policies():
        return [os.sched_getscheduler(int(task.name)) for task in Path(f"/proc/{proxy.pid}/task").iterdir()]

    wait_until(lambda: policies().count(os.SCHED_BATCH) == 1, "one thread to be SCHED_BATCH")
    assert set(policies()) == {os.SCHED_OTHER, os.SCHED_BATCH}
