"""Real origins, unmodified: Express, PHP, nginx, Python's http.server.

The same five steps for each: the first visit is stored, the second is a hit, stale it is revalidated by a 304, changed content replaces
it, and a client that holds it gets a 304. They grow stale by themselves after three seconds (http.server: by a tenth of the page's age),
so these tests poll until Cache-Status says so.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.client import Client
from support.proxy import ROOT
from support.wire import wait_until

HERE = Path(__file__).parent / "origins"
pytestmark = [pytest.mark.slow, pytest.mark.plain_only]  # nothing here that scripted origins do not do to memory and threads


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def connects(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


class Page:
    """The file that an origin shows."""

    def __init__(self, directory):
        self.directory = directory
        self.file = directory / "page.txt"
        directory.mkdir()

    def write(self, text, age_s):
        """Changes the text, and the time of the change: so long ago."""
        temporary = self.directory / ".new"
        temporary.write_text(text, encoding="utf-8")
        at = int(time.time()) - age_s
        os.utime(temporary, (at, at))
        temporary.rename(self.file)


@pytest.fixture
def page(tmp_path):
    return Page(tmp_path / "www")


@pytest.fixture
def program(tmp_path):
    """Starts an origin's program and ends it: program(command, port, env=…)."""
    started = []

    def start(command, port=None, env=None):
        log = open(tmp_path / "origin.log", "wb")  # pylint: disable=consider-using-with
        process = subprocess.Popen(command, stdout=subprocess.PIPE if port is None else log, stderr=log, env={**os.environ, **(env or {})})
        log.close()
        started.append(process)
        if port is None:
            port = int(process.stdout.readline())
        wait_until(lambda: connects(port) or process.poll() is not None, command[0])
        assert process.poll() is None, (tmp_path / "origin.log").read_text(errors="replace")
        return f"http://127.0.0.1:{port}"

    yield start
    for process in started:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="session")
def node_modules():
    """Express as npm installs it from the lock file, once into the build directory."""
    if not shutil.which("npm"):
        pytest.fail("npm is missing; ./dev test installs it")
    directory = ROOT / "build" / "node-express"
    lock = (HERE / "express" / "package-lock.json").read_bytes()
    stamp = directory / "installed-lock.json"
    if not stamp.exists() or stamp.read_bytes() != lock:
        directory.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / "express" / name, directory)
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=directory, check=True, capture_output=True, timeout=300)
        stamp.write_bytes(lock)
    return directory / "node_modules"


def five_steps(client, page, target, body_of, validators):
    page.write("one", 30)
    client.get(target).expect(200, body=body_of("one"), cache="fwd=uri-miss; stored")
    client.get(target).expect(200, body=body_of("one"), cache="hit")

    def not_a_hit():
        response = client.get(target).expect(200)
        return response if "hit" not in response.cache else None

    wait_until(not_a_hit, "the page to grow stale").expect(200, body=body_of("one"), cache="fwd=stale; fwd-status=304; detail=revalidated")
    client.get(target).expect(200, body=body_of("one"), cache="hit")

    page.write("another", 29)
    wait_until(not_a_hit, "the page to grow stale").expect(200, body=body_of("another"), cache="fwd=stale; fwd-status=200; stored")
    held = client.get(target).expect(200, body=body_of("another"), cache="hit")

    for name, field in (("ETag", "If-None-Match"), ("Last-Modified", "If-Modified-Since")):
        if name in validators:
            response = client.get(target, {field: held.header(name)}).expect(304, body=b"")
            assert response.header(name) == held.header(name)
        else:
            assert held.header(name) is None


def plain(text):
    return text.encode()


def test_express_static_files(larder, page, program, node_modules):
    url = program(["node", HERE / "express" / "app.js", page.directory], env={"NODE_PATH": str(node_modules)})
    five_steps(Client(larder(url)), page, "/page.txt", plain, ("ETag", "Last-Modified"))


def test_express_answers_with_etags(larder, page, program, node_modules):
    url = program(["node", HERE / "express" / "app.js", page.directory], env={"NODE_PATH": str(node_modules)})
    five_steps(Client(larder(url)), page, "/api/page", lambda text: json.dumps({"text": text}, separators=(",", ":")).encode(), ("ETag",))


def test_php(larder, page, program):
    port = free_port()
    page.write("", 60)
    url = program(["php", "-S", f"127.0.0.1:{port}", "-t", HERE / "php"], port, env={"PAGE_FILE": str(page.file)})
    five_steps(Client(larder(url)), page, "/page.php", plain, ("Last-Modified",))


NGINX = """
daemon off;
{user}worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 64; }}
http {{
    access_log off;
    types {{ text/plain txt; }}
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root {root};
        location / {{ expires 3s; }}
    }}
}}
"""


def test_nginx(larder, page, program, tmp_path):
    port = free_port()
    directory = tmp_path / "nginx"
    directory.mkdir()
    config = directory / "nginx.conf"
    user = "user root;\n" if os.geteuid() == 0 else ""  # pytest's directories are for their owner alone
    config.write_text(NGINX.format(directory=directory, port=port, root=page.directory, user=user), encoding="utf-8")
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    url = program([nginx, "-c", config, "-p", directory], port)
    five_steps(Client(larder(url)), page, "/page.txt", plain, ("ETag", "Last-Modified"))


def test_python_http_server(larder, page, program):
    """HTTP/1.0, and nothing about freshness: a tenth of the page's age is what larder allows."""
    port = free_port()
    url = program([sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", page.directory], port)
    five_steps(Client(larder(url)), page, "/page.txt", plain, ("Last-Modified",))
