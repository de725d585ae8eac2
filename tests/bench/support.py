"""What every benchmark here stands on: started processes and what they used, and a client that asks as wrk will."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
KIB, MIB = 1024, 1024 * 1024

# What a browser sends for a style sheet, 600 bytes.
BROWSER = {
    "Host": "www.example.com",
    "Connection": "keep-alive",
    "sec-ch-ua": '"Chromium";v="130", "Google Chrome";v="130", "Not?A_Brand";v="99"',
    "sec-ch-ua-mobile": "?0",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
    "sec-ch-ua-platform": '"Linux"',
    "Accept": "text/css,*/*;q=0.1",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-Mode": "no-cors",
    "Sec-Fetch-Dest": "style",
    "Referer": "http://www.example.com/articles/2026/11/a-page-with-a-style-sheet",
    "Accept-Encoding": "gzip, deflate, br",
    "Accept-Language": "en-GB,en;q=0.9,de;q=0.8",
}


class Failed(Exception):
    """Something that was measured is not what it should be."""


def require(condition, what):
    if not condition:
        raise Failed(what)


def find(tool):
    path = shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin")
    require(path, f"{tool} is missing; ./dev bench installs it")
    return path


# --- processes ------------------------------------------------------------------------------------------------------------------


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def read_stat(pid):
    """The fields of /proc/PID/stat from the third on (proc(5)), or None where the process has gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def family(pid):
    """The process and everything below it."""
    parents = {int(p.name): read_stat(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()}
    found = [pid]
    for member in found:
        found += [child for child, stat in parents.items() if stat and int(stat[1]) == member]
    return found


class Server:
    """A started process with what it starts, its port, and its log. Ends with the `with` block."""

    def __init__(self, name, command, port, log):
        self.name, self.port, self.log, self.command = name, port, log, command
        self.start()

    def start(self):
        self.began_s = time.monotonic()
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def wait_ready(self, timeout_s=20, step_s=0.02):
        """Until it takes connections."""
        while True:
            if self.process.poll() is not None or time.monotonic() > self.began_s + timeout_s:
                self.__exit__()
                raise Failed(f"{self.name} does not start:\n{self.log.read_text(errors='replace')[-2000:]}")
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            time.sleep(step_s)

    def __enter__(self):
        return self.wait_ready()

    def kill(self):
        """As a power cut would end it."""
        for pid in family(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        self.process.wait()

    def __exit__(self, *_):
        members = family(self.process.pid)
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            for pid in members:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)
            self.process.wait()

    def cpu_s(self):
        """User and system time of all its processes, those that ended included (fields 14 to 17)."""
        stats = [read_stat(pid) for pid in family(self.process.pid)]
        return sum(int(ticks) for stat in stats if stat for ticks in stat[11:15]) / TICKS_PER_S

    def cpu_at_rest_s(self):
        """The same once it has not grown for half a second: what is written behind counts for the request that caused it."""
        deadline = time.monotonic() + 60
        before, same = self.cpu_s(), 0
        while same < 5:
            require(time.monotonic() < deadline, f"{self.name} does not come to rest after the load")
            time.sleep(0.1)
            now = self.cpu_s()
            before, same = now, same + 1 if now == before else 0
        return before

    def private_bytes(self):
        """Memory of all its processes that belongs to nobody else and to no file: what connections can cost."""
        total = 0
        for pid in family(self.process.pid):
            with contextlib.suppress(OSError):
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
                total += int(re.search(r"^Pss_Anon: *(\d+) kB", text, re.MULTILINE)[1]) * KIB
        return total


# --- a client -------------------------------------------------------------------------------------------------------------------


def request_bytes(path, headers):
    return (f"GET {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n").encode()


class Client:
    """Asks as wrk will, over one connection, and reads the answer's body and what the cache did. A socket and a few lines, since
    Python's own client takes ten times as long, and tens of thousands of objects are asked for."""

    def __init__(self, port, is_cache=True):
        self.is_cache = is_cache
        self.socket = socket.create_connection(("127.0.0.1", port), 20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""

    def close(self):
        self.socket.close()

    def receive(self):
        piece = self.socket.recv(1 << 18)
        require(piece, "the connection ended in an answer")
        return piece

    def get(self, path, headers):
        """The length of the answer's body; `status` and `head` are the answer's."""
        self.socket.sendall(request_bytes(path, headers))
        got = self.rest
        while (end := got.find(b"\r\n\r\n")) < 0:
            got += self.receive()
        self.head, got = got[: end + 4].decode("latin-1"), got[end + 4 :]
        self.status = int(self.head[9:12])
        if self.status == 304:
            self.rest = got
            return 0
        if self.field("Transfer-Encoding") == "chunked":
            return self.get_chunks(got)
        length, have = int(self.field("Content-Length") or 0), len(got)
        self.body, self.rest = got[:length], got[length:]  # of a long body, the beginning
        while have < length:
            piece = self.receive()
            if have < KIB:
                self.body += piece[: length - have]
            self.rest = piece[length - have :]
            have += len(piece)
        return length

    def get_chunks(self, got):
        length = 0
        while True:
            while (end := got.find(b"\r\n")) < 0:
                got += self.receive()
            size = int(got[:end].split(b";")[0], 16)
            while len(got) < end + 4 + size:
                got += self.receive()
            got = got[end + 4 + size :]
            length += size
            if size == 0:
                self.rest = got
                return length

    def field(self, name):
        found = re.search(rf"^{name}: *(.*?)\r$", self.head, re.MULTILINE | re.IGNORECASE)
        return found[1] if found else None

    def outcome(self):
        """hit, validated or forwarded: from Cache-Status (larder), the X-Cache that most are told to send, or Traffic Server's Via."""
        said = self.field("Cache-Status") or self.field("X-Cache") or self.field("Via") or "nothing"
        said = said.removesuffix(" from bench")  # Squid
        if said.startswith("larder; fwd=stale; fwd-status=304") or said == "REVALIDATED" or re.search(r"\[c.sN", said):
            return "validated"
        if said.startswith("larder; hit") or said == "HIT" or re.search(r"\[c.s ", said):
            return "hit"
        return "forwarded" if "; fwd=" in said or said == "MISS" or re.search(r"\[c.s[^ ]", said) else said

    def get_until_hit(self, path, headers=BROWSER):
        """Some need a moment until what they fetched can be served: Traffic Server after a large body."""
        for _ in range(40):
            self.get(path, headers)
            if not self.is_cache or self.outcome() == "hit":
                return
            time.sleep(0.05)

    def expect(self, path, headers, status, size, outcome):
        length = self.get(path, headers)
        got = (self.status, length, self.outcome() if self.is_cache else outcome)
        require(got == (status, size, outcome), f"{path}: status, bytes, outcome are {got}, not {(status, size, outcome)}: {self.head}")
