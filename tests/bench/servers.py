"""How larder, its peers and their origin are started: one worker each, an empty cache, the peers at their best usual settings."""

import dataclasses
import os
import shutil
import subprocess
from pathlib import Path

from support import HERE, KIB, MIB, ROOT, Server, find, free_port

BODIES = {"1k": KIB, "8k": 8 * KIB, "10k": 10 * KIB, "64k": 64 * KIB, "256k": 256 * KIB, "1m": MIB, "64m": 64 * MIB}  # files of the origin


@dataclasses.dataclass(frozen=True)
class Setup:
    """What a scenario wants otherwise than usual."""

    cache_mib: int = 4096
    workers: int = 1
    access_log: bool = False  # a line a request, to a file


def write_configuration(directory, template, values, root=""):
    """The template with our values for its words; `root` is what it says of the user when we are root."""
    text = (HERE / template).read_text()
    user = root if os.geteuid() == 0 else ""
    for word, value in {"DIR": directory, "USER": user, **values}.items():
        text = text.replace(f"@{word}@", str(value))
    (directory / template).write_text(text)
    return directory / template


def start_configured(name, directory, template, **values):
    """An nginx with the configuration of that name."""
    port = free_port()
    file = write_configuration(directory, template, {"PORT": port, **values}, "user root;")  # or its workers could not enter the directory
    return Server(name, [find("nginx"), "-p", directory, "-e", "stderr", "-c", file], port, directory / "log")


def start_origin(directory):
    directory.mkdir()
    for name, size in BODIES.items():
        (directory / f"{name}.css").write_bytes((b"body { color: black; }\n" * size)[:size])
    return start_configured("the origin", directory, "origin.conf")


def start_larder(directory, origin_port, setup):
    directory.mkdir()
    port = free_port()
    flags = f"--workers {setup.workers} --profile rfc --log-level warn --cache-size {setup.cache_mib}MiB".split()
    flags += ["--access-log", directory / "access.log" if setup.access_log else "off"]
    flags += ["--listen", f"127.0.0.1:{port}", "--origin", f"http://127.0.0.1:{origin_port}", "--cache-dir", directory / "cache"]
    return Server("larder", [directory.parent / "binary", "serve", *flags], port, directory / "log")


def start_nginx(directory, origin_port, setup):
    for i in range(16):  # its directories, as in any cache that is not new
        (directory / "cache" / f"{i:x}").mkdir(parents=True)
    log = f"{directory}/access.log combined buffer=64k flush=1s" if setup.access_log else "off"
    values = {"ORIGIN": origin_port, "SIZE": f"{setup.cache_mib}m", "WORKERS": setup.workers, "LOG": log}
    return start_configured("nginx", directory, "nginx.conf", **values)


def start_haproxy(directory, origin_port, setup):
    directory.mkdir()
    port = free_port()
    values = {"PORT": port, "ORIGIN": origin_port, "SIZE": min(setup.cache_mib, 2000), "LARGEST": min(setup.cache_mib // 2, 70) * 1000_000}
    return Server("haproxy", [find("haproxy"), "-db", "-f", write_configuration(directory, "haproxy.cfg", values)], port, directory / "log")


def start_varnish(directory, origin_port, setup):
    directory.mkdir()
    port = free_port()
    file = write_configuration(directory, "varnish.vcl", {"ORIGIN": origin_port})
    command = [find("varnishd"), "-F", "-n", directory / "work", "-a", f"127.0.0.1:{port}", "-f", file, "-s", f"malloc,{setup.cache_mib}m"]
    return Server("varnish", [*command, "-j", "none", "-p", "thread_pools=1", "-p", "timeout_idle=60"], port, directory / "log")


def start_trafficserver(directory, origin_port, setup):
    (directory / "cache").mkdir(parents=True)
    port = free_port()
    disk_mib = max(setup.cache_mib, 256)  # it takes no less
    values = {"PORT": port, "ORIGIN": origin_port, "MEMORY": min(setup.cache_mib, 1024) * MIB}
    write_configuration(directory, "trafficserver.config", values).rename(directory / "records.config")
    (directory / "ip_allow.yaml").write_text("ip_allow:\n  - {apply: in, ip_addrs: 127.0.0.1, action: allow, methods: ALL}\n")
    (directory / "remap.config").write_text(f"map http://www.example.com/ http://127.0.0.1:{origin_port}/\n")
    (directory / "storage.config").write_text(f"{directory}/cache {disk_mib}M\n")
    return Server("trafficserver", ["env", f"PROXY_CONFIG_CONFIG_DIR={directory}", find("traffic_server")], port, directory / "log")


def start_squid(directory, origin_port, setup):
    directory.mkdir()
    port = free_port()
    values = {"PORT": port, "ORIGIN": origin_port, "MEMORY": setup.cache_mib}
    file = write_configuration(directory, "squid.conf", values, "cache_effective_user proxy")
    return Server("squid", [find("squid"), "-N", "-d1", "-f", file], port, directory / "log")


def start_floor(directory, _origin_port, setup):
    directory.mkdir()
    port = free_port()
    return Server("floor", [directory.parent / "floor", str(port), str(setup.workers)], port, directory / "log")


SERVERS = {"larder": start_larder, "nginx": start_nginx, "haproxy": start_haproxy, "varnish": start_varnish,
           "trafficserver": start_trafficserver, "squid": start_squid, "floor": start_floor}


def prepare(directory, servers):
    """Copies and builds what the servers need into the directory of the run: a build meanwhile changes nothing."""
    shutil.copy(os.environ.get("LARDER", ROOT / "build-release" / "larder"), Path(directory) / "binary")
    if "floor" in servers:
        subprocess.run(["cc", "-O2", "-o", Path(directory) / "floor", HERE / "floor.c"], check=True)
