"""[[test]] tables of the configuration: they are run at start and by `larder check`, and what they say is what then happens."""

import pytest
from support.client import HOST, Client
from support.proxy import run_larder
from support.say import fresh

RULES = """
[[site.rule]]
name = "clean"
strip_tracking = true
strip_request_fields = ["X-Debug"]
normalize_accept_encoding = true

[[site.rule]]
name = "kept"
path = "/kept/*"
ttl = "60s"
stale_while_revalidate = "30s"
"""

TEST = """
[[test]]
name = "{name}"
request = "GET http://{host}{target}"
headers = {fields}
[test.response]
headers = {answer}
[test.expect]
{expect}
[[test.later]]
after = "{after}"
[test.later.expect]
{later}
"""


def listed(fields):
    return "[" + ", ".join(f"'{name}: {value}'" for name, value in fields.items()) + "]"


def check(tmp_path, text):
    file = tmp_path / "larder.toml"
    file.write_text(text, encoding="utf-8")
    return (file, *run_larder("check", file))


def site(url):
    return f'[[site]]\norigin = "{url}"\n{RULES}'


# name: (target, request fields, the origin's fields, expected detail, stored, seconds passed, then)
SITUATIONS = {
    "stored and hit": ("/a", {}, fresh(60), "stored", True, 30, ("hit", "fresh")),
    "stale": ("/a", {}, {**fresh(60), "ETag": '"v1"'}, "stored", True, 60, ("revalidate", "stale")),
    "by rule, stale and revalidated behind": ("/kept/a", {}, {"ETag": '"v1"'}, "stored-by-rule", True, 70, ("hit-revalidate", "stale-while-revalidate")),
    "a cookie": ("/a", {}, {**fresh(60), "Set-Cookie": "a=b"}, "set-cookie", False, 1, ("fetch", "uri-miss")),
    "private": ("/a", {}, {"Cache-Control": "private"}, "private", False, 1, ("fetch", "uri-miss")),
    "credentials": ("/a", {"Authorization": "Basic eA=="}, fresh(60), "authorization", False, 1, ("fetch", "uri-miss")),
    "Vary: *": ("/a", {}, {**fresh(60), "Vary": "*"}, "vary-star", False, 1, ("fetch", "uri-miss")),
    "Vary": ("/a", {"Accept-Encoding": "zstd, gzip, br"}, {**fresh(60), "Vary": "Accept-Encoding"}, "stored", True, 1, ("hit", "fresh")),
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_what_a_test_says_then_happens(origin, larder, name):
    target, fields, answer, reason, stored, after, (then, later) = SITUATIONS[name]
    text = TEST.format(name=name, host=HOST, target=target + "?utm_source=x", fields=listed(fields), answer=listed(answer), after=f"{after}s",
                       expect=f'reason = "{reason}"\nstored = {str(stored).lower()}\nkey = "GET http://{HOST}{target}"',
                       later=f'answer = "{then}"\nreason = "{later}"')
    proxy = larder(config=site(origin.url) + text)  # it starts: the test holds
    client = Client(proxy)
    origin.on(f"GET {target}", lambda exchange: exchange.reply(304 if "If-None-Match" in exchange.request.headers else 200,
                                                               {**answer, "Age": str(after)}, b"hello"))
    client.get(target + "?utm_source=x", fields).expect(200, cache=f"detail={reason}; {'' if stored else '!'}stored")
    response = client.get(target, fields).expect(200, body=b"hello")
    if then.startswith("hit"):
        response.expect_cache("hit")
        response.expect_cache(f"detail={later}")
    elif then == "revalidate":
        response.expect_cache("fwd=stale")
    else:
        response.expect_cache(f"fwd={later}")


def test_passed_ones_are_counted(tmp_path):
    text = site("http://a") + "".join(f'[[test]]\nname = "t{n}"\nrequest = "http://h/"\nexpect = {{ answer = "fetch" }}\n' for n in range(7))
    file, code, out, err = check(tmp_path, text)
    assert (code, out, err) == (0, f"{file}: ok, 1 site, 2 rules, 7 tests passed\n", "")


def test_a_failing_one_refuses_the_configuration(tmp_path):
    text = site("http://a") + """
[[test]]
name = "product pages"
request = "GET http://h/kept/1"
response = { headers = ["Set-Cookie: id=7"] }
expect = { stored = true, lifetime = "60s" }

[[test]]
name = "the start page"
request = "http://h/"
expect = { answer = "pass" }
"""
    file, code, out, err = check(tmp_path, text)
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        f'{file}:20: test "product pages": stored: expected true, is false (set-cookie: it sets a cookie, and no rule allows storing that)',
        f'{file}:20: test "product pages": lifetime: expected one, and nothing is stored '
        "(set-cookie: it sets a cookie, and no rule allows storing that)",
        f'{file}:25: test "the start page": answer: expected "pass", is "fetch" (uri-miss: nothing is stored for this URI)',
    ]
    code, out, served = run_larder("serve", "--config", file, "--listen", "127.0.0.1:0", "--cache-dir", tmp_path / "cache")
    assert (code, out, served) == (2, "", err)
    assert not (tmp_path / "cache").exists()


def test_the_profile_in_force_counts(tmp_path):
    text = site("http://a") + '[[test]]\nname = "t"\nrequest = "http://h/"\nresponse = { headers = ["Set-Cookie: a=b", "ETag: \\"x\\""] }\nexpect = { stored = true }\n'
    _, code, _, err = check(tmp_path, text)
    assert code == 2 and "set-cookie" in err
    _, code, _, err = check(tmp_path, '[cache]\nprofile = "rfc"\n' + text)
    assert (code, err) == (0, "")
