"""Fixtures of the scenario tests: origin, proxy, client, larder. tests/README.md shows how they are used."""

import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from support.client import Client  # noqa: E402
from support.origin import Origin  # noqa: E402
from support.proxy import LARDER, Proxy  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--minutes", type=float, default=0.2, help="how long the chaos test goes on")
    parser.addoption("--seed", type=int, default=0, help="of the chaos test; 0: another one each time")


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes more than a few seconds")
    config.addinivalue_line("markers", "plain_only: measures, needs more than a sanitizer build can give, or has nothing new for it")
    config.addinivalue_line("filterwarnings", "error::pytest.PytestUnhandledThreadExceptionWarning")  # a thread's failure is the test's
    if not LARDER.exists():
        pytest.exit(f"{LARDER} does not exist; ./dev build makes it, $LARDER names another", returncode=4)


def pytest_terminal_summary(terminalreporter):
    """Leaves "PASSED FAILED" in the file that $LARDER_COUNTS names."""
    file = os.environ.get("LARDER_COUNTS")
    if file:
        stats = terminalreporter.stats
        failed = len(stats.get("failed", [])) + len(stats.get("error", []))
        Path(file).write_text(f"{len(stats.get('passed', []))} {failed}\n", encoding="utf-8")


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    """Removes what a test wrote once all of it has passed: a cache of each of two thousand would fill the disk."""
    outcome = yield
    item.failed = getattr(item, "failed", False) or not outcome.get_result().passed
    directory = (item.funcargs or {}).get("tmp_path")
    if call.when == "teardown" and directory is not None and not item.failed:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def origin():
    """A scripted origin that fails the test when something else comes than was expected."""
    origin = Origin()
    yield origin
    origin.stop()
    origin.check()


@pytest.fixture
def origins():
    """Makes further origins: origins() or origins("::1")."""
    made = []

    def make(*arguments, **options):
        made.append(Origin(*arguments, **options))
        return made[-1]

    yield make
    for one in made:
        one.stop()
    for one in made:
        one.check()


@pytest.fixture
def larder(tmp_path):
    """Starts proxies: larder(origin, config="…", flags=["--profile", "rfc"])."""
    started = []

    def start(origin=None, **options):
        proxy = Proxy(tmp_path / f"larder{len(started)}", origin, **options)
        if isinstance(origin, Origin):
            proxy.before_stop.append(origin.open_gates)
        started.append(proxy)
        return proxy.start()

    yield start
    problems = []
    for proxy in started:
        try:
            proxy.stop()
        except AssertionError as problem:
            problems.append(str(problem))
    for proxy in started:
        if proxy.stderr:
            print(f"--- standard error of {' '.join(proxy.command)}\n{proxy.stderr}")
    assert not problems, "\n".join(problems)


@pytest.fixture
def proxy(larder, origin):
    """A larder with its defaults in front of `origin`."""
    return larder(origin)


@pytest.fixture
def client(proxy):
    """A client of `proxy`."""
    return Client(proxy)
