"""larder why, asked about a request to a running proxy."""

import json

from support.client import HOST
from support.proxy import run_larder
from support.wire import wait_until

KEPT = ("--cache-dir", "--origin", "--config", "--profile")


def command(proxy, target, headers=None, method=None, supposed=None):
    """The words behind `larder` that ask about a request to `proxy`; `supposed`: (status, fields) of the origin's answer."""
    words = ["why", f"http://{HOST}{target}"]
    for flag, value in zip(proxy.command, proxy.command[1:]):
        if flag in KEPT:
            words += [flag, value]
    for name, value in (headers or {}).items():
        words += ["-H", f"{name}: {value}"]
    words += ["--method", method] if method else []
    if supposed is not None:
        status, fields = supposed
        words += ["--status", str(status)]
        for name, value in fields.items():
            words += ["--response-header", f"{name}: {value}"]
    return words


def ask(proxy, target, headers=None, method=None, supposed=None):
    code, out, err = run_larder(*command(proxy, target, headers, method, supposed), "--json")
    assert (code, err) == (0, ""), err
    return json.loads(out)


def text(proxy, target, headers=None, method=None, supposed=None):
    code, out, err = run_larder(*command(proxy, target, headers, method, supposed))
    assert (code, err) == (0, ""), err
    assert "\033" not in out
    return out


def store(proxy, client, target, headers=None, variants=1):
    """A GET, and until it is committed."""
    client.get(target, headers).expect(200)
    wait_until(lambda: len(ask(proxy, target)["variants"]) == variants, "the response to be committed")


def rule(*lines):
    return '[[site]]\n[[site.rule]]\nname = "mine"\n' + "\n".join(lines)
