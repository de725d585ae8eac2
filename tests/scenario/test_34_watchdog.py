"""The watchdog: a worker's thread that hangs is noticed; a process that was stopped as a whole is not taken for one."""

import ctypes
import errno
import os
import re
import signal
import time
from pathlib import Path

import pytest
from support.admin import Admin
from support.client import Client
from support.clock import Clock
from support.proxy import Proxy
from support.say import always
from support.wire import TIMEOUT, wait_until
from test_32_service import Manager

PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
WALL = 0x40000000  # of waitpid: threads, too


class Halted:
    """One thread of a larder, stopped as by a debugger: the rest of the process goes on."""

    def __init__(self, thread):
        self.thread = thread
        self.trace(PTRACE_SEIZE)
        self.trace(PTRACE_INTERRUPT)
        os.waitpid(thread, WALL)

    def trace(self, request):
        libc = ctypes.CDLL(None, use_errno=True)
        libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        if libc.ptrace(request, self.thread, None, None) != 0:
            if ctypes.get_errno() == errno.EPERM:
                pytest.skip("no thread may be traced here")
            raise OSError(ctypes.get_errno(), "ptrace")

    def go_on(self):
        self.trace(PTRACE_DETACH)

    def wait_end(self):
        """Its end is told to who traces it first."""
        wait_until(lambda: os.waitpid(self.thread, WALL | os.WNOHANG)[0] == self.thread, "the thread to end")


def config(origin, watchdog):
    return f'[server]\nworkers = 2\nwatchdog = "{watchdog}"\n[cache]\nsize = "64MiB"\n[[site]]\norigin = "{origin.url}"\n'


def worker_threads(proxy):
    """Threads that wait in a loop of their own, as workers do; the main thread is the process itself."""
    tasks = Path(f"/proc/{proxy.pid}/task")
    waiting = [task for task in tasks.iterdir() if (task / "wchan").read_text() in ("ep_poll", "do_epoll_wait")]
    return sorted(int(task.name) for task in waiting if int(task.name) != proxy.pid)


def state_of(proxy):
    return Path(f"/proc/{proxy.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]


def halt_a_worker(proxy):
    wait_until(lambda: len(worker_threads(proxy)) >= 2, "the workers to wait for work")
    return Halted(worker_threads(proxy)[0])


@pytest.mark.plain_only  # a sanitizer has its own idea of an abort
def test_a_worker_that_hangs_ends_the_process(origin, tmp_path):
    proxy = Proxy(tmp_path / "larder", config=config(origin, "1s")).start()
    halted = halt_a_worker(proxy)
    halted.wait_end()
    assert proxy.process.wait(30) == -signal.SIGABRT
    proxy.process = None
    said = re.search(r"a worker is stuck, ending the process worker=(\d) thread=(\d+) silent_ms=(\d+) state=t", proxy.stderr)
    assert said, proxy.stderr
    assert int(said.group(2)) == halted.thread
    assert int(said.group(3)) >= 1000


def test_a_worker_that_goes_on_in_time_costs_nothing(origin, larder):
    """Half of the time is worth a warning; then all is well again."""
    origin.on("GET *", always(200, {}, b"x"))
    proxy = larder(config=config(origin, "8s"))
    halted = halt_a_worker(proxy)
    proxy.wait_logged("a worker is stuck worker=", timeout=30)
    halted.go_on()
    proxy.wait_logged("the worker goes on")
    Client(proxy).get("/").expect(200)


@pytest.mark.plain_only
def test_a_process_that_was_stopped_has_no_worker_that_hangs(origin, larder, tmp_path):
    """While it is stopped time is all that passes: far more here than the watchdog waits."""
    origin.on("GET *", always(200, {}, b"x"))
    clock = Clock(tmp_path / "clock")
    proxy = larder(config=config(origin, "20s"), env=clock.env)
    for _ in range(3):
        proxy.process.send_signal(signal.SIGSTOP)
        wait_until(lambda: state_of(proxy) == "T", "it to stand still")
        clock.let_pass(60_000)
        proxy.process.send_signal(signal.SIGCONT)
        for _ in range(2):  # turns of the main thread, which watches
            Admin(proxy).status()
        Client(proxy).get("/").expect(200)
    assert "a worker is stuck" not in proxy.stderr


def test_the_manager_hears_that_all_is_well(tmp_path, origin, monkeypatch):
    """… and no more when a worker hangs."""
    manager = Manager(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    proxy = Proxy(tmp_path / "larder", config=config(origin, "0")).start()
    assert manager.next()["READY"] == "1"
    for _ in range(5):
        assert manager.next() == {"WATCHDOG": "1"}
    halted = halt_a_worker(proxy)
    manager.sock.settimeout(0.5)
    deadline = time.monotonic() + TIMEOUT
    with pytest.raises(TimeoutError):
        while time.monotonic() < deadline:  # what was on its way
            manager.next()
    halted.go_on()
    manager.sock.settimeout(30)
    assert manager.next() == {"WATCHDOG": "1"}
    proxy.stop()
