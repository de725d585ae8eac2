"""Tags of responses, and groups (RFC 9875): kept, passed on or not, and what they invalidate."""

from support.client import HOST, Client
from support.say import fresh
from support.why import ask, text
from support.wire import wait_until

TAGS = {"Surrogate-Key": "a b", "Cache-Tag": "c", "xkey": "d", "Cache-Groups": '"e"'}

STRIP = """
[[site]]
[[site.rule]]
name = "no-tags"
path = "/s/*"
strip_tags = true
"""


def test_tags_are_passed_on(origin, client):
    origin.expect("GET /a").reply(200, fresh(**TAGS), b"hello")
    client.get("/a").expect(200, headers=TAGS)
    client.get("/a").expect(200, cache="hit", headers=TAGS)


def test_a_rule_keeps_them_from_clients(origin, larder):
    client = Client(larder(origin, config=STRIP))
    origin.expect("GET /s/a").reply(200, fresh(**TAGS), b"hello")
    origin.expect("GET /s/b").reply(200, {"Cache-Control": "no-store", **TAGS}, b"hello")
    for target, cache in (("/s/a", "fwd=uri-miss"), ("/s/a", "hit"), ("/s/b", "fwd=uri-miss")):
        client.get(target).expect(200, cache=cache, headers={**dict.fromkeys(TAGS), "Cache-Groups": '"e"'})


def test_a_response_with_too_many_is_not_stored(origin, client):
    many = " ".join(f"t{i}" for i in range(1025))
    origin.expect("GET /a").reply(200, fresh(**{"Surrogate-Key": many}), b"hello")
    client.get("/a").expect(200, cache="fwd=uri-miss; !stored; detail=tag-limit")
    groups = ", ".join(f'"g{i}"' for i in range(65))
    origin.expect("GET /b").reply(200, fresh(**{"Cache-Groups": groups}), b"hello")
    client.get("/b").expect(200, cache="fwd=uri-miss; !stored; detail=tag-limit")


# --- Cache-Group-Invalidation (RFC 9875) --------------------------------------------------------------------------------------------

def in_groups(value):
    return fresh(**{"Cache-Groups": value})


def fill(origin, client, targets, host=None):
    for target, groups in targets.items():
        origin.expect(f"GET {target}").reply(200, in_groups(groups), target.encode())
        client.get(target, host=host).expect(200, cache="fwd=uri-miss; stored")
        client.get(target, host=host).expect(200, cache="hit")


def test_an_unsafe_request_invalidates_a_group(origin, client):
    fill(origin, client, {"/a": '"x", "y"', "/b": '"y"', "/c": '"z"', "/d": '"Y"'})
    origin.expect("POST /form").reply(204, {"Cache-Group-Invalidation": '"y";p, "none"'})
    client.post("/form").expect(204)
    for target in ("/a", "/b"):
        origin.expect(f"GET {target}").reply(200, in_groups('"x"'), b"new")
        client.get(target).expect(200, body=b"new", cache="fwd=uri-miss; stored; detail=purged")
        client.get(target).expect(200, body=b"new", cache="hit")
    client.get("/c").expect(200, cache="hit")
    client.get("/d").expect(200, cache="hit")


def test_what_does_not_invalidate_a_group(origin, client):
    fill(origin, client, {"/a": '"x"'})
    invalidation = {"Cache-Group-Invalidation": '"x"', "Cache-Control": "no-store"}
    origin.expect("GET /safe").reply(200, invalidation)  # RFC 9875 3: ignored with a safe method
    client.get("/safe").expect(200)
    origin.expect("POST /failed").reply(403, invalidation)
    client.post("/failed").expect(403)
    origin.expect("POST /malformed").reply(204, {"Cache-Group-Invalidation": '"x", token'})
    client.post("/malformed").expect(204)
    origin.expect("POST /elsewhere").reply(204, invalidation)
    client.post("/elsewhere", host="other.example").expect(204)
    client.get("/a").expect(200, cache="hit")


def test_it_lasts_over_a_restart(origin, larder):
    proxy = larder(origin)
    client = Client(proxy)
    fill(origin, client, {"/a": '"x"', "/b": '"y"'})
    origin.expect("POST /form").reply(204, {"Cache-Group-Invalidation": '"x"'})
    client.post("/form").expect(204)
    proxy.restart()
    client = Client(proxy)
    client.get("/b").expect(200, cache="hit")
    origin.expect("GET /a").reply(200, in_groups('"x"'), b"new")
    client.get("/a").expect(200, body=b"new", cache="fwd=uri-miss; stored")
    proxy.restart()
    Client(proxy).get("/a").expect(200, body=b"new", cache="hit")


def test_a_fetch_that_began_before_is_not_for_who_comes_after(origin, larder):
    """Its head is not there yet when the group is invalidated: who comes then does not follow it, and it is not stored."""
    proxy = larder(origin)
    first, second, other = Client(proxy), Client(proxy), Client(proxy)
    gate = origin.gate()
    origin.expect("GET /a").reply(200, in_groups('"x"'), b"old", hold=gate)
    first.send("GET", "/a")
    gate.wait_reached()
    origin.expect("POST /form").reply(204, {"Cache-Group-Invalidation": '"x"'})
    other.post("/form").expect(204)
    origin.expect("GET /a").reply(200, in_groups('"x"'), b"new")
    second.get("/a").expect(200, body=b"new")
    gate.open()
    first.read_response().expect(200, body=b"old", cache="fwd=uri-miss")
    second.get("/a").expect(200, body=b"new", cache="hit")


def test_many_groups_of_one_answer(origin, client):
    names = ", ".join(f'"{i:0100}"' for i in range(40))
    fill(origin, client, {"/a": names})
    origin.expect("POST /form").reply(204, {"Cache-Group-Invalidation": names})
    client.post("/form").expect(204)
    origin.expect("GET /a").reply(200, in_groups('"x"'), b"new")
    client.get("/a").expect(200, body=b"new", cache="fwd=uri-miss")
    beyond = ", ".join(f'"{i}"' for i in range(100))  # more than are read: the whole host, to be sure
    origin.expect("POST /form").reply(204, {"Cache-Group-Invalidation": beyond})
    client.post("/form").expect(204)
    origin.expect("GET /a").reply(200, in_groups('"x"'), b"newer")
    client.get("/a").expect(200, body=b"newer", cache="fwd=uri-miss")


def test_why_names_the_purge(origin, larder):
    proxy = larder(origin)
    client = Client(proxy)
    fill(origin, client, {"/a": '"x"'})
    origin.expect("POST /form").reply(204, {"Cache-Group-Invalidation": '"x"'})
    client.post("/form").expect(204)
    wait_until(lambda: ask(proxy, "/a")["verdict"]["reason"] in ("purged", "uri-miss"), "the row to be committed")
    verdict = ask(proxy, "/a")["verdict"]
    if verdict["reason"] == "purged":  # else it was deleted already
        assert verdict["purged"] == {"kind": "group", "name": f"http://{HOST} x", "sequence": 1, "mode": "hard"}
        assert "sequence 1, hard" in text(proxy, "/a") or ask(proxy, "/a")["verdict"]["reason"] == "uri-miss"
