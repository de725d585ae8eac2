"""kill -9 during a load of fills: whatever is served afterwards is byte-exact."""

import json
import os
import random
import threading

import pytest
from support.admin import Admin
from support.client import HOST, Client
from support.wire import wait_until

ROUNDS = int(os.environ.get("LARDER_KILLS", "50"))
CLIENTS = 4
SIZES = [10, 900, 5000, 70_000, 300_000]


def body_of(target):
    """The bytes of /N/SIZE: derived from the target alone, other bytes for every target."""
    number, size = (int(part) for part in target.strip("/").split("/"))
    return random.Random(number).randbytes(size)


def answer(exchange):
    exchange.reply(200, {"Cache-Control": "max-age=3600", "ETag": f'"{exchange.request.target}"'}, body_of(exchange.request.target),
                   framing="chunked" if int(exchange.request.path.split("/")[1]) % 3 == 0 else "length")


def test_what_was_purged_stays_purged(origin, larder):
    """However soon after its answer the process is killed; and nothing else goes with it."""
    proxy = larder(origin, flags=["--cache-size", "256MiB"])
    origin.on("GET /*", answer)
    choose = random.Random(3)
    for round_number in range(8):
        client = Client(proxy)
        targets = [f"/{round_number * 100 + step}/{size}" for step, size in enumerate(SIZES)]
        for target in targets:
            client.get(target).expect(200, body=body_of(target))
        client.close()
        proxy.restart()  # then everything is committed
        client = Client(proxy)
        gone, kept = targets[:2] + targets[4:], targets[2:4]
        order = json.dumps({"urls": [f"http://{HOST}{target}" for target in gone]}).encode()
        Admin(proxy).post("/v1/purge", order, {"Content-Type": "application/json"}).expect(200)
        if choose.random() < 0.5:
            client.get(kept[0]).expect(200, cache="hit")
        client.close()
        proxy.kill9()
        proxy.start()
        client = Client(proxy)
        for target in gone:
            client.get(target, {"Cache-Control": "only-if-cached"}).expect(504)
        for target in kept:
            client.get(target).expect(200, body=body_of(target), cache="hit")
        client.close()


@pytest.mark.slow
def test_kills_during_fills(origin, larder):
    proxy = larder(origin, flags=["--workers", "2", "--cache-size", "256MiB"])
    origin.on("GET /*", answer)
    choose = random.Random(7)
    asked = []
    served_from_the_store = 0
    wrong = []

    def load(stop, targets):
        client = Client(proxy)
        try:
            for target in targets:
                if stop.is_set():
                    return
                body = client.get(target).body
                if body != body_of(target):
                    wrong.append(target)
                asked.append(target)
        except (AssertionError, OSError):
            pass  # the kill
        finally:
            client.close()

    for round_number in range(ROUNDS):
        stop = threading.Event()
        before = len(asked)
        shares = [[f"/{round_number * 10000 + lane * 1000 + step}/{choose.choice(SIZES)}" for step in range(400)] for lane in range(CLIENTS)]
        threads = [threading.Thread(target=load, args=(stop, share), daemon=True) for share in shares]
        for thread in threads:
            thread.start()
        enough = choose.randrange(5, 120)
        wait_until(lambda: len(asked) - before >= enough or not any(thread.is_alive() for thread in threads), "the load")
        proxy.process.kill()
        stop.set()
        for thread in threads:
            thread.join(30)
        proxy.kill9()
        proxy.start()
        client = Client(proxy)
        for target in choose.sample(asked, min(len(asked), 40)):
            response = client.get(target).expect(200, body=body_of(target))
            served_from_the_store += "hit" in response.cache
        client.close()
    assert not wrong
    assert served_from_the_store > ROUNDS, f"only {served_from_the_store} hits in {ROUNDS} rounds: committed responses were lost"
    proxy.restart()
    client = Client(proxy)
    for target in choose.sample(asked, min(len(asked), 500)):
        client.get(target).expect(200, body=body_of(target))
