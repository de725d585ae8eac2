"""As whom larder runs: root is given up when the addresses are bound."""

import os
import pwd
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
from support.client import Client
from support.proxy import LARDER, Proxy, run_larder
from support.say import always
from support.wire import wait_until

# LeakSanitizer cannot look at a process that has changed its user.
pytestmark = [pytest.mark.plain_only, pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")]

NOBODY = pwd.getpwnam("nobody")


@pytest.fixture
def open_dir():
    """A directory that every user may enter, and a larder in it."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def config(origin, more='user = "nobody"'):
    return f'[server]\n{more}\n[cache]\nsize = "64MiB"\n[[site]]\norigin = "{origin.url}"\n'


def ids(proxy, kind):
    lines = Path(f"/proc/{proxy.pid}/status").read_text(encoding="utf-8").splitlines()
    return {int(word) for line in lines if line.startswith(kind + ":") for word in line.split()[1:]}


def test_it_becomes_the_user_before_it_opens_the_store(open_dir, origin):
    origin.on("GET *", always(200, {"Cache-Control": "max-age=60"}, b"x"))
    proxy = Proxy(open_dir / "larder", config=config(origin)).start()
    try:
        assert (ids(proxy, "Uid"), ids(proxy, "Gid")) == ({NOBODY.pw_uid}, {NOBODY.pw_gid})
        assert 0 not in ids(proxy, "Groups")
        Client(proxy).get("/").expect(200, cache="stored")
        assert {entry.stat().st_uid for entry in [proxy.cache_dir, *proxy.cache_dir.iterdir()]} == {NOBODY.pw_uid}
        # It is still told of a new configuration, which it reads as that user.
        proxy.process.send_signal(signal.SIGHUP)
        proxy.wait_logged("configuration reloaded")
        Client(proxy).get("/").expect(200, cache="hit")
    finally:
        proxy.stop()
    assert "running as root" not in proxy.stderr


def owners(directory):
    return {entry.name: entry.stat().st_uid for entry in [directory, *directory.iterdir()]}


def test_what_root_does_with_the_store_leaves_it_its_user(open_dir, origin, tmp_path):
    """Else the next start may not open it."""
    origin.on("GET *", always(200, {"Cache-Control": "max-age=60"}, b"x" * 50_000))
    proxy = Proxy(open_dir / "larder", config=config(origin).replace("64MiB", "128MiB")).start()
    try:
        Client(proxy).get("/").expect(200, cache="stored")
        export = tmp_path / "all.export"
        wait_until(lambda: b"/" in subprocess.run([LARDER, "store", "ls", "--cache-dir", proxy.cache_dir], capture_output=True, check=True).stdout,
                   "it to be committed")
        proxy.stop()
        for words in (["compact"], ["export", export], ["import", export], ["check"]):
            assert run_larder("store", *words, "--cache-dir", proxy.cache_dir)[0] == 0, words
            assert set(owners(proxy.cache_dir).values()) == {NOBODY.pw_uid}, (words, owners(proxy.cache_dir))
        file = open_dir / "user.toml"
        file.write_text(config(origin), encoding="utf-8")
        fresh = open_dir / "fresh"
        assert run_larder("store", "import", export, "--config", file, "--cache-dir", fresh)[0] == 0
        assert set(owners(fresh).values()) == {NOBODY.pw_uid}, owners(fresh)
        proxy.start()
        Client(proxy).get("/").expect(200, cache="hit")
    finally:
        proxy.stop()


def test_a_privileged_port_is_bound_first_and_not_later(open_dir, origin):
    origin.on("GET *", always(200, {}, b"x"))
    proxy = Proxy(open_dir / "larder", listen=(), config=config(origin, 'user = "nobody"\nlisten = "127.0.0.1:983"')).start()
    try:
        Client(proxy).get("/").expect(200)
        (proxy.directory / "larder.toml").write_text(config(origin, 'user = "nobody"\nlisten = "127.0.0.1:984"'), encoding="utf-8")
        proxy.process.send_signal(signal.SIGHUP)
        proxy.wait_logged("the former one goes on")
        assert "127.0.0.1:984: permission denied" in proxy.stderr
        Client(proxy).get("/").expect(200)
    finally:
        proxy.stop()


def test_the_group_may_be_another(open_dir, origin):
    proxy = Proxy(open_dir / "larder", config=config(origin, 'user = "nobody"\ngroup = "daemon"')).start()
    try:
        assert ids(proxy, "Gid") == {1}
    finally:
        proxy.stop()


def test_root_is_warned(origin, larder):
    proxy = larder(config=config(origin, ""))
    proxy.wait_logged("ready")
    assert "running as root" in proxy.stderr


@pytest.mark.parametrize("more, error", [
    ('user = "no-such-user"', 'server.user: cannot become "no-such-user": no such user'),
    ('user = "nobody"\ngroup = "no-such-group"', 'server.group: cannot become "no-such-group": no such group'),
])
def test_an_unknown_name_is_refused(open_dir, origin, more, error):
    file = open_dir / "larder.toml"
    file.write_text(config(origin, more), encoding="utf-8")
    code, _, errors = run_larder("serve", "--config", file, "--listen", "127.0.0.1:0", "--cache-dir", open_dir / "cache")
    assert (code, errors.strip().endswith(error)) == (2, True), errors
    assert not (open_dir / "cache").exists()


def test_a_log_that_the_user_cannot_write_is_refused(open_dir, origin):
    file = open_dir / "larder.toml"
    file.write_text(config(origin, 'user = "nobody"\naccess_log = "/var/log/larder-test.log"'), encoding="utf-8")
    code, _, errors = run_larder("serve", "--config", file, "--listen", "127.0.0.1:0", "--cache-dir", open_dir / "cache")
    assert code == 2
    assert "/var/log/larder-test.log" in errors


def test_check_says_whether_the_log_can_be_written(open_dir, origin):
    """By who runs it; what is there needs no right on its directory."""
    program = Proxy(open_dir / "larder", origin, program_copy=True).program
    program.parent.chmod(0o755)
    ours, theirs, pipe, new = (open_dir / name for name in ("ours", "theirs", "pipe", "new"))
    ours.touch()
    theirs.touch(0o644)
    os.mkfifo(pipe)
    for path in (ours, pipe):
        os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
    file = open_dir / "larder.toml"
    for log, names in [("/dev/null", None), (ours, None), (pipe, None), (theirs, theirs), (new, open_dir)]:
        file.write_text(config(origin, f'access_log = "{log}"'), encoding="utf-8")
        done = subprocess.run([program, "check", file], capture_output=True, text=True, check=False, user="nobody", group=NOBODY.pw_gid, extra_groups=[])
        assert done.returncode == 0 and ": ok" in done.stdout, done.stderr
        assert done.stderr == (f'larder: server.access_log: "{names}": Permission denied, on this machine\n' if names else "")


def test_who_may_not_open_the_socket_is_told(open_dir, origin):
    """Not that none runs: that is looked for elsewhere then."""
    proxy = Proxy(open_dir / "larder", origin, program_copy=True).start()
    (open_dir / "larder").chmod(0o755)
    proxy.cache_dir.chmod(0o755)
    try:
        done = subprocess.run([proxy.program, "purge", "--all", "--cache-dir", proxy.cache_dir], capture_output=True, text=True, check=False, user="nobody")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"larder: not permitted to open unix:{proxy.cache_dir}/admin.sock: only root may, and the user that larder runs as\n"
    finally:
        proxy.stop()
