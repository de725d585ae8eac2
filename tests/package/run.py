#!/usr/bin/python3
"""Installs the Debian package into a small system of its own, uses it there as its manual says, and removes it again.

    ./dev package && tests/package/run.py

The system is a chroot with namespaces of its own: nothing of this one changes, and nothing is left. It is made with mmdebstrap from the
archive that apt knows, and kept as build/package-base-*.tar. Only root can do this. No service manager runs in there: the unit is
checked by systemd-analyze, and its command line is started by hand.
"""

import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
CONTAINERFILE = (ROOT / "proxy" / "package" / "Containerfile").read_text(encoding="utf-8")
TIMEOUT = 60
MORE = ["logrotate", "systemd"]  # in the system beside what the package needs


class Failed(Exception):
    """Something is not as it should be."""


def expect(condition, what):
    if not condition:
        raise Failed(what)


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                          stdin=subprocess.DEVNULL, timeout=600, **options)
    expect(done.returncode == 0, f"exit status {done.returncode} of {' '.join(map(str, command))}:\n{done.stdout[-3000:]}")
    return done.stdout


def wait_until(condition, what):
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        expect(time.monotonic() < deadline, f"waited {TIMEOUT} s for {what}")
        time.sleep(0.02)


def child_of(process):
    """The one process that `process` has started, as soon as it has: unshare and nsenter wait for theirs."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    wait_until(lambda: children.read_text(encoding="ascii").strip(), "a process")
    return int(children.read_text(encoding="ascii"))


# --- the system -----------------------------------------------------------------------------------------------------------------


def dependencies(package):
    """The names of the packages that this one needs; of alternatives the first."""
    return [re.split(r"[ |(]", one.strip())[0] for one in run("dpkg-deb", "--field", package, "Depends").split(",")]


def base_system(package):
    """A tar file of a minimal system with all that the package needs, as this machine's apt has it."""
    codename = run("bash", "-c", ". /etc/os-release && echo $VERSION_CODENAME").strip()
    packages = sorted({*MORE, *dependencies(package)})
    base = BUILD / f"package-base-{hashlib.sha256(' '.join([codename, *packages]).encode()).hexdigest()[:12]}.tar"
    if not base.exists():
        targets = run("apt-get", "indextargets", "--format", "deb $(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages", "Origin: Debian")
        run("mmdebstrap", "--variant=minbase", "--format=tar", f"--include={','.join(packages)}", codename, f"{base}.new", *sorted(set(targets.splitlines())))
        Path(f"{base}.new").rename(base)
    return base


class System:
    """The chroot. Its processes end with it."""

    def __init__(self, base, directory):
        self.root = directory
        run("tar", "-C", directory, "-xf", base)
        self.holder = subprocess.Popen(["unshare", "--mount", "--pid", "--fork", "--kill-child", "sleep", "infinity"])
        self.enter = ["nsenter", "--target", str(child_of(self.holder)), "--mount", "--pid"]
        run(*self.enter, "mount", "-t", "proc", "proc", directory / "proc")

    def end(self):
        self.holder.kill()
        self.holder.wait()

    def command(self, *words):
        return [*self.enter, "chroot", str(self.root), "/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive",
                *map(str, words)]

    def run(self, *words):
        return run(*self.command(*words))

    def path(self, name):
        return self.root / name.lstrip("/")

    def mode(self, name):
        """"0750 larder:adm"."""
        return self.run("stat", "-c", "%04a %U:%G", name).strip()


class Service:
    """What the unit would start, as the user it would be started as; and an origin for it."""

    def __init__(self, system, *command):
        self.lines = []
        self.process = subprocess.Popen(system.command(*command), stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True)

    def address(self):
        limit = threading.Timer(TIMEOUT, self.process.kill)
        limit.start()
        try:
            for line in self.process.stdout:
                self.lines.append(line)
                found = re.search(r"\blistening\b.*\b127\.0\.0\.1:(\d+)", line)
                if found:
                    return "127.0.0.1", int(found.group(1))
        finally:
            limit.cancel()
        raise Failed(f"it ended with {self.process.wait()}:\n{''.join(self.lines)}")

    def end(self):
        os.kill(child_of(self.process), signal.SIGTERM)
        output, _ = self.process.communicate(timeout=TIMEOUT)
        expect(self.process.returncode == 0, f"it ended with {self.process.returncode}:\n{''.join(self.lines)}{output}")


def get(address, path):
    connection = http.client.HTTPConnection(*address, timeout=TIMEOUT)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        return response
    finally:
        connection.close()


# --- the checks, in this order --------------------------------------------------------------------------------------------------


def check_lintian(_system, package):
    run("lintian", "--fail-on", "error,warning", "--tag-display-limit", "0", package)


def check_version(_system, package):
    """The package's version is the program's."""
    version = re.search(r"version: '([^']+)'", (ROOT / "meson.build").read_text(encoding="utf-8")).group(1)
    expect(run("dpkg-deb", "--field", package, "Version").strip() == version, f"proxy/package/debian/changelog does not say {version}")


def check_install(system, package):
    shutil.copy(package, system.path("/root/larder.deb"))
    system.run("dpkg", "-i", "/root/larder.deb")
    expect(system.run("getent", "passwd", "larder").rstrip().endswith(":/var/cache/larder:/usr/sbin/nologin"), "the user larder")
    for name, want in {"/var/cache/larder": "0700 larder:larder", "/var/log/larder": "2750 larder:adm",
                       "/etc/larder/larder.toml": "0644 root:root", "/usr/bin/larder": "0755 root:root"}.items():
        expect(system.mode(name) == want, f"{name} is {system.mode(name)}, expected {want}")
    share = ("man/man1/larder.1.gz", "man/man5/larder.toml.5.gz", "bash-completion/completions/larder", "zsh/vendor-completions/_larder",
             "fish/vendor_completions.d/larder.fish", "larder/larder.schema.json", "larder/config.example.toml", "larder/larder.rules.yml",
             "larder/larder.grafana.json")
    for name in ("/lib/systemd/system/larder.service", "/etc/logrotate.d/larder", *(f"/usr/share/{name}" for name in share)):
        expect(system.path(name).exists(), f"{name} is missing")
    expect(not list(system.path("/etc/systemd/system").glob("**/larder.*")), "it is started before it knows its origin")


def check_configuration(system, _package):
    """It is the example with what a service needs, and right."""
    ours = system.path("/etc/larder/larder.toml").read_text(encoding="utf-8").splitlines()
    example = (ROOT / "config.example.toml").read_text(encoding="utf-8").splitlines()
    settings = [line for line in ours if line not in example and not line.startswith(("# ", "#:"))]
    expect(settings == ['access_log = "/var/log/larder/access.log"', 'dir = "/var/cache/larder"'], f"settings of its own: {settings}")
    system.run("larder", "check", "/etc/larder/larder.toml")


def check_unit(system, _package):
    complaints = system.run("systemd-analyze", "verify", "--man=no", "larder.service", "larder.socket")
    expect("larder" not in complaints, complaints)
    system.run("systemd-analyze", "security", "--offline=true", "--threshold=20", "larder.service")


def check_container(system, _package):
    """What the Containerfile makes of the configuration is right."""
    changes = re.search(r"sed -i (-e .*) /etc/larder/larder\.toml", CONTAINERFILE)[1]
    system.run("sh", "-c", f"sed {changes} /etc/larder/larder.toml >/tmp/container.toml && larder check /tmp/container.toml")
    text = system.path("/tmp/container.toml").read_text(encoding="utf-8")
    for line in ('listen = ":8080"', 'access_log = "-"', 'dir = "/var/cache/larder"'):
        expect(text.splitlines().count(line) == 1, f"{line} is not in the container's configuration")


def set_value(text, key, value):
    changed, count = re.subn(rf"(?m)^#?{key} = .*", f"{key} = {value}", text, count=1)
    expect(count == 1, f"{key} is not in larder.toml")
    return changed


def check_service(system, _package):
    """Configured, started, used, its log rotated, stopped."""
    file = system.path("/etc/larder/larder.toml")
    unit = system.path("/lib/systemd/system/larder.service").read_text(encoding="utf-8")
    user = re.search(r"(?m)^User=(.*)", unit).group(1)
    command = re.search(r"(?m)^ExecStart=(.*)", unit).group(1).split()
    origin = Service(system, "larder", "demo", "--listen", "127.0.0.1:0", "--delay", "0ms")
    text = set_value(file.read_text(encoding="utf-8"), "listen", '"127.0.0.1:0"')
    text = set_value(set_value(text, "size", '"64MiB"'), "origin", f'"http://127.0.0.1:{origin.address()[1]}"')
    file.write_text(text, encoding="utf-8")
    larder = Service(system, "setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs", *command)
    address = larder.address()
    log = system.path("/var/log/larder/access.log")
    expect("stored" in get(address, "/style.css").headers["Cache-Status"], "a response is stored")
    expect("hit" in get(address, "/style.css").headers["Cache-Status"], "it is served from the store")
    wait_until(lambda: log.read_text(encoding="utf-8").count("/style.css") == 2, "the access log")
    expect(system.mode("/var/log/larder/access.log") == "0640 larder:adm", "adm may read the log")
    system.run(*json.loads(re.search(r"HEALTHCHECK .*CMD (\[.*\])", CONTAINERFILE)[1]))

    system.run("logrotate", "--force", "/etc/logrotate.d/larder")
    expect(log.with_name("access.log.1").read_text(encoding="utf-8").count("/style.css") == 2, "the log is moved away")
    expect(system.mode("/var/log/larder/access.log") == "0640 larder:adm", "the new log is larder's")

    def logged():
        get(address, "/style.css")
        return "/style.css" in log.read_text(encoding="utf-8")

    wait_until(logged, "the new log to be used")
    larder.end()
    origin.end()


def check_upgrade(system, _package):
    """What was configured, and what is stored, stays."""
    before = system.path("/etc/larder/larder.toml").read_text(encoding="utf-8")
    stored = sorted(path.name for path in system.path("/var/cache/larder").iterdir())
    system.run("dpkg", "-i", "/root/larder.deb")
    expect(system.path("/etc/larder/larder.toml").read_text(encoding="utf-8") == before, "the configuration stays")
    expect(sorted(path.name for path in system.path("/var/cache/larder").iterdir()) == stored and stored, "the cache stays")


def check_removal(system, _package):
    system.run("dpkg", "--remove", "larder")
    expect(system.path("/etc/larder/larder.toml").exists(), "the configuration stays until it is purged")
    expect(any(system.path("/var/cache/larder").iterdir()), "what is stored stays until it is purged")
    system.run("dpkg", "--purge", "larder")
    left = system.run("find", "/etc", "/usr", "/var", "-name", "larder*", "-not", "-path", "/proc/*").split()
    expect(not left, f"left behind: {left}")


def main():
    packages = [path for path in (BUILD / "package").glob("larder_*.deb")]
    if len(packages) != 1 or os.geteuid() != 0:
        print("FAILED it needs root, and one package in build/package: ./dev package")
        return 1
    passed = failed = 0
    checks = [check_lintian, check_version, check_install, check_configuration, check_unit, check_container, check_service, check_upgrade, check_removal]
    with tempfile.TemporaryDirectory(prefix="larder-package-") as name:
        Path(name).chmod(0o755)
        system = System(base_system(packages[0]), Path(name))
        try:
            for check in checks:
                try:
                    check(system, packages[0])
                    passed += 1
                    print(f"ok {check.__name__}", flush=True)
                except (Failed, OSError, subprocess.TimeoutExpired) as problem:
                    failed += 1
                    print(f"FAILED {check.__name__}: {problem}", flush=True)
        finally:
            system.end()
    print(f"{passed} passed, {failed} failed")
    if "LARDER_COUNTS" in os.environ:
        Path(os.environ["LARDER_COUNTS"]).write_text(f"{passed} {failed}\n", encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
