"""What a server is besides its CPU time a request: memory of idle connections, waiting while a flood is stored, starting on a large store,
what a hit costs with many objects stored, and with two workers. Each figure is a function that returns rows of a table."""

import argparse
import contextlib
import itertools
import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from scenarios import SCENARIOS, Scenario, origin_requests, run_wrk
from servers import SERVERS, Setup, prepare, start_origin
from support import BROWSER, Client, Failed, require, request_bytes

PROXIES = [name for name in SERVERS if name != "floor"]


def percentile(values, share):
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


# --- idle connections -----------------------------------------------------------------------------------------------------------


def idle_cost_bytes(name, origin, directory, many):
    with SERVERS[name](directory / f"idle-{name}", origin.port, Setup()) as server:
        clients = []
        for number in range(200 + many):
            if number == 200:  # what the first ones made it allocate is not the connections'
                before = server.private_bytes()
            client = Client(server.port)
            clients.append(client)
            client.get("/1k/assets/style-1", BROWSER)
        after = server.private_bytes()
        for client in clients:
            client.close()
    return (after - before) / many


def idle(options, origin, directory):
    """Memory that idle connections take of a process, each after a request: anonymous memory, before and after."""
    many = min(options.connections, os.sysconf("SC_OPEN_MAX") - 1000)
    for name in PROXIES:
        try:
            cost = idle_cost_bytes(name, origin, directory, many)
        except OSError as problem:
            require(name != "larder", f"idle, larder: {problem}")
            print(f"idle, {name} does not count: {problem}", file=sys.stderr)  # HAProxy takes no more than its configuration says
            continue
        yield f"idle connection, {name}", f"{cost:.0f} B", f"{many} of them"


# --- hits while a flood is stored -----------------------------------------------------------------------------------------------


class Flood:
    """Fetches new 1 MB objects at a rate, in a process of its own so that its work is not the measuring client's."""

    def __init__(self, port, mb_per_s):
        self.pid = os.fork()
        if self.pid == 0:
            with contextlib.suppress(BaseException):
                self.fetch(port, mb_per_s)
            os._exit(0)

    @staticmethod
    def fetch(port, mb_per_s):
        client, start = Client(port), time.monotonic()
        for number in itertools.count():
            time.sleep(max(0, start + number / mb_per_s - time.monotonic()))
            client.get(f"/1m/assets/flood-{number}", BROWSER)

    def stop(self):
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)


def hit_latencies_us(port, seconds, rate=500):
    """Of hits that are asked for at a fixed rate, one connection, from when each was due: a late one is not asked for later."""
    client, start, found = Client(port), time.monotonic(), []
    for number in range(seconds * rate):
        due = start + number / rate
        time.sleep(max(0, due - time.monotonic()))
        client.get(f"/1k/assets/style-{number % 100 + 1}", BROWSER)
        found.append((time.monotonic() - due) * 1e6)
    client.close()
    return found


def flood(options, origin, directory):
    """The 99th percentile of a hit, quiet, and while 100 MB/s of new objects are fetched and stored. The floor stores nothing: it stands
    beside a larder that does, and what its hits wait then, they wait for the machine."""
    for name in [*options.servers, "floor"]:
        quiet, loaded, stored = [], [], 0
        for turn in range(options.rounds):
            with contextlib.ExitStack() as running:
                place = directory / f"flood-{name}-{turn}"
                server = running.enter_context(SERVERS[name](place, origin.port, Setup(cache_mib=1024)))
                stores = server
                if name == "floor":
                    stores = running.enter_context(SERVERS["larder"](directory / f"{place.name}-larder", origin.port, Setup(cache_mib=1024)))
                client = Client(server.port)
                for number in range(1, 101):
                    client.get(f"/1k/assets/style-{number}", BROWSER)
                hit_latencies_us(server.port, 1)
                quiet.append(percentile(hit_latencies_us(server.port, options.seconds), 0.99))
                before, fetch = origin_requests(origin), Flood(stores.port, 100)
                hit_latencies_us(server.port, 1)
                loaded.append(percentile(hit_latencies_us(server.port, options.seconds), 0.99))
                fetch.stop()
                stored += origin_requests(origin) - before
        mb_per_s = stored / options.rounds / (options.seconds + 1)
        ratio = statistics.median(loaded) / statistics.median(quiet)
        yield (f"hit p99 during a flood, {name}", f"{statistics.median(loaded):.0f} µs: {ratio:.2f} × quiet",
               f"quiet {statistics.median(quiet):.0f} µs; {mb_per_s:.0f} MB/s fetched")


# --- two workers ----------------------------------------------------------------------------------------------------------------


def hit_cost_us(server, origin, scenario, requests, directory, seconds):
    before_s, asked = server.cpu_at_rest_s(), origin_requests(origin)
    load = run_wrk(directory, server.port, scenario, requests, seconds)
    used_us = (server.cpu_at_rest_s() - before_s) * 1e6
    require(origin_requests(origin) == asked + 1, "some were no hits")
    return used_us / load["requests"]


def workers(options, origin, directory):
    """What two workers can do beside one, from what a hit costs with either: the load generator has no part in that. Of it, the machine's
    share is what two processes of the floor lose, which have nothing in common."""
    scenario, costs = SCENARIOS["hit10k"], {(name, count): [] for name in ("larder", "floor") for count in (1, 2)}
    requests = [request_bytes(f"/1k/assets/style-{number}", BROWSER) for number in range(1, 2001)]
    for turn, (name, count) in itertools.product(range(options.rounds), costs):
        place = directory / f"workers-{turn}-{name}-{count}"
        with SERVERS[name](place, origin.port, Setup(workers=count)) as server:
            client = Client(server.port)
            for number in range(1, 2001):
                client.get(f"/1k/assets/style-{number}", BROWSER)
            costs[name, count].append(hit_cost_us(server, origin, scenario, requests, place, options.seconds))
    for name in ("larder", "floor"):
        one, two = (statistics.median(costs[name, count]) for count in (1, 2))
        yield f"two workers, {name}", f"{2 * one / two:.2f} × one", f"a hit costs {one:.1f} µs with one, {two:.1f} µs with two"


# --- many objects ---------------------------------------------------------------------------------------------------------------


def ask(server, numbers, seconds_limit=3600):
    """Asks for the objects of these numbers once each, on some connections, as fast as it goes."""
    numbers, lock, failed = iter(numbers), threading.Lock(), []

    def work():
        stream, outstanding = socket.create_connection(("127.0.0.1", server.port), 30), 50
        try:
            while True:
                with lock:
                    batch = list(itertools.islice(numbers, outstanding))
                if not batch:
                    return
                stream.sendall(b"".join(request_bytes(f"/tiny/{number}", {"Host": "www.example.com"}) for number in batch))
                answers = b""
                while answers.count(b"HTTP/1.1 200") < len(batch) or not answers.endswith(b"ok\n"):
                    piece = stream.recv(1 << 16)
                    require(piece and time.monotonic() < deadline, "asking for them does not end")
                    answers += piece
        except (OSError, Failed) as error:
            failed.append(error)

    deadline = time.monotonic() + seconds_limit
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    require(not failed, f"asking failed: {failed[:1]}")


def first_hit_ms(server, path):
    """From the start of the process to the last byte of a hit."""
    server.start()
    server.wait_ready(step_s=0.0005)
    client = Client(server.port)
    client.get(path, BROWSER)
    took_ms = (time.monotonic() - server.began_s) * 1000
    require(client.outcome() == "hit", f"the first request after a start was no hit: {client.head}")
    client.close()
    return took_ms


def forget_files(directory):
    """The kernel's copies of them in memory go."""
    for file in directory.rglob("*"):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def size(options, origin, directory):
    """What a hit on one of 1 000 objects costs beside so and so many others, asked for at random among all; and how long a start takes."""
    place = directory / "size"
    scenario = Scenario("", "tiny", 3, 0, "hit")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(SERVERS["larder"](place, origin.port, Setup(cache_mib=max(2048, options.objects // 200))))
        have, base = 0, None
        for count in (n for n in (1000, 10_000, 100_000, 1_000_000, 5_000_000) if n <= options.objects):
            ask(server, range(have + 1, count + 1))
            have = count
            few = [1 + number * (count // 1000) for number in range(1000)]
            spread = [1 + number * 7919 % count for number in range(100_000)]
            costs = []
            for numbers in (few, spread):
                for _ in range(2):  # what is asked for often is in memory, as it would be: the second time puts it there
                    ask(server, numbers)
                requests = [request_bytes(f"/tiny/{number}", BROWSER) for number in numbers]
                runs = [hit_cost_us(server, origin, scenario, requests, place, options.seconds) for _ in range(options.rounds)]
                costs.append(statistics.median(runs))
            base = base or costs
            yield (f"hit with {count} objects", f"{costs[0]:.1f} µs: {costs[0] / base[0]:.2f} ×",
                   f"any of up to 100 000 of them: {costs[1]:.1f} µs, {costs[1] / base[1]:.2f} ×")
        for cold, end in itertools.product((False, True), ("stopped", "killed")):
            server.kill() if end == "killed" else server.__exit__()
            if cold:
                forget_files(place)
            took_ms = first_hit_ms(server, f"/tiny/{have // 2}")
            yield f"start to first hit, {have} objects, {end}", f"{took_ms:.0f} ms", "files not in memory" if cold else "files in memory"


# --- all of them ----------------------------------------------------------------------------------------------------------------

FIGURES = {"idle": idle, "flood": flood, "workers": workers, "size": size}


def run(arguments):
    parser = argparse.ArgumentParser(prog="run figures", description="Memory, waiting, starting and size; larder beside its peers where they have it.")
    parser.add_argument("--seconds", type=int, default=5, help="of load in each measurement (5)")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured (3)")
    parser.add_argument("--connections", type=int, default=5000, help="that are idle (5000)")
    parser.add_argument("--objects", type=int, default=100_000, help="that are stored at most, by powers of ten from 1000 on, and 5000000 (100000)")
    parser.add_argument("--servers", default="larder,nginx,varnish,trafficserver", help="for the flood (larder,nginx,varnish,trafficserver)")
    parser.add_argument("figure", nargs="*", help=f"of {', '.join(FIGURES)}; all when none is named")
    options = parser.parse_args(arguments)
    options.servers = options.servers.split(",")
    if unknown := [name for name in options.figure if name not in FIGURES] + [name for name in options.servers if name not in PROXIES]:
        parser.error(f"no such figure or server: {', '.join(unknown)}")
    with tempfile.TemporaryDirectory(prefix="larder-bench-") as temporary:
        temporary = Path(temporary)
        prepare(temporary, ["larder", "floor"])
        with start_origin(temporary / "origin") as origin:
            print("| figure | | |\n| --- | --- | --- |")
            for name in options.figure or FIGURES:
                for row in FIGURES[name](options, origin, temporary):
                    print(f"| {' | '.join(row)} |")
                    sys.stdout.flush()
