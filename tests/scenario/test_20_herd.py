"""A herd: 10 000 requests for 1 000 URLs through 4 workers are 1 000 fetches."""

import random

import pytest
from support.client import Client
from support.parallel import in_parallel
from support.say import fresh


@pytest.mark.slow
def test_one_fetch_for_each_url(origin, larder):
    proxy = larder(origin, flags=["--workers", "4"])
    urls, times, count = 1000, 10, 40
    origin.on("GET /item/*", lambda exchange: exchange.reply(200, fresh(3600), (exchange.request.target * 40).encode()))
    shuffled = [f"/item/{number % urls}" for number in range(urls * times)]
    random.Random(1).shuffle(shuffled)
    # Beside the shuffled ones, everybody asks for the same at once every now and then.
    shares = [shuffled[number::count] for number in range(count)]

    def ask(share):
        client = Client(proxy)
        for first in range(0, len(share), 10):  # ten at a time, pipelined
            batch = share[first:first + 10]
            client.send_raw(b"".join(client.encode("GET", target) for target in batch))
            for target in batch:
                client.read_response().expect(200, body=(target * 40).encode())

    in_parallel(ask, shares, timeout=120)
    assert origin.count() == urls
    wrong = {path: number for path, number in origin.counts.items() if number != 1}
    assert not wrong


@pytest.mark.slow
def test_everybody_at_once(origin, larder):
    """All clients ask for the same URLs in the same order: the worst case for fetching twice."""
    proxy = larder(origin, flags=["--workers", "4"])
    origin.on("GET /item/*", lambda exchange: exchange.reply(200, fresh(3600), (exchange.request.target * 400).encode(), framing="chunked"))

    def ask(_):
        client = Client(proxy)
        for number in range(100):
            target = f"/item/{number}"
            client.get(target).expect(200, body=(target * 400).encode())

    in_parallel(ask, range(24), timeout=120)
    assert origin.count() == 100
