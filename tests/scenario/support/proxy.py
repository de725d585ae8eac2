"""The real larder as a process."""

import contextlib
import ctypes
import os
import re
import select
import shutil
import signal
import subprocess
import threading
from pathlib import Path

from .wire import TIMEOUT, wait_until

ROOT = Path(__file__).resolve().parents[3]
LARDER = Path(os.environ.get("LARDER", ROOT / "build" / "larder"))

REPORTS = re.compile(r"ERROR: \w+Sanitizer|WARNING: \w+Sanitizer|runtime error:|REQUIRE|UNREACHABLE|Assertion .* failed|SUMMARY: \w+Sanitizer")

SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=1:exitcode=98:abort_on_error=0:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:exitcode=97",
    "TSAN_OPTIONS": f"exitcode=96:halt_on_error=0:second_deadlock_stack=1:suppressions={Path(__file__).with_name('tsan.supp')}",
}


def run_larder(*arguments, timeout=TIMEOUT, cwd=None):
    """Runs larder to its end: (exit code, standard output, standard error)."""
    done = subprocess.run([LARDER, *map(str, arguments)], capture_output=True, text=True, timeout=timeout, cwd=cwd,
                          env={**os.environ, **SANITIZERS}, check=False)
    assert not REPORTS.search(done.stderr), done.stderr
    return done.returncode, done.stdout, done.stderr


CAP_SYS_RESOURCE = 24


def bound_to_limits(command):
    """The same for a process that has the limits it is given: one with this capability would take whatever it wants."""
    words = re.search(r"^CapEff:\s*(\w+)", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    may_raise = int(words[1], 16) >> CAP_SYS_RESOURCE & 1
    return ["setpriv", "--bounding-set=-sys_resource", *command] if may_raise else command


def with_descriptors(limit, command):
    return bound_to_limits(["prlimit", f"--nofile={limit}:{limit}", *command])


PR_SET_CHILD_SUBREAPER = 36
UPGRADED = "upgraded: "


class Adopted:
    """A process that was started by one of ours which has ended: what Popen offers, as far as Proxy needs it."""

    def __init__(self, pid):
        self.pid = pid
        self.returncode = None

    @staticmethod
    def expect():
        """From now on such processes become this one's children, so that it can learn how they end."""
        assert ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0

    def poll(self):
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # its parent has not ended yet
                return None
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout=TIMEOUT):
        wait_until(lambda: self.poll() is not None, "the process to end", timeout)
        return self.returncode

    def send_signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


class Proxy:
    """One larder with its own cache directory. `listen`: addresses for --listen, besides what `config` says; `env`: variables more.
    `program_copy`: it runs a copy of the program, which a test may change."""

    def __init__(self, directory, origin=None, config=None, flags=(), listen=("127.0.0.1:0",), cache_dir=None, env=None, program_copy=False):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.cache_dir = Path(cache_dir or self.directory / "cache")
        self.log_path = self.directory / "access.log"
        self.program = LARDER
        if program_copy:
            self.program = self.directory / "larder"
            shutil.copy(LARDER, self.program)
        self.command = [str(self.program), "serve", "--cache-dir", str(self.cache_dir)]
        for address in listen:
            self.command += ["--listen", address]
        if origin is not None:
            self.command += ["--origin", origin if isinstance(origin, str) else origin.url]
        if config is not None:
            file = self.directory / "larder.toml"
            file.write_text(config, encoding="utf-8")
            self.command += ["--config", str(file)]
        self.command += [str(flag) for flag in flags]
        if "--cache-size" not in self.command and not re.search(r"^size\s*=", config or "", re.MULTILINE):
            self.command += ["--cache-size", "64MiB"]  # the body file of a larger store is reserved on the disk at once
        if "--access-log" not in self.command:
            self.command += ["--access-log", "off"]
        self.env = {**os.environ, **SANITIZERS, **(env or {})}
        self.pass_fds = ()  # descriptors that it inherits
        self.process = None
        self.said = None  # the pipe that standard error comes by
        self.taking = threading.Lock()  # of what follows
        self.taken = []  # lines of it, over all starts
        self.begun_line = b""
        self.addresses = []  # as logged: "127.0.0.1:43211", "unix:/path"
        self.reader = None
        self.clients = []
        self.before_stop = []  # functions

    # --- life -------------------------------------------------------------------------------------------------------------------

    def start(self):
        assert self.process is None
        self.addresses = []
        self.process = subprocess.Popen(self.command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                        cwd=self.directory, env=self.env, pass_fds=self.pass_fds)
        os.set_blocking(self.process.stderr.fileno(), False)
        self.said = self.process.stderr
        self.reader = threading.Thread(target=self.read_stderr, args=(self.said,), daemon=True)
        self.reader.start()
        want = sum(1 for argument in self.command if argument == "--listen") or 1
        wait_until(lambda: len(self.addresses) >= want or self.process.poll() is not None, "larder to listen")
        assert len(self.addresses) >= want, f"larder ended with {self.process.returncode}:\n{self.stderr}"
        return self

    def read_stderr(self, said):
        """Takes it as it comes, so that nobody waits for room in the pipe, until nobody writes to it any more."""
        poll = select.poll()
        poll.register(said, select.POLLIN)
        while self.take_said(said):
            poll.poll()
        with self.taking:
            if self.said is said:
                self.said = None
            said.close()

    def take_said(self, said):
        """What is in the pipe now; False at its end."""
        with self.taking:
            while True:
                try:
                    piece = b"" if said.closed else os.read(said.fileno(), 65536)
                except BlockingIOError:
                    return True
                *whole, self.begun_line = (self.begun_line + piece).split(b"\n")
                if not piece and self.begun_line:
                    whole, self.begun_line = [self.begun_line], b""
                for line in (line.decode(errors="replace") + "\n" for line in whole):
                    match = re.search(r"\blistening\b.*\baddress=(\S+)", line)
                    if match:
                        self.addresses.append(match.group(1).strip('"'))
                    self.taken.append(line)
                if not piece:
                    return False

    def stop(self):
        """SIGTERM; the exit must be clean, and no sanitizer may have complained."""
        if self.process is None:
            return
        for function in self.before_stop:
            function()
        self.close_clients()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(2 * TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            self.process.wait()
            self.process = None
            raise AssertionError(f"larder did not end on SIGTERM:\n{self.stderr}") from None
        self.process = None
        self.reader.join(TIMEOUT)
        self.check_reports()
        assert code == 0, f"larder ended with {code}:\n{self.stderr}"

    def pause(self):
        """SIGSTOP, until SIGCONT; returns when every thread stands."""
        self.process.send_signal(signal.SIGSTOP)
        tasks = Path(f"/proc/{self.pid}/task")
        wait_until(lambda: all(" T " in task.read_text(encoding="utf-8") for task in tasks.glob("*/stat")), "every thread to stop")

    def upgrade(self, timeout=TIMEOUT):
        """SIGUSR2: another process takes the place of this one, which ends as if it had been stopped."""
        count = len(self.logged(UPGRADED)) + 1
        self.process.send_signal(signal.SIGUSR2)
        return self.await_upgrade(count, timeout)

    def await_upgrade(self, count, timeout=TIMEOUT):
        """Waits until so many times another process has taken the place of one; the one whose place was taken last."""
        Adopted.expect()
        line = self.wait_logged(UPGRADED, count, timeout)
        former = self.process
        self.process = Adopted(int(re.search(r"\bpid=(\d+)", line)[1]))
        return former

    def kill9(self):
        self.process.kill()
        self.process.wait()
        self.process = None
        self.reader.join(TIMEOUT)
        self.close_clients()
        self.check_reports()

    def restart(self):
        self.stop()
        return self.start()

    def close_clients(self):
        for client in self.clients:
            client.close()

    def check_reports(self):
        assert not REPORTS.search(self.stderr), f"larder complained:\n{self.stderr}"

    # --- facts ------------------------------------------------------------------------------------------------------------------

    @property
    def address(self):
        """Where clients connect: (host, port), or the path of a unix socket."""
        first = self.addresses[0]
        if first.startswith("unix:"):
            return first[5:]
        host, _, port = first.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def port(self):
        return self.address[1]

    @property
    def pid(self):
        return self.process.pid

    @property
    def lines(self):
        """Those of standard error, of all starts: whatever was written before anybody asks, read by the thread or not."""
        said = self.said
        if said is not None:
            self.take_said(said)
        return self.taken

    @property
    def stderr(self):
        return "".join(self.lines)

    def logged(self, text):
        """The lines of the process log that have this text."""
        return [line for line in self.lines if text in line]

    def wait_logged(self, text, count=1, timeout=TIMEOUT):
        """Waits until so many lines have it; the last of them."""
        wait_until(lambda: len(self.logged(text)) >= count, f"{text!r} in the log", timeout)
        return self.logged(text)[-1]

    def listening_fd(self):
        """The last of its descriptors that is a listening TCP socket."""
        table = [line.split() for line in Path(f"/proc/{self.pid}/net/tcp").read_text(encoding="ascii").splitlines()]
        listening = {f"socket:[{words[9]}]" for words in table if words[3] == "0A"}
        descriptors = Path(f"/proc/{self.pid}/fd")
        return max(int(name) for name in os.listdir(descriptors) if os.readlink(descriptors / name) in listening)

    def is_asleep(self):
        """Every thread waits: whatever larder has read by now it has acted on, as far as it can."""
        states = []
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
                states.append((task / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0])
        return set(states) <= {"S"}

    def status(self, name):
        """A line of /proc/PID/status, in bytes where it is in kB."""
        for line in Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith(name + ":"):
                words = line.split()
                return int(words[1]) * (1024 if words[-1] == "kB" else 1)
        raise KeyError(name)
