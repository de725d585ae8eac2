"""The scenarios whose figure is CPU time a request (or a MiB): what is asked for, and what must be true before, during and after the load."""

import dataclasses
import json
import random
import resource
import subprocess

from servers import BODIES, SERVERS, Setup
from support import BROWSER, HERE, KIB, MIB, Client, find, request_bytes, require

# As many small objects as nginx can keep open at once, which is its best setting.
SMALL_OBJECTS = min(20000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 4000)
EVERYONE = tuple(SERVERS)
PROXIES = tuple(name for name in SERVERS if name != "floor")


@dataclasses.dataclass(frozen=True)
class Scenario:
    title: str
    path: str  # the first segment of the path, which says what the origin sends
    body: int  # bytes of the body an answer has under load; 0 with `mixed`
    objects: int  # asked for at random; 0: every request asks for a new one
    outcome: str  # of the second request for something: hit, validated or forwarded
    servers: tuple = EVERYONE
    conditional: bool = False
    unit: int = 0  # bytes that count as one; 0: a request does
    connections: int = 64
    pause_ms: int = 0  # of a connection after each answer
    pick: str = "uniform"
    languages: int = 1  # variants of each object
    range_bytes: int = 0
    mixed: bool = False  # bodies of many lengths, more than the cache holds
    setup: Setup = Setup()

    def full_bytes(self):
        return BODIES.get(self.path, KIB)


# The floor answers hits only: it is no proxy. HAProxy's 304s carry a Content-Length, and wrk waits for that many bytes; it answers no ranges
# from its cache and stores nothing with Vary: Accept-Language. For `revalidate` the lifetime is a second, and so many are asked for
# in turn that it has passed: nginx and Varnish would still use such a response a moment longer, HAProxy validates nothing.
# A pause after each 64 KB that is stored: at full speed it is more than the disk takes, and larder lets pass what it cannot store (`disk-behind`).
# Traffic Server asks the origin for some ranges that it holds. Squid does not say whether it validated.
SCENARIOS = {
    "hit": Scenario("small hit, 1 KB", "1k", KIB, SMALL_OBJECTS, "hit"),
    "304": Scenario("304 to If-None-Match", "1k", 0, SMALL_OBJECTS, "hit", conditional=True, servers=tuple(s for s in EVERYONE if s != "haproxy")),
    "hitlog": Scenario("small hit, with an access log", "1k", KIB, SMALL_OBJECTS, "hit", setup=Setup(access_log=True), servers=("larder", "nginx")),
    "hit10k": Scenario("10 KB hit", "10k", 10 * KIB, 2000, "hit"),
    "hit1m": Scenario("1 MB hit, per MB", "1m", MIB, 20, "hit", unit=MIB),
    "hit64m": Scenario("64 MB hit, per MB", "64m", 64 * MIB, 2, "hit", unit=MIB, connections=8),
    "miss": Scenario("miss and store, 1 KB", "1k", KIB, 0, "hit", servers=PROXIES),
    "miss64k": Scenario("miss and store, 64 KB", "64k", 64 * KIB, 0, "hit", pause_ms=20, servers=PROXIES),
    "pass": Scenario("pass (no-store), 1 KB", "pass", KIB, 2000, "forwarded", servers=PROXIES),
    "revalidate": Scenario("revalidation, 1 KB", "revalidate", KIB, 60000, "validated", pick="turn", servers=("larder", "trafficserver")),
    "variants": Scenario("hit, 20 variants each", "vary", KIB, 200, "hit", languages=20, servers=("larder", "nginx", "varnish", "squid")),
    "range": Scenario("64 KB range of 1 MB", "1m", 64 * KIB, 20, "hit", range_bytes=64 * KIB,
                      servers=("larder", "nginx", "varnish", "squid")),
    "zipf": Scenario("mixed sizes, Zipf, cache a tenth", "zipf", 0, 25000, "hit", pick="0.9", mixed=True, setup=Setup(cache_mib=64),
                     servers=PROXIES),
}


# --- what is asked for ----------------------------------------------------------------------------------------------------------


def mixed_path(number):
    """Half are 1 KB, a twentieth 256 KB: 25 KB in the mean, in an order that follows from the number alone."""
    size = random.Random(number).choices(("1k", "8k", "64k", "256k"), (50, 30, 15, 5))[0]
    return f"/zipf/{size}/assets/style-{number}", BODIES[size]


def requests_of(scenario):
    """Every request of the load: path and fields."""
    for number in range(1, scenario.objects + 1):
        path = mixed_path(number)[0] if scenario.mixed else f"/{scenario.path}/assets/style-{number}"
        for language in range(scenario.languages):
            fields = BROWSER if scenario.languages == 1 else {**BROWSER, "Accept-Language": f"{chr(97 + language)}x,en;q=0.5"}
            if not scenario.range_bytes:
                yield path, fields
                continue
            for first in range(0, scenario.full_bytes(), scenario.range_bytes):
                yield path, {**fields, "Range": f"bytes={first}-{first + scenario.range_bytes - 1}"}


def fill_and_check(scenario, client):
    """Fills the cache by asking for everything once, then checks everything; gives the requests that the load sends."""
    if scenario.mixed:
        return [request_bytes(path, fields) for path, fields in requests_of(scenario)]
    if scenario.objects == 0:
        client.expect(f"/{scenario.path}/assets/style-check", BROWSER, 200, scenario.body, "forwarded")
        client.get_until_hit(f"/{scenario.path}/assets/style-check")
        client.expect(f"/{scenario.path}/assets/style-check", BROWSER, 200, scenario.body, "hit")
        return [request_bytes(f"/{scenario.path}/assets/style-@N@", BROWSER)]
    asked = list(requests_of(scenario))
    once = dict.fromkeys((path, fields["Accept-Language"]) for path, fields in asked)
    for path, language in once:
        client.expect(path, {**BROWSER, "Accept-Language": language}, 200, scenario.full_bytes(), "forwarded")
    if scenario.conditional:
        asked = [(path, {**fields, "If-None-Match": client.field("ETag")}) for path, fields in asked]
    status = 304 if scenario.conditional else 206 if scenario.range_bytes else 200
    for path, fields in asked:
        if scenario.outcome == "hit":
            client.get_until_hit(path, fields)
        client.expect(path, fields, status, scenario.body, scenario.outcome)
    return [request_bytes(path, fields) for path, fields in asked]


# --- the load -------------------------------------------------------------------------------------------------------------------


def run_wrk(directory, port, scenario, requests, seconds):
    file = directory / "requests"
    file.write_bytes(b"".join(requests))
    command = [find("wrk"), "-t1", f"-c{scenario.connections}", f"-d{seconds}s", "--timeout", "20s", "-s", HERE / "load.lua"]
    command += [f"http://127.0.0.1:{port}/", "--", file, scenario.pick, str(scenario.pause_ms)]
    before_s = children_cpu_s()
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 120)
    require(done.returncode == 0 and done.stdout.endswith("}\n"), f"wrk failed: {done.stdout}{done.stderr}")
    return {**json.loads(done.stdout.splitlines()[-1]), "cpu_us": (children_cpu_s() - before_s) * 1e6}


def children_cpu_s():
    """Of those that have ended and were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def origin_requests(origin):
    """How many requests the origin got before this one."""
    client = Client(origin.port, False)
    client.get("/count", BROWSER)
    client.close()
    return int(client.body.split(b"handled requests")[1].split()[2]) - 1


def check_load(scenario, load, asked, client):
    """Was the load what the scenario says? `asked` is what the origin got meanwhile."""
    require(load["errors"] == 0 and load["bytes"] > 50 * scenario.unit and load["requests"] > (-1 if scenario.unit else 100), f"load: {load}")
    requests = load["requests"]
    mean = load["bytes"] / max(requests, 1)
    if scenario.mixed:
        require(0 <= asked < requests, f"the origin got {asked} of {requests} requests under load")
        return
    require(scenario.unit or scenario.body < mean < scenario.body * 1.2 + 1000, f"an answer has {mean:.0f} bytes under load, body {scenario.body}")
    hits = scenario.outcome == "hit" and scenario.objects > 0
    low, high = (0, 0) if hits else (requests, requests + scenario.connections + 1)
    require(low <= asked <= high, f"the origin got {asked} requests under load, not {low} to {high}")
    if scenario.outcome == "hit" and not hits:
        for i in range(1, 201):  # evenly over all that was asked for
            path = f"/{scenario.path}/assets/style-{i * (requests - 2 * scenario.connections) // 200}"
            client.expect(path, BROWSER, 200, scenario.body, "hit")


@dataclasses.dataclass(frozen=True)
class Measured:
    cost_us: float  # the server's CPU time for a request (or unit)
    client_us: float  # and the client's
    rate: float  # requests a second
    hit: float  # the share of requests that the origin did not get


def measure(scenario, server_name, origin, directory, seconds):
    with SERVERS[server_name](directory, origin.port, scenario.setup) as server:
        client = Client(server.port, server_name != "floor")
        requests = fill_and_check(scenario, client)
        if scenario.mixed:  # full, and what is asked for often is in it, before anything counts
            run_wrk(directory, server.port, scenario, requests, seconds * 3)
        before_s, asked = server.cpu_at_rest_s(), origin_requests(origin)
        load = run_wrk(directory, server.port, scenario, requests, seconds)
        cpu_us = (server.cpu_at_rest_s() - before_s) * 1e6
        asked = origin_requests(origin) - asked - 1  # the count itself
        check_load(scenario, load, asked, client)
        client.close()
    count = load["bytes"] / scenario.unit if scenario.unit else load["requests"]
    return Measured(cpu_us / count, load["cpu_us"] / count, load["requests"] / load["us"] * 1e6, 1 - asked / max(load["requests"], 1))


def takes_part(name, server):
    return server in SCENARIOS[name].servers
