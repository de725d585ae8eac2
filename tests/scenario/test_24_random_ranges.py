"""Random ranges over partial, filling and complete objects while the origin changes them: every byte is the one that the entity tag of
its response names."""

import os
import random
import re
import threading
import time

from support.client import Client
from support.parallel import in_parallel
from support.wire import Closed, Malformed

REQUESTS = int(os.environ.get("LARDER_RANGES", "10000"))
CLIENTS = 8
PATHS = [f"/o{number}" for number in range(24)]
SIZES = [1, 100, 5_000, 40_000, 70_000, 150_000, 300_000]
VERSIONS = 6
CHANGE_AFTER = 400  # requests


class Versions:
    """Objects whose every byte follows from path and version; all versions of one path differ in every kilobyte, some in length."""

    def __init__(self):
        self.number = 0
        self.bodies = {}
        for index, path in enumerate(PATHS):
            for version in range(VERSIONS):
                size = SIZES[(index + version // 3) % len(SIZES)]
                self.bodies[path, version] = random.Random(index * 1000 + version).randbytes(size)

    def now(self, path):
        """Not all change at the same moment."""
        return (self.number + PATHS.index(path)) // 2 % VERSIONS


def tag_of(path, version):
    return f'"{path}:{version}"'


def part_of(asked, size):
    """first, last of a single range; None: not one, or not to be satisfied."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", asked or "")
    if not match or match.group(1) == match.group(2) == "":
        return None
    if match.group(1) == "":
        first, last = max(size - int(match.group(2)), 0), size - 1
    else:
        first, last = int(match.group(1)), min(int(match.group(2) or size - 1), size - 1)
    return (first, last) if first <= last < size else None


def pieces_of(body, choose):
    """One answer in four comes in pieces, so that others meet it while it is filling."""
    if len(body) < 2 or choose.random() < 0.75:
        return [body]
    cut = choose.randrange(1, len(body))
    return [body[:cut], body[cut:]]


def answer_with(versions):
    choose = random.Random(1)

    def answer(exchange):
        path = exchange.request.path
        if exchange.request.method == "POST":
            exchange.reply(204)
            return
        version = versions.now(path)
        body, tag = versions.bodies[path, version], tag_of(path, version)
        fields = {"ETag": tag, "Cache-Control": "max-age=60", "Age": choose.choice(["0", "0", "60"])}
        if exchange.request.header("If-None-Match") == tag:
            exchange.reply(304, fields)
            return
        part = part_of(exchange.request.header("Range"), len(body))
        status = 200
        if part and exchange.request.header("If-Range") in (None, tag):
            status = 206
            fields["Content-Range"] = f"bytes {part[0]}-{part[1]}/{len(body)}"
            body = body[part[0]:part[1] + 1]
        pieces = pieces_of(body, choose)
        exchange.send_head(status, {**fields, "Content-Length": len(body)})
        for number, piece in enumerate(pieces):
            if number > 0:
                time.sleep(0.002)  # a slow origin, so that requests overlap; nothing depends on how much
            exchange.send(piece)

    return answer


def random_request(choose, seen):
    """method, path, headers: mostly ranges; now and then the whole, or a POST, which invalidates."""
    path = choose.choice(PATHS)
    near = choose.choice(SIZES)
    first = choose.randrange(near)
    last = first + choose.choice([0, 1, 99, 4071, 4072, 20_000, 100_000])
    kind = choose.random()
    headers = {"Range": f"bytes={first}-{last}"}
    if kind < 0.04:
        return "POST", path, {}
    if kind < 0.05:
        headers = {}
    elif kind < 0.1:
        headers = {"Range": f"bytes={first}-"}
    elif kind < 0.2:
        headers = {"Range": f"bytes=-{last - first + 1}"}
    elif kind < 0.4:
        headers = {"Range": f"bytes={first}-{first + 9},{last + 200}-{last + 300}"}
    elif kind < 0.5 and path in seen:
        headers["If-Range"] = seen[path]
    return "GET", path, headers


def check_parts(response, body):
    boundary = re.fullmatch(r"multipart/byteranges; ?boundary=\"?([^\"]+)\"?", response.header("Content-Type")).group(1).encode()
    for piece in re.split(rb"(?:\A|\r\n)--" + re.escape(boundary), response.body)[1:-1]:
        head, _, content = piece.partition(b"\r\n\r\n")
        first, last, size = map(int, re.search(rb"bytes (\d+)-(\d+)/(\d+)", head).groups())
        assert size == len(body)
        assert content == body[first:last + 1]


def check(path, response, versions):
    """The tag that the response names; every byte compared."""
    if response.status in (204, 416):
        return None
    tag = response.header("ETag")
    body = versions.bodies[path, int(tag.strip('"').split(":")[1])]
    assert tag.startswith(f'"{path}:'), f"{path}: {tag}"
    if response.status == 200:
        assert response.body == body, f"{path} {tag}: a wrong 200\n{response!r}"
    elif response.header("Content-Range") is None:
        check_parts(response, body)
    else:
        assert response.status == 206
        first, last, size = map(int, re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", response.header("Content-Range")).groups())
        assert size == len(body), f"{path} {tag}: {response!r}"
        assert response.body == body[first:last + 1], f"{path} {tag} {first}-{last}: wrong bytes\n{response!r}"
    return tag


def test_random_ranges_while_the_origin_changes(origin, larder):
    proxy = larder(origin, flags=["--workers", "2"])
    versions = Versions()
    answer = answer_with(versions)
    origin.on("GET /*", answer)
    origin.on("POST /*", answer)
    lock = threading.Lock()
    done, broken, kinds = [0], [0], {}

    def load(lane):
        choose = random.Random(lane)
        client = Client(proxy)
        seen = {}
        for _ in range(REQUESTS // CLIENTS):
            method, path, headers = random_request(choose, seen)
            try:
                response = client.begin(method, path, headers)
                _ = response.body
            except (Closed, Malformed, ConnectionError, AssertionError):
                client.close()  # it changed between two gaps of one response: broken off, not mixed
                response = None
            with lock:
                done[0] += 1
                versions.number = done[0] // CHANGE_AFTER
                broken[0] += response is None
            if response is not None:
                seen[path] = check(path, response, versions) or seen.get(path)
                if seen[path] is None:
                    del seen[path]
                kind = "hit" if "hit" in response.cache else response.cache.get("fwd")
                with lock:
                    kinds[kind] = kinds.get(kind, 0) + 1
        client.close()

    in_parallel(load, range(CLIENTS), timeout=600)
    print(kinds, "broken off", broken[0], "origin requests", origin.count())
    assert broken[0] < REQUESTS / 50
    assert kinds["hit"] > REQUESTS / 10
    assert kinds["partial"] > REQUESTS / 200
    assert kinds["stale"] > REQUESTS / 200
